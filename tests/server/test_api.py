"""The HTTP interface: its answers, its limits, and what it does not let through."""

import asyncio
import base64
import io
import sys
import threading
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import faceproof
from faceproof.cli.main import main
from faceproof.errors import FaceproofError
from faceproof.evaluation.novelty import NoveltyPoint
from faceproof.inference.faces import FaceOptions, judge_faces
from faceproof.inference.video_faces import judge_video_faces, read_faces
from faceproof.prepare.detectors import load_detector
from faceproof.server.limits import Limits
from faceproof.workflows.export import export_cascade, export_run
from tests.conftest import write_images
from tests.small_runs import write_run

pytest.importorskip("fastapi", reason="the server takes faceproof[serve]")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # which of two HTTP clients it drives
    from starlette.testclient import TestClient

from faceproof.server import tokens, uploads
from faceproof.server.access import Access
from faceproof.server.answers import Judge
from faceproof.server.application import make_server
from faceproof.server.heat_map import HeatMaps
from faceproof.server.middleware import OVERHEAD

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    export_run(write_run(folder / "run", gain=40.0), folder / "artifact")
    return faceproof.load(folder / "artifact", "cpu")


@pytest.fixture(scope="module")
def client(model):
    limits = Limits(max_megabytes=0.2, max_pixels=10_000, max_frames=8, timeout=20)
    with TestClient(make_api_only(model, limits)) as client:
        yield client


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    (path,) = write_images(tmp_path_factory.mktemp("images"), ["a.jpg"], face=True)
    return path.read_bytes()


def make_api_only(model, limits, token=None, options=None):
    access = Access(allowed_hosts=("testserver",))  # as starlette's client calls it
    return make_server(model, limits, token, page=False, options=options, access=access)


def send(client, data, **more):
    return client.post("/api/predict", files={"file": ("name.jpg", data)}, **more)


def png(width, height, **options):
    file = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(file, "PNG", **options)
    return file.getvalue()


def test_an_image_gets_the_verdict_that_python_gives(client, model, image):
    answer = send(client, image)
    assert answer.status_code == 200
    found = answer.json()
    assert found.pop("kind") == "image"
    wanted = model(image).to_json()
    band = list(model.scorer.point.unsure)
    assert found.pop("unsure") == wanted.pop("unsure") == band
    assert found == pytest.approx(wanted, abs=1e-6)


def test_an_image_unlike_those_of_training_is_answered_with_a_reason(model, image):
    """Here every image is, or none; a detector that does not know says nothing of it."""
    (member,) = model.scorer.members

    def knowing(images):
        return np.stack([member.network(images), np.full(len(images), 2.0, np.float32)], 1)

    knowing.fit = member.network.fit
    for limit, strange in ((1.5, True), (2.5, False)):
        point = NoveltyPoint(limit, 0.05, 100, 100)
        scorer = replace(model.scorer, members=[replace(member, network=knowing)], novelty=point)
        with TestClient(make_api_only(replace(model, scorer=scorer), Limits())) as client:
            answer = send(client, image).json()
            counted = client.get("/metrics").text
        assert (answer["novelty"], answer["is_strange"]) == (2.0, strange)
        assert 'faceproof_novelty_bucket{kind="image",le="1.5"} 0.0' in counted
        assert 'faceproof_novelty_bucket{kind="image",le="2.0"} 1.0' in counted
        assert "faceproof_image_width_count 1.0" in counted
        usual = model(image).reason
        assert answer["reason"] == ("unlike the training images" if strange else usual)
        assert answer["verdict"] == ("unsure" if strange else model(image).verdict)
    with TestClient(make_api_only(model, Limits())) as client:
        assert not {"novelty", "is_strange"} & set(send(client, image).json())


