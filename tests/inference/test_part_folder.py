"""A folder of parts: only its own command goes on in it, and only with parts that hold."""

import json
import os
import pickle
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from faceproof.data.shards.store import ObjectStore, ShardError
from faceproof.errors import FaceproofError
from faceproof.inference.output_parts import Row, schema_of
from faceproof.inference.part_folder import PartFolder, PartOutput
from faceproof.inference.part_places import FolderPlace
from faceproof.io.stamps import stamp_of
from tests.small_stores import both_stores

ABOUT = {"detector": "x", "frames": 32}
SCHEMA = schema_of(gated=False, knows_novelty=False)


@pytest.fixture
def files(tmp_path):
    """Five files, one with a name that is no text, and a path without a file."""
    names = [*(os.fsencode(tmp_path / f"{n}.jpg") for n in range(4)), b"%s/\xff.jpg"]
    names[4] %= os.fsencode(tmp_path)
    paths = [os.fsdecode(name) for name in names]
    for path in paths:
        Path(path).write_text("image")
    return [*paths, str(tmp_path / "missing.jpg")]


def begin(tmp_path, files, **changes):
    return PartOutput(tmp_path / "out", ABOUT | changes, files, 2)


def fill(folder, number):
    paths = folder.paths(number)
    rows = [Row(path.encode("utf-8", "replace").decode(), "real") for path in paths]
    folder.write(number, paths, rows, [stamp_of(path) for path in paths], SCHEMA)
    return paths


def test_each_path_is_in_one_part_byte_for_byte(tmp_path, files):
    output = begin(tmp_path, files)
    assert (output.num_files, output.num_parts) == (6, 3)
    assert [path for number in range(3) for path in output.folder.paths(number)] == files


def test_parts_hold_until_a_file_or_they_change(tmp_path, files):
    folder = begin(tmp_path, files).folder
    for number in range(3):
        assert folder.read(number, folder.paths(number)) is None
        paths = fill(folder, number)
        assert folder.read(number, paths)["verdict"].to_pylist() == ["real", "real"]
    Path(files[0]).write_text("more")
    assert folder.read(0, files[:2]) is None
    Path(files[5]).write_text("now")  # which was missing
    assert folder.read(2, files[4:]) is None
    part = folder.path / f"{folder.name_of(1, files[2:4])}.parquet"
    data = bytearray(part.read_bytes())
    data[40] ^= 1
    part.write_bytes(data)
    assert folder.read(1, files[2:4]) is None


def test_a_part_that_is_written_twice_is_there_once(tmp_path, files):
    output = begin(tmp_path, files)
    for number in (0, 1, 1, 2, 0):
        fill(output.folder, number)
    output.finish({"unreadable": 0})
    output.close()
    assert pq.read_table(tmp_path / "out").num_rows == 6  # readers pass over all but the parts
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert manifest["finished"]
    assert manifest["files"] == 6
    fill(PartFolder(output.path, "another"), 0)
    with pytest.raises(FaceproofError, match="has 4 parts and should have 3"):
        output.finish({})


def test_only_the_same_command_goes_on(tmp_path, files):
    first = begin(tmp_path, files)
    with pytest.raises(FaceproofError, match="another command is filling"):
        begin(tmp_path, files)
    first.close()
    begin(tmp_path, files).close()
    with pytest.raises(FaceproofError, match="begun with another detector"):
        begin(tmp_path, files, detector="y")
    with pytest.raises(FaceproofError, match="begun with other files: 6 then, 5 now"):
        begin(tmp_path, files[:5])
    assert (
        PartFolder(first.path, first.folder.key).paths(2) == files[4:]
    )  # the listing is as it was
    fill(first.folder, 0)
    (tmp_path / "out/_manifest.json").unlink()
    with pytest.raises(FaceproofError, match="nothing says what gave it"):
        begin(tmp_path, files)
    with pytest.raises(FaceproofError, match=r"and no _manifest\.json, so that nothing says that"):
        PartOutput(tmp_path / "out", ABOUT, files[:5], 2, overwrite=True)
    assert list((tmp_path / "out").glob("part-*"))
    (tmp_path / "out/_manifest.json").write_text("damaged")
    PartOutput(tmp_path / "out", ABOUT, files[:5], 2, overwrite=True).close()
    assert not list((tmp_path / "out").glob("part-*"))


