"""Lists as people have them: spreadsheets, scripts, Windows, and other machines."""

import logging
import unicodedata
from pathlib import Path

import pytest

from faceproof.data.lists import ListedPaths, bare_lines, csv_rows, open_list
from faceproof.errors import FaceproofError

ROWS = [{"path": "a, b/ü 1.jpg", "label": "real"}, {"path": "c.jpg", "label": "fake"}]
COMMAS = 'path,label\n"a, b/ü 1.jpg",real\nc.jpg,fake\n'
UTF8, UTF8_BOM = "utf-8", "utf-8-sig"
UTF16, UTF16_LE, UTF16_BE = "utf-16", "utf-16-le", "utf-16-be"


def rows(folder: Path, text: str, encoding: str = UTF8) -> list[dict[str, str]]:
    file = folder / "list.csv"
    file.write_bytes(text.encode(encoding))
    with open_list(file) as lines:
        return list(csv_rows(lines, file))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(COMMAS, id="as it should be"),
        pytest.param(COMMAS.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(COMMAS.replace("path,label", "Path,LABEL"), id="upper case"),
        pytest.param(COMMAS.replace("path,label", ' "path" , label '), id="spaced header"),
        pytest.param(COMMAS.replace("\n", ",\n"), id="trailing commas"),
        pytest.param(COMMAS.replace("l\n", "l,\n", 1), id="trailing comma in the header"),
        pytest.param(COMMAS.replace("g,f", "g, f"), id="space after a comma"),
        pytest.param(COMMAS.rstrip("\n"), id="no end of line"),
        pytest.param("\n" + COMMAS + "\n,\n", id="empty lines"),
        pytest.param(',path,label\n0,"a, b/ü 1.jpg",real\n1,c.jpg,fake\n', id="pandas' index"),
        pytest.param("path;label\na, b/ü 1.jpg;real\nc.jpg;fake\n", id="semicolons"),
        pytest.param("path;label;\na, b/ü 1.jpg;real;\nc.jpg;fake;\n", id="trailing semicolons"),
        pytest.param("sep=;\npath;label\na, b/ü 1.jpg;real\nc.jpg;fake\n", id="Excel's note"),
        pytest.param("path\tlabel\na, b/ü 1.jpg\treal\nc.jpg\tfake\n", id="tabulators"),
        pytest.param("path|label\na, b/ü 1.jpg|real\nc.jpg|fake\n", id="bars"),
    ],
)
@pytest.mark.parametrize("encoding", [UTF8, UTF8_BOM, UTF16, UTF16_LE, UTF16_BE])
def test_every_way_to_write_a_table(tmp_path: Path, text: str, encoding: str) -> None:
    found = rows(tmp_path, text, encoding)
    assert [{name: cell.strip() for name, cell in row.items()} for row in found] == ROWS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first line must name the columns"),
        (" \n\n", "is empty"),
        ("path,label\na.jpg\n", "row 2 cannot be read: it has 1 cells, and the first line names 2"),
        ("path,label\na,b.jpg,real\n", "row 2 cannot be read: it has 3 cells, .* between quotes"),
        ("path,label,\na,b.jpg,real\n", "row 2 cannot be read: it has 3 cells"),
        ("path,path\na,b\n", "has the column path twice"),
        ('path\n"' + "a" * 200_000 + '"\n', "cannot be read as CSV: field larger"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FaceproofError, match=message):
        rows(tmp_path, text)


def test_bytes_of_an_old_code_page_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match=r"UTF-8 or UTF-16 .* \(in Excel: CSV UTF-8\)"):
        rows(tmp_path, COMMAS, "cp1252")


@pytest.mark.parametrize("encoding", [UTF8, UTF8_BOM, UTF16, UTF16_LE])
def test_lines_of_a_text(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes("ü.jpg\r\n\r\nb.jpg\nIcon\r\n".encode(encoding))
    with open_list(file) as lines:
        assert list(bare_lines(lines)) == ["ü.jpg", "b.jpg", "Icon\r"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("real/1.jpg", "fake/1.jpg", unicodedata.normalize("NFD", "réel/é 1.jpg")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    "path",
    ["real/1.jpg", "./real/1.jpg", r"real\1.jpg", r".\real\1.jpg", '"real/1.jpg"', " real/1.jpg ",
     "/home/ann/sets/real/1.jpg", r"C:\Users\ann\sets\real\1.jpg", r"\\nas\sets\real\1.jpg",
     "D:/sets/real/1.jpg"],
)  # fmt: skip
def test_a_file_is_found_however_its_path_is_written(folder: Path, path: str) -> None:
    assert ListedPaths(folder, folder / "x.csv").find(path) == f"{folder}/real/1.jpg"


def test_accents_and_names_with_back_slashes(folder: Path) -> None:
    paths = ListedPaths(folder, folder / "x.csv")
    wanted = unicodedata.normalize("NFC", "réel/é 1.jpg")
    assert paths.find(wanted) == str(folder / unicodedata.normalize("NFD", wanted))
    assert paths.find("/home/ann/" + wanted) == str(folder / unicodedata.normalize("NFD", wanted))
    (folder / "odd\\name.jpg").touch()
    assert paths.find("odd\\name.jpg") == f"{folder}/odd\\name.jpg"


def test_another_machines_folder_is_told_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = ListedPaths(folder, folder / "x.csv")
    with caplog.at_level(logging.WARNING):
        found = [paths.find(f"/home/ann/{label}/1.jpg") for label in ("real", "fake", "gone")]
    assert found == [f"{folder}/real/1.jpg", f"{folder}/fake/1.jpg", "/home/ann/gone/1.jpg"]
    (message,) = caplog.messages
    assert "there is no /home/ann/ on this machine" in message
    assert f"the files of the same names below {folder} are taken" in message


def test_what_is_there_is_never_replaced(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "real" / "1.jpg"
    other.parent.mkdir(parents=True)
    other.touch()
    assert ListedPaths(folder, folder / "x.csv").find(str(other)) == str(other)
