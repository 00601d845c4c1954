"""`faceproof predict`: which images, into which file, and on after a kill."""

import argparse
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

import faceproof
from faceproof.artifact.export import export_cascade, export_run
from faceproof.cli.artifact_commands import add_commands
from faceproof.errors import FaceproofError
from faceproof.inference import results
from faceproof.inference.contact_sheet import SIDE
from faceproof.inference.files import load_files
from faceproof.inference.inputs import list_images
from faceproof.inference.predict import Tally
from tests.conftest import write_images
from tests.small_runs import images_of, write_run

COLUMNS = [
    *("path", "verdict", "called", "probability", "logit", "threshold", "error", "frames"),
    *("note", "faces"),
]


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    export_run(write_run(folder / "run", gain=40.0), folder / "artifact")
    return folder / "artifact"


@pytest.fixture
def images(tmp_path):
    """Three images of each kind in folders, and what else lies about in them."""
    write_images(tmp_path / "photos", ["a.jpg", "b.JPG"])
    write_images(tmp_path / "photos" / "deep" / "er", ["c.jpeg"], face=True)
    write_images(tmp_path / "photos" / ".thumbs", ["hidden.jpg"])
    (tmp_path / "photos" / "notes.md").write_text("no image")
    shutil.copy(tmp_path / "photos" / "a.jpg", tmp_path / "photos" / ".hidden.jpg")
    return tmp_path / "photos"


def command(*words):
    """Run a command as the command line does."""
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    arguments = parser.parse_args([str(word) for word in words])
    return arguments.run(arguments)


def predict(detector, *words):
    return command("predict", *words, "--detector", detector, "--device", "cpu")


def names(words):
    return sorted(Path(path).name for path in list_images([str(word) for word in words]))


def read(file):
    if file.suffix == ".parquet":
        return pq.read_table(file).to_pylist()
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in file.read_text().splitlines()]
    types = {name: pa.string() for name in ("path", "verdict", "called", "error")}
    options = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    return pyarrow.csv.read_csv(file, convert_options=options).to_pylist()


def test_folders_patterns_and_files_are_listed(images):
    assert names([images]) == ["a.jpg", "b.JPG", "c.jpeg"]
    assert names([images / "a.jpg", images / "notes.md"]) == ["a.jpg", "notes.md"]
    assert names([f"{images}/*"]) == ["a.jpg", "b.JPG", "c.jpeg"]
    assert names([f"{images}/**/*.jp*g"]) == ["a.jpg", "c.jpeg"]
    assert names([f"{images}/**"]) == ["a.jpg", "b.JPG", "c.jpeg"]


def test_lists_are_relative_to_themselves(images, monkeypatch):
    (images / "list.txt").write_text("a.jpg\r\n\ndeep/er/c.jpeg\n")
    (images / "list.csv").write_text('label,path\nx,"b.JPG"\ny,/absolute/z.png\n')
    assert names([images / "list.txt"]) == ["a.jpg", "c.jpeg"]
    listed = list(list_images([str(images / "list.csv")]))
    assert listed == [str(images / "b.JPG"), "/absolute/z.png"]
    (images / "list.csv").write_text("file\nx\n")
    with pytest.raises(FaceproofError, match="has no column path; found file"):
        names([images / "list.csv"])


def test_standard_input_is_a_path_a_line(monkeypatch):
    lines = io.TextIOWrapper(io.BytesIO(b"a b.jpg\n\nodd-\xff.jpg\r\n"))
    monkeypatch.setattr("sys.stdin", lines)
    assert [os.fsencode(path) for path in list_images(["-"])] == [b"a b.jpg", b"odd-\xff.jpg"]


