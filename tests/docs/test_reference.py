"""The reference holds every setting, variable, column and file, and the site every page."""

import itertools
import re
import runpy
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from faceproof.data.table import SCHEMA as IMAGES
from faceproof.evaluation.predictions import SCHEMA as PREDICTIONS
from faceproof.inference.output_parts import Row
from faceproof.io.run_folder import RunFolder
from tests.docs.pages import DOCS
from tests.jobs import CONF, REPOSITORY, compose_job

SITE = runpy.run_path(str(REPOSITORY / ".ci" / "site"))


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return SITE["made_pages"]()


@pytest.fixture(scope="module")
def settings(made: dict[str, str]) -> list[str]:
    return re.findall(
        r"^\| `([\w.]+)` \|[^|]+\|[^|]+\|", made["reference/settings.md"], re.MULTILINE
    )


def keys(node: object, where: str = "") -> list[str]:
    if isinstance(node, dict) and node:
        return [k for key, part in node.items() for k in keys(part, f"{where}.{key}".strip("."))]
    if isinstance(node, list) and node and isinstance(node[0], dict):
        return keys(node[0], where)
    return [where]


def test_every_key_of_a_training_is_in_the_reference(settings: list[str], tmp_path: Path) -> None:
    """Of the composed settings, and of every file that may take the place of one of their parts."""
    found = keys(OmegaConf.to_container(compose_job("train", tmp_path, ())))
    for file in CONF.glob("*/*.yaml"):
        if file.parent.name not in ("hydra", "sweep"):
            values = yaml.safe_load(file.read_text("utf-8"))
            values.pop("defaults", None)
            found += keys(values, file.parent.name) if values else []
    assert len(found) > 200
    for key in found:
        above = itertools.accumulate(key.split("."), "{}.{}".format)
        assert set(above) & set(settings), f"{key} is not in the reference of settings"


def test_every_key_of_an_evaluation_is_in_the_reference(
    made: dict[str, str], tmp_path: Path
) -> None:
    part = made["reference/settings.md"].partition("## The evaluation")[2]
    config = OmegaConf.to_container(compose_job("evaluate", tmp_path, ("run=x",)))
    for key in keys(config):
        assert f"| `{key}` |" in part, key


def test_a_setting_has_type_default_and_meaning(made: dict[str, str]) -> None:
    rows = re.findall(r"^\| `[\w.]+` \|.*\|$", made["reference/settings.md"], re.MULTILINE)
    three = [row for row in rows if row.count(" | ") >= 3]
    assert len(three) > 100
    for row in three:
        _, kind, default, meaning = (cell.strip() for cell in row.strip("|").split(" | ", 3))
        assert kind, row
        assert default, row
        assert len(meaning) > 5, row
        assert "None" not in row, row


def test_every_environment_variable_is_in_the_reference() -> None:
    text = "".join(file.read_text("utf-8") for file in (REPOSITORY / "src").rglob("*.py"))
    names = set(re.findall(r"FACEPROOF_[A-Z_]*[A-Z]", text))
    page = (DOCS / "reference" / "environment.md").read_text("utf-8")
    assert len(names) > 7
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_every_column_and_file_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "files.md").read_text("utf-8")
    run = RunFolder("runs/NAME")
    files = {path.name for path in vars(run).values() if path not in (run.path, run.lock)}
    verdicts = {field.name for field in fields(Row)} - {"stamp"}
    for name in (*IMAGES.names, *PREDICTIONS.names, *files, *verdicts):
        assert f"`{name}" in page, name


def test_every_page_is_in_the_navigation(made: dict[str, str]) -> None:
    def pages(node: object) -> list[str]:
        parts = node.values() if isinstance(node, dict) else node
        return [node] if isinstance(node, str) else [p for part in parts for p in pages(part)]

    shown = pages(yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text("utf-8"))["nav"])
    there = [file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*.md")]
    assert sorted(shown) == sorted([*there, *made])


def test_what_pages_would_fetch_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "site" / "deeper"
    folder.mkdir(parents=True)
    page = folder / "page.html"
    page.write_text(
        '<script src="https://unpkg.com/iframe-worker/shim" type="text/javascript"></script><a href="https://optuna.org">'
    )
    SITE["finish"](tmp_path / "site")
    assert page.read_text() == '<a href="https://optuna.org">'
    for tag in (
        '<script src="https://cdn.org/x.js">',
        '<link rel="stylesheet" href="//cdn.org/x">',
    ):
        page.write_text(tag)
        with pytest.raises(SystemExit, match="would fetch"):
            SITE["finish"](tmp_path / "site")
