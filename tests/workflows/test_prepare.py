"""faceproof prepare: the folder, going on, the same bytes, and detectors trained on it."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import faceproof
from faceproof.cli.main import main, run
from faceproof.data.image_io import read_image
from faceproof.data.listing import DataSet
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.inference import predictor
from faceproof.inference.faces import FaceOptions, cut_faces, face_options, judge_faces
from faceproof.inference.video_faces import read_faces
from faceproof.io.stamps import digest_of
from faceproof.prepare import processes
from faceproof.settings import SettingError
from faceproof.task import get_task
from faceproof.workflows.prepare import PrepareConfig, prepare
from faceproof.workflows.prepare_sources import listed_data, listed_paths
from tests.jobs import evaluate, train
from tests.small_faces import moving, write_clip, write_photograph

pytest.importorskip("onnxruntime", reason="finding faces takes faceproof[faces]")

ROWS = [
    ("real/a.mp4", "real", "train", None, "one"), ("fake/a.mp4", "fake", "train", "swap", "one"),
    ("real/b.png", "real", "val", None, None), ("fake/b.png", "fake", "val", "swap", None),
    ("fake/two.mp4", "fake", "test", "swap", None), ("fake/none.mp4", "fake", "test", "swap", None),
]  # fmt: skip


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A folder of videos and photographs of people."""
    folder = tmp_path_factory.mktemp("originals")
    write_clip(folder / "real/a.mp4", lambda n: [moving(1, n)])
    write_clip(folder / "fake/a.mp4", lambda n: [moving(2, n)])
    write_photograph(folder / "real/b.png", [(3, 128, 128, 180)])
    write_photograph(folder / "fake/b.png", [(4, 128, 128, 180)])
    write_clip(folder / "fake/two.mp4", lambda n: [(5, 70, 128, 120), (6, 190, 128, 120)])
    (folder / "fake/none.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def data(originals):
    path, label, split, generator, pair = zip(*ROWS, strict=True)
    columns = {
        "path": [str(originals / one) for one in path], "label": label, "split": split,
        "generator": generator, "pair": pair, "source": ["mine"] * len(path),
    }  # fmt: skip
    return DataSet("mine", get_task("deepfake"), table_from_columns(columns))


def config(out, **options):
    return PrepareConfig(("unused",), out=out, **{"frames": 3, "workers": 0, **options})


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "faces"
    prepare(config(out, faces="all"), listed_data(data))
    return out


def contents(folder: Path):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "prepare.lock"
    }


def rows_of(folder):
    return pq.read_table(folder / "images.parquet").to_pylist()


def test_the_image_table_says_where_each_crop_comes_from(prepared, originals):
    rows = [row for row in rows_of(prepared) if row["original"].endswith("real/a.mp4")]
    assert len(rows) == 3
    for row in rows:
        assert (row["label"], row["split"], row["generator"]) == ("real", "train", None)
        assert (row["group"], row["pair"], row["track"]) == ("mine/real/a.mp4", "one", 0)
        assert row["right"] - row["left"] > 24
        assert len(row["landmarks"]) == 10
        assert read_image(prepared / row["path"]).shape == (3, row["side"], row["side"])
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


def test_two_people_in_a_video_are_two_groups_that_stay_together(prepared):
    rows = [row for row in rows_of(prepared) if row["original"].endswith("two.mp4")]
    assert {row["group"] for row in rows} == {"mine/fake/two.mp4#0", "mine/fake/two.mp4#1"}
    assert {row["component"] for row in rows} == {"mine/fake/two.mp4"}


