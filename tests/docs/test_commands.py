"""Every command that a page shows can be given: it composes, or its arguments are understood.

Those of the guides and of the first ten minutes are run, by `test_examples`.
"""

import copy
import fnmatch
import functools
import importlib
import inspect
import re
import runpy
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, RangeSweep
from omegaconf import OmegaConf

import benchmarks.__main__
from faceproof import app
from faceproof.cli.main import make_parser
from faceproof.data.sources import make_source, resolve
from faceproof.evaluation.config import EvaluateConfig
from faceproof.programs import over_words
from faceproof.settings import make
from faceproof.training.config import make_train_config
from faceproof.words import prepared, with_allowed
from tests.conftest import write_images
from tests.docs.pages import DOCS, commands, write_files
from tests.jobs import CHOICES, REPOSITORY, compose_job

PAGES = {
    str(file.relative_to(REPOSITORY)): file.read_text("utf-8")
    for file in (*sorted(DOCS.rglob("*.md")), *sorted(REPOSITORY.glob("*.md")))
}
# Programs of others; what they are told is theirs to know.
OF_OTHERS = {"curl", "docker", "export", "ffmpeg", "hf", "kubectl", "openssl", "pre-commit",
             "pytest", "python", "sbatch", "source", "tensorboard", "torchrun",
             "tritonserver"}  # fmt: skip
# What a page writes where the reader has a name of their own.
NAMES = {"data=NAME": "data=demo", "experiments=NAME": "experiments=face_cnn"}
SKIPPED = ("hydra/launcher", "hydra.launcher.")  # of a plugin that need not be installed


def extras() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return set(project["optional-dependencies"])


@pytest.fixture(scope="module", autouse=True)
def _files_are_read_once() -> Iterator[None]:
    """Parse each file of conf/ once: most of the time of a composition goes into that."""
    load = OmegaConf.load
    known: dict[str, Any] = {}

    def load_once(file: Any) -> Any:
        place = str(getattr(file, "name", file))
        if not place.startswith(str(REPOSITORY)):
            return load(file)
        if place not in known:
            known[place] = load(file)
        return copy.deepcopy(known[place])

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(OmegaConf, "load", load_once)
        yield


