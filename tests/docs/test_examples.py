"""The examples of the guides are run as they stand, on few and small images."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceproof import lookup
from faceproof.cli.main import main
from faceproof.evaluation.metrics import METRICS
from faceproof.words import with_allowed
from tests.conftest import write_images
from tests.docs.pages import DOCS, blocks, commands, write_files
from tests.jobs import evaluate, sweeps_here, train

SMALL = ("trainer=smoke", "loader.batch_size=8", "loader.num_workers=0", "logger=csv")
# Where a command says nothing else.
IMAGES = ("data=real_fake_folders", "data.root=my/images")
MODEL = ("model=face_cnn", "model.input.size=16")
# Of others, or too large.
NOT_RUN = ("pip", "tensorboard", "convnext_tiny", "resnet18", "optimizer.lr=0.0003",
           "augment.strength=0.5", "data.root=my/faces")  # fmt: skip
GUIDES = sorted(file.name for file in (DOCS / "how_to").glob("*.md"))
# Python that needs no more than what is in `world`.
PYTHON = ("explanation/intervals.md", "tutorials/handing_on.md", "tutorials/reading_a_report.md",
          "serving.md")  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder of a reader, with the images that the guides speak of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(lookup, "_allowed", set())
    before = {**METRICS}
    monkeypatch.setenv("FACEPROOF_DATA", str(tmp_path / "data"))
    for seed, name in enumerate(("images/real", "images/fake")):
        write_images(Path("my", name), [f"{n}.jpg" for n in range(24)], (20, 16), seed)
    for seed, name in enumerate(("original-camera", "swapped-faceswap")):
        for number, who in enumerate(("ann", "bea", *"cdefgh")):
            write_images(Path("my/phones", name, who), ["0.jpg"], (20, 16), 10 * seed + number)
    write_images(
        Path("my/flat"), [f"{p}{n}.jpg" for p in ("r_", "f_") for n in range(12)], (20, 16)
    )
    yield tmp_path
    METRICS.clear()  # of what a guide has added
    METRICS.update(before)


def small(words: list[str]) -> list[str]:
    """Return the words of a training that takes a second."""
    more = [*SMALL]
    if not any(word.startswith("data") for word in words):
        more += IMAGES
    if not any(word.startswith("model=") for word in words):
        more += MODEL
    if any("phones" in word for word in words):
        more += ["data.ratios={train: 0.4, val: 0.3, test: 0.3}", "data.allow_leaks=true"]
    return [*words, *more]


def give(words: list[str]) -> None:
    """Do what a command says, as far as it is small enough."""
    name, run = words[1], Path("runs/NAME")
    words = with_allowed(words) if name in ("train", "evaluate") else words
    for word in words:
        if word.startswith(("run=runs/", "hydra.run.dir=")):
            run = Path(word.partition("=")[2])
    if name == "train":
        shutil.rmtree(run, ignore_errors=True)
        train(run, *small(words[2:]))
    elif name == "evaluate":
        given = [word for word in words[2:] if not word.startswith("run=")]
        evaluate(run, "loader.num_workers=0", *given)
    elif name == "crossval":
        with sweeps_here() as done:
            main([name, *small(words[2:]), "data.num_per_class=60"])
        assert len(done) >= 6  # of each of two or more that were left out: training, evaluations
    elif name == "audit" and "data=table" not in words:
        pass  # the training that follows lists and audits the same images
    else:
        assert main(words[1:]) in ((0, 1) if name == "audit" else (0,))


def walk(page: str, namespace: dict[str, object]) -> int:
    """Do what a page says from its first line to its last; return how many commands that are."""
    text = (DOCS / page).read_text("utf-8")
    write_files(text, Path())
    for block in blocks(text):
        if block.language == "python":
            exec(compile(block.text, page, "exec"), namespace)
    done = 0
    for words in commands(text):
        if not any(part in word for word in words for part in NOT_RUN):
            give(words)
            done += 1
    return done


# Lightning's own, of a plain trainer.
@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec")
@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_can_be_followed(page: str, world: Path) -> None:
    done = walk(f"how_to/{page}", {"__name__": "guide"})
    assert done or page in ("add_a_loss.md", "add_a_metric.md")


def test_a_backbone_of_ones_own_goes_all_the_way_as_it_is_typed(world: Path) -> None:
    """Each command in a process of its own, which has only what the page says."""
    text = (DOCS / "how_to/add_a_backbone.md").read_text("utf-8")
    write_files(text, Path())
    typed = [words for words in commands(text) if "strided" in str(words) or "--allow" in words]
    assert [words[1] for words in typed] == [
        "train", "evaluate", "explain", "export", "predict", "train"
    ]  # fmt: skip
    environment = {key: os.environ[key] for key in os.environ if key != "FACEPROOF_ALLOW"}
    for words in typed[:-1]:
        more = [*IMAGES, *SMALL] if words[1] == "train" else []
        command = [sys.executable, "-P", "-m", *words, *more]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stderr)
        if words[1] == "train":
            assert "faceproof evaluate run=runs/mine --allow my_networks" in done.stdout
    assert Path("verdicts.csv").is_file()


def test_the_way_from_videos_to_a_verdict(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With drawn people, two videos a class in each split."""
    pytest.importorskip("onnxruntime", reason="finding faces takes faceproof[faces]")
    from tests.small_faces import moving, write_clip, write_photograph

    person = 0
    for split in ("train", "val", "test"):
        for label in ("real", "fake"):
            for number in range(2):
                file = world / f"videos/{split}/{label}/{number}.mp4"
                write_clip(file, lambda n, person=person: [moving(person, n)], 6)
                person += 1
    write_clip(world / "clip.mp4", lambda n: [moving(person, n)], 6)
    for file in ("photo.jpg", "photos/one.png"):
        write_photograph(world / file, [(1, 128, 128, 180)])
    assert walk("prepare.md", {"__name__": "guide"}) == 6
    said = capsys.readouterr().out
    assert "crops of 12 files (12 prepared)" in said
    rows = Path("verdicts.csv").read_text("utf-8").splitlines()
    assert len(rows) == 3
    assert "1 face, the deciding one in" in rows[1]


def test_the_first_ten_minutes(world: Path) -> None:
    """With the smallest demonstration set; the run is made once, and then used."""
    write_images(world, ["image.jpg"])
    drawn = ["data=demo", "data.num_per_class=24"]
    give(["faceproof", "train", *drawn])
    give(["faceproof", "evaluate"])
    for words in commands((DOCS / "first_ten_minutes.md").read_text("utf-8")):
        if words[0] == "faceproof" and words[1] in ("export", "predict"):
            give(words)
    for page in ("first_ten_minutes.md", *PYTHON):
        for block in blocks((DOCS / page).read_text("utf-8")):
            # Of the hub, tests/artifact/test_hub.py loads.
            skipped = "judge_faces" in block.text or "hf://" in block.text
            if block.language == "python" and not skipped:
                exec(compile(block.text, page, "exec"), {})
    assert Path("verdicts.csv").is_file()