def test_an_unsure_answer_says_why_and_within_which_limits(model, image):
    for band, unsure in (((0.0, 1.0), True), ((0.5, 0.5), False)):
        point = replace(model.scorer.point, threshold=0.5, unsure=band)
        scorer = replace(model.scorer, point=point)
        with TestClient(make_api_only(replace(model, scorer=scorer), Limits())) as client:
            answer = send(client, image).json()
            described = client.get("/openapi.json").json()["components"]["schemas"]
        assert answer["unsure"] == list(band)
        assert (answer["verdict"] == "unsure") == unsure
        assert answer["reason"] == ("the probability lies in the unsure band" if unsure else None)
    for name in ("Answer", "Face", "Track"):
        assert {"unsure", "reason"} <= described[name]["properties"].keys()


def test_a_cascade_answers_that_there_is_no_face(tmp_path, model, image):
    run = write_run(tmp_path / "run", gain=40.0)
    gate = write_run(tmp_path / "gate", "face", seed=3, size=20, gain=40.0)
    export_cascade(gate, run, tmp_path / "cascade")
    cascade = faceproof.load(tmp_path / "cascade", "cpu")
    faces = write_images(tmp_path, [f"{n}.jpg" for n in range(4)], face=True)
    others = write_images(tmp_path, [f"n{n}.jpg" for n in range(4)])
    with TestClient(make_api_only(cascade, Limits())) as client:
        found = [send(client, path.read_bytes()).json() for path in (*faces, *others)]
    faceless = [one for one in found if one["verdict"] == "no face"]
    assert 0 < len(faceless) < len(found)
    assert all(one["probability"] is None for one in faceless)
    assert all(0 <= one["gate_probability"] <= 1 for one in found)


def test_a_video_gets_a_verdict(tmp_path, client):
    pytest.importorskip("av", reason="videos take PyAV")
    from tests.small_videos import write_video

    file = write_video(tmp_path / "a.mp4", [n / 5 for n in range(20)])
    answer = send(client, file.read_bytes(), params={"frames": 4})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["kind"], found["frames_read"], len(found["frames"])) == ("video", 4, 4)
    mean = np.mean([frame["probability"] for frame in found["frames"]])
    assert found["probability"] == pytest.approx(mean, abs=1e-6)
    assert found["rule"].startswith("mean of the frames' calibrated probabilities")
    # This detector has no rule for videos: its threshold and band are those of images.
    assert (found["how"], found["frame_threshold"]) == (None, found["threshold"])
    assert found["score"] == found["probability"]
    # The name and the type that a client gives are not looked at.
    assert send(client, file.read_bytes()[:600]).status_code == 415
    large = write_video(tmp_path / "large.mp4", [0, 1], side=112)
    assert send(client, large.read_bytes()).status_code == 413


def pixels_of(url):
    """Return the image in a data URL, (H, W, 3) uint8."""
    head, _, data = url.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_what_a_page_shows_is_part_of_an_answer_where_that_is_asked(client, model, image):
    plain = send(client, image).json()
    assert {"thumbnail", "map"} & set(plain) == set()
    found = send(client, image, params={"thumbnails": "true", "map": "true"}).json()
    small, drawn = found.pop("thumbnail"), found.pop("map")
    assert found == plain
    with Image.open(io.BytesIO(image)) as itself:
        assert (small["width"], small["height"]) == itself.size
        close = np.abs(pixels_of(small["url"]).astype(int) - np.asarray(itself.convert("RGB")))
    assert close.mean() < 10
    assert pixels_of(drawn["url"]).shape == pixels_of(small["url"]).shape
    assert drawn["about"] == "the detector"


def test_the_frames_that_look_most_fake_are_shown(tmp_path, client):
    pytest.importorskip("av", reason="videos take PyAV")
    from tests.small_videos import write_video

    file = write_video(tmp_path / "a.mp4", [n / 5 for n in range(20)]).read_bytes()
    plain = send(client, file).json()
    found = send(client, file, params={"thumbnails": "true", "map": "true"}).json()
    assert found.pop("map") is None
    shown = [frame["probability"] for frame in found["frames"] if "thumbnail" in frame]
    assert len(shown) == 6
    assert sorted(shown) == sorted(frame["probability"] for frame in plain["frames"])[-6:]
    for frame in found["frames"]:
        if "thumbnail" in frame:
            assert pixels_of(frame.pop("thumbnail")).ndim == 3
    assert found == plain


