"""The static page: that the browser answers as Python does, alone, and without a network."""

import base64
import contextlib
import hashlib
import http.server
import json
import shutil
import threading
from functools import partial

import numpy as np
import pytest
from PIL import Image

import faceproof
from faceproof.artifact import web_runtime
from faceproof.cli.main import main
from faceproof.data.image_io import read_image
from faceproof.data.model_input import fit_image, fit_of, to_unit, views
from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.ensemble import combine
from faceproof.evaluation.novelty import NoveltyPoint, combine_novelty
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.inference.verdicts import Scorer
from faceproof.models import ImageInput
from faceproof.task import get_task
from faceproof.workflows.export import ExportConfig, export, export_run
from faceproof.workflows.export_web import write_site
from tests.conftest import write_images
from tests.small_runs import write_ensemble, write_run

pytestmark = pytest.mark.onnx_export
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
# Browsers decode and resize within a level of 255, and lay transparency within two.
TOLERANCE = {"logit": 0.02}
OTHERWISE = 0.004  # between probabilities


@pytest.fixture(scope="module")
def runtime():
    """The files of ONNX Runtime for the web, which npm fetches once."""
    try:
        return web_runtime.read_runtime()
    except FaceproofError as error:
        if "SHA-512" in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """An ensemble of two sizes behind a gate, and what Python says by it."""
    folder = tmp_path_factory.mktemp("artifacts")
    ensemble = write_ensemble(folder / "ensemble")
    gate = write_run(folder / "gate", "face", 3, 20, gain=40.0)
    export(ExportConfig(to=folder / "both", gate=gate, detector=ensemble, onnx=True))
    return folder / "both"


@pytest.fixture(scope="module")
def site(artifacts, runtime, tmp_path_factory):
    place = tmp_path_factory.mktemp("site") / "page"
    export(ExportConfig(artifacts, to=place, web=True))
    return place


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """JPEG and PNG, of several sizes, one turned by its metadata and one with transparency."""
    folder = tmp_path_factory.mktemp("pictures")
    faces = write_images(folder, [f"f{n}.jpg" for n in range(8)], size=(64, 64), face=True)
    others = write_images(folder, ["wide.jpg", "tall.png"], size=(90, 33))
    turned = folder / "turned.jpg"
    with Image.open(others[0]) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(turned, quality=95, exif=exif)
    clear = folder / "clear.png"
    values = np.random.default_rng(0).integers(0, 256, (40, 56, 4), dtype=np.uint8)
    values[..., 3] = np.where(values[..., 3] < 128, 0, 255)
    Image.fromarray(values, "RGBA").save(clear)
    return [*faces, *others, turned, clear]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@contextlib.contextmanager
def served(folder):
    """Serve the files of a folder on a port of this machine."""
    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="takes playwright")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the path")
    words = ["--no-sandbox", "--disable-gpu"]
    words.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=words)
        yield browser
        browser.close()


def judged(tab, path):
    """Choose a file, and return the fields of the page's own answer and what it says."""
    tab.set_input_files("#file", str(path))
    tab.wait_for_selector("#answer[aria-busy=false] .answer:not(.waiting)", timeout=60_000)
    return tab.inner_text("#answer .answer")


def answer_of(tab, path):
    """Return the answer on a file, as `ask.js` gives it to the page."""
    script = """async ([data, name]) => {
        const { ask } = await import("./static/ask.js");
        const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
        const answer = await ask(new File([bytes], name), {}, new AbortController().signal);
        delete answer.thumbnail;
        return answer;
    }"""
    return tab.evaluate(script, [base64.b64encode(path.read_bytes()).decode(), path.name])


def test_the_browser_answers_as_python_does_and_asks_no_other_machine(
    browser, site, artifacts, pictures
):
    detector = faceproof.load(artifacts, "cpu")
    verdicts = {path: detector(path) for path in pictures}
    assert {one.verdict for one in verdicts.values()} >= {"no face", "real", "fake"}
    with served(site) as address:
        tab = browser.new_page()
        asked, complaints = [], []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else 0)
        tab.goto(address)
        for path, verdict in verdicts.items():
            found, wanted = answer_of(tab, path), verdict.to_json()
            assert found.pop("kind") == "image"
            assert found.keys() == wanted.keys()
            for name, value in wanted.items():
                wanted_value = value
                if isinstance(value, float):
                    wanted_value = pytest.approx(value, abs=TOLERANCE.get(name, OTHERWISE))
                assert found[name] == wanted_value, (path.name, name)
        said = judged(tab, pictures[0])
        assert said.startswith(verdicts[pictures[0]].verdict)
        tab.close()
    assert complaints == []
    sent = [url for url in asked if not url.startswith((address, "blob:", "data:"))]
    assert sent == []


