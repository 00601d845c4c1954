"""Paths and texts of the command line arrive as they are typed: in Hydra, and by a shell."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from faceproof import app, words
from faceproof.errors import FaceproofError
from faceproof.words import (
    apart,
    as_typed,
    at_home,
    combined,
    for_hydra,
    for_shell,
    meaning,
    override,
    prepared,
    spelled,
)
from tests.jobs import CONF

NASTY = [
    *("jürgen", "fake (1)", "a=b", "a,b", "[1]", "{x}", "a~b", "~old", "sp ace", "$HOME", "#1"),
    *("it's", 'a "quote"', "back\\slash", "end\\", "-x", "😀", "null", "True", "12", "1e3", "*"),
    *("'quoted'", '"quoted"', "a;b&c|d", "epoch=3-step=40.ckpt", "réel/faux", "choice(a,b)", "a!b"),
    *(
        "[a,b]",
        "a:b",
        "C:\\data",
        "a\\,b",
        "@x",
        "+x",
        "%",
        "?",
        "`x`",
        "<x>",
        "Jane\u2019s \u201cx\u201d",
        " a ",
    ),
]
TEXT = st.text(alphabet="ab1.-\\\"'${}[]():=,~ #ß\n", min_size=1, max_size=8)


def read(text: str) -> object:
    """Return what Hydra and OmegaConf have of the value of an override."""
    (found,) = OverridesParser.create().parse_overrides([f"key={text}"])
    return OmegaConf.create({"key": found.value()}).key


def composed(*given: str, name: str = "train") -> dict:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return app.plain(compose(name, app.command_line(given)), resolve=True)


@pytest.mark.parametrize("text", [*NASTY, "${x}", "\\${x}", "${", ""])
def test_hydra_reads_a_quoted_text_as_it_is(text: str) -> None:
    assert read(for_hydra(text)) == text


@given(TEXT)
def test_hydra_reads_any_quoted_text_as_it_is(text: str) -> None:
    assert read(for_hydra(text)) == text
    assert prepared([f"data.root={for_hydra(text)}"]) == [f"data.root={for_hydra(text)}"]


@pytest.mark.parametrize("name", [*NASTY, "${oc.env:HOME}", "latest", "???"])
def test_a_folder_arrives_as_it_is_typed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir(parents=True)
    for path in (name, str(tmp_path / name)):
        found = composed("data=real_fake_folders", f"data.root={path}", f"model.weights={path}")
        for one in (found["data"]["root"], found["model"]["weights"]):
            assert one == path or (path, one) == (name, f"./{name}")
    below = f"{tmp_path / name}/new"
    assert composed("data=table", f"data.file={below}")["data"]["file"] == below
    (printed,) = shlex.split(override("run", name))
    assert Path(str(composed(printed, name="evaluate")["run"])) == Path(name)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("data.root=null", None),
        ("data.root=some/where", "some/where"),
        ("data.root='in quotes'", "in quotes"),
        ('data.root="in, quotes"', "in, quotes"),
        ("data.root=${oc.env:BELOW}/é (1)", "/mnt/é (1)"),
        ("++data.root=(1)", "(1)"),
        ("data.root=~/x", "/home/me/x"),
        ("data.root=~", "/home/me"),
        ("data.root=~nobody-of-that-name", "~nobody-of-that-name"),
        ("data.root=s3://bucket/a b", "s3://bucket/a b"),
    ],
)
def test_what_of_hydra_s_keeps_its_meaning(
    word: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BELOW", "/mnt")
    monkeypatch.setenv("HOME", "/home/me")
    assert composed("data=real_fake_folders", word)["data"]["root"] == expected


def test_home_is_found_as_by_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert at_home("~/x") == "/home/me/x"
    assert at_home("x/~") == "x/~"
    assert at_home("~nobody-of-that-name/x") == "~nobody-of-that-name/x"


WORDS = ["fake (1)", "réel", "v1.real", "0-real", "a=b", "celeb-real", "0", "x$y", "$$", "😀", "~"]


@pytest.mark.parametrize("sign", ["", "+", "++"])
@pytest.mark.parametrize("word", WORDS)
def test_any_folder_word_gets_a_meaning(word: str, sign: str) -> None:
    for place in ("data", "data.sets.a.sets.b"):
        (found,) = prepared([f"{sign}{place}.labels.{word}=fake"])
        assert found == f"++{place}.labels.{spelled(word)}=fake"
    data = composed("data=real_fake_folders", f"{sign}data.labels.{word}=fake")["data"]
    assert data["labels"] == {"real": "real", "fake": "fake", word: "fake"}
    (printed,) = shlex.split(meaning("data.labels", word, "fake"))
    assert prepared([printed]) == prepared([f"data.labels.{word}=fake"])


@given(TEXT)
def test_any_word_comes_back_as_it_was_typed(word: str) -> None:
    assume(not word.startswith("$$$"))  # taken for one that is spelled already
    assert as_typed({"a": [{spelled(word): 1}]}) == {"a": [{word: 1}]}
    assert words.KEY.fullmatch(spelled(word))


def test_the_command_line_stands_over_a_file_s_word() -> None:
    assert as_typed({"réel": "real", spelled("réel"): None}) == {"réel": None}


@pytest.mark.parametrize(
    ("given_words", "expected"),
    [
        (["-m", "data.root=a (1),b"], 'data.root="a (1)",b'),
        (["-m", 'data.root="a,b",c'], 'data.root="a,b",c'),
        (["-m", "data.root=it's,b"], 'data.root="it\'s",b'),
        (["-m", "data.root=${oc.env:X,y},b"], 'data.root="${oc.env:X,y}",b'),
        (["-m", "data.root=choice(a,b)"], "data.root=choice(a,b)"),
        (["-m", "data.root=choice(é,b)"], 'data.root=choice("é",b)'),
        (["--multirun", "model.name=é,b"], 'model.name="é",b'),
        (["sweep=seeds", "data.root=a,b"], "data.root=a,b"),
        (["hydra.mode=MULTIRUN", "data.root=a,b"], "data.root=a,b"),
        (["sweep=null", "data.root=a,b"], 'data.root="a,b"'),
        (["data.root=a,b"], 'data.root="a,b"'),
        (["-m", "hydra.sweep.dir=a,b"], 'hydra.sweep.dir="a,b"'),
        (["-m", "model=a,b"], "model=a,b"),
        (["-m", "trainer.max_steps=1,2"], "++trainer.max_steps=1,2"),
        (["trainer.max_epochs=2"], "trainer.max_epochs=2"),
        (["-m", "model=é,b"], 'model="é",b'),
        (["allow=[größe, b]"], 'allow=["größe",b]'),
        (["seed=1"], "seed=1"),
        (["--config-dir", "a=ü"], "a=ü"),
        (["--config-dir=ü"], "--config-dir=ü"),
    ],
)
def test_commas_separate_values_in_a_sweep_alone(given_words: list[str], expected: str) -> None:
    found = prepared(given_words)[-1]
    assert found.replace(", ", ",") == expected
    assert prepared(prepared(given_words)) == prepared(given_words)


def test_a_path_with_a_comma_that_exists_is_one_in_a_sweep_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a,b").mkdir()
    assert prepared(["-m", "data.root=a,b"]) == ["-m", 'data.root="a,b"']


SHELLS = [shell for shell in ("bash", "zsh", "pwsh") if shutil.which(shell)]


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_pass_printed_words_on_as_they_are(shell: str, tmp_path: Path) -> None:
    texts = [text for text in NASTY if shell != "pwsh" or not ("'" in text and '"' in text)]
    line = " ".join(for_shell(text) for text in texts)
    code = f"{sys.executable} -c 'import json,sys;print(json.dumps(sys.argv[1:]))' -- {line}"
    option = "-Command" if shell == "pwsh" else "-c"
    found = subprocess.run([shell, option, code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == ["--", *texts]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("run=runs/2026-01-01_a", "run=runs/2026-01-01_a"),
        ("data=[a,b]", "'data=[a,b]'"),
        ("run=it's", '"run=it\'s"'),
        ("run=Jane\u2019s", '"run=Jane\u2019s"'),  # a quote to PowerShell
    ],
)
def test_words_are_quoted_alike_for_every_shell(word: str, expected: str) -> None:
    assert for_shell(word) == expected


def test_what_no_quotes_hold_everywhere_is_quoted_for_this_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "name", "nt")
    assert for_shell("it's $5") == "'it''s $5'"


@pytest.mark.parametrize("swept", [False, True])
def test_an_argument_of_the_user_s_own_function_is_added_where_no_file_lists_it(
    swept: bool,
) -> None:
    assert prepared(["model.head.width=8,16"], swept) == ["++model.head.width=8,16"]
    assert prepared(["++model.backbone.width=8"], swept) == ["++model.backbone.width=8"]
    assert prepared(["model.backbone.model=a"], swept) == ["model.backbone.model=a"]


def test_several_data_sets_are_combined() -> None:
    data = composed("data=[ciplab,celebdf]", "data.sets.ciplab.root=é")["data"]
    assert (data["kind"], data["name"], data["task"]) == ("combined", "ciplab+celebdf", "deepfake")
    for name, changed in (("ciplab", {"root": "é"}), ("celebdf", {})):
        assert data["sets"][name] == composed(f"data={name}")["data"] | changed
    assert composed("data=[ciplab]") == composed("data=ciplab")
    assert composed("data.name=mine", "data=[ciplab,celebdf]")["data"]["name"] == "mine"
    assert combined(["resume=x", "data=[a,b]"]) == ["resume=x", "data=[a,b]"]
    for word, message in (("data=[]", "names no data set"), ("data=[a,b,a]", "a more than once")):
        with pytest.raises(FaceproofError, match=message):
            combined([word])


@pytest.mark.parametrize(
    ("value", "limit", "kind", "written"),
    [
        (0.0104, 0.01, ".1%", ("1.04%", "1.00%")),
        (0.5, 0.01, ".1%", ("50.0%", "1.0%")),
        (2.0004, 2.0, ".3g", ("2.0004", "2")),
        (0.65001, 0.65, ".3f", ("0.65001", "0.65000")),
        (0.01, 0.01, ".1%", ("1.0%", "1.0%")),
    ],
)
def test_a_value_and_its_limit_are_told_apart(
    value: float, limit: float, kind: str, written: tuple[str, str]
) -> None:
    assert apart(value, limit, kind) == written


@given(value=st.floats(0, 1), limit=st.floats(0, 1))
def test_any_two_shares_differ_in_writing(value: float, limit: float) -> None:
    if abs(value - limit) > 1e-12:
        first, second = apart(value, limit)
        assert first != second