def test_the_map_is_of_the_face_that_decides(finder, model, monkeypatch):
    client, two, _ = finder
    drawn = []
    draw = HeatMaps.draw
    monkeypatch.setattr(
        HeatMaps, "draw", lambda maps, image: drawn.append(image) or draw(maps, image)
    )
    found = send(client, two, params={"faces": "true", "map": "true", "thumbnails": "true"}).json()
    wanted = judge_faces(model, two)
    number = wanted.faces.index(wanted.image)
    assert (found["thumbnail"]["width"], found["thumbnail"]["height"]) == (1024, 512)
    assert torch.equal(drawn[0], wanted.crops[number])


def test_a_map_that_cannot_be_drawn_is_refused_in_words(model, image, monkeypatch):
    app = make_api_only(model, Limits())
    monkeypatch.setattr(HeatMaps, "__init__", lambda maps, model: setattr(maps, "problem", "x y"))
    with TestClient(app) as client:
        answer = send(client, image, params={"map": "true"})
    assert (answer.status_code, answer.json()["error"]) == (422, "there is no map: x y")


@pytest.fixture(scope="module")
def finder(model):
    """The interface of a server that finds faces, and photographs of two people and of none."""
    photographs = pytest.importorskip("skimage.data", reason="finding faces takes scikit-image")
    two = np.hstack([photographs.astronaut()] * 2)
    none = np.stack([photographs.brick()] * 3, axis=-1)
    with TestClient(make_api_only(model, Limits(), options=FaceOptions())) as client:
        yield client, encoded(two), encoded(none)


