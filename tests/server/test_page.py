"""The page, driven by a real browser without a network, and what stands behind it."""

import contextlib
import gc
import io
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import faceproof
from faceproof.artifact.export import export_cascade
from faceproof.errors import FaceproofError
from faceproof.server.limits import Desk, Limits, RefusedError
from tests.conftest import write_images
from tests.small_runs import write_run

pytest.importorskip("gradio", reason="the page takes faceproof[serve]")
pytest.importorskip("uvicorn", reason="the server takes faceproof[serve]")

from faceproof.inference.faces import FaceOptions, judge_faces
from faceproof.prepare.face_finder import Box
from faceproof.server import page, page_answer
from faceproof.server.heat_map import HeatMaps
from faceproof.server.server import make_server
from tests.small_servers import listening

TOKEN = "a-token-of-the-tests"
NUMBER = -5  # stands for that of a question
LIMITS = Limits(max_megabytes=1.0, max_pixels=3_000_000, max_frames=4)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# What Gradio is made of warns of itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    run = write_run(folder / "run", gain=40.0)
    export_cascade(write_run(folder / "gate", "face", 3, 20, gain=40.0), run, folder / "both")
    return faceproof.load(folder / "both", "cpu")


@pytest.fixture(scope="module")
def images(tmp_path_factory, model):
    """Return an image for each verdict, as Python gives it."""
    folder = tmp_path_factory.mktemp("images")
    faces = write_images(folder, [f"{n}.jpg" for n in range(20)], size=(64, 64), face=True)
    paths = [*faces, *write_images(folder, [f"n{n}.jpg" for n in range(8)], size=(64, 64))]
    found = {model(path).verdict: path for path in paths}
    assert {"real", "fake", "no face"} <= set(found)
    return found


@contextlib.contextmanager
def serving(model, token=None, options=None):
    """Serve a detector on a port of this machine, in a thread."""
    app = make_server(model, LIMITS, token, options=options)
    with listening(app, LIMITS, timeout_graceful_shutdown=1) as (port, _):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def address(model):
    with serving(model) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    """A browser whose camera is made up, and which asks no name server."""
    playwright = pytest.importorskip("playwright.sync_api", reason="takes playwright")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the path")
    words = ["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream"]
    words += [
        "--use-fake-ui-for-media-stream",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=words)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser, address):
    """The page, and every address that it asks for."""
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    tab.asked = []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.goto(address)
    tab.wait_for_selector("input[type=file]", state="attached")
    yield tab
    tab.close()


def judged(tab, path):
    """Drop a file on the page and return what it says."""
    before = tab.inner_text("#answer .fp-answer")
    tab.set_input_files("input[type=file]", str(path))
    tab.wait_for_function(
        "before => document.querySelector('#answer .fp-answer').innerText != before",
        arg=before,
        timeout=60_000,
    )
    return tab.inner_text("#answer .fp-answer")


def left_over():
    """Return the uploads that lie on the disk."""
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_person_reads_the_verdict_and_what_it_rests_on(tab, model, images):
    for name in ("real", "fake"):
        said = judged(tab, images[name])
        verdict = model(images[name])
        assert said.startswith(name)
        assert f"{verdict.probability:.3f}" in said
        assert f"From {verdict.threshold:.3f} on" in said
        width = tab.eval_on_selector(".fp-fill", "bar => bar.style.width")
        assert float(width.rstrip("%")) == pytest.approx(100 * verdict.probability, abs=0.01)
        assert tab.locator("#answer img").count() == 2
    said = judged(tab, images["no face"])
    assert said.startswith("no face")
    assert f"{model(images['no face']).gate_probability:.3f}" in said
    assert left_over() == []
    hosts = {url.split("/")[2] for url in tab.asked if url.startswith("http")}
    assert hosts == {tab.url.split("/")[2]}


def test_a_video_is_judged_too(tab, tmp_path):
    pytest.importorskip("av", reason="videos take PyAV")
    from tests.small_videos import write_video

    faces = write_images(tmp_path, [f"{n}.jpg" for n in range(8)], size=(48, 48), face=True)
    pixels = [np.asarray(Image.open(path)) for path in faces]
    file = write_video(
        tmp_path / "a.mp4", [n / 2 for n in range(8)], gop=1, image=lambda n: pixels[n]
    )
    said = judged(tab, file)
    assert "4 frames of" in said or "frames show a face" in said
    assert "mean of the frames' calibrated probabilities" in said or "no face" in said
    assert tab.locator("#answer img").count() >= 1
    assert left_over() == []


