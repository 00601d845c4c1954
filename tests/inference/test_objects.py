"""Images in an object store: the rows of files, and no store is asked that nobody has named."""

import io
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from faceproof import lookup
from faceproof.data.kinds import LeftOut
from faceproof.data.shards import store
from faceproof.data.shards.store import ObjectStore, ShardError
from faceproof.errors import FaceproofError
from faceproof.inference import inputs, objects
from faceproof.inference.files import Loading, _Files
from faceproof.inference.inputs import list_images
from faceproof.inference.objects import Fetched
from faceproof.inference.predictor import load
from tests.conftest import write_images
from tests.inference.conftest import predict, rows_of
from tests.small_stores import both_stores, put_folder

NAMES = ["a b.jpg", "deep/er/é#1.jpeg", "z.jpg"]


@pytest.fixture
def photos(tmp_path, bucket, monkeypatch):
    """Three images, a damaged one and a file of another kind, in a folder and in a store."""
    monkeypatch.setattr(lookup, "_allowed", set())
    folder = tmp_path / "photos"
    write_images(folder / "deep/er", ["é#1.jpeg"], face=True)
    write_images(folder, ["a b.jpg", "z.jpg"])
    (folder / "damaged.jpg").write_bytes(b"no image")
    (folder / "notes.md").write_text("no image")
    put_folder(folder, f"{bucket}/some/photos")
    return folder


@both_stores
def test_a_folder_of_a_store_has_the_rows_of_the_same_files(photos, bucket, detector, tmp_path):
    there = f"{bucket}/some/photos"
    out, sheet = tmp_path / "there.parquet", tmp_path / "sheet.png"
    words = ("--detector", detector, "--out")
    assert predict(f"{there}/", *words, out, "--contact-sheet", sheet) == 1
    assert predict(photos, *words, tmp_path / "here.parquet") == 1
    found, expected = rows_of(out, there), rows_of(tmp_path / "here.parquet", photos)
    assert found == expected
    assert sorted(found) == sorted([*NAMES, "damaged.jpg"])
    assert sheet.is_file()
    written = "".join(str(file.read_bytes()) for file in tmp_path.glob("*.parquet"))
    assert "nothing" not in written  # the secret key of the store


@both_stores
@pytest.mark.usefixtures("cluster_of_one")
def test_a_cluster_reads_and_writes_there_too(photos, bucket, detector, tmp_path):
    there, out = f"{bucket}/some/photos", f"{bucket}/some/rows"
    words = (there, "--detector", detector, "--out")
    with pytest.raises(FaceproofError, match=re.escape(f"--out {out} is in an object store")):
        predict(*words, out)
    on_ray = ("--on", "ray", "--batch-size", 2, "--part-size", 2)
    assert predict(*words, out, *on_ray) == 1
    assert predict(*words, tmp_path / "here.parquet", "--batch-size", 2) == 1
    store = ObjectStore(out)
    parts = [name for name in store.names_below() if name.endswith(".parquet")]
    tables = [pq.read_table(io.BytesIO(store.read(name, "", 10_000_000))) for name in parts]
    assert len(tables) == 2
    assert pa.concat_tables(tables).equals(pq.read_table(tmp_path / "here.parquet"))


@both_stores
def test_a_stopped_command_goes_on_and_judges_again_what_has_changed(
    photos, bucket, detector, tmp_path, monkeypatch, capsys
):
    there, out = f"{bucket}/some/photos", tmp_path / "rows.csv"
    words = (there, "--detector", detector, "--out", out, "--batch-size", 2)
    below, made = objects._below, iter(range(99))

    def stop(*given):
        for path in below(*given):
            if next(made) == 2:
                raise KeyboardInterrupt
            yield path

    with monkeypatch.context() as patch:
        patch.setattr(objects, "_below", stop)
        with pytest.raises(KeyboardInterrupt):
            predict(*words)
    (changed,) = write_images(photos, ["a b.jpg"], face=True)
    ObjectStore(there).put(changed)
    assert predict(*words) == 1
    said = capsys.readouterr().out
    assert "1 images may have changed since and are judged again" in said


