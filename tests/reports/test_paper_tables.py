"""Tables for papers and spreadsheets."""

import csv

from faceproof.reports.paper_tables import Measured, PaperTable, latex, report_tables
from tests.reports.test_report import CONTEXT, predictions

TABLE = PaperTable(
    {"name": "Name", "area": "ROC-AUC", "images": "Images", "folder": None},
    [
        ["a_b", Measured(0.98765, (0.95, 0.9991)), 1200, "runs/a"],
        ["100% c", Measured(None), 7, "runs/c"],
    ],
)


def test_csv_has_every_digit_and_the_ends_of_intervals():
    first, second = csv.DictReader(TABLE.to_csv().splitlines())
    assert first == {
        "name": "a_b", "area": "0.98765", "area_low": "0.95", "area_high": "0.9991",
        "images": "1200", "folder": "runs/a",
    }  # fmt: skip
    assert (second["area"], second["area_low"], second["area_high"]) == ("", "", "")


def test_latex_has_three_digits_and_the_intervals_in_brackets():
    lines = TABLE.to_latex().splitlines()
    assert lines[1:] == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"Name & ROC-AUC & Images \\",
        r"\midrule",
        r"a\_b & 0.988 (0.950 to 1.000) & 1,200 \\",
        r"100\% c & undefined & 7 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_latex_prints_a_name_letter_by_letter():
    assert latex("a&b{c}\\d\n~e") == r"a\&b\{c\}\textbackslash{}d \textasciitilde{}e"
    assert latex("> 0.999") == r"\textgreater{} 0.999"


def test_the_metrics_of_a_report_stand_with_their_intervals():
    from faceproof.evaluation.evaluation_result import evaluate

    found = evaluate(predictions(), CONTEXT)
    tables = report_tables(found)
    rows = {row["name"]: row for row in csv.DictReader(tables["metrics"].to_csv().splitlines())}
    assert float(rows["roc_auc"]["value"]) == found.metrics["roc_auc"]
    assert float(rows["roc_auc"]["value_low"]) == found.intervals.metrics["roc_auc"][0]
    makers = list(csv.DictReader(tables["by_generator"].to_csv().splitlines()))
    assert [row["generator"] for row in makers] == [
        row.value or "no generator" for row in found.by_generator
    ]
    assert report_tables(evaluate(predictions(20, labelled=False), CONTEXT)) == {}
