"""Every setting that is accepted is used: a field that holds one and that no code reads fails."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
HOLDERS = ("Config", "Data", "Options", "Limits", "FreezeSchedule", "Augment")
# Where a setting is checked or handed on by its name, and not used.
CHECKS = ("__post_init__", "_check", "check")


def parsed():
    return {file: ast.parse(file.read_text("utf-8")) for file in sorted(SOURCE.rglob("*.py"))}


def settings_of(trees):
    """Yield the dataclasses that hold settings, with their fields."""
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name.endswith(HOLDERS):
                fields = [
                    part.target.id
                    for part in node.body
                    if isinstance(part, ast.AnnAssign)
                    and isinstance(part.target, ast.Name)
                    and part.target.id != "_"  # KW_ONLY
                ]
                if fields:
                    yield node.name, fields


def reads(node):
    """Yield the names of attributes that code reads, but for the checks of settings."""
    if isinstance(node, ast.FunctionDef) and node.name in CHECKS:
        return
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield node.attr
    for child in ast.iter_child_nodes(node):
        yield from reads(child)


@pytest.fixture(scope="module")
def trees():
    return parsed()


def test_every_field_that_holds_a_setting_is_read(trees):
    read = {name for tree in trees.values() for name in reads(tree)}
    held = dict(settings_of(trees))
    assert {"TrainConfig", "EvaluateConfig", "LoaderConfig", "PredictConfig", "Limits"} <= set(held)
    unread = {f"{name}.{one}" for name, fields in held.items() for one in fields if one not in read}
    assert unread == set()


def test_a_field_that_nothing_reads_is_noticed():
    tree = ast.parse(
        "class AConfig:\n a: int\n b: int\n def __post_init__(self): self.b\ndef f(x): x.a = x.c"
    )
    assert dict(settings_of({None: tree})) == {"AConfig": ["a", "b"]}
    assert {*reads(tree)} == {"c"}


def test_every_key_at_the_top_of_conf_is_a_field_or_is_named(trees):
    """Of groups, each is composed and made by `test_configurations`, which refuses other keys."""
    held = dict(settings_of(trees))
    apart = {"defaults", "hydra", "calibration", "compare", "resume", "allow"}
    for name, holder in (("train", "TrainConfig"), ("evaluate", "EvaluateConfig")):
        keys = set(yaml.safe_load((ROOT / "conf" / f"{name}.yaml").read_text("utf-8")))
        assert keys - apart <= set(held[holder])