@both_stores
def test_what_is_no_image_is_left_out_and_what_is_not_there_is_refused(photos, bucket):
    left_out = LeftOut()
    found = list(list_images([f"{bucket}/some"], left_out, stores_and_shards=True))
    names = ["a b.jpg", "damaged.jpg", "z.jpg", "deep/er/é#1.jpeg"]
    assert found == [f"{bucket}/some/photos/{name}" for name in names]
    assert str(left_out) == f"left out: 1 file of other kinds ('{bucket}/some/photos/notes.md')"
    one = f"{bucket}/some/photos/z.jpg"
    assert list(list_images([one], stores_and_shards=True)) == [one]
    for word, says in {
        f"{bucket}/some/pho": f"there is no object or folder {bucket}",
        "s3://key:secret@bucket/folder": "must name a bucket of letters",
    }.items():
        with pytest.raises(FaceproofError, match=re.escape(says)) as told:
            list_images([word], stores_and_shards=True)
        assert "secret" not in str(told.value)
    with pytest.raises(FaceproofError, match="this command does not: copy them to this machine"):
        list_images([f"{bucket}/some"])
    with pytest.raises(FaceproofError, match="credentials are no part of it") as told:
        list_images(["s3://key:secret@bucket/folder"])
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("ending", ["csv", "txt", "parquet"])
def test_a_list_names_objects_of_stores_that_are_allowed(photos, bucket, tmp_path, ending):
    paths = [f"{bucket}/some/photos/z.jpg", str(photos / "z.jpg")]
    file = tmp_path / f"list.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table({"path": paths, "label": ["real", "fake"]}), file)
    else:
        file.write_text("\n".join((["path"] if ending == "csv" else []) + paths))
    refusal = f"{file} names {paths[0]}, and {bucket} would be asked with your credentials"
    with pytest.raises(FaceproofError, match=re.escape(refusal)):
        list(list_images([str(file)], stores_and_shards=True))
    lookup.allow([bucket])
    assert list(list_images([str(file)], stores_and_shards=True)) == paths
    (tmp_path / "list.txt").write_text("s3://key:secret@bucket/z.jpg")
    with pytest.raises(FaceproofError, match="credentials are no part of it") as told:
        list(list_images([str(tmp_path / "list.txt")], stores_and_shards=True))
    assert "secret" not in str(told.value)


@both_stores
@pytest.mark.parametrize("ending", ["csv", "txt", "parquet"])
def test_a_list_may_lie_in_a_store_and_names_what_is_beside_it(photos, bucket, tmp_path, ending):
    folder, file = f"{bucket}/some/photos", tmp_path / f"list.{ending}"

    def listed(*paths):
        if ending == "parquet":
            pq.write_table(pa.table({"path": paths}), file)
        else:
            file.write_text("\n".join([*(["path"] if ending == "csv" else []), *paths]))
        ObjectStore(folder).put(file)
        return list(list_images([f"{folder}/{file.name}"], stores_and_shards=True))

    inside = [f"{folder}/z.jpg", f"{folder}/deep/er/é#1.jpeg"]
    here = str(photos / "z.jpg")
    assert listed("z.jpg", "./deep/er/é#1.jpeg", inside[0], here) == [*inside, inside[0], here]
    with pytest.raises(FaceproofError, match="which is not beside it or below; write the whole"):
        listed("../others/z.jpg")
    with pytest.raises(FaceproofError, match="s3://another would be asked with your credentials"):
        listed("s3://another/z.jpg")
    for elsewhere in (f"{folder}/../others/z.jpg", f"{folder}/./z.jpg"):
        with pytest.raises(FaceproofError, match="would be asked with your credentials"):
            listed(elsewhere)
    assert listed(' "..z.jpg" ', "deep\\a.jpg") == [f"{folder}/..z.jpg", f"{folder}/deep/a.jpg"]
    with pytest.raises(FaceproofError, match=f"no object or folder {folder}/gone.{ending}"):
        list_images([f"{folder}/gone.{ending}"], stores_and_shards=True)


