"""`faceproof protocol`: a list is written, checked, trained and evaluated on, as reports say."""

import json
from pathlib import Path

import pytest

from faceproof.cli.main import main
from tests.jobs import evaluate, train

SMALL = (
    "model=face_cnn", "model.input.size=16", "trainer=smoke", "loader.batch_size=8",
    "loader.num_workers=0", "logger=csv", "data.task=face",
)  # fmt: skip


@pytest.fixture
def written(small_faces: Path, tmp_path: Path) -> Path:
    file = tmp_path / "faces.csv"
    words = ["data=face_or_not", f"data.root={small_faces}"]
    assert main(["protocol", "write", *words, "--to", str(file)]) == 0
    return file


def test_write_says_what_and_what_next(
    small_faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "faces.csv"
    words = ["data=face_or_not", f"data.root={small_faces}", "--to", str(written)]
    assert main(["protocol", "write", *words]) == 0
    told = capsys.readouterr().out
    assert "face_or_not: 32 images, in " in told
    assert f"its paths start from {small_faces}" in told
    assert f"data=protocol data.file={written} data.root={small_faces} data.task=face" in told
    assert main(["protocol", "write", *words]) == 2
    assert "is there already" in capsys.readouterr().err


def test_check_counts_and_ends_with_1_below_the_coverage(
    written: Path, small_faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["protocol", "check", str(written), "--root", str(small_faces)]
    assert main(words) == 0
    assert "protocol faces: 100.0% of 32 images present and unchanged" in capsys.readouterr().out
    (small_faces / "test/faces/0.jpg").unlink()
    (small_faces / "train/faces/1.jpg").write_bytes(b"x")
    assert main(words) == 1
    told = capsys.readouterr().out
    assert "test: 8 listed, 1 missing, 0 changed" in told
    assert "missing: test/faces/0.jpg" in told
    assert "changed: train/faces/1.jpg" in told
    assert main([*words, "--min-coverage", "0.8"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["write", "data=demo"], "write needs --to FILE"),
        (["write", "data=demo", "--to", "x.txt"], "must end with .csv or .parquet"),
        (["check", "x.csv"], "check needs --root DIR"),
        (["check", "x.csv", "y.csv", "--root", "."], "check takes one list"),
        (["check", "x.csv", "--root", ".", "--to", "y.csv"], "--to is for write"),
        (["check", "x.csv", "--root", ".", "--min-coverage", "2"], "a share is from 0 to 1"),
        (["check", "none.csv", "--root", "."], "there is no image table"),
        (["write", "--to", "x.csv", "data=demo", "--min-coverage", "0.5"], "is for check"),
    ],
)
def test_words_that_make_no_sense_are_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEPROOF_DATA", str(tmp_path))
    assert main(["protocol", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_record_and_every_report_say_how_much_was_there(
    written: Path, small_faces: Path, tmp_path: Path
) -> None:
    (small_faces / "test/faces/0.jpg").unlink()
    data = ("data=protocol", f"data.file={written}", f"data.root={small_faces}",
            "data.min_coverage=0.8")  # fmt: skip
    run = train(tmp_path / "run", *data, *SMALL)
    (recorded,) = run.read_record()["protocols"]
    assert recorded["splits"] == {"test": [8, 1, 0], "train": [16, 0, 0], "val": [8, 0, 0]}
    told = (
        "protocol faces: 96.9% of 32 images present and unchanged; of its split test 87.5% of 8 "
        f"(digest of the list {recorded['digest']})"
    )
    own = evaluate(run.path)
    other = evaluate(run.path, *data, "data.task=face", "name=other")
    for folder in (own, other):
        report = json.loads((folder / "report.json").read_text())
        (protocol,) = report["protocols"]
        assert protocol == {**recorded, "told": told}
        assert told[1:] in (folder / "report.html").read_text()