@pytest.mark.parametrize(
    "name",
    [
        "part-00000-0f0c5b9e.snappy.parquet",  # as other programs name theirs
        "part-00000000-0f0c5b9e-c000.parquet",
        f"part-00000000-{'0' * 32}/year.parquet",
        "table.partial-2026",
        "sub/_manifest.json",
    ],
)
def test_parts_of_other_programs_are_not_ours(tmp_path, files, name):
    begin(tmp_path, files).close()
    theirs = tmp_path / "out" / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("theirs")
    for overwrite in (False, True):
        with pytest.raises(FaceproofError, match="which faceproof predict --on ray has not writ"):
            PartOutput(tmp_path / "out", ABOUT, files, 2, overwrite)
    assert theirs.read_text() == "theirs"


def test_a_store_that_does_not_answer_is_no_damaged_folder(tmp_path, files, monkeypatch):
    output = begin(tmp_path, files)
    paths = fill(output.folder, 0)
    output.close()

    def refuse(place, name):
        raise ShardError("the store does not answer")

    monkeypatch.setattr(FolderPlace, "read", refuse)
    for call in (lambda: output.folder.read(0, paths), lambda: begin(tmp_path, files)):
        with pytest.raises(ShardError, match=r"the store does not answer$"):
            call()


def test_what_is_not_ours_is_not_touched(tmp_path, files):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    with pytest.raises(FaceproofError, match=r"holds thesis\.txt"):
        PartOutput(tmp_path / "out", ABOUT, files, 2, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(FaceproofError, match="is a file"):
        PartOutput(tmp_path / "file", ABOUT, files, 2)


def test_a_machine_that_sees_another_folder_is_refused(tmp_path, files):
    output = begin(tmp_path, files)
    output.folder.check()
    for other in (
        PartFolder(tmp_path / "elsewhere", output.folder.key),
        PartFolder(output.path, ""),
    ):
        with pytest.raises(
            FaceproofError, match="must see the output, the images and the detector"
        ):
            other.check()


@both_stores
def test_a_folder_of_an_object_store_is_filled_alike(bucket, tmp_path, files):
    url = f"{bucket}/some/rows"
    output = PartOutput(url, ABOUT, files, 2)
    folder = pickle.loads(pickle.dumps(output.folder))  # as a worker has it
    folder.check()
    for number in range(output.num_parts):
        assert folder.read(number, folder.paths(number)) is None
        paths = fill(folder, number)
        assert folder.read(number, paths)["verdict"].to_pylist() == ["real", "real"]
    output.finish({"unreadable": 0})
    output.close()
    store = ObjectStore(url)
    manifest = json.loads(store.read("_manifest.json", "", 10_000))
    assert (manifest["files"], manifest["finished"]) == (6, True)
    names = store.names_below()
    assert len([name for name in names if name.startswith("part-")]) == 3

    damaged = f"{folder.name_of(0, files[:2])}.parquet"
    (tmp_path / "damaged").write_bytes(b"no rows")
    store.put(tmp_path / "damaged", damaged)
    assert folder.read(0, files[:2]) is None

    with pytest.raises(FaceproofError, match="begun with another detector"):
        PartOutput(url, ABOUT | {"detector": "y"}, files, 2)
    again = PartOutput(url, ABOUT, files[:5], 2, overwrite=True)
    assert again.parts() == []
    store.put(tmp_path / "damaged", "thesis.txt")
    with pytest.raises(FaceproofError, match=r"holds thesis\.txt"):
        PartOutput(url, ABOUT, files, 2)
    with pytest.raises(FaceproofError, match="names no folder: give"):
        PartOutput(bucket, ABOUT, files, 2)
    with pytest.raises(FaceproofError, match="must see the output"):
        PartFolder(f"{bucket}/elsewhere", output.folder.key).check()