def test_each_file_is_a_row_and_what_is_wrong_has_its_reason(prepared):
    rows = {Path(row["path"]).name: row
            for row in pq.read_table(prepared / "media.parquet").to_pylist()}  # fmt: skip
    assert len(rows) == len({name for name, *_ in ROWS}) - 2  # a.mp4 and b.png twice each
    assert rows["none.mp4"]["status"] == "unreadable"
    assert "no video format" in rows["none.mp4"]["reason"]
    assert (rows["two.mp4"]["tracks"], rows["two.mp4"]["crops"]) == (2, 6)
    about = json.loads((prepared / "prepared.json").read_text())
    assert about["counts"] == {
        "files": 6, "prepared": 5, "unreadable": 1, "several faces": 1, "crops": 14,
    }  # fmt: skip
    page = (prepared / "prepared.html").read_text()
    assert "1 of 6 photographs and videos gave no crop" in page
    assert "no video format that can be read" in page


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_command_gives_the_same_bytes(data, prepared, tmp_path, workers):
    prepare(config(tmp_path / "again", faces="all", workers=workers), listed_data(data))
    assert contents(tmp_path / "again") == contents(prepared)


def test_originals_are_only_read(data, originals, prepared):
    assert sorted(path.name for path in originals.rglob("*.*")) == sorted(
        Path(name).name for name, *_ in ROWS
    )


def stopped_after(number, monkeypatch):
    """Let the command stop, as by Ctrl-C, after some files."""
    whole, seen = processes.prepare_media, []

    def prepare_media(*arguments):
        if len(seen) == number:
            raise KeyboardInterrupt
        seen.append(arguments[0].path)
        return whole(*arguments)

    monkeypatch.setattr(processes, "prepare_media", prepare_media)
    return seen


def stopped(data, out, number, monkeypatch):
    """Stop the command after some files; the files pass for older than they are: stamps count."""
    monkeypatch.setattr("faceproof.io.stamps.SETTLED", 0.0)
    listed = listed_data(data)
    with monkeypatch.context() as patched:
        stopped_after(number, patched)
        with pytest.raises(KeyboardInterrupt):
            prepare(config(out, faces="all"), listed)
    return listed


def test_a_stopped_command_goes_on_and_gives_the_same_bytes(data, prepared, tmp_path, monkeypatch):
    listed = stopped(data, tmp_path / "out", 3, monkeypatch)
    assert not (tmp_path / "out/prepared.json").exists()
    with monkeypatch.context() as patched:
        seen = stopped_after(99, patched)
        prepare(config(tmp_path / "out", faces="all"), listed)
    assert len(seen) < len(ROWS)
    assert contents(tmp_path / "out") == contents(prepared)


@pytest.mark.parametrize("line", [0, 2])
def test_a_damaged_line_of_the_journal_is_prepared_again(
    data, prepared, tmp_path, monkeypatch, line
):
    listed = stopped(data, tmp_path / "out", 4, monkeypatch)
    journal = tmp_path / "out/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[line] = b"\0" * 40 + b"\n"
    journal.write_bytes(b"".join(lines))
    with monkeypatch.context() as patched:
        seen = stopped_after(99, patched)
        prepare(config(tmp_path / "out", faces="all"), listed)
    kept = 0 if line == 0 else 3
    assert len(seen) == len(ROWS) - kept
    assert contents(tmp_path / "out") == contents(prepared)


def test_other_generators_are_not_the_same_files(data, prepared):
    other = data.table.set_column(
        data.table.schema.get_field_index("generator"), data.table.schema.field("generator"),
        pa.array(["other"] * data.table.num_rows).cast(data.table.schema.field("generator").type),
    )  # fmt: skip
    with pytest.raises(FaceproofError, match="was made with other files"):
        prepare(config(prepared, faces="all"), listed_data(DataSet("mine", data.task, other)))


def test_a_crop_that_got_lost_meanwhile_is_made_again(data, prepared, tmp_path, monkeypatch):
    listed = stopped(data, tmp_path / "out", 5, monkeypatch)
    next((tmp_path / "out/faces").rglob("*.png")).unlink()
    prepare(config(tmp_path / "out", faces="all"), listed)
    assert contents(tmp_path / "out") == contents(prepared)