def encoded(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_each_face_gets_a_verdict_where_that_is_asked(finder, model):
    client, two, none = finder
    found = send(client, two, params={"faces": "true"}).json()
    wanted = judge_faces(model, two).to_json()
    assert found.pop("kind") == "image"
    assert len(found["faces"]) == 2
    for one, other in zip(found.pop("faces"), wanted.pop("faces"), strict=True):
        assert (one.pop("box"), one.pop("unsure")) == (other.pop("box"), other.pop("unsure"))
        assert one == pytest.approx(other, abs=1e-6)
    assert found.pop("unsure") == wanted.pop("unsure") == list(model.scorer.point.unsure)
    assert found == pytest.approx(wanted, abs=1e-6)
    assert found["rule"].startswith("the face with the highest calibrated probability")
    faceless = send(client, none, params={"faces": "true"}).json()
    assert (faceless["verdict"], faceless["probability"], faceless["faces"]) == (
        "no face",
        None,
        [],
    )
    # Who does not ask gets the answer on the whole.
    whole = send(client, two).json()
    assert "faces" not in whole
    assert whole["probability"] == pytest.approx(model(two).probability, abs=1e-6)


def test_the_whole_is_judged_without_a_face_where_the_server_says_so(finder, model):
    _, _, none = finder
    options = FaceOptions(whole_if_none=True)
    with TestClient(make_api_only(model, Limits(), options=options)) as client:
        found = send(client, none, params={"faces": "true"}).json()
    assert found["probability"] == pytest.approx(model(none).probability, abs=1e-6)
    assert found["note"] == "no face found: the whole image was judged"


def test_where_faces_cannot_be_found_it_is_told(tmp_path, client, finder, image, model):
    able, _, _ = finder
    refused = send(client, image, params={"faces": "true"})
    assert refused.status_code == 422
    assert "this server does not look for faces" in refused.json()["error"]
    assert "--find-faces" in refused.json()["error"]
    for data, status, words in (
        (b"a video, perhaps", 415, "the file is no image that can be read, and as a video"),
        (png(60, 60)[:-40], 422, "the image cannot be read"),
        (png(9000, 9000), 413, "at most 50,000,000 are taken"),
    ):
        answer = send(able, data, params={"faces": "true"})
        assert answer.status_code == status, answer.text
        assert words in answer.json()["error"]
    export_run(write_run(tmp_path / "run", "face"), tmp_path / "face")
    gate = faceproof.load(tmp_path / "face", "cpu")
    with pytest.raises(FaceproofError, match="whether an image shows one"):
        make_api_only(gate, Limits(), options=FaceOptions())


def test_of_a_video_each_face_is_judged(tmp_path, finder, model):
    pytest.importorskip("av", reason="videos take PyAV")
    from tests.small_videos import write_video

    client, two, _ = finder
    pixels = np.asarray(Image.open(io.BytesIO(two)).resize((512, 256)))
    faces = lambda number: np.vstack([pixels, pixels])[number : number + 256, :256]  # noqa: E731
    file = write_video(tmp_path / "a.mp4", [0, 0.5, 1], side=256, image=faces)
    params = {"faces": "true", "frames": "2", "thumbnails": "true"}
    found = send(client, file.read_bytes(), params=params).json()
    options = FaceOptions()
    wanted = judge_video_faces(model, read_faces(file, model.fits, 2, options))
    assert len(found["tracks"]) == len(wanted.tracks) == 1
    assert found["probability"] == pytest.approx(wanted.video.probability, abs=1e-6)
    assert found["tracks"][0]["frames_read"] == found["frames_read"] == 2
    assert found["frames"][0]["thumbnail"].startswith("data:image/jpeg")
    faceless = write_video(tmp_path / "none.mp4", [0, 1])
    found = send(client, faceless.read_bytes(), params={"faces": "true"}).json()
    assert (found["verdict"], found["tracks"]) == ("no face", [])


def test_a_server_cannot_find_faces_without_the_extra(model, monkeypatch):
    load_detector.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(FaceproofError, match=r"pip install 'faceproof\[faces\]'"):
        make_api_only(model, Limits(), options=FaceOptions())
    words = ["serve", "nowhere", "--whole-if-none"]
    assert main(words) == 2


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"no image", 415, "no image that can be read, and as a video"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "no image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), 415, "send it as JPEG"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", 415, "no video format"),
        (png(60, 60)[:-40], 422, "the image cannot be read"),
        (png(101, 100), 413, "101 x 100 pixels; at most 10,000"),
        (b"x" * 200_001, 413, "at most 0.2 megabytes"),
        (b"x" * (200_001 + OVERHEAD), 413, "at most 0.2 megabytes"),
        (b"", 400, "the file in the field file is empty"),
    ],
)
def test_what_is_refused_is_told_in_words(client, data, status, words):
    answer = send(client, data)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_other_requests_are_refused_in_words(client, image):
    for answer, status in (
        (client.post("/api/predict", json={"path": "/etc/passwd"}), 400),
        (client.post("/api/predict", data={"file": "/etc/passwd"}), 400),
        (client.post("/api/predict", files=[("file", b"a"), ("file", b"b")]), 400),
        (send(client, image, params={"frames": 9}), 422),
        (send(client, image, params={"frames": "many"}), 422),
        (client.get("/api/predict"), 405),
        (client.get("/nothing"), 404),
        (client.get("/../../etc/passwd"), 404),
        (client.post("/login", data={"token": "x"}), 404),  # there is no token
        (client.get("/"), 404),  # and no page
        (client.post("/upload", content=b"x" * 200_001), 404),
        (client.get("/static/../limits.py"), 404),
        (client.get("/static/%2e%2e/limits.py"), 404),
        (send(client, image, params={"faces": "true"}), 422),
        (send(client, image, params={"faces": "some"}), 422),
    ):
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]


def test_pixels_are_counted_before_any_is_decoded(client, monkeypatch):
    def decoded(data):
        raise AssertionError

    monkeypatch.setattr(uploads, "decode_image", decoded)
    bomb = png(15_000, 15_000)  # 225 million pixels in few bytes
    answer = send(client, bomb)
    assert len(bomb) > 200_000 or answer.status_code == 413
    assert send(client, png(101, 100)).status_code == 413


def test_bytes_are_counted_while_they_arrive(model):
    """A body without a length is cut off long before its end."""
    sent = 0

    def endless():
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(1000):
            sent += 10_000
            yield b"x" * 10_000

    app = make_api_only(model, Limits(max_megabytes=0.1))
    answer = asyncio.run(call(app, endless()))
    assert answer["status"] == 413
    assert sent <= 200_000


