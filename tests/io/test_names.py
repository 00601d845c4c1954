"""Names composed and decomposed are one name, wherever a path comes from."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.io.names import as_on_disk, composed, folded


def nfd(name: str) -> str:
    return unicodedata.normalize("NFD", name)


@given(st.text(max_size=10))
def test_every_spelling_of_a_word_is_one(word: str) -> None:
    assert composed(nfd(word)) == composed(word)
    assert folded(nfd(word.upper())) == folded(word.upper())
    assert folded(word) == folded(nfd(word))


@pytest.mark.parametrize("typed", [composed, nfd])
@pytest.mark.parametrize("held", [composed, nfd])
def test_a_path_is_found_in_the_form_in_which_it_is_held(tmp_path: Path, typed, held) -> None:  # type: ignore[no-untyped-def]
    place = tmp_path / held("jürgen") / "plain" / held("réel (1).jpg")
    place.parent.mkdir(parents=True)
    place.touch()
    given = typed(f"{tmp_path}/jürgen/plain/réel (1).jpg")
    assert as_on_disk(given) == str(place)


def test_what_is_there_or_nowhere_is_as_it_was(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    for form in (composed("é"), nfd("é")):
        Path(form).touch()
    for path in (composed("é"), nfd("é"), "gone é/a", "plain", "", "é/é", f"{tmp_path}/é/x/é"):
        assert as_on_disk(path) == path


def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    wanted = f"{tmp_path}/{composed('é')}"
    assert as_on_disk(wanted) == wanted
    (tmp_path / nfd("é")).touch()
    assert as_on_disk(wanted) == f"{tmp_path}/{nfd('é')}"