def test_a_finished_folder_is_checked_and_left_as_it_is(data, prepared, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(prepared, folder)
    before = contents(folder)
    prepare(config(folder, faces="all", check=True), listed_data(data))
    assert contents(folder) == before
    crop = next((folder / "faces").rglob("*.png"))
    crop.write_bytes(crop.read_bytes()[:-1] + b"x")
    prepare(config(folder, faces="all"), listed_data(data))  # its size is right
    with pytest.raises(FaceproofError, match=r"1 of 14 crops in .* are missing or changed, first"):
        prepare(config(folder, faces="all", check=True), listed_data(data))
    crop.unlink()
    with pytest.raises(FaceproofError, match="1 of 14 crops"):
        prepare(config(folder, faces="all"), listed_data(data))


def test_a_folder_is_not_gone_on_with_otherwise(data, prepared, tmp_path):
    with pytest.raises(
        FaceproofError, match=r"other settings \(crop.margin: 0.17 there, 0.5 now\)"
    ):
        prepare(config(prepared, faces="all", margin=0.5), listed_data(data))
    fewer = DataSet("mine", data.task, data.table.slice(1))
    with pytest.raises(FaceproofError, match="was made with other files"):
        prepare(config(prepared, faces="all"), listed_data(fewer))
    (tmp_path / "own.txt").write_text("mine")
    with pytest.raises(FaceproofError, match="holds files that faceproof prepare has not written"):
        prepare(config(tmp_path), listed_data(data))
    with pytest.raises(FaceproofError, match="is a file; name a folder"):
        prepare(config(tmp_path / "own.txt"), listed_data(data))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": -1.0}, "--margin = -1.0 must be"),
        ({"min_size": 0}, "--min-size = 0 must be"),
        ({"frames": 3, "every": 2}, "--every = 2 and frames = 3: give one"),
    ],
)
def test_options_that_make_no_sense_are_refused(data, tmp_path, options, message):
    with pytest.raises(FaceproofError, match=message):
        prepare(config(tmp_path / "out", **options), listed_data(data))
    assert not (tmp_path / "out").exists()


def test_a_process_that_dies_is_said(data, tmp_path, monkeypatch):
    monkeypatch.setenv("FACEPROOF_ALLOW", "tests.dying_detector")
    options = {"detector": "tests.dying_detector.Dying", "workers": 1}
    with pytest.raises(FaceproofError, match="a process that prepares files has died"):
        prepare(config(tmp_path / "out", **options), listed_data(data))


def test_paths_are_prepared_without_labels(originals, tmp_path, capsys):
    odd = tmp_path / "odd é ☃ ' \n.png"
    shutil.copy(originals / "real/b.png", odd)
    words = [str(originals / "real"), str(odd), "--out", str(tmp_path / "out")]
    assert main(["prepare", *words, "--frames", "2"]) == 0
    rows = rows_of(tmp_path / "out")
    assert {(row["label"], row["split"], row["source"]) for row in rows} == {
        (None, "unlabelled", "files")
    }
    assert len(rows) == 4
    assert "4 crops of 3 files" in capsys.readouterr().out


def test_a_file_that_is_named_twice_is_prepared_once(originals, tmp_path, data, caplog):
    folder, file = str(originals / "real"), str(originals / "real/b.png")
    assert len(listed_paths([folder, file]).rows) == 2
    assert "1 file named more than once" in caplog.text
    twice = data.table.slice(0, 1)
    twice = DataSet("mine", data.task, pa.concat_tables([twice, twice]))
    with pytest.raises(FaceproofError, match=r"a\.mp4 is listed more than once"):
        prepare(config(tmp_path / "out"), listed_data(twice))


def test_what_only_a_table_reads_is_said(originals, tmp_path, caplog):
    listed = tmp_path / "list.csv"
    listed.write_text(f"path,label,split\n{originals / 'real/b.png'},real,train\n")
    (row,) = listed_paths([str(listed)]).rows
    assert row["label"] is None
    assert f"label, split not read; faceproof prepare data=table data.file={listed}" in caplog.text
    with pytest.raises(FaceproofError, match=r"l\.json is a table: faceproof prepare data=table"):
        listed_paths([str(tmp_path / "l.json")])


def test_a_video_is_known_by_its_bytes_and_a_file_may_be_called_data(originals, tmp_path):
    shutil.copy(originals / "real/a.mp4", tmp_path / "noending")
    shutil.copy(originals / "real/a.mp4", tmp_path / "data.mp4")
    words = [str(tmp_path / "noending"), str(tmp_path / "data.mp4")]
    assert main(["prepare", *words, "--out", str(tmp_path / "out"), "--frames", "2"]) == 0
    assert [row["time"] is None for row in rows_of(tmp_path / "out")] == [False] * 4


