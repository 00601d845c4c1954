"""`faceproof predict`: which images, into which file, and on after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

import faceproof
from faceproof.cli.main import run
from faceproof.errors import FaceproofError
from faceproof.inference.contact_sheet import SIDE
from faceproof.inference.inputs import list_images
from faceproof.inference.output_parts import Row
from faceproof.workflows.export import export_cascade
from tests.conftest import write_images
from tests.small_runs import images_of, write_artifact, write_run

COLUMNS = [
    *("path", "verdict", "called", "probability", "logit", "threshold", "error", "frames"),
    *("note", "faces"),
]


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    return write_artifact(folder)


@pytest.fixture
def images(tmp_path):
    """Three images of each kind in folders, and what else lies about in them."""
    write_images(tmp_path / "photos", ["a.jpg", "b.JPG"])
    write_images(tmp_path / "photos" / "deep" / "er", ["c.jpeg"], face=True)
    write_images(tmp_path / "photos" / ".thumbs", ["hidden.jpg"])
    (tmp_path / "photos" / "notes.md").write_text("no image")
    shutil.copy(tmp_path / "photos" / "a.jpg", tmp_path / "photos" / ".hidden.jpg")
    return tmp_path / "photos"


def predict(detector, *words):
    """Run the command as the command line does."""
    every = ("predict", *words, "--detector", detector, "--device", "cpu")
    return run([str(word) for word in every])


def read(file):
    if file.suffix == ".parquet":
        return pq.read_table(file).to_pylist()
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in file.read_text().splitlines()]
    types = {name: pa.string() for name in ("path", "verdict", "called", "error")}
    options = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    return pyarrow.csv.read_csv(file, convert_options=options).to_pylist()


def test_an_empty_folder_is_refused(detector, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FaceproofError, match="there are no images in"):
        predict(detector, tmp_path / "empty", "--out", tmp_path / "out.csv")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_file_holds_what_python_says(detector, images, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    assert predict(detector, images, "--out", out, "--batch-size", 2) == 0
    rows = read(out)
    assert list(rows[0]) == COLUMNS
    model = faceproof.load(detector, "cpu")
    assert sorted(row["path"] for row in rows) == sorted(list_images([str(images)]))
    for row in rows:
        verdict = model(row["path"])
        assert (row["verdict"], row["called"]) == (verdict.verdict, verdict.called)
        assert row["probability"] == pytest.approx(verdict.probability, abs=1e-6)
        assert row["logit"] == pytest.approx(verdict.logit, abs=1e-5)
        assert row["threshold"] == verdict.threshold
        assert row["error"] is None
    assert not (tmp_path / f"out{suffix}.unfinished").exists()


def test_a_few_are_shown_as_a_table(detector, images, capsys):
    assert predict(detector, images) == 0
    shown = capsys.readouterr().out
    assert "probability of fake" in shown
    for path in list_images([str(images)]):
        assert f"{faceproof.load(detector, 'cpu')(path).probability:.4f}" in shown
    assert shown.count("photos") == 3


def test_what_is_not_judged_is_told_in_one_line(detector, images, capsys):
    for name in ("a.jpg:Zone.Identifier", "Icon\r", "@eaDir/x.jpg", "d.dng", "grey.pgm"):
        (images / name).parent.mkdir(exist_ok=True)
        shutil.copy(images / "a.jpg", images / name)
    assert predict(detector, images) == 0
    shown = capsys.readouterr().out
    assert "grey.pgm" in shown
    (line,) = (line for line in shown.splitlines() if line.startswith("left out: "))
    assert "1 camera raw file ('d.dng'): develop them" in line
    assert "3 hidden files, or of systems and programs" in line
    assert "2 hidden folders" in line
    shutil.rmtree(images / "deep")
    for name in ("a.jpg", "b.JPG", "grey.pgm"):
        (images / name).unlink()
    with pytest.raises(FaceproofError, match=r"there are no images in .*; left out: 1 camera raw"):
        predict(detector, images)


def test_too_many_for_the_screen_want_a_file(detector, tmp_path):
    write_images(tmp_path, [f"{n}.jpg" for n in range(51)], size=(8, 8))
    with pytest.raises(FaceproofError, match="more than 50 images; name a file"):
        predict(detector, tmp_path)


def test_unreadable_files_are_rows_with_a_reason(detector, images, tmp_path, capsys):
    (images / "bad.png").write_bytes(b"no image")
    (images / "cut.jpg").write_bytes((images / "a.jpg").read_bytes()[:200])
    (images / "list.txt").write_text("a.jpg\nbad.png\ncut.jpg\ngone.jpg\n")
    out = tmp_path / "out.csv"
    assert predict(detector, images / "list.txt", "--out", out, "--workers", 1) == 1
    rows = {Path(row["path"]).name: row for row in read(out)}
    assert list(rows) == ["a.jpg", "bad.png", "cut.jpg", "gone.jpg"]
    assert rows["a.jpg"]["error"] is None
    assert rows["bad.png"]["error"] == "no image format that can be read"
    assert rows["cut.jpg"]["error"]
    assert rows["gone.jpg"]["error"] == "the file is not there"
    assert rows["gone.jpg"]["verdict"] is rows["gone.jpg"]["probability"] is None
    assert "3 unreadable" in capsys.readouterr().out
    again = (images / "list.txt", "--out", out, "--overwrite", "--keep-going")
    assert predict(detector, *again) == 0


def test_a_path_that_no_system_takes_is_a_row_too(detector, images, tmp_path):
    (images / "list.txt").write_text("a\0b.jpg\n")
    out = tmp_path / "out.jsonl"
    assert predict(detector, images / "list.txt", "--out", out) == 1
    assert "null byte" in read(out)[0]["error"]


def test_a_name_that_is_no_text_is_spelt_out(detector, images, tmp_path):
    shutil.copy(images / "a.jpg", os.fsencode(tmp_path) + b"/odd-\xff.jpg")
    (tmp_path / "list.txt").write_bytes(b"odd-\xff.jpg\nodd-\xff.jpg\n")
    for suffix in (".csv", ".parquet"):
        assert predict(detector, tmp_path / "list.txt", "--out", tmp_path / f"o{suffix}") == 0
        (row,) = read(tmp_path / f"o{suffix}")
        assert row["path"].endswith(r"odd-\xff.jpg")


def test_an_output_is_not_replaced_unasked(detector, images, tmp_path):
    out = tmp_path / "out.csv"
    predict(detector, images, "--out", out)
    with pytest.raises(FaceproofError, match=r"exists and is finished; .* --overwrite"):
        predict(detector, images, "--out", out)
    assert predict(detector, images / "a.jpg", "--out", out, "--overwrite") == 0
    assert len(read(out)) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "out.xlsx"], "must end in .csv, .jsonl, .parquet"),
        (["--batch-size", "0"], "--batch-size 0 must be a count"),
        (["--contact-sheet", "x.gif"], "must end in .png"),
        (["--workers", "-1"], "--workers -1 must be auto or a count from 0"),
        (["--backend", "onnx"], "was exported without ONNX"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_done(detector, images, words, message):
    with pytest.raises(FaceproofError, match=message):
        predict(detector, images, *words)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_killed_command_goes_on(detector, tmp_path, suffix):
    """It is killed while it waits for more paths, with a part half written beside the whole."""
    paths = [str(p) for p in write_images(tmp_path / "p", [f"{n}.jpg" for n in range(30)])]
    out, sure = tmp_path / f"out{suffix}", tmp_path / f"sure{suffix}"
    code = (
        "import sys; from faceproof.inference import output_parts; output_parts.ROWS_PER_PART = 4; "
        "from faceproof.cli.main import main; sys.exit(main())"
    )
    words = ["predict", "-", "--detector", str(detector), "--out", str(out), "--batch-size", "4"]
    child = subprocess.Popen([sys.executable, "-c", code, *words], stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write("".join(f"{path}\n" for path in paths[:13]).encode())
    child.stdin.flush()
    folder = tmp_path / f"out{suffix}.unfinished"
    deadline = time.monotonic() + 300  # a loaded machine takes long to start it
    while not (folder / f"00000{suffix}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdin.close()
    done = [row["path"] for part in sorted(folder.glob(f"0*{suffix}")) for row in read(part)]
    assert done
    assert done == paths[: len(done)]
    assert not out.exists()
    (folder / f"partial{suffix}").write_bytes(b"half a li")
    (tmp_path / "all.txt").write_text("\n".join(paths))
    assert predict(detector, tmp_path / "all.txt", "--out", out) == 0
    assert predict(detector, tmp_path / "all.txt", "--out", sure) == 0
    assert [row["path"] for row in read(out)] == paths
    for one, other in zip(read(out), read(sure), strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)
        assert one["verdict"] == other["verdict"]
    assert sorted(file.name for file in tmp_path.glob("out*")) == [out.name]


def test_an_interrupted_command_keeps_what_it_has(detector, images, tmp_path, monkeypatch):
    from faceproof.inference import files as module

    def interrupted(*arguments, **options):
        yield [Row("a", error="x")]
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "predict_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(detector, images, "--out", tmp_path / "out.csv")
    assert len(read(tmp_path / "out.csv.unfinished" / "00000.csv")) == 1


def test_a_contact_sheet_shows_them(detector, images, tmp_path):
    sheet = tmp_path / "sheets" / "sheet.png"
    words = (images, "--contact-sheet", sheet, "--least-certain", 2)
    assert predict(detector, *words) == 0
    with Image.open(sheet) as drawn:
        pixels = np.asarray(drawn)
    assert pixels.shape[1] > 2 * SIDE
    assert pixels.shape[1] < 3 * SIDE
    for left in (0, SIDE + 12):  # where the images are
        assert pixels[12 : 12 + SIDE, left + 12 : left + SIDE].std() > 10


def test_a_cascade_has_a_column_for_its_gate(detector, tmp_path, capsys):
    gate = write_run(tmp_path / "gate", "face", seed=3, size=20, gain=40.0)
    export_cascade(gate, detector, tmp_path / "cascade")
    root = Path(images_of(gate)[0]).parents[2]
    assert predict(tmp_path / "cascade", root, "--out", tmp_path / "out.parquet") == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert "gate_probability" in table.column_names
    assert table["gate_probability"].null_count == 0
    faceless = table.filter(pa.compute.equal(table["verdict"], "no face"))
    assert 0 < faceless.num_rows < table.num_rows
    assert faceless["probability"].null_count == faceless.num_rows
    assert predict(tmp_path / "cascade", root) == 0
    assert "probability of a face" in capsys.readouterr().out