@pytest.mark.parametrize("page", PAGES)
def test_every_command_can_be_given(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(PAGES[page], tmp_path)
    for label in ("real", "fake"):
        write_images(tmp_path / "my/images" / label, ["a.jpg"])
    for words in commands(PAGES[page]):
        try:
            check([NAMES.get(word, word) for word in words], monkeypatch)
        except Exception as error:
            raise AssertionError(f"{page}: {' '.join(words)}: {error}") from error


def test_the_commands_of_the_reference_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    made = runpy.run_path(str(REPOSITORY / ".ci" / "site"))["made_pages"]()
    found = list(commands(made["reference/commands.md"]))
    assert len(found) > 12
    for words in found:
        check(words, monkeypatch)


@pytest.mark.parametrize(
    "line",
    ["faceproof train optimizer.lr=fast", "faceproof train model=resnet81", "faceprof train",
     "faceproof evaluate run=latest splt=test", "faceproof predict photos --detektor detector",
     "python -m benchmarks trainng", "pip install 'faceproof[video,lights]'",
     "python train.py -m model=resnet18,resnet81", "faceproof audit data=demo data.rot=x"],
)  # fmt: skip
def test_a_command_that_cannot_be_given_is_noticed(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (words,) = commands(f"```bash\n{line}\n```")
    with pytest.raises(Exception, match=r"\w"):
        check(words, monkeypatch)


def check(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse a command that would be refused, without doing what it says."""
    program, *arguments = words
    if program == "faceproof":
        check_own(arguments)
    elif program == "python" and arguments[0] in ("train.py", "evaluate.py"):
        check_own([arguments[0].removesuffix(".py"), *arguments[1:]])
    elif program == "python" and arguments[:2] == ["-m", "benchmarks"]:
        monkeypatch.setattr(sys, "argv", arguments[1:])
        monkeypatch.setattr(benchmarks.__main__, "_measure", lambda given: [])
        monkeypatch.setattr(benchmarks.__main__, "show", lambda *_: None)
        check_exit(benchmarks.__main__.main)
    elif program == "python" and arguments[1].startswith("tests."):
        source = inspect.getsource(importlib.import_module(arguments[1]))
        assert all(word in source for word in arguments if word.startswith("--"))
    elif program == "pip":
        for word in arguments:
            named = re.search(r"\[(.*)\]", word)
            assert not named or set(named[1].split(",")) <= extras(), word
    elif not program.startswith(".ci/") and (program, *arguments[:2]) != ("python", "-m", "venv"):
        assert program in OF_OTHERS, f"{program} is no program that a page may name"


def check_exit(main: object) -> None:
    try:
        main()  # type: ignore[operator]
    except SystemExit as error:
        raise AssertionError(f"exit code {error.code}") from error


def check_own(arguments: list[str]) -> None:
    name, *words = arguments
    if name in ("train", "sweep", "crossval", "evaluate"):
        words = with_allowed(words)
    if name == "crossval":
        words = over_words(words)
    if name in ("train", "sweep", "crossval"):
        several = name == "sweep" or "-m" in words
        given = [word for word in words if word != "-m" and not word.startswith(SKIPPED)]
        for one in each_run(given, several):
            check_training(one)
    elif name == "evaluate":
        check_evaluation(tuple(words))
    else:
        _, bound, _ = make_parser(name).parse_args(
            arguments, exit_on_error=False, print_error=False
        )
        (config,) = bound.arguments.values()
        if name == "audit":
            assert config.engine
            cached(known_data)(tuple(config.of_data))
        elif settings := getattr(config, "settings", ()):
            cached(known_data)(tuple(settings))


def each_run(words: list[str], several: bool) -> list[tuple[str, ...]]:
    """Return the words of two runs of a sweep, of the first and of the last value of each setting.

    Of those between, the files that they name must be there.
    """
    if not several and not any(word.startswith("sweep=") for word in words):
        return [tuple(words)]
    options = []
    for override in OverridesParser.create().parse_overrides(prepared(words, True)):
        value = override.value()
        if isinstance(value, IntervalSweep | RangeSweep):
            found = [value.start]
        elif isinstance(value, Glob):
            names = [file.stem for file in (REPOSITORY / "experiments").glob("*.yaml")]
            found = [name for name in names if any(fnmatch.fnmatch(name, p) for p in value.include)]
        elif override.is_sweep_override():
            found = list(override.sweep_string_iterator())
        else:
            found = [override.input_line.partition("=")[2]]
        key = override.get_key_element()
        names = [name for one in map(str, found) for name in one.strip("[]").split(",")]
        assert set(names) <= set(CHOICES.get(key, names)), f"{key} has no {found}"
        options.append([f"{key}={one}" for one in found])
    runs = [tuple(one[end] for one in options) for end in (0, -1)]
    return [*dict.fromkeys(runs)]


def cached(known: Any) -> Any:
    """Return a check without its memory where a page has put files into conf/, found first."""
    return known.__wrapped__ if Path("conf").is_dir() else known


# Several pages show the same commands.
@functools.cache
def known_training(words: tuple[str, ...]) -> None:
    make_train_config(app.training_values(compose_job("train", Path("run"), words)))


@functools.cache
def known_data(words: tuple[str, ...]) -> None:
    make_source(resolve(app.plain(compose_job("train", Path("run"), words).data)))


def check_training(words: tuple[str, ...]) -> None:
    cached(known_training)(words)


@functools.cache
def check_evaluation(words: tuple[str, ...]) -> None:
    config = compose_job("evaluate", Path("run"), words)
    values = app.plain(config)
    if "data" in values:
        make_source(resolve(values.pop("data")))
    values.pop("allow")
    make(EvaluateConfig, values)
