"""The page, the table and the files of what detectors reach on what they never saw."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from faceproof.evaluation.leave_one_out import Answers, LeaveOneOut, study
from faceproof.reports.leave_one_out_page import draw, limits, show, verdict, write_leave_one_out
from faceproof.reports.numbers import DASH
from tests.evaluation.test_leave_one_out import TASK, judged

ODD = "<b>c</b> $x_1$"


@pytest.fixture(scope="module")
def found():
    """Four sources: one with an odd name, one of fakes alone, one that was not trained."""
    parts = [
        Answers("a", "source-a", judged("a", shift=0.4), judged("ah", shift=3)),
        Answers(ODD, "source-c", judged("c", shift=2), judged("ch", shift=3)),
        Answers("f", "source-f", judged("f", labels="fake"), judged("fh", shift=3)),
        Answers("g", "source-g", None, None, "not trained: it broke"),
    ]
    return LeaveOneOut("source", "a+c+f+g", TASK, [study({}, parts)])


def test_the_result_says_mean_home_and_worst_and_how_many_count(found):
    first, second = verdict(found)
    part = found.studies[0]
    mean, home = (values["roc_auc"].value for values in (part.mean, part.home))
    assert f"a mean ROC-AUC of {mean:.3f} (" in first
    assert f"at home {home:.3f}" in first
    assert first.endswith(f"at worst {part.worst['roc_auc'].value:.3f}, on a.")
    assert second == "The mean is of 2 of 4 sources; see the table."
    of_both = [row.home.metrics["roc_auc"].value for row in part.rows[:2]]
    assert home == pytest.approx(sum(of_both) / 2)  # of the sources that count, and no others


def test_a_table_in_the_terminal_has_every_row_and_dashes(found):
    text = io.StringIO()
    show(Console(file=text, width=200), found, "page.html")
    lines = text.getvalue().splitlines()
    for start in ("│ a ", "│ f ", "│ mean", "│ worst"):
        assert any(line.startswith(start) for line in lines), start
    (fakes,) = [line for line in lines if line.startswith("│ f ")]
    assert [cell.strip() for cell in fakes.split("│")][3:5] == [DASH, DASH]
    assert "not trained: it broke" in text.getvalue()
    assert lines[-1] == "page: page.html"


def test_the_files_hold_the_same_numbers(found, tmp_path):
    page = write_leave_one_out(tmp_path, found)
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {
        f"leave_one_source_out.{kind}" for kind in ("html", "json", "csv", "tex", "png")
    }
    values = json.loads((tmp_path / "leave_one_source_out.json").read_text())
    row = values["studies"][0]["rows"][0]["held_out"]["metrics"]["roc_auc"]
    with (tmp_path / "leave_one_source_out.csv").open(newline="") as file:
        rows = {one["source"]: one for one in csv.DictReader(file)}
    assert list(rows) == ["a", ODD, "f", "g", "mean"]
    assert float(rows["a"]["roc_auc"]) == row["value"]
    assert [float(rows["a"][f"roc_auc_{end}"]) for end in ("low", "high")] == row["interval"]
    assert rows["f"]["roc_auc"] == rows["g"]["accuracy"] == ""
    text = page.read_text()
    assert f"{row['value']:.3f}" in text
    assert "<b>c</b>" not in text
    assert "&lt;b&gt;c&lt;/b&gt;" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)


def test_of_one_class_and_of_nothing_a_page_is_made(tmp_path):
    fakes = LeaveOneOut("generator", "x", TASK, [study({}, [
        Answers("a", "generator-a", judged("f", labels="fake"), None)
    ])])  # fmt: skip
    assert verdict(fakes) == ["On generators that it never saw no ROC-AUC could be measured."]
    text = write_leave_one_out(tmp_path, fakes).read_text()
    assert "beside the real test images of the sources that these fakes come" in " ".join(
        text.split()
    )
    assert len(draw(fakes).axes) == 1


def test_of_several_configurations_it_is_said_that_the_best_is_optimistic(found):
    assert "optimistic" not in limits(found)
    several = replace(found, studies=[*found.studies, *found.studies])
    assert "choose by validation" in limits(several)