def part_of(average, knows_novelty):
    """A detector of two networks, one of an isotonic calibration, as `detector.json` has it."""
    isotonic = Calibration("isotonic", 1.0, ((-1.0, 0.1), (0.5, 0.4), (2.0, 0.9)), "")
    members = [(0.3, isotonic), (0.7, Calibration("temperature", 2.5))]
    whole = Calibration("isotonic", 1.0, ((-3.0, 0.02), (0.0, 0.45), (1.5, 0.45), (4.0, 0.97)), "")
    part = {
        "task": "deepfake", "classes": ["real", "fake"], "threshold": 0.45, "unsure": [0.4, 0.6],
        "calibration": whole.to_json(), "average": average,
        "novelty_limit": 2.0 if knows_novelty else None,
        "networks": [{"weight": w, "calibration": one.to_json()} for w, one in members],
    }  # fmt: skip
    return part, members, whole


@pytest.mark.parametrize("average", ["logit", "probability"])
@pytest.mark.parametrize("knows_novelty", [True, False])
def test_numbers_become_verdicts_as_in_python(browser, site, average, knows_novelty):
    part, members, whole = part_of(average, knows_novelty)
    logits = np.random.default_rng(0).normal(0, 2.5, (2, 200))
    novelties = np.random.default_rng(1).uniform(0, 4, (2, 200))
    weights = [weight for weight, _ in members]
    combined = combine(logits, [one for _, one in members], weights, average)
    point = OperatingPoint(whole, 0.45, "youden", None, 4, 4, unsure=(0.4, 0.6))
    limit = NoveltyPoint(2.0, 0.05, 100, 100) if knows_novelty else None
    scorer = Scorer(get_task("deepfake"), point, [], average, None, limit)
    wanted = scorer.judge(combined, combine_novelty(novelties, weights))
    script = """async ([part, given]) => {
        const { combined, verdictOf } = await import("./static/verdict.js");
        return given.map((found) => verdictOf(part, combined(part, found)));
    }"""
    given = [
        [{"logit": logits[m, n], "novelty": novelties[m, n]} for m in (0, 1)] for n in range(200)
    ]
    with served(site) as address:
        tab = browser.new_page()
        tab.goto(address)
        found = tab.evaluate(script, [part, given])
        tab.close()
    assert {one.verdict for one in wanted} == {"real", "fake", "unsure"}
    for mine, theirs in zip(found, wanted, strict=True):
        assert {**mine, "probability": None, "logit": None, "novelty": None} == {
            **theirs.to_json(), "probability": None, "logit": None,
            "novelty": None,
        }  # fmt: skip
        assert mine["probability"] == pytest.approx(theirs.probability, abs=1e-6)
        assert mine["logit"] == pytest.approx(theirs.logit, rel=1e-5)
        if knows_novelty:
            assert mine["novelty"] == pytest.approx(theirs.novelty, rel=1e-6)


def test_it_works_without_a_network_after_the_first_visit(browser, site, artifacts, pictures):
    verdict = faceproof.load(artifacts, "cpu")(pictures[0])
    context = browser.new_context(**PHONE)
    tab = context.new_page()
    with served(site) as address:
        tab.goto(address)
        tab.evaluate("navigator.serviceWorker.ready.then(() => true)")
    context.set_offline(True)
    tab.goto(address)
    assert judged(tab, pictures[0]).startswith(verdict.verdict)
    wide = tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert wide
    context.close()


@pytest.mark.parametrize(
    "input",
    [
        ImageInput(24, (0, 0, 0), (1, 1, 1), "bicubic"),
        ImageInput(24, (0, 0, 0), (1, 1, 1), "nearest"),
        ImageInput(24, (0, 0, 0), (1, 1, 1), "bilinear", "crop", 32),
        ImageInput(40, (0, 0, 0), (1, 1, 1), "bilinear", "crop"),
        ImageInput(24, (0, 0, 0), (1, 1, 1), "bicubic", "tiles", 48, 5, "flip"),
        ImageInput(24, (0, 0, 0), (1, 1, 1), "bilinear", "tiles", None, 9),
    ],
    ids=lambda one: f"{one.mode}-{one.interpolation}-{one.tiles}",
)
def test_pictures_are_fitted_as_in_python(browser, site, pictures, input):
    """Every pixel that a network sees is within a level of 255 of Python's, nearly all equal."""
    script = """async ([data, input]) => {
        const { decode, views } = await import("./static/pixels.js");
        const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
        const { picture } = await decode(new File([bytes], "x"), 1e7);
        return views(picture, input).map((one) => [...one].map((x) => Math.round(255 * x)));
    }"""
    names = ("size", "interpolation", "mode", "resize_to", "tiles", "tta")
    settings = {name: getattr(input, name) for name in names}
    with served(site) as address:
        tab = browser.new_page()
        tab.goto(address)
        for path in pictures[-5:]:
            fitted = fit_image(read_image(path), *fit_of(input))[None]
            wanted = [to_unit(one)[0].numpy() for one in views(fitted, input.tta)]
            data = base64.b64encode(path.read_bytes()).decode()
            found = np.array(tab.evaluate(script, [data, settings]))
            assert len(found) == len(wanted) == input.num_passes
            for mine, theirs in zip(found, wanted, strict=True):
                apart = np.abs(mine - np.rint(255 * theirs.reshape(-1)))
                assert apart.max() <= 2, path.name
                assert apart.mean() < 0.2, path.name  # rounded in two steps here, and there in one
        tab.close()