def test_what_cannot_be_judged_is_told_in_words(tab, images, tmp_path):
    whole = images["real"].read_bytes()
    (tmp_path / "corrupt.jpg").write_bytes(whole[: len(whole) // 2])
    said = judged(tab, tmp_path / "corrupt.jpg")
    assert "the image cannot be read" in said
    Image.new("RGB", (2001, 1500)).save(tmp_path / "wide.png")
    assert "at most 3,000,000 are taken" in judged(tab, tmp_path / "wide.png")
    (tmp_path / "text.png").write_bytes(b"no image")
    assert "the file is no image that can be read" in judged(tab, tmp_path / "text.png")
    assert left_over() == []
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "heavy.png")
    tab.set_input_files("input[type=file]", str(tmp_path / "heavy.png"))
    tab.wait_for_selector("text=/maximum allowed size|too large/i", timeout=60_000)
    assert left_over() == []


def test_the_camera_takes_an_image(tab):
    tab.get_by_role("tab", name="Camera").click()
    tab.get_by_text("Click to Access Webcam").click()
    tab.wait_for_function("() => document.querySelector('video')?.videoWidth > 0")
    tab.get_by_label("capture photo").or_(tab.get_by_title("capture photo")).first.click(
        timeout=60_000
    )
    tab.wait_for_selector("#answer .fp-word", timeout=60_000)
    assert "The image" in tab.inner_text("#answer .fp-answer")
    assert left_over() == []


def test_the_card_stands_on_the_page(tab, model):
    tab.get_by_text("The detector's card").click()
    tab.wait_for_selector("text=What it answers")
    assert "Answers: no face, real, fake, or unsure" in tab.inner_text("body")


def test_a_phone_needs_no_sideways_scrolling(browser, address, images):
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    tab.goto(address)
    tab.wait_for_selector("input[type=file]", state="attached")
    judged(tab, images["fake"])
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.locator("#answer").bounding_box()["width"] > 300
    tab.close()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A photograph of two faces."""
    photographs = pytest.importorskip("skimage.data", reason="finding faces takes scikit-image")
    file = tmp_path_factory.mktemp("two") / "two.jpg"
    Image.fromarray(np.hstack([photographs.astronaut()] * 2)).save(file)
    return file


def test_a_phone_shows_each_face_and_its_verdict(browser, model, two, images):
    wanted = judge_faces(model, two)
    assert len(wanted.faces) >= 2
    with serving(model, options=FaceOptions()) as address:
        tab = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
        tab.goto(address)
        tab.wait_for_selector("input[type=file]", state="attached")
        judged(tab, two)
        assert tab.locator(".fp-faces").count() == 0
        tab.get_by_label("Find the faces, and judge each by itself").check()
        judged(tab, two)
        rows = [row.split() for row in tab.locator(".fp-faces tbody tr").all_inner_texts()]
        for number, (row, face) in enumerate(zip(rows, wanted.faces, strict=True), 1):
            shown = "-" if face.probability is None else f"{face.probability:.3f}"
            assert row == [
                f"{number}",
                *face.verdict.split(),
                shown,
                f"{face.gate_probability:.3f}",
            ]
        assert tab.inner_text("#answer .fp-word") == wanted.image.verdict
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        said = judged(tab, images["real"])  # too small an image for a face
        assert "The face finder finds none" in said
        tab.close()


def test_the_whole_in_which_the_gate_sees_no_face_is_spoken_of_as_such(model, images):
    desk, file = Desk(LIMITS), io.BytesIO(images["no face"].read_bytes())
    options = FaceOptions(whole_if_none=True)
    said = page_answer.answer_page(model, HeatMaps(model), file, desk, options)
    share = f"{model(images['no face']).gate_probability:.3f}"
    assert f"The gate finds no face: probability of a face {share}." in said
    desk.close()


def test_boxes_are_drawn_where_the_faces_are():
    grey = torch.full((3, 1440, 720), 128, dtype=torch.uint8)  # is shown at half its size
    boxes = [Box(100, 600, 300, 800), Box(20, 20, 120, 120)]
    drawn = page_answer._numbered(grey, boxes, [page_answer.POSITIVE, page_answer.NEGATIVE])
    assert drawn.size == (360, 720)
    pixels = np.asarray(drawn)
    for row, column in ((399, 100), (350, 50), (350, 149), (275, 51)):
        assert pixels[row, column].tolist() == [0xD5, 0x5E, 0x00]
    assert pixels[59, 40].tolist() == [0x00, 0x72, 0xB2]
    assert (pixels[303:397, 53:147] == 128).all()  # the face itself is not drawn over
    assert (pixels[400:] == 128).all()
    assert (pixels[100:270] == 128).all()


def test_the_token_protects_the_page(browser, model, images):
    with serving(model, TOKEN) as address:
        tab = browser.new_page()
        tab.goto(address)
        assert tab.url.endswith("/login")
        tab.fill("#token", "a-guess-of-the-tests")
        tab.click("button")
        tab.wait_for_selector("text=That is not the token")
        tab.fill("#token", TOKEN)
        tab.click("button")
        tab.wait_for_selector("input[type=file]", state="attached")
        assert judged(tab, images["fake"]).startswith("fake")
        for path in ("/config", "/gradio_api/upload", "/gradio_api/queue/join"):
            status, _ = ask(f"{address}{path}", {} if "api" in path else None)
            assert status == 401
        tab.close()


def ask(url, body=None, headers=None):
    """Send JSON or bytes, or ask for a page, without the cookies of a browser."""
    data = json.dumps(body).encode() if isinstance(body, dict | list) else body
    request = urllib.request.Request(
        url, data, {"content-type": "application/json"} | (headers or {})
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def through_the_queue(address, file):
    """Hand the page a file as its scripts would, and return what it answers."""
    _, text = ask(f"{address}/config")
    numbers = [one["id"] for one in json.loads(text)["dependencies"]]
    payload = {"meta": {"_type": "gradio.FileData"}, **file}
    body = {"data": [payload], "fn_index": numbers[0], "session_hash": "abc"}
    status, text = ask(f"{address}/gradio_api/queue/join", body)
    if status != 200:
        return text
    return ask(f"{address}/gradio_api/queue/data?session_hash=abc")[1]


def test_no_path_and_no_address_of_a_client_is_opened(address, tmp_path, images):
    """Whoever speaks to the page's own interface gets no further than a person with a mouse."""
    secret = tmp_path / "secret.jpg"
    shutil.copy(images["fake"], secret)
    for file in (
        {"path": str(secret)},
        {"path": f"{address}/health", "url": f"{address}/health"},
        {"path": "http://169.254.169.254/x.jpg"},
        {"path": "/etc/passwd"},
        {"path": "../../etc/passwd"},
    ):
        said = through_the_queue(address, file)
        assert "fp-word" not in said or "No answer" in said
        assert "root:" not in said
    assert secret.is_file()
    for path in ("file=/etc/passwd", f"file={secret}", "proxy=http://localhost/", "vibe-code"):
        assert ask(f"{address}/gradio_api/{path}")[0] == 404
    for path in ("process_recording", "run/predict", "call/judge", "component_server"):
        assert ask(f"{address}/gradio_api/{path}", {})[0] == 404


def test_what_the_page_would_break_on_is_refused_in_words(address):
    for path, body, status in (
        ("queue/join", {"data": [], "fn_index": 10**9, "session_hash": "abc"}, 422),
        ("queue/join", {"data": [], "fn_index": True, "session_hash": "abc"}, 422),
        ("queue/join", [], 422),
        *(
            ("queue/join", {"data": [], "fn_index": NUMBER, "session_hash": session}, 422)
            for session in (None, "", "a b", "a" * 65)
        ),
        ("upload", {}, 400),
        ("queue/data?session_hash=nobody", None, 404),
    ):
        if isinstance(body, dict) and body.get("fn_index") == NUMBER:
            body["fn_index"] = json.loads(ask(f"{address}/config")[1])["dependencies"][0]["id"]
        found, text = ask(f"{address}/gradio_api/{path}", body)
        assert (found, bool(json.loads(text)["error"])) == (status, True)
    for name in ("a" * 5000, "%c3%a9" * 150):  # the second has 300 bytes
        assert ask(f"{address}/assets/{name}")[0] == 404
    assert ask(f"{address}/gradio_api/upload_progress?upload_id=z")[0] == 404
    assert ask(f"{address}/?page=x")[0] == 200
    for host, status in (
        ("example.org:80, b", 200), ("[::1]:7860", 200), ("[::g]", 400), ("999.9.9.9", 400),
        ('evil"><script>', 400), ("a b", 400), ("a:b", 400),
    ):  # fmt: skip
        for name in ("X-Forwarded-Host", "X-Gradio-Server"):
            assert ask(f"{address}/", headers={name: host})[0] == status


@pytest.mark.parametrize("query", ["", "?upload_id=z"])
def test_a_form_whose_file_is_none_is_refused(address, query):
    body = b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n--x--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    status, text = ask(f"{address}/gradio_api/upload{query}", body, headers)
    assert (status, json.loads(text)) == (400, {"error": "what the form calls files is none"})


def test_only_uploads_are_read_and_then_deleted(tmp_path):
    uploads = page.Uploads(max_age=3600)
    (uploads.folder / "a").mkdir()
    (uploads.folder / "a" / "x.jpg").write_bytes(b"x")
    assert uploads.take(str(uploads.folder / "a" / "x.jpg")).getvalue() == b"x"
    assert not (uploads.folder / "a").exists()
    with pytest.raises(RefusedError, match="no longer there"):
        uploads.take(str(uploads.folder / "a" / "x.jpg"))
    other = tmp_path / "kept" / "x.jpg"
    other.parent.mkdir()
    other.write_bytes(b"x")
    (uploads.folder / "b").mkdir()
    (uploads.folder / "b" / "link.jpg").symlink_to(other)
    for path in (other, uploads.folder / "b" / "link.jpg", uploads.folder / ".." / "x"):
        with pytest.raises(RefusedError, match="no upload of this page"):
            uploads.take(str(path))
    assert other.is_file()
    uploads.close()
    assert not uploads.folder.exists()


def test_uploads_do_not_fill_the_disk(tmp_path):
    uploads = page.Uploads(max_age=3600)
    desk = Desk(Limits(max_megabytes=1, concurrency=1, queue=1), stored=uploads.stored)
    desk.look_for_room()
    for number in range(2):  # small files count too: there could be a million of them
        (uploads.folder / str(number)).mkdir()
        (uploads.folder / str(number) / "x.jpg").write_bytes(b"x")
    with pytest.raises(RefusedError, match="busy"):
        desk.look_for_room()
    uploads.take(str(uploads.folder / "0" / "x.jpg"))
    desk.look_for_room()
    uploads.close()
    desk.close()


def test_what_nobody_judges_is_deleted_too():
    """Also what broke off while it arrived."""
    uploads = page.Uploads(max_age=0.4)
    (uploads.folder / "a").mkdir()
    (uploads.folder / "a" / "x.jpg").write_bytes(b"x")
    (uploads.folder / "tmpbroken").write_bytes(b"x")
    deadline = time.monotonic() + 10
    while any(uploads.folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(uploads.folder.iterdir())
    uploads.close()


def test_what_broke_off_is_closed_though_nobody_looks_for_garbage():
    """An error and what was at work when it was raised hold each other, and the file."""
    uploads = page.Uploads(max_age=0.4)
    gc.disable()
    try:
        circle: list[object] = [tempfile.TemporaryFile(dir=uploads.folder)]  # noqa: SIM115
        circle.append(circle)
        file = weakref.ref(circle[0])
        del circle
        assert file() is not None
        deadline = time.monotonic() + 10
        while file() is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert file() is None
    finally:
        gc.enable()
        uploads.close()


def test_what_is_not_installed_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(FaceproofError, match=r"pip install 'faceproof\[serve\]'"):
        page.import_gradio()
    monkeypatch.delitem(sys.modules, "faceproof.explain.attribution", raising=False)
    monkeypatch.delattr("faceproof.explain.attribution", raising=False)
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    maps = HeatMaps(model)
    assert maps.problem is not None
    assert "pip install 'faceproof[explain]'" in maps.problem


def test_a_map_is_orange_where_it_speaks_for_fake(model):
    from faceproof.server import heat_map

    found = np.full((8, 8), 0.0, np.float32)
    found[:, :4], found[:, 4:] = 1.0, -1.0
    drawn = np.asarray(heat_map._overlay(Image.new("RGB", (80, 80), "gray"), found)).astype(int)
    assert (drawn[:, :30, 0] > drawn[:, :30, 2] + 50).all()
    assert (drawn[:, 50:, 2] > drawn[:, 50:, 0] + 30).all()
