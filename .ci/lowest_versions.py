"""Print the lowest version of every dependency that pyproject.toml allows, as pip's constraints.

    python .ci/lowest_versions.py > constraints.txt

Every dependency and every extra counts. What has no lower bound has no lowest version, and is
refused: nobody could say with which releases it was ever tried. Needs `packaging`.
"""

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
LOWEST = (">=", "==", "~=")  # the operators that name a lowest version


def requirements(project: dict[str, Any]) -> list[Requirement]:
    """Return the requirements of a project table, its extras' too, without those on itself."""
    lines = [*project["dependencies"]]
    for extra in project.get("optional-dependencies", {}).values():
        lines.extend(extra)
    own = canonicalize_name(project["name"])
    return [found for found in map(Requirement, lines) if canonicalize_name(found.name) != own]


def lowest(requirement: Requirement) -> Version:
    """Return the lowest version that a requirement allows.

    Raises:
        ValueError: it has no lower bound, or the bound is none of its own versions.
    """
    bounds = [Version(part.version) for part in requirement.specifier if part.operator in LOWEST]
    if not bounds:
        raise ValueError(f"{requirement} has no lower bound; give it the oldest release tried")
    version = max(bounds)
    if version not in requirement.specifier:
        raise ValueError(f"{requirement} leaves out its own lower bound {version}")
    return version


def constraints(found: Iterable[Requirement]) -> list[str]:
    """Return one line for each package; of several requirements on it the highest bound counts."""
    versions: dict[str, Version] = {}
    for requirement in found:
        name = canonicalize_name(requirement.name)
        versions[name] = max(lowest(requirement), versions.get(name, Version("0")))
    return [f"{name}=={version}" for name, version in sorted(versions.items())]


def extras(project: dict[str, Any]) -> str:
    """Return the names of all extras, as pip takes them in brackets."""
    return ",".join(project.get("optional-dependencies", {}))


def main() -> None:
    """Print the constraints, or with `extras` the names of all extras."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    if sys.argv[1:] == ["extras"]:
        print(extras(project))
        return
    try:
        print("\n".join(constraints(requirements(project))))
    except ValueError as error:
        sys.exit(f"error: {PYPROJECT.name}: {error}")


if __name__ == "__main__":
    main()