async def call(app, chunks, path=b"/api/predict"):
    """Call an application as a server does, chunk by chunk."""
    answer = {"body": b""}

    async def receive():
        chunk = next(chunks, None)
        if chunk is Ellipsis:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def send_back(message):
        answer["status"] = message.get("status", answer.get("status"))
        answer["body"] += message.get("body", b"")

    scope = {
        "type": "http",
        "method": "POST",
        "path": path.decode(),
        "raw_path": path,
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("x", 80),
        "client": ("x", 1),
        "http_version": "1.1",
        "headers": [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=x")],
    }
    await app(scope, receive, send_back)
    return answer


def test_a_body_that_does_not_arrive_is_given_up(model):
    app = make_api_only(model, Limits(timeout=0.2))
    answer = asyncio.run(call(app, iter([b"--x\r\n", Ellipsis])))
    assert answer["status"] == 408
    assert b"did not arrive within 0.2 seconds" in answer["body"]


def test_a_client_that_goes_away_is_no_mistake_of_the_server(model, caplog):
    """It would be logged with a traceback, and counted as one."""

    async def gone():
        messages = iter([{"type": "http.request", "body": b"--x\r\n", "more_body": True}])

        async def receive():
            return next(messages, {"type": "http.disconnect"})

        async def send_back(message):
            assert message.get("status") != 500

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/predict",
            "query_string": b"",
            "headers": [
                (b"host", b"localhost"),
                (b"content-type", b"multipart/form-data; boundary=x"),
            ],
        }
        await app(scope, receive, send_back)

    app = make_api_only(model, Limits())
    asyncio.run(gone())
    with TestClient(app) as client:
        figures = client.get("/metrics").text
    assert 'faceproof_requests_total{client="api",outcome="499"} 1.0' in figures
    assert "faceproof_in_work 0.0" in figures
    assert not caplog.records


def test_a_login_that_does_not_arrive_is_given_up(model, monkeypatch):
    monkeypatch.setattr(tokens, "LOGIN_SECONDS", 0.1)
    app = make_api_only(model, Limits(), TOKEN)
    answer = asyncio.run(call(app, iter([b"tok", Ellipsis]), b"/login"))
    assert answer["status"] == 408


def test_more_than_the_queue_holds_is_told_to_come_back(model, image, monkeypatch):
    started, go = threading.Semaphore(0), threading.Event()

    def slow(judge, *arguments):
        started.release()
        go.wait(300)
        return {"kind": "image", **model(image).to_json()}

    monkeypatch.setattr(Judge, "answer", slow)
    with TestClient(make_api_only(model, Limits(concurrency=1, queue=1))) as client:
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(send(client, image))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        assert started.acquire(timeout=300)
        deadline = time.monotonic() + 300
        while "faceproof_in_work 2.0" not in client.get("/metrics").text:
            assert time.monotonic() < deadline
        refused = send(client, image)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert "busy" in refused.json()["error"]
        assert client.get("/health").json() == {"status": "ok"}  # alive all the while
        go.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        assert send(client, image).status_code == 200
        figures = client.get("/metrics").text
    assert 'faceproof_requests_total{client="api",outcome="answered"} 3.0' in figures
    assert 'faceproof_requests_total{client="api",outcome="503"} 1.0' in figures
    assert 'faceproof_file_bytes_count{kind="image"} 3.0' in figures
    assert "faceproof_in_work 0.0" in figures


