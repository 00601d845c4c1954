"""The demo data set: reproducible, refusing, balanced, and forged as it says."""

import errno
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from faceproof.data.demo import make as demo
from faceproof.data.demo.canvas import SIDE
from faceproof.data.demo.forgeries import FORGERIES, UPSAMPLED_FREQUENCY
from faceproof.data.demo.make import image_rng, make_demo
from faceproof.data.demo.portraits import Portrait, render_portrait
from faceproof.errors import FaceproofError
from faceproof.task import get_task

DEEPFAKE, FACE = get_task("deepfake"), get_task("face")


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "deepfake"
    make_demo(root, DEEPFAKE, seed=0, num_per_class=24)
    return root


def test_same_seed_gives_the_same_bytes_in_any_number_of_processes(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_num_processes", lambda num_images: 3)
    make_demo(tmp_path / "again", DEEPFAKE, seed=0, num_per_class=24)
    assert contents(tmp_path / "again") == contents(small)


def test_an_image_does_not_depend_on_the_size_of_the_set(small: Path, tmp_path: Path) -> None:
    make_demo(tmp_path / "few", DEEPFAKE, seed=0, num_per_class=8)
    few, many = contents(tmp_path / "few"), contents(small)
    assert all(few[name] == many[name] for name in few if name != "demo.json")


def test_another_seed_gives_other_images(small: Path, tmp_path: Path) -> None:
    make_demo(tmp_path / "other", DEEPFAKE, seed=1, num_per_class=8)
    other, known = contents(tmp_path / "other"), set(contents(small).values())
    assert not any(other[name] in known for name in other if name.endswith(".jpg"))


def test_folders_and_counts(small: Path) -> None:
    found = {
        str(folder.relative_to(small)): len(list(folder.iterdir()))
        for folder in small.glob("*/*/*")
        if folder.is_dir()
    }
    fakes = {f"pictures/fake/{name}": 6 for name in FORGERIES}
    assert found == {"pictures/real/camera": 24, **fakes}
    assert json.loads((small / "demo.json").read_text())["counts"]["fake/face_swap"] == 6
    assert not list(small.parent.glob("*.partial-*"))


def test_face_task_has_textures_and_objects_and_the_same_portraits(
    small: Path, tmp_path: Path
) -> None:
    make_demo(tmp_path / "face", FACE, seed=0, num_per_class=24)
    images = tmp_path / "face" / "pictures"
    assert len(list((images / "non_face" / "textures").glob("*.jpg"))) == 12
    assert len(list((images / "non_face" / "objects").glob("*.jpg"))) == 12
    assert contents(images / "face") == contents(small / "pictures" / "real")


def test_all_images_have_one_size(small: Path) -> None:
    shapes = {pixels(path).shape for path in small.glob("pictures/*/*/*.jpg")}
    assert shapes == {(SIDE, SIDE, 3)}


def test_a_second_call_touches_nothing(small: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    make_demo(small, DEEPFAKE, seed=0, num_per_class=24)
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


@pytest.mark.parametrize(
    ("task", "seed", "num_per_class"), [(DEEPFAKE, 1, 24), (DEEPFAKE, 0, 25), (FACE, 0, 24)]
)
def test_a_set_made_with_other_settings_is_refused(
    small: Path, task: demo.Task, seed: int, num_per_class: int
) -> None:
    with pytest.raises(FaceproofError, match=r"seed 0.*seed \d.*data\.root"):
        make_demo(small, task, seed, num_per_class)


def test_a_set_that_is_there_is_used_by_the_settings_that_it_was_drawn_with(small: Path) -> None:
    said = r"say data\.num_per_class=24 data\.seed=0 to use it as it is, set data\.root to another"
    with pytest.raises(FaceproofError, match=said):
        make_demo(small, DEEPFAKE, 1, 300)
    with pytest.raises(FaceproofError, match=r"say data\.num_per_class=24 to use it"):
        make_demo(small, DEEPFAKE, 0, 300)
    with pytest.raises(FaceproofError, match=r"seed 0; set data\.root|; set data\.root"):
        make_demo(small, FACE, 0, 24)


def test_a_set_of_another_format_is_refused(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "FORMAT", demo.FORMAT + 1)
    with pytest.raises(FaceproofError, match=f"format {demo.FORMAT - 1}.*format {demo.FORMAT}"):
        make_demo(small, DEEPFAKE, 0, 24)


def test_other_peoples_files_are_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(FaceproofError, match=r"no demo\.json"):
        make_demo(tmp_path, DEEPFAKE, 0, 8)
    with pytest.raises(FaceproofError, match=r"no demo\.json"):
        make_demo(tmp_path / "holiday.txt", DEEPFAKE, 0, 8)
    assert contents(tmp_path) == {"holiday.txt": b"mine"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    make_demo(tmp_path, DEEPFAKE, 0, 4)
    assert len(list(tmp_path.glob("pictures/*/*/*.jpg"))) == 8


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(demo, "_save", fail)
    with pytest.raises(OSError, match="no space left"):
        make_demo(tmp_path / "demo", DEEPFAKE, 0, 4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_where_data_sets_can_only_be_read_it_is_drawn_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As on a hosted notebook, whose FACEPROOF_DATA is its input."""
    kept = tempfile.TemporaryDirectory

    def refuse(prefix: str, dir: Path) -> object:
        if dir == tmp_path / "input":
            raise OSError(number, "no", str(dir))
        return kept(prefix=prefix, dir=dir)

    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    for _ in range(2):
        found = make_demo(tmp_path / "input" / "demo", DEEPFAKE, seed=0, num_per_class=4)
        assert found == tmp_path / "cache" / "demo" / "deepfake-0-4"
    other = make_demo(tmp_path / "elsewhere", DEEPFAKE, seed=0, num_per_class=4)
    assert contents(found) == contents(other)


def test_where_nothing_can_be_written_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(prefix: str, dir: Path) -> object:
        raise OSError(errno.EROFS, "Read-only file system", str(dir))

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    with pytest.raises(FaceproofError, match="could not be written: the disk can only be read"):
        make_demo(tmp_path / "demo", DEEPFAKE, seed=0, num_per_class=4)


def test_whoever_comes_second_keeps_the_set_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, draw = tmp_path / "demo", demo._draw_all

    def draw_while_another_finishes(*arguments: object) -> None:
        monkeypatch.setattr(demo, "_draw_all", draw)
        make_demo(root, DEEPFAKE, 0, 4)
        draw(*arguments)

    monkeypatch.setattr(demo, "_draw_all", draw_while_another_finishes)
    make_demo(root, DEEPFAKE, 0, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def forged(name: str, count: int = 4) -> Iterator[tuple[Portrait, np.ndarray, np.ndarray]]:
    for number in range(count):
        rng = image_rng(0, name, number)
        portrait = render_portrait(rng)
        yield portrait, *FORGERIES[name](portrait, rng)


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_changes_what_its_mask_covers_and_nothing_else(name: str) -> None:
    for portrait, image, mask in forged(name):
        change = np.abs(image - portrait.image).max(axis=0)
        assert (change[~mask] == 0).all()
        assert (change[mask] > 0).mean() > 0.9
        assert change[mask].mean() > 0.01
        assert mask.all() if name == "upsampled" else 0.03 < mask.mean() < 0.5


def test_written_masks_are_those_of_the_forgeries(small: Path) -> None:
    for name in FORGERIES:
        written = sorted((small / "masks" / name).glob("*.png"))
        images = sorted((small / "pictures" / "fake" / name).glob("*.jpg"))
        assert [path.stem for path in written] == [path.stem for path in images]
        for path, (_, _, mask) in zip(written, forged(name), strict=False):
            assert np.array_equal(pixels(path), mask * np.uint8(255))


def test_upsampled_images_have_a_peak_at_the_documented_frequency(small: Path) -> None:
    line = round(UPSAMPLED_FREQUENCY * SIDE)

    def spectrum(folder: str) -> np.ndarray:
        paths = sorted((small / "pictures" / folder).glob("*.jpg"))
        greys = [pixels(path).mean(axis=-1) for path in paths]
        return np.mean([np.log(np.abs(np.fft.fft2(grey)) + 1e-3) for grey in greys], axis=0)

    camera, generated = spectrum("real/camera"), spectrum("fake/upsampled")
    for across, down in ((0, line), (line, 0)):
        assert generated[across, down] - camera[across, down] > 1.5
        beside = generated[across - 6 * (across > 0), down - 6 * (down > 0)]
        assert generated[across, down] - beside > 1


def test_mean_colour_and_file_size_do_not_tell_the_classes_apart(tmp_path: Path) -> None:
    # With 160 images a class the AUROC of a useless detector has a standard error of 0.032;
    # 0.08 is 2.5 of them. The full set, 600 a class, gives 0.53 (standard error 0.017).
    make_demo(tmp_path / "demo", DEEPFAKE, seed=0, num_per_class=160)
    paths = sorted((tmp_path / "demo").glob("pictures/*/*/*.jpg"))
    features = [[*pixels(path).mean(axis=(0, 1)), path.stat().st_size] for path in paths]
    labels = [path.parts[-3] == "fake" for path in paths]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    scores = cross_val_predict(model, features, labels, cv=5, method="predict_proba")[:, 1]
    assert abs(roc_auc_score(labels, scores) - 0.5) < 0.08


def test_a_folder_that_somebody_has_looked_into_is_drawn_into(tmp_path):
    root = tmp_path / "demo"
    root.mkdir()
    (root / ".DS_Store").touch()
    made = make_demo(root, get_task("deepfake"), 0, 4)
    assert made == root
    assert (root / "demo.json").is_file()
    (root / "demo.json").write_text("{")
    with pytest.raises(FaceproofError, match=r"demo\.json is damaged.*delete the folder"):
        make_demo(root, get_task("deepfake"), 0, 4)
