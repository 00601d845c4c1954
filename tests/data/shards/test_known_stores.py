"""No object store is contacted that the user has not named."""

from pathlib import Path

import pyarrow as pa
import pytest

from faceproof import lookup
from faceproof.data.shards.known_stores import known_stores, refuse_unknown_stores, remember_store
from faceproof.data.shards.paths import Member
from faceproof.errors import FaceproofError

TABLE = Path("samples.parquet")


def images(*roots: str) -> pa.ChunkedArray:
    return pa.chunked_array([[Member(root, "a.tar", 0, 9, 1).path("1.jpg") for root in roots]])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path))
    monkeypatch.delenv(lookup.VARIABLE, raising=False)
    monkeypatch.setattr(lookup, "_allowed", set())


def test_a_store_that_nobody_named_is_refused_and_a_folder_is_not() -> None:
    refuse_unknown_stores(images("/data/set"), TABLE)
    with pytest.raises(FaceproofError, match=r"samples\.parquet names images in s3://theirs/set"):
        refuse_unknown_stores(images("/data/set", "s3://theirs/set"), TABLE)


def test_a_store_that_was_named_once_is_known() -> None:
    for _ in range(2):
        remember_store("s3://mine/set/")
    remember_store("/data/set")
    assert known_stores().read_text("utf-8") == "s3://mine/set\n"
    refuse_unknown_stores(images("s3://mine/set"), TABLE)
    with pytest.raises(FaceproofError, match="s3://mine/other"):
        refuse_unknown_stores(images("s3://mine/other"), TABLE)


def test_a_place_is_allowed_with_what_lies_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lookup.VARIABLE, "s3://mine")
    refuse_unknown_stores(images("s3://mine/set"), TABLE)
    with pytest.raises(FaceproofError, match="s3://mineral/set"):
        refuse_unknown_stores(images("s3://mineral/set"), TABLE)