def test_a_list_in_a_store_that_is_too_large_is_named(photos, bucket, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text("z.jpg")
    ObjectStore(bucket).put(tmp_path / "list.txt")
    monkeypatch.setattr(inputs, "MAX_LIST_BYTES", 3)
    with pytest.raises(FaceproofError, match=f"{bucket}/list.txt cannot be read: it has 5 bytes"):
        list(list_images([f"{bucket}/list.txt"], stores_and_shards=True))


@both_stores
def test_a_whole_bucket_is_listed(photos, bucket):
    names = ["a b.jpg", "damaged.jpg", "z.jpg", "deep/er/é#1.jpeg"]
    found = list(list_images([bucket], stores_and_shards=True))
    assert found == [f"{bucket}/some/photos/{name}" for name in names]


def test_a_list_in_a_store_that_is_none_is_named_by_its_url(photos, bucket, tmp_path):
    for name, content in {"a.csv": "file\nz.jpg", "b.parquet": "no table"}.items():
        (tmp_path / name).write_text(content)
        ObjectStore(f"{bucket}/some").put(tmp_path / name)
        with pytest.raises(FaceproofError, match=rf"^{bucket}/some/{name} (has no column|cannot)"):
            list(list_images([f"{bucket}/some/{name}"], stores_and_shards=True))


def test_a_parquet_file_without_paths_is_refused(tmp_path):
    pq.write_table(pa.table({"file": ["a.jpg"]}), tmp_path / "list.parquet")
    with pytest.raises(FaceproofError, match="has no column path; found file"):
        list(list_images([str(tmp_path / "list.parquet")]))
    (tmp_path / "list.parquet").write_bytes(b"no table")
    with pytest.raises(FaceproofError, match="cannot be read as Parquet"):
        list(list_images([str(tmp_path / "list.parquet")]))


def test_a_missing_object_is_a_row_and_a_store_that_is_gone_ends_the_command(
    photos, bucket, detector, tmp_path, monkeypatch
):
    listed, out = tmp_path / "list.txt", tmp_path / "rows.jsonl"
    listed.write_text(f"{bucket}/some/photos/z.jpg\n{bucket}/gone.jpg\n")
    words = (listed, "--detector", detector, "--allow", bucket, "--out")
    assert predict(*words, out) == 1
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows[0]["error"] is None
    assert rows[1]["error"] == "the object is not there"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setattr(store, "ATTEMPTS", 1)
    store._connect.cache_clear()
    with pytest.raises(FaceproofError, match="check the URL, the credentials and AWS_ENDPOINT_URL"):
        predict(*words, tmp_path / "other.jsonl")
    assert not (tmp_path / "other.jsonl").exists()


@pytest.mark.parametrize("bucket_is_denied", [False, True])
def test_one_object_that_is_denied_is_a_row_and_credentials_that_have_expired_are_none(
    monkeypatch, bucket_is_denied
):
    denied = "When reading information: AWS Error ACCESS_DENIED during {} operation"

    class Denying:
        def open_input_file(self, path):
            raise OSError(denied.format("HeadObject"))

        def get_file_info(self, path):
            assert path == "bucket"
            if bucket_is_denied:
                raise OSError(denied.format("HeadBucket"))

    monkeypatch.setattr(store, "_connect", lambda *_: Denying())
    path = "s3://bucket/a.jpg"
    if bucket_is_denied:
        for call in (objects.fetch_objects, objects.stamps_of):
            with pytest.raises(FaceproofError, match="s3://bucket may not be looked at either"):
                call([path])
    else:
        assert objects.fetch_objects([path])[path].error == "the object may not be read"


@both_stores
def test_large_images_are_fetched_when_their_turn_comes(photos, bucket, detector, monkeypatch):
    there = f"{bucket}/some/photos"
    paths = [f"{there}/{name}" for name in (*NAMES, "damaged.jpg")]
    images = _Files(load(detector, "cpu").fits, Loading())
    expected = images.__getitems__(paths)
    fetched, fetch = [], objects.fetch_object

    def noting(path, limit=None):
        found = fetch(path, limit)
        fetched.append(path)
        return found

    monkeypatch.setattr(objects, "fetch_object", noting)
    monkeypatch.setattr("faceproof.inference.files.fetch_object", noting)
    monkeypatch.setattr(objects, "MAX_AT_ONCE", 100)
    found = objects.fetch_objects(paths)
    assert [path for path in paths if found[path].is_large] == paths[:-1]
    assert fetched == paths[-1:]  # `damaged.jpg` has fewer bytes
    for one, other in zip(images.__getitems__(paths), expected, strict=True):
        assert (one.stamp, one.error) == (other.stamp, other.error)
        pixels = zip(one.fitted, other.fitted, strict=True)
        assert all(torch.equal(a[key], b[key]) for a, b in pixels for key in b)
    assert sorted(fetched) == sorted([*paths, paths[-1]])


def test_an_object_may_come_twice_in_a_batch(photos, bucket, detector):
    images = _Files(load(detector, "cpu").fits, Loading())
    one, again = images.__getitems__([f"{bucket}/some/photos/z.jpg"] * 2)
    assert one.error is again.error is None
    assert one.stamp == again.stamp is not None


@pytest.mark.parametrize(
    ("told", "error", "refusal"),
    [
        (Fetched(error="it is gone"), "it is gone", None),
        (ShardError("the store does not answer"), None, "the store does not answer"),
    ],
)
def test_a_large_image_that_cannot_be_fetched_later_is_a_row_or_ends_the_command(
    photos, bucket, monkeypatch, told, error, refusal
):
    def fetch(path):
        if isinstance(told, Exception):
            raise told
        return told

    monkeypatch.setattr(objects, "MAX_AT_ONCE", 100)
    monkeypatch.setattr("faceproof.inference.files.fetch_object", fetch)
    (file,) = _Files((), Loading()).__getitems__([f"{bucket}/some/photos/z.jpg"])
    assert (file.error, file.refusal) == (error, refusal)


def test_an_image_that_is_too_large_is_a_row(photos, bucket, monkeypatch):
    monkeypatch.setattr(objects, "MAX_AT_ONCE", 50)
    monkeypatch.setattr(objects, "MAX_BYTES", 100)
    (file,) = _Files((), Loading()).__getitems__([f"{bucket}/some/photos/z.jpg"])
    assert file.error.endswith("bytes; at most 100 are read")
    assert file.refusal is None


def test_a_video_that_is_too_large_is_a_row(bucket, tmp_path, monkeypatch):
    (tmp_path / "long.mp4").write_bytes(b"0" * 1001)
    ObjectStore(bucket).put(tmp_path / "long.mp4")
    monkeypatch.setattr(objects, "MAX_VIDEO_BYTES", 1000)
    (file,) = _Files((), Loading()).__getitems__([f"{bucket}/long.mp4"])
    assert file.error == "it has 1,001 bytes; at most 1,000 are read"
    assert file.refusal is None
