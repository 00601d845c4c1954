"""The page, driven by a real browser without a network."""

import base64
import contextlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import faceproof
from faceproof.evaluation.novelty import NoveltyPoint
from faceproof.server.limits import Limits
from faceproof.workflows.export import export_cascade
from tests.conftest import write_images
from tests.small_runs import write_run

pytest.importorskip("uvicorn", reason="the server takes faceproof[serve]")

from faceproof.inference.faces import FaceOptions, judge_faces
from faceproof.reports.card_html import card_html
from faceproof.server.application import make_server
from tests.small_servers import listening

TOKEN = "a-token-of-the-tests"
LIMITS = Limits(max_megabytes=1.0, max_pixels=3_000_000, max_frames=4)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


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
def serving(model, token=None, options=None, root_path=""):
    """Serve a detector on a port of this machine, in a thread."""
    app = make_server(model, LIMITS, token, options=options, root_path=root_path)
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


@contextlib.contextmanager
def opened(browser, address, **settings):
    """Open the page; whatever the browser complains of, the content policy above all, fails."""
    tab = browser.new_page(**settings)
    tab.asked, complaints = [], []
    tab.on("request", lambda request: tab.asked.append(request))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "console",
        lambda said: complaints.append(said.text) if "Content Security" in said.text else None,
    )
    tab.goto(address)
    yield tab
    tab.close()
    assert complaints == []


@pytest.fixture
def tab(browser, address):
    with opened(browser, address, viewport={"width": 1200, "height": 900}) as tab:
        yield tab


def answered(tab):
    """Wait for an answer and return what it says."""
    tab.wait_for_selector("#answer[aria-busy=false] .answer:not(.waiting)", timeout=60_000)
    return tab.inner_text("#answer .answer")


def judged(tab, path):
    """Choose a file and return what the page says of it."""
    tab.set_input_files("#file", str(path))
    return answered(tab)


def test_a_person_reads_the_verdict_and_what_it_rests_on(tab, model, images):
    for name in ("real", "fake"):
        said = judged(tab, images[name])
        verdict = model(images[name])
        assert said.startswith(name)
        assert f"{verdict.probability:.3f}" in said
        assert f"From {verdict.threshold:.3f} on" in said
        left = tab.eval_on_selector(".gauge .mark", "mark => mark.style.left")
        assert float(left.rstrip("%")) == pytest.approx(100 * verdict.probability, abs=0.01)
        zones = tab.eval_on_selector_all(
            ".gauge .zone", "zones => zones.map(zone => [zone.style.left, zone.textContent])"
        )
        low, high = model.scorer.point.unsure
        starts = [0, low, high] if high > low else [0, verdict.threshold]
        assert [float(left.rstrip("%")) / 100 for left, _ in zones] == pytest.approx(starts)
        assert next(word for _, word in zones if word) == "real"
        assert tab.locator("#answer img").count() == 1
        tab.get_by_role("button", name="Show what the answer rests on").click()
        tab.get_by_alt_text("What the answer rests on").wait_for()
        assert "orange speaks for fake" in tab.inner_text("#answer .map")
    said = judged(tab, images["no face"])
    assert said.startswith("no face")
    assert f"{model(images['no face']).gate_probability:.3f}" in said
    assert tab.locator(".map").count() == 0
    hosts = {request.url.split("/")[2] for request in tab.asked if request.url.startswith("http")}
    assert hosts == {tab.url.split("/")[2]}


def test_an_image_unlike_those_of_training_is_told_so(browser, model, images):
    (member,) = model.scorer.members

    def knowing(pictures):
        return np.stack([member.network(pictures), np.full(len(pictures), 3.2, np.float32)], 1)

    knowing.fit = member.network.fit
    point = NoveltyPoint(1.5, 0.05, 100, 100)
    scorer = replace(model.scorer, members=[replace(member, network=knowing)], novelty=point)
    with (
        serving(replace(model, scorer=scorer)) as address,
        opened(browser, address, viewport={"width": 1200, "height": 900}) as tab,
    ):
        said = judged(tab, images["fake"])
    assert said.lower().startswith("unsure")
    assert "unlike the images that the detector was trained on, 3.2 times as far" in said
    assert "It lies between" not in said


@pytest.mark.parametrize("high", [0.8, 1.0])
def test_beside_an_unsure_band_the_page_names_no_threshold(browser, model, images, high):
    """The zones say from where on an image is called fake; the threshold lies in the band."""
    band = (0.0, high)
    scorer = replace(model.scorer, point=replace(model.scorer.point, unsure=band))
    with (
        serving(replace(model, scorer=scorer)) as address,
        opened(browser, address, viewport={"width": 1200, "height": 900}) as tab,
    ):
        said = judged(tab, images["real"])
        assert said.lower().startswith("unsure")
        assert f"It lies between 0.000 and {high:.3f}, where the detector errs too often" in said
        assert "on it is called" not in said + judged(tab, images["fake"])