def test_what_the_page_cannot_do_is_refused_before_anything_is_written(tmp_path):
    run = write_run(tmp_path / "run", gain=40.0)
    export_run(run, tmp_path / "plain")
    with pytest.raises(FaceproofError, match="exported without ONNX"):
        write_site(tmp_path / "plain", tmp_path / "page")
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(FaceproofError, match="no page of a detector"):
        write_site(tmp_path / "plain", other, overwrite=True)
    assert (other / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "page").exists()


def test_a_card_cannot_bring_another_file_into_the_page(artifacts, tmp_path):
    copy = shutil.copytree(artifacts, tmp_path / "copy")
    card = json.loads((copy / "card.json").read_text())
    network = card["detector"]["networks"][0]
    (copy / "evil.html").write_bytes((copy / network["onnx"]["file"]).read_bytes())
    network["onnx"]["file"] = "evil.html"
    (copy / "card.json").write_text(json.dumps(card))
    with pytest.raises(
        FaceproofError, match=r"ONNX model is 'evil\.html', which is no name of one"
    ):
        export(ExportConfig(copy, to=tmp_path / "page", web=True))
    assert not (tmp_path / "page").exists()


def test_another_archive_than_the_one_that_is_named_is_refused(tmp_path, monkeypatch):
    archive = tmp_path / "onnxruntime-web-1.30.0.tgz"
    archive.write_bytes(b"something else")
    with pytest.raises(FaceproofError, match=r"is not onnxruntime-web 1\.30\.0: its SHA-512"):
        web_runtime.read_runtime(archive)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FaceproofError, match=r"no npm here.*--web-runtime FILE"):
        web_runtime.read_runtime()
    with pytest.raises(FaceproofError, match="--web-runtime is for --web alone"):
        ExportConfig(tmp_path, to=tmp_path / "x", web_runtime=archive)


def test_the_command_writes_a_page_that_holds_its_parts(tmp_path, runtime, capsys):
    run = write_run(tmp_path / "run", gain=40.0)
    assert main(["export", str(run), "--to", str(tmp_path / "page"), "--web"]) == 0
    assert "python -m http.server" in capsys.readouterr().out
    page = tmp_path / "page"
    described = json.loads((page / "detector.json").read_text())
    (network,) = described["detector"]["networks"]
    assert (page / network["file"]).is_file()
    script = (page / "offline.js").read_text()
    listed = json.loads(script.split("= ", 1)[1].split(";\n", 1)[0])["files"]
    there = {str(one.relative_to(page)) for one in page.rglob("*") if one.is_file()}
    assert set(listed) == there - {"offline.js", "README.md"} | {"./"}
    assert main(["export", str(run), "--to", str(page), "--web"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["export", str(run), "--to", str(page), "--web", "--overwrite"]) == 0


def test_an_open_page_sees_that_another_detector_was_put_there(site, browser, pictures, tmp_path):
    copy = shutil.copytree(site, tmp_path / "page")
    with served(copy) as address, contextlib.closing(browser.new_page()) as tab:
        tab.goto(address)
        described = json.loads((copy / "detector.json").read_text())
        (copy / "detector.json").write_text(json.dumps({**described, "version": "another"}))
        assert "another detector here since this page was opened" in judged(tab, pictures[0])


def test_a_network_of_other_bytes_has_another_name(site):
    named = {one.name for one in site.glob("*.onnx")}
    described = json.loads((site / "detector.json").read_text())
    networks = [one for part in ("gate", "detector") for one in described[part]["networks"]]
    assert named == {one["file"] for one in networks}
    for name in named:
        digest = hashlib.sha256((site / name).read_bytes()).hexdigest()
        assert name.endswith(f"-{digest[:16]}.onnx")
