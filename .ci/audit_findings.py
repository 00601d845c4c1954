"""What `.ci/audit` makes of pip's and pip-audit's answers.

    python .ci/audit_findings.py pins resolved.json     one line for each package, name==version
    python .ci/audit_findings.py judge pins.txt found.json

Judging ends with 0 where every package was looked up and no vulnerability is known but those in
`audit-ignored.toml`, with 1 where there are others, and with 2 where it could not be found out. A
package that the service did not answer for counts as not looked up, never as sound.
"""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

IGNORED = Path(__file__).with_name("audit-ignored.toml")
OWN = "faceproof"


def pins(report: dict[str, Any]) -> list[str]:
    """Return what pip would install, ours left out, as requirements."""
    found = (one["metadata"] for one in report["install"])
    return sorted(f"{one['name']}=={one['version']}" for one in found if one["name"] != OWN)


def ignored(text: str) -> dict[tuple[str, str], str]:
    """Return the reasons of the vulnerabilities that are let pass, by package and id.

    Raises:
        ValueError: one has no reason.
    """
    entries = tomllib.loads(text).get("ignored", [])
    if bad := [one for one in entries if not all(one.get(k) for k in ("id", "package", "reason"))]:
        raise ValueError(f"{IGNORED.name}: {bad[0]} must say id, package and reason")
    return {(one["package"], one["id"]): one["reason"] for one in entries}


def judge(
    wanted: list[str], found: dict[str, Any] | None, passed: dict[tuple[str, str], str]
) -> tuple[int, list[str]]:
    """Return the exit code, and what to say.

    Args:
        wanted: the packages, `name==version`.
        found: pip-audit's answer, None where it gave none.
        passed: see `ignored`.
    """
    answers = [] if found is None else found["dependencies"]
    looked_up = [one for one in answers if "skip_reason" not in one]
    missing = len(wanted) - len(looked_up)
    said = [f"{one['name']}: {one['skip_reason']}" for one in answers if "skip_reason" in one][:3]
    if missing or not wanted:
        said.append(
            f"NOT AUDITED: {missing} of {len(wanted)} packages could not be looked up, so nothing "
            "is known of them; is the service within reach?"
        )
    bad = [
        (one["name"], flaw["id"], one["version"], ", ".join(flaw["fix_versions"]) or "none")
        for one in looked_up
        for flaw in one["vulns"]
        if not {(one["name"], known) for known in (flaw["id"], *flaw["aliases"])} & set(passed)
    ]
    said += [f"{name} {version}: {flaw}, mended in {mended}" for name, flaw, version, mended in bad]
    if not said:
        said = [f"{len(wanted)} packages, no known vulnerability but {len(passed)} ignored"]
    return (1 if bad else 2 if missing or not wanted else 0), said


def main() -> int:
    """Do what the command line says, and return the exit code."""
    word, *files = sys.argv[1:]
    if word == "pins":
        print("\n".join(pins(json.loads(Path(files[0]).read_text()))))
        return 0
    wanted = Path(files[0]).read_text().split()
    answer = Path(files[1])
    found = json.loads(answer.read_text()) if answer.is_file() and answer.stat().st_size else None
    code, said = judge(wanted, found, ignored(IGNORED.read_text()))
    print("\n".join(said), file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