def test_frames_in_a_folder_keep_their_group_whoever_is_in_them(tmp_path):
    """A face has another number in each frame, as its size changes."""
    people = [(5, 70, 128, 140), (6, 190, 128, 90)]
    files = [
        write_photograph(tmp_path / "0.png", people),
        write_photograph(tmp_path / "1.png", people[:1]),
    ]
    columns = {
        "path": list(map(str, files)), "label": ["real"] * 2, "split": ["train"] * 2,
        "group": ["v"] * 2, "source": ["mine"] * 2,
    }  # fmt: skip
    frames = DataSet("mine", get_task("deepfake"), table_from_columns(columns))
    prepare(config(tmp_path / "out", faces="all"), listed_data(frames))
    assert [row["group"] for row in rows_of(tmp_path / "out")] == ["v"] * 3


def test_a_folder_inside_of_what_is_prepared_goes_on_too(originals, tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    shutil.copytree(originals / "real", folder)
    stopped_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        prepare(config(folder / "faces"), listed_paths([str(folder)]))
    assert (folder / "faces/journal.jsonl").is_file()
    monkeypatch.undo()
    about = prepare(config(folder / "faces"), listed_paths([str(folder)]))
    assert about.counts["files"] == 2


def test_a_setting_that_a_worker_refuses_is_told_as_itself(data, tmp_path, monkeypatch):
    monkeypatch.setenv("FACEPROOF_ALLOW", "tests.dying_detector")
    options = {"detector": "tests.dying_detector.Middle", "align": True, "workers": 1}
    with pytest.raises(SettingError, match="align = true takes 5 landmarks"):
        prepare(config(tmp_path / "out", **options), listed_data(data))


def test_workers_end_with_the_process_that_started_them(originals, tmp_path):
    for number in range(40):
        shutil.copy(originals / "real/a.mp4", tmp_path / f"{number}.mp4")
    words = ["prepare", str(tmp_path), "--out", str(tmp_path / "out"), "--workers", "2"]
    started = subprocess.Popen([sys.executable, "-m", "faceproof", *words])
    try:
        journal = tmp_path / "out/journal.jsonl"
        wait_for(lambda: journal.is_file() and journal.read_bytes().count(b"\n") > 1)
        children = [int(word) for word in _children_of(started.pid)]
    finally:
        started.kill()
        started.wait()
    assert len(children) >= 2
    wait_for(lambda: not any(Path(f"/proc/{one}").exists() for one in children))


def _children_of(process):
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)


