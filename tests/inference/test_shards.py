"""Images in shards are judged as their files are; shards that are damaged stop the command."""

import io
import threading
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceproof import lookup
from faceproof.cli.main import run
from faceproof.data.kinds import LeftOut
from faceproof.data.shards.paths import find_member
from faceproof.data.shards.reading import read_member, shard_set
from faceproof.data.shards.store import ObjectStore
from faceproof.errors import FaceproofError
from faceproof.inference import files
from faceproof.inference.inputs import list_images
from faceproof.io.atomic import CannotWriteError
from tests.conftest import write_images
from tests.inference.conftest import predict, rows_of
from tests.small_shards import list_files, upload, write
from tests.small_stores import both_stores


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Nine images in folders, and the same in shards beside them."""
    monkeypatch.setattr(lookup, "_allowed", set())
    shard_set.cache_clear()
    for split in ("train", "val", "test"):
        write_images(tmp_path / "photos" / split / "faces", ["a b.jpg", "é#1.jpg"], face=True)
        write_images(tmp_path / "photos" / split / "non-faces", ["c.jpg"])
    write(list_files(tmp_path / "photos"), str(tmp_path / "shards"), megabytes=0.006)
    assert len(list((tmp_path / "shards").glob("*.tar"))) > 1
    return tmp_path / "photos"


def test_a_set_of_shards_has_the_rows_of_the_same_files(photos, detector, tmp_path):
    words = ("--detector", detector, "--out")
    shards, rows = tmp_path / "shards", tmp_path / "rows.parquet"
    assert predict(f"{shards}/", *words, rows, "--contact-sheet", tmp_path / "sheet.png") == 0
    assert predict(photos, *words, tmp_path / "files.parquet") == 0
    found = rows_of(rows, shards)
    assert len(found) == 9
    assert found == rows_of(tmp_path / "files.parquet", photos)
    assert (tmp_path / "sheet.png").is_file()
    listed = pq.read_table(rows)["path"].to_pylist()
    assert listed == list(list_images([str(shards)], stores_and_shards=True))
    # Its paths may be named again: in a list, and by themselves.
    assert predict(rows, *words, tmp_path / "again.parquet") == 0
    assert pq.read_table(tmp_path / "again.parquet").equals(pq.read_table(rows))
    assert list(list_images([listed[3]])) == [listed[3]]


def test_words_name_sets_and_images_in_them(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "shards")
    here = list(list_images(["."], stores_and_shards=True))
    there = list(list_images([str(tmp_path / "shards")], stores_and_shards=True))
    assert here == there  # where `shard-000000.tar@` alone would be the name of a file
    monkeypatch.chdir(tmp_path)
    write(list_files(photos), str(tmp_path / "others"))
    both = list(list_images(["shards//", "others"], stores_and_shards=True))
    assert [path.split("/")[0] for path in both] == ["shards"] * 9 + ["others"] * 9
    lines = SimpleNamespace(buffer=io.BytesIO("\n".join(both[8:10]).encode()))
    monkeypatch.setattr("sys.stdin", lines)
    assert list(list_images(["-"], stores_and_shards=True)) == both[8:10]
    left_out = LeftOut()
    assert list(list_images([str(tmp_path), "sh*"], left_out)) == [
        str(path) for path in sorted(photos.rglob("*.jpg"), key=lambda path: path.as_posix())
    ]
    assert "2 folders that faceproof has written ('others', ...)" in str(left_out)


def test_what_a_list_makes_up_is_a_row(photos, detector, tmp_path):
    shards = tmp_path / "shards"
    good = next(list_images([str(shards)], stores_and_shards=True))
    places = ["shard-000000.tar@0-99999999999999-00000000", "shard-9.tar@0-1-00000000",
              f"shard-000000.tar@{10**18}-1-00000000",
              "shard-000000.tar@512-10-00000000"]  # fmt: skip
    words = [good, *(f"{shards}/{place}/x.jpg" for place in places)]
    (tmp_path / "list.txt").write_text("\n".join(words))
    long = f"{shards}/shard-000000.tar@{'1' * 5000}-1-00000000/x.jpg"
    assert find_member(long) is None  # a file that is not there
    out = tmp_path / "rows.parquet"
    assert predict(tmp_path / "list.txt", "--detector", detector, "--out", out) == 1
    errors = pq.read_table(out)["error"].to_pylist()
    assert errors[0] is None
    assert len(errors) == 5
    assert all("the path is of another set of shards, or made up" in error for error in errors[1:])


@pytest.mark.usefixtures("photos", "cluster_of_one")
def test_a_cluster_judges_made_up_paths_again_and_holds_the_others(detector, tmp_path, capsys):
    good = list(list_images([str(tmp_path / "shards")], stores_and_shards=True))[:2]
    made_up = f"{tmp_path}/shards/shard-9.tar@0-1-00000000/x.jpg"
    (tmp_path / "list.txt").write_text("\n".join([*good, made_up]))
    words = (tmp_path / "list.txt", "--detector", detector, "--out", tmp_path / "rows")
    on_ray = ("--on", "ray", "--batch-size", 1, "--part-size", 1)
    assert [predict(*words, *on_ray) for _ in range(2)] == [1, 1]
    assert "2 images were judged before, and hold" in capsys.readouterr().out


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("error", [CannotWriteError("no room left"), OSError(5, "disk is broken")])
def test_a_machine_that_fails_stops_the_command(detector, tmp_path, monkeypatch, error):
    def fail(_):
        raise error

    monkeypatch.setattr(files, "read_member", fail)
    with pytest.raises(FaceproofError, match=r"(no room left|broken).*; start the same command"):
        predict(tmp_path / "shards", "--detector", detector, "--out", tmp_path / "rows.csv")


@both_stores
@pytest.mark.usefixtures("cluster_of_one")
def test_shards_in_a_store_are_judged_by_one_machine_and_by_a_cluster(
    photos, bucket, detector, tmp_path
):
    there = f"{bucket}/some/shards"
    upload(tmp_path / "shards", there)
    words = ("--detector", detector, "--batch-size", 3, "--out")
    assert predict(there, *words, tmp_path / "one.parquet") == 0
    assert predict(photos, *words, tmp_path / "files.parquet") == 0
    found = rows_of(tmp_path / "one.parquet", there)
    assert found == rows_of(tmp_path / "files.parquet", photos)
    for _ in range(2):  # the second one finds all parts there
        assert predict(there, *words, tmp_path / "many", "--on", "ray", "--part-size", 3) == 0
        parts = sorted((tmp_path / "many").glob("*.parquet"))
        assert len(parts) == 3
        together = pa.concat_tables([pq.read_table(part) for part in parts])
        assert together.equals(pq.read_table(tmp_path / "one.parquet"))


def test_the_next_shards_are_fetched_while_images_are_judged(
    photos, bucket, detector, tmp_path, monkeypatch
):
    upload(tmp_path / "shards", f"{bucket}/shards")
    wanted = sorted(f"{bucket}/shards/{file.name}" for file in (tmp_path / "shards").glob("*.tar"))
    fetched, ready = [], threading.Event()

    def bring(shard):
        fetched.append(shard)
        ready.set()

    def read(member):
        assert ready.wait(60)
        return read_member(member)

    monkeypatch.setattr("faceproof.data.shards.order._bring", bring)
    monkeypatch.setattr(files, "read_member", read)
    words = ("--detector", detector, "--batch-size", 2, "--workers", 0)
    assert predict(f"{bucket}/shards", *words, "--out", tmp_path / "rows.csv") == 0
    assert fetched == wanted


def test_a_shard_that_a_store_has_lost_stops_the_command(photos, bucket, detector, tmp_path):
    there = f"{bucket}/some/shards"
    last = max((tmp_path / "shards").glob("*.tar"))
    lost = last.rename(tmp_path / last.name)
    upload(tmp_path / "shards", there)
    words = (there, "--detector", detector, "--batch-size", 2, "--out", tmp_path / "rows.csv")
    with pytest.raises(FaceproofError, match=f"{last.name}.*start the same command again"):
        predict(*words)
    ObjectStore(there).put(lost)
    assert predict(*words) == 0
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 10


def test_a_list_may_name_images_in_shards_of_stores_that_are_allowed(photos, bucket, tmp_path):
    there = f"{bucket}/some/shards"
    upload(tmp_path / "shards", there)
    paths = list(list_images([there], stores_and_shards=True))[2:4]
    (tmp_path / "list.txt").write_text("\n".join(paths))
    lookup._allowed.clear()
    with pytest.raises(FaceproofError, match="would be asked with your credentials"):
        list(list_images([str(tmp_path / "list.txt")], stores_and_shards=True))
    lookup.allow([there])
    assert list(list_images([str(tmp_path / "list.txt")], stores_and_shards=True)) == paths
    assert list(list_images(paths, stores_and_shards=True)) == paths


@pytest.mark.usefixtures("photos")
def test_a_shard_that_is_damaged_stops_the_command_which_goes_on_when_it_is_mended(
    detector, tmp_path, capsys
):
    shards, out = tmp_path / "shards", tmp_path / "rows.csv"
    words = (shards, "--detector", detector, "--batch-size", 2, "--out", out)
    last = max(shards.glob("*.tar"))
    whole = last.read_bytes()
    last.write_bytes(bytes(len(whole)))
    with pytest.raises(FaceproofError, match=f"{last} is damaged.*same command again"):
        predict(*words)
    last.write_bytes(whole)
    shard_set.cache_clear()
    capsys.readouterr()
    assert predict(*words) == 0
    assert "continuing after 6 images that are done" in capsys.readouterr().out
    assert len(out.read_text().splitlines()) == 10
    last.write_bytes(whole[:-1])  # which its size tells, before anything is judged
    with pytest.raises(FaceproofError, match=f"{last} is damaged: it has .* bytes"):
        predict(shards, "--detector", detector, "--out", tmp_path / "other.csv")


@pytest.mark.usefixtures("photos")
def test_what_names_shards_wrongly_says_what_to_name(detector, tmp_path):
    shards = tmp_path / "shards"
    with pytest.raises(FaceproofError, match=f"{shards}/samples.parquet is the table of a set"):
        predict(shards / "samples.parquet", "--detector", detector)
    with pytest.raises(FaceproofError, match=f"{shards} is a set of shards; faceproof predict"):
        run(["prepare", str(shards), "--out", str(tmp_path / "out")])
    (shards / "samples.parquet").unlink()  # shards.json alone may be somebody's own
    assert list(list_images([str(shards)])) == []