def test_what_takes_too_long_is_given_up(model, image, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(Judge, "answer", lambda *arguments: go.wait(300))
    with TestClient(make_api_only(model, Limits(timeout=0.2))) as client:
        answer = send(client, image)
        go.set()
    assert answer.status_code == 504
    assert "no answer within 0.2 seconds" in answer.json()["error"]


def test_an_upload_is_in_no_named_file(client, tmp_path, monkeypatch):
    """Beyond a megabyte it goes to a file that has no name, and that cannot be left behind."""
    named = []

    def answer(judge, *arguments):
        named.extend(tmp_path.iterdir())
        return judged(judge, *arguments)

    judged = Judge.answer
    monkeypatch.setattr(Judge, "answer", answer)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    noise = np.random.default_rng(0).integers(0, 255, (90, 100, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    monkeypatch.setattr("starlette.formparsers.MultiPartParser.spool_max_size", 1000)
    assert send(client, file.getvalue()).status_code == 200
    assert send(client, b"x" * 5000).status_code == 415
    assert named == list(tmp_path.iterdir()) == []


def test_a_token_is_asked_for_everywhere_but_for_health(model, image):
    with TestClient(make_api_only(model, Limits(), TOKEN), follow_redirects=False) as client:
        for path in ("/api/card", "/metrics", "/docs", "/openapi.json", "/"):
            assert client.get(path).status_code == 401
        assert client.get("/health").status_code == 200
        assert client.get("/static/page.css").status_code == 200  # of the login form
        assert client.get("/static/page.js").status_code == 401
        refused = send(client, image)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert "a token is needed" in refused.json()["error"]
        for wrong in (f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", "Bearer \xff"):
            headers = {"authorization": wrong.encode("latin-1")}
            assert send(client, image, headers=headers).status_code == 401
        right = {"authorization": f"Bearer {TOKEN}"}
        assert send(client, image, headers=right).status_code == 200
        # A browser logs in once.
        sent_on = client.get("/docs", headers={"accept": "text/html"})
        assert (sent_on.status_code, sent_on.headers["location"]) == (303, "/login")
        assert "Token needed" in client.get("/login").text
        failed = client.post("/login", data={"token": "guess"})
        assert (failed.status_code, "set-cookie" in failed.headers) == (401, False)
        assert client.head("/login").status_code == 200
        for method in ("CONNECT", "PUT"):
            other = client.request(method, "/login")
            assert (other.status_code, other.headers["allow"]) == (405, "GET, HEAD, POST")
        passed = client.post("/login", data={"token": TOKEN})
        cookie = passed.headers["set-cookie"]
        assert passed.status_code == 303
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/api/card").status_code == 200  # the client keeps cookies
        client.cookies.clear()
        assert client.get("/api/card", headers={"cookie": "faceproof_session="}).status_code == 401


def test_the_description_names_every_error_and_needs_no_network(client, model):
    described = client.get("/openapi.json").json()
    answers = described["paths"]["/api/predict"]["post"]["responses"]
    assert set(answers) == {"200", "400", "408", "413", "415", "421", "422", "503", "504"}
    page = client.get("/docs").text
    assert "POST /api/predict" in page
    assert "Retry-After" in page
    assert "<script" not in page
    assert "https://" not in page


def test_every_answer_has_the_headers_of_caution(client, image):
    for answer in (client.get("/health"), send(client, image), client.get("/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("options", [None, FaceOptions()])
def test_the_interface_does_what_its_description_says(model, options):
    """Requests made up from the description, by schemathesis."""
    if options is not None:
        pytest.importorskip("skimage.data", reason="finding faces takes scikit-image")
    schemathesis = pytest.importorskip("schemathesis", reason="takes schemathesis")
    from hypothesis import HealthCheck, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    app = make_api_only(model, Limits(max_megabytes=0.2), options=options)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    parameters = schema["/api/predict"]["POST"].definition.raw["parameters"]
    assert {one["name"] for one in parameters} == {"frames", "faces", "map", "thumbnails"}
    checked = []

    @given(case=schema.as_strategy())
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case):
        answer = case.call()
        # That bytes are an image is more than a schema can say.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])
        checked.append(answer.status_code)

    check()
    assert len(checked) >= 20


def test_a_score_that_is_not_finite_is_an_error_and_no_verdict(model, image):
    """As an ONNX model may give it, whose weights nobody has looked at."""
    (member,) = model.scorer.members

    def broken(images):
        return np.full(len(images), np.nan, np.float32)

    broken.fit = member.network.fit
    scorer = replace(model.scorer, members=[replace(member, network=broken)])
    with TestClient(make_api_only(replace(model, scorer=scorer), Limits())) as client:
        answer = send(client, image)
    assert answer.status_code == 500
    assert "a score that is not finite" in answer.json()["error"]