def test_the_name_of_a_file_stays_with_the_person(tab, images, tmp_path):
    shutil.copy(images["fake"], tmp_path / "my-secret-party.jpg")
    tab.evaluate(
        """() => {
          const fetched = window.fetch;
          window.names = [];
          window.fetch = (address, options) => {
            window.names.push(address, ...[...options.body.values()].map((file) => file.name));
            return fetched(address, options);
          };
        }"""
    )
    judged(tab, tmp_path / "my-secret-party.jpg")
    assert tab.evaluate("window.names") == ["api/predict?thumbnails=true", "upload"]


def test_nothing_stays_on_the_disk_or_in_the_browser(tab, images, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    judged(tab, images["fake"])
    assert list(tmp_path.iterdir()) == []
    stored = tab.evaluate("[localStorage.length, sessionStorage.length, document.cookie]")
    assert stored == [0, 0, ""]


def test_a_file_can_be_dropped_or_pasted(tab, images):
    data = base64.b64encode(images["fake"].read_bytes()).decode()
    tab.evaluate(
        """data => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          window.sent = new DataTransfer();
          window.sent.items.add(new File([bytes], "a.jpg"));
        }""",
        data,
    )
    for event in (
        "new DragEvent('drop', {dataTransfer: window.sent, bubbles: true, cancelable: true})",
        "new ClipboardEvent('paste', {clipboardData: window.sent, bubbles: true})",
    ):
        tab.evaluate(f"document.querySelector('#drop').dispatchEvent({event})")
        assert answered(tab).startswith("fake")
        tab.evaluate("document.querySelector('#answer').innerHTML = ''")


def test_a_video_is_judged_too(tab, tmp_path):
    pytest.importorskip("av", reason="videos take PyAV")
    from tests.small_videos import write_video

    faces = write_images(tmp_path, [f"{n}.jpg" for n in range(8)], size=(48, 48), face=True)
    pixels = [np.asarray(Image.open(path)) for path in faces]
    file = write_video(
        tmp_path / "a.mp4", [n / 2 for n in range(8)], gop=1, image=lambda n: pixels[n]
    )
    said = judged(tab, file)
    assert "4 frames of" in said
    assert "mean of the frames' calibrated probabilities" in said
    known = tab.locator(".timeline circle").count()
    assert 0 < known <= 4
    assert known + tab.locator(".timeline text", has_text="\N{MULTIPLICATION SIGN}").count() == 4
    assert tab.locator(".strip img").count() == known
    tab.get_by_text("All frames").click()
    assert tab.locator(".frames tbody tr").count() == 4


def test_what_cannot_be_judged_is_told_in_words(tab, images, tmp_path):
    whole = images["real"].read_bytes()
    (tmp_path / "corrupt.jpg").write_bytes(whole[: len(whole) // 2])
    said = judged(tab, tmp_path / "corrupt.jpg")
    assert "The image cannot be read" in said
    Image.new("RGB", (2001, 1500)).save(tmp_path / "wide.png")
    assert "at most 3,000,000 are taken" in judged(tab, tmp_path / "wide.png")
    (tmp_path / "text.png").write_bytes(b"no image")
    assert "The file is no image that can be read" in judged(tab, tmp_path / "text.png")
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "heavy.png")
    before = len(tab.asked)
    assert "too large; at most 1 megabytes" in judged(tab, tmp_path / "heavy.png")
    assert len(tab.asked) == before  # it is not even sent
    assert tab.locator("#answer [role=alert]").count() == 1


def test_a_server_that_is_gone_is_told_in_words(browser, model, images):
    with serving(model) as address:
        tab = browser.new_page()
        tab.goto(address)
    assert "The server cannot be reached" in judged(tab, images["real"])
    tab.close()


def test_the_camera_takes_an_image(tab):
    assert not tab.locator("#photo-label").is_visible()
    tab.get_by_role("button", name="Use the camera").click()
    tab.wait_for_function("() => document.querySelector('video').videoWidth > 0")
    tab.get_by_role("button", name="Take the photo").click()
    assert "The picture" in answered(tab)
    assert not tab.locator("#camera").is_visible()
    assert tab.evaluate("document.querySelector('video').srcObject") is None  # its light is off


def test_a_phone_takes_a_photo_with_its_own_camera(browser, address, images):
    with opened(browser, address, **PHONE) as tab:
        assert tab.locator("#photo-label").is_visible()
        assert not tab.locator("#camera-open").is_visible()
        assert not tab.get_by_text("or drop one here").is_visible()
        assert tab.get_attribute("#photo", "capture") == "environment"
        tab.set_input_files("#photo", str(images["fake"]))
        assert answered(tab).startswith("fake")


def test_the_page_works_by_keyboard_and_speaks(tab, images):
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "file"
    ring = tab.eval_on_selector("#drop", "drop => getComputedStyle(drop).outlineStyle")
    assert ring == "solid"
    names = tab.evaluate(
        "[...document.querySelectorAll('input, button, video')].filter((one) => !one.labels?.length"
        " && !one.textContent && !one.getAttribute('aria-label')).length"
    )
    assert names == 0
    judged(tab, images["fake"])
    spoken = tab.locator("[role=status][aria-live=polite]")
    assert spoken.inner_text().startswith("fake. Probability of fake")
    assert tab.locator("img:not([alt])").count() == 0


def test_the_card_stands_on_the_page(tab):
    tab.get_by_text("The detector's card").click()
    tab.wait_for_selector("text=What it answers")
    assert "Answers: no face, real, fake, or unsure" in tab.inner_text("body")


def test_a_card_of_a_stranger_becomes_no_markup():
    html = card_html("# <script>x</script>\n\n![x](http://x) [y](javascript:x)\n\n<b>bold</b>")
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>" not in html
    assert "href" not in html.replace('href="http://x"', "")


def test_a_phone_needs_no_sideways_scrolling(browser, address, images):
    with opened(browser, address, **PHONE) as tab:
        judged(tab, images["fake"])
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        assert tab.locator("#answer").bounding_box()["width"] > 300


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
    with serving(model, options=FaceOptions()) as address, opened(browser, address, **PHONE) as tab:
        judged(tab, two)
        assert tab.locator(".faces").count() == 0
        tab.get_by_label("Find the faces, and judge each by itself").check()
        tab.wait_for_selector(".faces", timeout=60_000)  # the same file is judged again
        rows = [row.split() for row in tab.locator(".faces tbody tr").all_inner_texts()]
        for number, (row, face) in enumerate(zip(rows, wanted.faces, strict=True), 1):
            shown = "-" if face.probability is None else f"{face.probability:.3f}"
            assert row == [
                f"{number}",
                *face.verdict.split(),
                shown,
                f"{face.gate_probability:.3f}",
            ]
        assert tab.inner_text("#answer .word") == wanted.image.verdict
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        _check_boxes(tab, wanted.boxes, 1024)
        said = judged(tab, images["real"])  # too small an image for a face
        assert "No face is found" in said


def _check_boxes(tab, boxes, width):
    """Compare where boxes are shown with where the faces are, relative to the picture."""
    shown = tab.locator(".framed img").bounding_box()
    scale = shown["width"] / width
    for number, box in enumerate(boxes):
        drawn = tab.locator(".framed .box").nth(number).bounding_box()
        line = 4  # pixels
        assert drawn["x"] - shown["x"] == pytest.approx(scale * box.left, abs=line)
        assert drawn["y"] - shown["y"] == pytest.approx(scale * box.top, abs=line)
        assert drawn["width"] == pytest.approx(scale * (box.right - box.left), abs=2 * line)
        assert drawn["height"] == pytest.approx(scale * (box.bottom - box.top), abs=2 * line)


def test_the_whole_in_which_the_gate_sees_no_face_is_spoken_of_as_such(browser, model, images):
    options = FaceOptions(whole_if_none=True)
    with serving(model, options=options) as address, opened(browser, address) as tab:
        tab.get_by_label("Find the faces, and judge each by itself").check()
        said = judged(tab, images["no face"])
    share = f"{model(images['no face']).gate_probability:.3f}"
    assert f"The gate finds no face: probability of a face {share}." in said


def test_the_token_protects_the_page(browser, model, images):
    with serving(model, TOKEN) as address, opened(browser, address) as tab:
        assert tab.url.endswith("/login")
        assert tab.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") != "none"
        tab.fill("#token", "a-guess-of-the-tests")
        tab.click("button")
        tab.wait_for_selector("text=That is not the token")
        assert "faceproof" not in tab.title()
        tab.fill("#token", TOKEN)
        tab.click("button")
        tab.wait_for_selector("#file", state="attached")
        assert judged(tab, images["fake"]).startswith("fake")
        tab.context.clear_cookies()
        tab.set_input_files("#file", str(images["fake"]))
        tab.wait_for_url("**/login")


def test_the_page_works_below_the_path_of_a_proxy(browser, model, images):
    with (
        serving(model, TOKEN, root_path="/detector") as address,
        opened(browser, f"{address}/detector") as tab,
    ):
        assert tab.url.endswith("/detector/login")
        tab.fill("#token", TOKEN)
        tab.click("button")
        tab.wait_for_selector("#file", state="attached")
        assert tab.url == f"{address}/detector/"
        assert tab.context.cookies()[0]["path"] == "/detector/"
        assert judged(tab, images["fake"]).startswith("fake")
        paths = {"/" + request.url.split("/", 3)[3] for request in tab.asked}
        assert all(path.startswith("/detector") for path in paths)
        tab.click("text=the HTTP API")
        tab.wait_for_url("**/detector/docs")


def test_the_description_of_the_interface_keeps_to_the_policy(browser, address):
    with opened(browser, f"{address}/docs") as tab:
        assert "POST /api/predict" in tab.inner_text("body")
        assert tab.evaluate("getComputedStyle(document.body).maxWidth") != "none"


def test_the_settings_of_the_page_are_those_of_the_detector(model):
    from faceproof.server.answers import Judge
    from faceproof.server.application import render_page

    page = render_page(Judge(model, LIMITS, None))
    text = page.split("data-settings='")[1].split("'")[0]
    settings = json.loads(text)
    assert settings["positive"] == "fake"
    assert settings["negative"] == "real"