def test_what_names_nothing_is_refused_at_once(detector, tmp_path):
    for words in ([str(tmp_path / "gone.jpg")], [f"{tmp_path}/*.png"]):
        with pytest.raises(FaceproofError, match="there is no file or folder"):
            list_images(words)
    with pytest.raises(FaceproofError, match="name images, folders"):
        list_images([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FaceproofError, match="there are no images in"):
        predict(detector, tmp_path / "empty", "--out", tmp_path / "out.csv")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("workers", [0, 2])
def test_paths_are_taken_as_they_are_needed(images, workers):
    """A list without end is no trouble: few paths are asked for ahead."""
    asked = count()
    endless = (str(images / "a.jpg") for _ in asked)
    batches = load_files(endless, [(16, "bilinear")], batch_size=4, workers=workers)
    found = list(islice(batches, 3))
    assert [len(loaded.paths) for loaded in found] == [4, 4, 4]
    assert found[0].fitted[16, "bilinear"].shape == (4, 3, 16, 16)
    assert next(asked) <= 4 * (1 + 3 + 2 * 2) + 1
    batches.close()


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
    with pytest.raises(FaceproofError, match=r"is there and finished; .* --overwrite"):
        predict(detector, images, "--out", out)
    assert predict(detector, images / "a.jpg", "--out", out, "--overwrite") == 0
    assert len(read(out)) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "out.xlsx"], "must end in .csv, .jsonl, .parquet"),
        (["--batch-size", "0"], "--batch-size 0 must be a count"),
        (["--contact-sheet", "x.gif"], "must end in .png"),
        (["--workers", "many"], "must be 'auto' or a count"),
        (["--backend", "onnx"], "was exported without ONNX"),
    ],
)
def test_bad_wishes_are_refused_before_anything_is_done(detector, images, words, message):
    with pytest.raises(FaceproofError, match=message):
        predict(detector, images, *words)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_killed_command_goes_on(detector, tmp_path, suffix):
    """It is killed while it waits for more paths, with a part half written beside the whole."""
    paths = [str(p) for p in write_images(tmp_path / "p", [f"{n}.jpg" for n in range(30)])]
    out, sure = tmp_path / f"out{suffix}", tmp_path / f"sure{suffix}"
    code = (
        "import sys; from faceproof.inference import results; results.ROWS_PER_PART = 4; "
        "import argparse; from faceproof.cli.artifact_commands import add_commands; "
        "p = argparse.ArgumentParser(); add_commands(p.add_subparsers()); "
        "a = p.parse_args(sys.argv[1:]); sys.exit(a.run(a))"
    )
    words = ["predict", "-", "--detector", str(detector), "--out", str(out), "--batch-size", "4"]
    child = subprocess.Popen([sys.executable, "-c", code, *words], stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write("".join(f"{path}\n" for path in paths[:13]).encode())
    child.stdin.flush()
    folder = tmp_path / f"out{suffix}.unfinished"
    deadline = time.monotonic() + 60
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


def begun(out, path="a", **changes):
    rows = results.Results(out, {"detector": "x", "backend": "torch"} | changes)
    rows.add([dict.fromkeys(rows.schema.names) | {"path": path}])
    rows.flush()
    return rows


def test_two_detectors_are_never_mixed(tmp_path):
    begun(tmp_path / "out.csv").close()
    with pytest.raises(FaceproofError, match="was begun with another detector or backend"):
        begun(tmp_path / "out.csv", detector="y")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_parts_are_joined_in_their_order(tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    for name in ("a", "b", "c"):
        begun(out, path=name).close()
    last = begun(out, path="d")
    assert [row["path"] for row in last.rows()] == ["a", "b", "c", "d"]
    last.finish()
    assert [row["path"] for row in read(out)] == ["a", "b", "c", "d"]
    assert [file.name for file in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_output_is_gone_on_with_whatever_its_names_hold(tmp_path, suffix):
    odd = ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c", "\n", '", "']
    out = tmp_path / f"out{suffix}"
    for name in odd:
        begun(out, path=f"a{name}b.jpg").close()
    last = begun(out, path="z")
    assert [row["path"] for row in last.rows()] == [*(f"a{name}b.jpg" for name in odd), "z"]
    last.close()


def test_parts_stand_until_the_whole_has_reached_the_disk(tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    last = begun(out)

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(FaceproofError, match="the disk is full"):
            last.finish()
    assert not out.exists()
    assert [row["path"] for row in last.rows()] == ["a"]
    last.finish()
    assert [row["path"] for row in read(out)] == ["a"]


def test_two_commands_do_not_write_one_file(tmp_path):
    first = begun(tmp_path / "out.csv")
    code = (
        "import sys; from pathlib import Path; from faceproof.inference.results import Results; "
        "Results(Path(sys.argv[1]), {'detector': 'x', 'backend': 'torch'})"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "out.csv")]
    second = subprocess.run(words, capture_output=True, text=True)
    assert "another command is writing" in second.stderr
    first.close()
    subprocess.run(words, check=True)


def test_rows_are_written_when_time_has_passed(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "SECONDS_PER_PART", 0.0)
    rows = begun(tmp_path / "out.csv")
    rows.add([dict.fromkeys(rows.schema.names) | {"path": "b, with\na line"}])
    assert len(rows.parts()) == 2
    assert [row["path"] for row in rows.rows()] == ["a", "b, with\na line"]
    rows.close()


def test_an_interrupted_command_keeps_what_it_has(detector, images, tmp_path, monkeypatch):
    from faceproof.inference import predict as module

    def interrupted(*arguments):
        yield [dict.fromkeys(COLUMNS) | {"path": "a", "error": "x"}]
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "predict_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(detector, images, "--out", tmp_path / "out.csv")
    assert len(read(tmp_path / "out.csv.unfinished" / "00000.csv")) == 1


def row(probability, threshold=0.5, **changes):
    known = {"path": str(probability), "verdict": "fake", "error": None, "frames": None}
    return known | {"probability": probability, "threshold": threshold} | changes


def test_the_least_certain_are_those_nearest_to_the_threshold():
    rng = np.random.default_rng(0)
    probabilities = rng.random(500).tolist()
    tally = Tally(least_certain=7)
    tally.add(row(p) for p in [*probabilities, 0.25])
    tally.add([row(None, verdict="no face"), row(0.5, error="unreadable")])
    wanted = sorted(probabilities, key=lambda p: abs(p - 0.5))[:7]
    assert [one["probability"] for one in tally.nearest] == wanted
    assert str(tally) == "501 fake, 1 no face, 1 unreadable"


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


def test_export_wants_a_run_or_two(tmp_path, capsys):
    run = write_run(tmp_path / "run")
    with pytest.raises(FaceproofError, match="either RUN, or both --gate and --detector"):
        command("export", run, "--gate", run, "--to", tmp_path / "x")
    with pytest.raises(FaceproofError, match="either RUN, or both"):
        command("export", "--gate", run, "--to", tmp_path / "x")
    assert command("export", run, "--to", tmp_path / "artifact") == 0
    assert f"detector artifact: {tmp_path / 'artifact'}" in capsys.readouterr().out.replace(
        "\n", ""
    )
    gate = write_run(tmp_path / "gate", "face")
    assert command("export", "--gate", gate, "--detector", run, "--to", tmp_path / "both") == 0