def test_a_script_without_a_guard_is_told_so_and_does_not_wait_for_itself(originals, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import faceproof as fp\n"
        f"fp.list_data('videos', root={str(originals)!r}, layout='{{label}}/*', media='videos',"
        " labels={'real': 'real', 'fake': 'fake'}, prepare={'frames': 2})\n"
    )
    environment = {**os.environ, "FACEPROOF_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "must stand below `if __name__ == '__main__':`" in done.stderr


def test_a_name_that_is_no_text_is_prepared_too(originals, tmp_path):
    name = tmp_path / b"bad\xff.png".decode("utf-8", "surrogateescape")
    shutil.copy(originals / "real/b.png", name)
    prepare(config(tmp_path / "out"), listed_paths([str(tmp_path)]))
    (row,) = rows_of(tmp_path / "out")
    assert row["original"].endswith(r"bad\udcff.png")


def test_without_any_face_the_exit_code_says_so(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"no image")
    assert main(["prepare", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]) == 1
    assert "no face was found" in capsys.readouterr().out
    assert main(["prepare", "data=videos", "data.prepare.min_size=9", "--out", "out2"]) == 2
    assert "is for training on data=videos; here it is --min-size" in capsys.readouterr().err
    assert main(["prepare", "data=demo", "a.png", "--out", str(tmp_path / "out2")]) == 2
    assert "give either data=NAME" in capsys.readouterr().err


def test_a_detector_trained_on_crops_prepares_what_it_is_given(
    prepared, originals, tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    words = ("data=prepared", f"data.root={prepared}", "model=face_cnn", "trainer=smoke")
    train(tmp_path / "run", *words)
    run(["export", "run", "--to", "artifact"])
    detector = faceproof.load("artifact", "cpu")
    stored = detector.card.detector.crop
    assert stored.config == config(tmp_path / "x").wanted().crop
    assert "found by retinaface" in (tmp_path / "artifact/README.md").read_text()
    options = face_options(detector, None, False)
    verdict = judge_faces(detector, originals / "real/b.png", options)
    (row,) = [row for row in rows_of(prepared) if row["original"].endswith("real/b.png")]
    assert np.array_equal(verdict.decides.numpy(), read_image(prepared / row["path"]))
    out = tmp_path / "out.parquet"
    run(["predict", str(originals), "--detector", "artifact", "--out", str(out), "--keep-going"])
    rows = {Path(row["path"]).relative_to(originals).as_posix(): row
            for row in pq.read_table(out).to_pylist()}  # fmt: skip
    assert rows["real/b.png"]["probability"] == pytest.approx(verdict.image.probability, abs=1e-6)
    assert (rows["fake/two.mp4"]["faces"], rows["real/a.mp4"]["faces"]) == (2, 1)
    assert face_options(detector, False, False) is None
    _tell_of_other_framings(tmp_path, detector, prepared, originals, caplog)


def _tell_of_other_framings(folder, detector, prepared, originals, caplog):
    """What was trained on crops says so where it is shown something else."""
    caplog.clear()
    predictor._warn_of_crops.cache_clear()
    detector(originals / "real/b.png")
    detector(originals / "fake/b.png")
    assert caplog.text.count("was trained on faces that are cut out") == 1
    stored = detector.card.detector.crop
    older = replace(stored, detector="retinaface 0")
    entry = replace(detector.card.detector, crop=older)
    face_options(replace(detector, card=replace(detector.card, detector=entry)), None, False)
    assert "found by retinaface 0, and here by retinaface" in caplog.text
    for framing, number in ((prepared, 0), (folder / "wide", 1)):
        caplog.clear()
        if number:
            wide = config(folder / "wide", faces="all", margin=0.5)
            prepare(wide, listed_paths([str(originals / "fake")]))
            labelled(folder / "wide")
        evaluate(folder / "run", "data=prepared", f"data.root={framing}", "split=all")
        assert caplog.text.count("a metric on it is of the framing too") == number


def labelled(folder):
    """Give the crops of a folder a label and a split, as a data set would have."""
    table = pq.read_table(folder / "images.parquet")
    for name, word in (("label", "fake"), ("split", "test")):
        place = table.schema.get_field_index(name)
        words = pa.array([word] * table.num_rows).cast(table.schema.field(name).type)
        table = table.set_column(place, table.schema.field(name), words)
    pq.write_table(table, folder / "images.parquet")
    about = json.loads((folder / "prepared.json").read_text())
    about["images"] = digest_of(folder / "images.parquet")
    (folder / "prepared.json").write_text(json.dumps(about))


@pytest.mark.parametrize("options", [{"quality": 70, "size": 48}, {"align": True, "size": 64}])
def test_the_crops_of_training_and_of_use_are_the_same_to_the_last_bit(
    data, originals, tmp_path, options
):
    prepare(config(tmp_path / "out", **options), listed_data(data))
    crop = config(tmp_path, **options).wanted().crop
    wanted = [
        read_image(tmp_path / "out" / row["path"])
        for row in rows_of(tmp_path / "out")
        if row["original"].endswith(("real/a.mp4", "real/b.png"))
    ]
    fit = (options["size"], "bilinear")
    clip = read_faces(originals / "real/a.mp4", [fit], 3, FaceOptions(crop=crop))
    _, (photograph,) = cut_faces(
        torch.from_numpy(read_image(originals / "real/b.png")), FaceOptions(crop=crop)
    )
    found = [*clip.tracks[0].fitted[fit].numpy(), photograph.numpy()]
    assert len(found) == len(wanted) == 4
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one, other)
