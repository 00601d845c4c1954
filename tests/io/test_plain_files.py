"""Files that a stranger may have written are read as data, or refused in one message."""

import os
import socket

import pytest

from faceproof.errors import FaceproofError
from faceproof.io.plain_files import (
    MAX_FOLDERS,
    open_plain,
    plain_value,
    printable_lines,
    read_bytes,
    read_json,
    read_object,
    read_yaml,
    refuse_links,
    yaml_text,
)

VALUES = {"a": [1, 2.5, True, None, "x\x1b\n"], "b": {"c": "${oc.env:HOME}"}}
LINES = (f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
BOMB = "\n".join(["a0: &a0 [x]", *LINES])


def refused(read, file, words):
    with pytest.raises(FaceproofError, match=words):
        read(file, "copy it again")


def make_pipe(place):
    os.mkfifo(place)


def make_socket(place):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(place))


def make_link(place):
    (place.parent / "mine").write_text("{}")
    place.symlink_to(place.parent / "mine")


def make_loop(place):
    place.symlink_to(place)


SPECIAL = [
    make_pipe, make_socket, make_link, make_loop, lambda place: place.symlink_to("/dev/zero"),
]  # fmt: skip


@pytest.mark.parametrize("make", SPECIAL)
def test_links_and_special_files_are_neither_followed_nor_waited_for(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    place = tmp_path / "run" / "file"
    place.parent.mkdir()
    make(place)
    for read in (read_json, read_yaml):
        refused(read, place, "file is a link or no plain file")
    with pytest.raises(FaceproofError, match="file is a link or no plain file"):
        open_plain(place, os.O_WRONLY | os.O_CREAT)
    with pytest.raises(FaceproofError, match="file is a link or no plain file"):
        refuse_links(place.parent)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    refused(read_json, tmp_path, "is a link or no plain file")
    refused(read_json, tmp_path / "gone", "cannot be read: No such file")


def test_a_run_may_be_reached_by_a_link_but_holds_none(tmp_path):
    (tmp_path / "run/evaluations").mkdir(parents=True)
    (tmp_path / "latest").symlink_to(tmp_path / "run")
    refuse_links(tmp_path / "latest")
    (tmp_path / "run/evaluations/x").symlink_to(tmp_path)
    with pytest.raises(FaceproofError, match="evaluations/x is a link"):
        refuse_links(tmp_path / "latest")


def test_a_folder_without_end_is_refused(tmp_path):
    tmp_path.joinpath(*["d"] * (MAX_FOLDERS + 3)).mkdir(parents=True)
    with pytest.raises(FaceproofError, match="levels deep, which no run has"):
        refuse_links(tmp_path)


def test_what_is_written_is_read_and_stays_text(tmp_path):
    file = tmp_path / "config.yaml"
    shared = [1]
    file.write_text(yaml_text(VALUES | {"twice": shared, "again": shared}))
    assert read_yaml(file, "") == VALUES | {"twice": [1], "again": [1]}


@pytest.mark.parametrize(
    "text",
    [
        BOMB, "a: &a 1\nb: *a\n", "[" * 200_000, "!!python/object/apply:os.system ['touch x']",
        "a: 2001-01-01", "a: !!binary aGk=", "a: .inf", "a: .nan", "0x" + "f" * 99, "{[1]: 2}",
        "a: !!set {x}", "--- 1\n--- 2", "a: [", "\x00", "? [a]\n: b",
    ],
)  # fmt: skip
def test_yaml_that_is_no_plain_data_is_refused(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    refused(read_yaml, file, r"config\.yaml is damaged(?s:.*); copy it again")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[" * 200_000, '{"a":' * 100_000, "NaN", "1e999", "9" * 5000, "9" * 30,
        '"\\ud800"',
        "[" * 60 + "]" * 60, "\x00",
    ],
)  # fmt: skip
def test_json_that_is_no_plain_data_is_refused(tmp_path, text):
    file = tmp_path / "record.json"
    file.write_text(text)
    refused(read_json, file, r"record\.json is damaged, no whole JSON: (?s:.*); copy it again")


def test_files_that_are_no_sensible_size_are_not_read(tmp_path):
    file = tmp_path / "hole"
    with file.open("wb") as made:
        made.truncate(2**40)
    for read in (read_json, read_yaml):
        refused(read, file, "has 1,099,511,627,776 bytes; at most")
    with pytest.raises(FaceproofError, match="at most 10 are sensible"):
        read_bytes(file, 10)


def test_texts_of_json_are_those_that_a_terminal_shows(tmp_path):
    file = tmp_path / "record.json"
    file.write_text('{"a\\u001b[31m": ["x\\u202ey\\n"]}')
    assert read_object(file, "") == {"a\\x1b[31m": ["x\\u202ey\\n"]}
    assert printable_lines("a\x07\nb") == "a\\x07\nb"


def test_a_list_where_names_belong_is_refused(tmp_path):
    (tmp_path / "record.json").write_text("[1]")
    refused(read_object, tmp_path / "record.json", "holds a list and no names with values")


def test_other_objects_are_no_plain_values():
    with pytest.raises(ValueError, match="it holds a bytes"):
        plain_value({"a": [b""]})
