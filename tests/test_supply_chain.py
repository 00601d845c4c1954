"""What is asked of the package index: lowest versions, and audits that pass nothing unseen."""

import json
import re
import runpy
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.jobs import REPOSITORY

LOWEST = runpy.run_path(str(REPOSITORY / ".ci" / "lowest_versions.py"))
AUDIT = runpy.run_path(str(REPOSITORY / ".ci" / "audit_findings.py"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_every_dependency_has_a_lowest_version_and_a_constraint():
    found = LOWEST["requirements"](PROJECT)
    lines = LOWEST["constraints"](found)
    assert {Requirement(line).name for line in lines} >= {"torch", "fastapi", "pytest", "optuna"}
    assert len(lines) == len({Requirement(line).name for line in lines})
    assert "torchvision==0.21" in lines
    assert set(LOWEST["extras"](PROJECT).split(",")) == set(PROJECT["optional-dependencies"])
    assert not any(one.name == PROJECT["name"] for one in found)


def test_every_upper_bound_has_its_reason_beside_it():
    lines = (REPOSITORY / "pyproject.toml").read_text().splitlines()
    bounded = [n for n, line in enumerate(lines) if re.search(r'^[^#]*"[^"]+[\d.](,<|==)\d', line)]
    bounded += [n for n, line in enumerate(lines) if re.search(r'^[^#]*"[\w-]+==\d', line)]
    assert len(bounded) >= 8
    for number in bounded:
        above, line = lines[number - 1 : number + 1]
        assert "#" in line or above.lstrip().startswith("#"), line
    for bound in ("timm>=1.0.22,<2", "mypy==2.4.1"):
        assert any(bound in lines[number] for number in bounded)


@pytest.mark.parametrize(
    ("line", "lowest"),
    [("a>=1.2,<2", "1.2"), ("a==3.0", "3.0"), ("a~=1.4.2", "1.4.2"), ("a>=1,>=1.5,!=1.6", "1.5")],
)
def test_the_lowest_version_of_a_requirement(line, lowest):
    assert str(LOWEST["lowest"](Requirement(line))) == lowest


def test_of_two_requirements_the_higher_bound_counts():
    found = [Requirement("Some_Thing>=1.0"), Requirement("some-thing>=1.2")]
    assert LOWEST["constraints"](found) == ["some-thing==1.2"]


@pytest.mark.parametrize("line", ["a", "a<2", "a>=1.2,!=1.2"])
def test_a_requirement_without_a_lowest_version_is_refused(line):
    with pytest.raises(ValueError, match="lower bound"):
        LOWEST["lowest"](Requirement(line))


def answer(name, version="1", flaws=(), **others):
    vulns = [{"id": flaw, "aliases": ["CVE-1"], "fix_versions": ["2"]} for flaw in flaws]
    return {"name": name, "version": version, "vulns": vulns, **others}


SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("found", "passed", "code", "said"),
    [
        ([answer("a"), answer("b")], {}, 0, "2 packages, no known vulnerability"),
        ([answer("a", flaws=["X-1"]), answer("b")], {}, 1, "a 1: X-1, mended in 2"),
        ([answer("a", flaws=["X-1"]), answer("b")], {("a", "X-1"): "why"}, 0, "but 1 ignored"),
        ([answer("a", flaws=["X-1"]), answer("b")], {("a", "CVE-1"): "why"}, 0, "but 1 ignored"),
        ([answer("a", flaws=["X-1"]), answer("b")], {("b", "X-1"): "why"}, 1, "X-1"),
        ([answer("a"), SKIPPED], {}, 2, "NOT AUDITED: 1 of 2"),
        ([answer("a", flaws=["X-1"]), SKIPPED], {}, 1, "NOT AUDITED"),
        ([answer("a")], {}, 2, "NOT AUDITED: 1 of 2"),
        (None, {}, 2, "NOT AUDITED: 2 of 2"),
    ],
)
def test_an_audit_passes_only_what_was_looked_up(found, passed, code, said):
    got = AUDIT["judge"](["a==1", "b==1"], found and {"dependencies": found}, passed)
    assert got[0] == code
    assert said in "\n".join(got[1])


def test_an_audit_of_nothing_is_none():
    assert AUDIT["judge"]([], {"dependencies": []}, {})[0] == 2


def test_what_pip_would_install_is_audited_but_for_the_package_itself():
    entries = [("numpy", "2.4.6"), ("faceproof", "0.1.0"), ("av", "18.1")]
    report = {"install": [{"metadata": {"name": n, "version": v}} for n, v in entries]}
    assert AUDIT["pins"](json.loads(json.dumps(report))) == ["av==18.1", "numpy==2.4.6"]


def test_what_an_audit_ignores_has_a_reason():
    AUDIT["ignored"](AUDIT["IGNORED"].read_text())
    assert AUDIT["ignored"]('[[ignored]]\nid="X"\npackage="a"\nreason="r"') == {("a", "X"): "r"}
    with pytest.raises(ValueError, match="must say id, package and reason"):
        AUDIT["ignored"]('[[ignored]]\nid="X"\npackage="a"')
