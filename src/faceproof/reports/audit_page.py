"""The audit for people: lines on a screen and a page with the pairs it found."""

import json
from pathlib import Path

from faceproof.audit.audit import Audit
from faceproof.io.run_folder import write_text
from faceproof.reports.html import render, thumbnail

MAX_SHOWN = 100
WEIGHTS = {"leak": "LEAK", "against": "AGAINST TRAINING", "note": "note"}


def write_audit(audit: Audit, folder: Path) -> None:
    """Write `audit.json` and `audit.html` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "audit.json", json.dumps(audit.to_json(), indent=2, allow_nan=False) + "\n")
    write_text(folder / "audit.html", audit_page(audit))


def audit_page(audit: Audit) -> str:
    """Return the page of an audit, with the gravest pairs as images."""
    shown = audit.pairs[:MAX_SHOWN]
    labels = list(dict.fromkeys(label for row in audit.balance.values() for label in row))
    return render(
        "audit.html.j2",
        {},
        audit=audit,
        verdict=verdict(audit),
        weights=WEIGHTS,
        labels=labels,
        pairs=[(pair, thumbnail(pair.first), thumbnail(pair.second)) for pair in shown],
        num_pairs=len(audit.pairs),
        more="" if len(shown) == len(audit.pairs) else "; audit.json names them all",
    )


def verdict(audit: Audit) -> str:
    """Say in one line whether anything stands against training."""
    if audit.leaks:
        return "leaks across its splits"
    return "clear" if audit.clear else "something stands against training"


def describe(audit: Audit) -> str:
    """Return what was found, a line each."""
    lines = [
        f"{WEIGHTS[finding.level]}: {finding.kind}, {finding.count:,}: {finding.text}"
        for finding in audit.findings
    ]
    return "\n".join(lines or ["nothing was found"])
