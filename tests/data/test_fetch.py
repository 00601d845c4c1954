"""Fetching: into the folder where the configuration looks, or a message that says what to do."""

import builtins
import sys
from pathlib import Path

import pytest

from faceproof.data import fetch as fetching
from faceproof.data.fetch import ORIGINS, fetch
from faceproof.errors import FaceproofError

CONF = Path(__file__).parents[2] / "conf" / "data"


def downloaded(folder: Path) -> Path:
    (folder / "real_and_fake_face").mkdir(parents=True)
    (folder / "real_and_fake_face" / "1.jpg").write_bytes(b"1")
    return folder


def test_every_origin_is_of_a_configured_set_and_named_in_its_header() -> None:
    for name, origin in ORIGINS.items():
        text = (CONF / f"{name}.yaml").read_text()
        header = "".join(line for line in text.splitlines() if line.startswith("#"))
        assert (origin.kaggle or origin.page) in header.replace("# ", "")
        assert f"root: ${{oc.env:FACEPROOF_DATA,data}}/{name}\n" in text


def test_a_set_is_copied_to_where_its_configuration_looks(tmp_path: Path) -> None:
    asked = []

    def download(handle: str) -> str:
        asked.append(handle)
        return str(downloaded(tmp_path / "cache"))

    target = fetch("ciplab", tmp_path / "data", download)
    assert target == tmp_path / "data" / "ciplab"
    assert (target / "real_and_fake_face" / "1.jpg").read_bytes() == b"1"
    assert asked == ["ciplab/real-and-fake-face-detection"]
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["ciplab"]


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "ciplab").mkdir()
    with pytest.raises(FaceproofError, match=r"ciplab is there already; remove it to fetch"):
        fetch("ciplab", tmp_path, lambda handle: pytest.fail("it was fetched"))


def test_a_set_that_one_has_to_ask_for_says_where(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match=r"ask at github\.com/ondyari/.*/faceforensics"):
        fetch("faceforensics", tmp_path, lambda handle: pytest.fail("it was fetched"))


def test_an_unknown_name_says_which_are_known(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match=r"nothing to fetch for 'celeba'.*known are deep"):
        fetch("celeba", tmp_path)


def test_a_download_that_fails_says_why_and_what_to_do_by_hand(tmp_path: Path) -> None:
    def download(handle: str) -> str:
        raise ConnectionError("no route")

    with pytest.raises(FaceproofError) as refusal:
        fetch("ciplab", tmp_path / "data", download)
    message = str(refusal.value)
    assert "ciplab could not be fetched from Kaggle (ConnectionError: no route)" in message
    assert f"by hand from {ORIGINS['ciplab'].page} and unpack it into {tmp_path}" in message
    assert not (tmp_path / "data").exists()


def test_a_copy_that_is_cut_short_does_not_look_like_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(source: Path, target: Path) -> None:
        target.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching.shutil, "copytree", cut_short)
    with pytest.raises(KeyboardInterrupt):
        fetch("ciplab", tmp_path / "data", lambda handle: str(downloaded(tmp_path / "cache")))
    assert not (tmp_path / "data" / "ciplab").exists()


def test_without_kagglehub_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_module = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "kagglehub":
            raise ImportError(name)
        return import_module(name, *rest)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "kagglehub", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FaceproofError, match=r"pip install 'faceproof\[fetch\]'"):
        fetch("ciplab", tmp_path)
