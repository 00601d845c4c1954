"""The report: that it says what the predictions say, whole, and safely."""

import base64
import errno
import hashlib
import json
import math
import os
import re
import shutil
import socket
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from faceproof.data.table import concat_tables, table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation import intervals
from faceproof.evaluation.calibration import calibrated
from faceproof.evaluation.evaluation_result import EvaluationContext, evaluate
from faceproof.evaluation.metrics import METRICS, measure
from faceproof.evaluation.mistakes import find_mistakes, shown_paths
from faceproof.evaluation.operating_point import (
    MAX_RISK,
    OperatingPoint,
    ThresholdConfig,
    fit_operating_point,
)
from faceproof.evaluation.predictions import (
    label_numbers,
    logits_of,
    predictions_table,
    read_predictions,
)
from faceproof.evaluation.video_point import VideoConfig, fit_video_point
from faceproof.io import atomic as whole_files
from faceproof.reports import report as report_module
from faceproof.reports.numbers import rate, span
from faceproof.reports.report import ReportExtras
from faceproof.reports.verdict_text import scorings, verdict
from faceproof.reports.verdict_warnings import verdict_warnings
from faceproof.task import TASKS
from faceproof.words import percent

TASK = TASKS["deepfake"]
HOSTILE = "<img src=x onerror=alert(1)>.png"
NO_PROCESS = 2**22 + 1  # Linux counts no further than 2**22
HISTORY = [
    {"epoch": str(epoch), "train/loss": str(1 - epoch / 5), "val/loss": str(0.9 - epoch / 6)}
    for epoch in range(4)
]
CONTEXT = EvaluationContext(
    title="B0 & friends on <lab>",
    task=TASK,
    run="2026-01-12_seed1",
    model="efficientnet_b0",
    data="lab",
    split="test",
    threshold=0.4,
    threshold_origin="chosen on validation for 5% false alarms",
    record={"Initial weights": "ImageNet", "Epochs": 4, "Learning rate": 1e-4, "Seed": 12345},
    unreadable=[(f"/data/{HOSTILE}", "cut short"), ("/data/\u202egnp\udcff\n.exe", "no image")],
    num_resamples=60,
    best_epoch=2,
    commands=("faceproof train model=efficientnet_b0",),
)
EXTRAS = ReportExtras(history=HISTORY)
TABLES = "metrics", "classes", "by_generator", "by_source"
DRAWN = (
    "confusion",
    "classes",
    "scores",
    "roc",
    "precision_recall",
    "reliability",
    "risk_coverage",
)


def write_report(
    folder: Path, table: pa.Table, context: EvaluationContext, extras: ReportExtras = EXTRAS
) -> dict[str, Any]:
    """Evaluate the predictions, write the report, and return its numbers."""
    found = evaluate(table, context)
    report_module.write_report(folder, table, found, extras)
    return found.to_json()


def predictions(num_rows: int = 300, labelled: bool = True) -> pa.Table:
    random = np.random.default_rng(7)
    fake = random.random(num_rows) < 0.4
    logits = np.where(fake, 1.5, -1.5) + random.normal(0, 1.5, num_rows)
    makers = random.choice(["gan", "</td><script>x</script>"], num_rows)
    rows = table_from_columns(
        {
            "path": [f"/data/{number}{HOSTILE}" for number in range(num_rows)],
            "label": [TASK.classes[int(is_fake)] if labelled else None for is_fake in fake],
            "source": [("celeb", "web")[number % 2] for number in range(num_rows)],
            "generator": [
                str(maker) if is_fake else None for maker, is_fake in zip(makers, fake, strict=True)
            ],
            "group": [f"video{number // 10}" for number in range(num_rows)],
        }
    )
    return predictions_table(rows, logits, 1 / (1 + np.exp(-logits)))


class Page(HTMLParser):
    """What stands on a page: its words, tags, attributes, and whether its tags match."""

    # What HTML closes by itself.
    VOID = ("meta", "br", "link", "img", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def plots(self) -> list[str]:
        prefix = "data:image/svg+xml;base64,"
        sources = [value for value in self.values("src") if value.startswith(prefix)]
        return [base64.b64decode(value.removeprefix(prefix)).decode() for value in sources]

    @property
    def drawn(self) -> str:
        """All that is written in the plots."""
        return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", "".join(self.plots)))

    def values(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("evaluations") / "lab"
    write_report(made, predictions(), CONTEXT)
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def numbers(folder: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = (folder / "report.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return loaded


def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawings, where a test is of the rest and would wait for them."""
    monkeypatch.setattr(report_module, "draw", lambda *_: {})
    template_needs = dict.fromkeys(DRAWN, "")
    render = report_module.render
    monkeypatch.setattr(
        report_module, "render", lambda report, _, shown: render(report, template_needs, shown)
    )


def test_the_folder_holds_page_numbers_predictions_and_plots(folder: Path) -> None:
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "report.html",
        "report.json",
        "predictions.parquet",
        *(f"plots/{name}.{kind}" for name in (*DRAWN, "training") for kind in ("png", "pdf")),
        *(f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "tex")),
    }
    assert [path.name for path in folder.parent.iterdir()] == ["lab"]


def test_every_number_follows_from_the_predictions_file(
    folder: Path, numbers: dict[str, Any]
) -> None:
    table = read_predictions(folder / "predictions.parquet")
    assert table.equals(predictions())
    again = json.loads(json.dumps(evaluate(table, CONTEXT).to_json()))
    digest = hashlib.sha256((folder / "predictions.parquet").read_bytes()).hexdigest()
    assert {**again, "predictions": digest} == numbers
    assert numbers["metrics"] == measure(table, TASK, numbers["threshold"])
    assert sum(map(sum, numbers["confusion"])) == numbers["num_predictions"] == 300
    assert (numbers["num_groups"], numbers["num_unreadable"]) == (30, 2)


def test_the_code_on_the_page_gives_the_metrics_on_the_page(
    page: Page, folder: Path, numbers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = next(text for text in page.words if "read_predictions(" in text)
    monkeypatch.chdir(folder)
    printed: list[Any] = []
    exec(code, {"print": printed.append})
    assert printed == [numbers["metrics"]]


def test_the_page_says_what_was_found(page: Page, numbers: dict[str, Any]) -> None:
    found_metrics = numbers["metrics"]
    (kept, alarms), (missed, found) = numbers["confusion"]
    for name, metric in METRICS.items():
        assert metric.label in page.text
        assert rate(found_metrics[name]) in page.text
    assert f"recognised {found:,} of {found + missed:,} fake images" in page.text
    assert f"took {alarms:,} of {kept + alarms:,} real images" in page.text
    for row in numbers["by_generator"] + numbers["by_source"]:
        assert rate(row["accuracy"]) in page.text
    for expected in (
        "Images skipped because they cannot be read: 2.",
        "macro average",
        "weighted average",
        "no generator",
        "celeb",
        "web",
        "chosen on validation for 5% false alarms",
        "fake if the probability of fake is the threshold or more, else real",
        "Groups (videos, identities) 30",
        "Unreadable images, skipped 2",
        "Initial weights ImageNet",
        "Learning rate 0.0001",
        "Seed 12345",
        "scikit-learn",
    ):
        assert expected in page.text, expected


def test_the_contents_list_every_section(page: Page) -> None:
    linked = [value.removeprefix("#") for value in page.values("href")]
    assert linked == [name for name in page.values("id") if name not in ("verdict", "headline")]
    assert {"classes", "threshold", "training", "metrics", "recompute"} <= set(linked)


def test_the_page_says_how_to_train_it_again(page: Page) -> None:
    assert "The command that trains it again" in page.text
    assert "faceproof train model=efficientnet_b0" in page.text


def test_the_page_is_well_formed_and_has_one_element_for_each_id(page: Page) -> None:
    assert page.open == []
    assert len(page.values("id")) == len(set(page.values("id")))
    assert page.tags.count("img") == len(DRAWN) + 1
    assert len(page.plots) == len(DRAWN) + 1
    assert "best epoch: 3" in page.drawn


def test_the_page_needs_nothing_from_elsewhere(page: Page, folder: Path) -> None:
    assert not {"script", "link", "iframe", "image", "svg"} & set(page.tags)
    assert all(value.startswith("#") for value in page.values("xlink:href") + page.values("href"))
    assert all(value.startswith("data:image/svg+xml;base64,") for value in page.values("src"))
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"url\((?!#)|@import", text)
    assert "default-src 'none'" in text


def test_hostile_names_are_shown_and_do_nothing(page: Page) -> None:
    assert f"/data/{HOSTILE}" in page.text
    assert "</td><script>x</script>" in page.text
    assert "B0 & friends on <lab>" in page.text
    assert r"/data/\u202egnp\udcff\n.exe" in page.text
    assert not any(name.startswith("on") for name, _ in page.attributes)


def test_a_report_is_written_the_same_twice(folder: Path, tmp_path: Path) -> None:
    write_report(tmp_path / "again", predictions(), CONTEXT)
    for path in folder.rglob("*.*"):
        again = tmp_path / "again" / path.relative_to(folder)
        assert again.read_bytes() == path.read_bytes(), path.name


def test_an_earlier_report_is_replaced_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    target = tmp_path / "lab"
    write_report(target, predictions(40), CONTEXT)
    (target / "plots" / "stale.png").touch()
    (target / ".DS_Store").touch()  # a file manager has looked into it
    for process in (NO_PROCESS, os.getpid()):  # what killed processes leave behind
        partial = tmp_path / f".lab.partial-{socket.gethostname()}-{process}"
        partial.mkdir()
        (partial / "half.html").touch()
        os.utime(partial, (0, 0))
    young = tmp_path / f".lab.partial-{socket.gethostname()}-{NO_PROCESS}1"
    young.mkdir()  # perhaps by a process of another container
    write_report(target, predictions(50), CONTEXT)
    assert json.loads((target / "report.json").read_text())["num_predictions"] == 50
    assert not (target / "plots" / "stale.png").exists()
    assert not (target / "half.html").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"lab", young.name}


def test_a_folder_that_cannot_be_moved_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (Path(), tmp_path.parent, Path("/proc")):
        with pytest.raises(FaceproofError, match=r"cannot be moved.*name a folder below it"):
            write_report(folder, predictions(4), CONTEXT)


def test_a_report_that_fails_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    target = tmp_path / "lab"
    write_report(target, predictions(40), CONTEXT)

    def fail(*_: object) -> str:
        raise RuntimeError("no page")

    monkeypatch.setattr(report_module, "render", fail)
    with pytest.raises(RuntimeError, match="no page"):
        write_report(target, predictions(50), CONTEXT)
    assert json.loads((target / "report.json").read_text())["num_predictions"] == 40
    assert (target / "report.html").is_file()


@pytest.mark.parametrize(
    ("owner", "step", "name"),
    [(whole_files, "to_disk", "report.html"), (Path, "rename", ".lab.partial")],
)
def test_a_report_that_cannot_take_its_place_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, name: str
) -> None:
    bare(monkeypatch)
    target = tmp_path / "lab"
    write_report(target, predictions(40), CONTEXT)
    do = getattr(owner, step)

    def fail(path: Path, *more: Path) -> Any:
        if path.name.startswith(name):
            raise OSError(errno.EIO, "Input/output error")
        return do(path, *more)

    monkeypatch.setattr(owner, step, fail)
    with pytest.raises(FaceproofError, match="lab could not be written: the disk fails"):
        write_report(target, predictions(50), CONTEXT)
    assert json.loads((target / "report.json").read_text())["num_predictions"] == 40
    assert [path.name for path in tmp_path.iterdir()] == ["lab"]


def test_a_report_moved_out_by_a_process_that_was_killed_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    target = tmp_path / "lab"
    write_report(target, predictions(40), CONTEXT)
    target.rename(tmp_path / ".lab.old")
    with monkeypatch.context() as patched:
        patched.setattr(report_module, "render", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_report(target, predictions(50), CONTEXT)
    assert json.loads((target / "report.json").read_text())["num_predictions"] == 40
    shutil.copytree(target, tmp_path / ".lab.old")  # killed before this was deleted
    write_report(target, predictions(50), CONTEXT)
    assert json.loads((target / "report.json").read_text())["num_predictions"] == 50
    assert [path.name for path in tmp_path.iterdir()] == ["lab"]


def test_two_reports_of_one_name_at_once_leave_each_other_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    target, render = tmp_path / "lab", report_module.render

    def meanwhile(*given: Any) -> str:
        with monkeypatch.context() as patched:
            patched.setattr(report_module, "render", render)
            patched.setattr(os, "getpid", os.getppid)
            write_report(target, predictions(50), CONTEXT)
        assert json.loads((target / "report.json").read_text())["num_predictions"] == 50
        return render(*given)

    monkeypatch.setattr(report_module, "render", meanwhile)
    write_report(target, predictions(40), CONTEXT)
    assert json.loads((target / "report.json").read_text())["num_predictions"] == 40
    assert (target / "report.html").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["lab"]


def test_a_report_that_holds_files_of_someone_else_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    target = tmp_path / "lab"
    write_report(target, predictions(40), CONTEXT)
    for name in ("b.tex", "plots/notes/a.png", "c.parquet", "d.png"):
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text("mine")
    (target / "plots" / "e.png").symlink_to(target / "d.png")  # a plot's name, and no loss
    named = r"written there: b\.tex, c\.parquet, d\.png and 1 more; move that away"
    with pytest.raises(FaceproofError, match=named):
        write_report(target, predictions(50), CONTEXT)
    assert (target / "plots" / "notes" / "a.png").read_text() == "mine"
    assert json.loads((target / "report.json").read_text())["num_predictions"] == 40


@pytest.mark.parametrize("text", ["{}", "[]", '{"metrics": 3}', "no JSON", "[" * 99_999])
def test_a_report_of_another_program_is_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(FaceproofError, match="holds something else than a report"):
        write_report(tmp_path, predictions(10), CONTEXT)
    assert (tmp_path / "report.json").read_text() == text


def test_a_folder_that_is_no_report_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FaceproofError, match="holds something else than a report"):
        write_report(tmp_path, predictions(10), CONTEXT)
    assert (tmp_path / "thesis.tex").exists()


def test_no_predictions_make_no_report(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match="no prediction to report on lab, split test: 2"):
        write_report(tmp_path / "lab", predictions(0), CONTEXT)


def test_unlabelled_predictions_have_scores_and_counts_only(tmp_path: Path) -> None:
    table = predictions(60, labelled=False)
    found = write_report(tmp_path / "new", table, replace(CONTEXT, record={}), ReportExtras())
    page = Page((tmp_path / "new" / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    plots = {path.name for path in (tmp_path / "new" / "plots").iterdir()}
    assert plots == {"scores.png", "scores.pdf"}
    assert f"called {found['num_called_positive']} of 60 images" in page.text
    assert "They have no labels" in page.text
    assert "Without a label 60" in page.text
    assert not (tmp_path / "new" / "tables").exists()
    assert "Accuracy" not in page.text
    assert {"metrics", "classes", "by-generator", "training"}.isdisjoint(page.values("id"))
    assert found["metrics"]["accuracy"] is None


def test_unlabelled_images_among_labelled_ones_are_named_as_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    both = concat_tables([predictions(40), predictions(25, labelled=False)])
    found = write_report(tmp_path / "lab", both, CONTEXT)
    assert found["metrics"] == measure(predictions(40), TASK, 0.4)
    page = Page((tmp_path / "lab" / "report.html").read_text(encoding="utf-8"))
    assert "Images skipped because they have no label: 25." in page.text


def test_one_class_only_is_said_and_undefined(tmp_path: Path) -> None:
    table = predictions()
    fakes = table.filter(pc.equal(table["label"].cast(pa.string()), "fake"))
    write_report(tmp_path / "fakes", fakes, CONTEXT)
    page = Page((tmp_path / "fakes" / "report.html").read_text(encoding="utf-8"))
    assert "Every image is fake" in page.text
    assert "Balanced accuracy undefined" in page.text
    assert "With images of one class only there is no ROC" in page.text
    numbers = json.loads((tmp_path / "fakes" / "report.json").read_text())
    assert numbers["metrics"]["roc_auc"] is None


def test_facts_that_json_cannot_hold_become_null() -> None:
    context = replace(CONTEXT, record={"best": math.nan, "worst": math.inf, "none": None})
    numbers = evaluate(predictions(20), context).to_json()
    assert numbers["record"] == {"best": None, "worst": None, "none": None}


def test_many_unreadable_images_are_counted_on_the_page_and_named_in_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    broken = [(f"/data/broken{number}.png", "empty") for number in range(2_025)]
    found = write_report(tmp_path / "lab", predictions(20), replace(CONTEXT, unreadable=broken))
    text = (tmp_path / "lab" / "report.html").read_text(encoding="utf-8")
    assert "And 2,005 more" in text
    assert "broken20.png" not in text
    assert found["unreadable"][-1] == {"path": "/data/broken2024.png", "reason": "empty"}


def test_the_hardest_generator_is_named_with_its_count() -> None:
    evaluation = evaluate(predictions(), CONTEXT)
    rows = [row for row in evaluation.by_generator if row.value]
    worst = min(rows, key=lambda row: row.recall or 0)
    assert worst.value
    assert worst.recall
    found = round(worst.recall * worst.num_positive)
    sentence = next(line for line in verdict(evaluation) if "hardest" in line)
    share = percent(found / worst.num_positive)
    assert worst.value in sentence
    assert f"{found} of {worst.num_positive} images ({share})" in sentence


def test_no_generator_of_a_handful_of_images_is_called_the_hardest() -> None:
    kept = predictions()
    names = kept["generator"].to_pylist()
    few = sorted({name for name in names if name})[0]
    first = [row for row, name in enumerate(names) if name == few][:1]
    others = [row for row, name in enumerate(names) if name != few]
    evaluation = evaluate(kept.take(pa.array(others + first)), CONTEXT)
    sentences = [line for line in verdict(evaluation) if "hardest" in line]
    assert not any(few in line for line in sentences)
    (row,) = (row for row in evaluation.by_generator if row.value == few)
    assert row.few
    plots = dict.fromkeys(report_module.draw(kept, CONTEXT, ReportExtras()), "")
    assert "few: 1 independent" in report_module.render(evaluation, plots)


def fitted(num_rows: int = 2000, fpr: float = 0.01, max_risk: float = MAX_RISK) -> OperatingPoint:
    """Fit to validation images that are like those of `predictions`, but others."""
    random = np.random.default_rng(8)
    labels = (random.random(num_rows) < 0.4).astype(np.int64)
    logits = np.where(labels == 1, 1.5, -1.5) + random.normal(0, 1.5, num_rows)
    config = ThresholdConfig("fpr", fpr, calibration="temperature", max_risk=max_risk)
    return fit_operating_point(labels, logits, config)


def with_point(point: OperatingPoint, **facts: Any) -> EvaluationContext:
    return replace(
        CONTEXT,
        operating_point=point,
        threshold=point.threshold,
        threshold_origin=point.origin,
        **facts,
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, dict[str, Any]]:
    """A report of a run with an operating point, whose test split was scored three times."""
    made = tmp_path_factory.mktemp("evaluations") / "lab"
    point = fitted(fpr=0.05, max_risk=0.05)
    table = calibrated(predictions(), point.calibration)
    write_report(made, table, with_point(point, test_scorings=3))
    page = Page((made / "report.html").read_text(encoding="utf-8"))
    return page, json.loads((made / "report.json").read_text(encoding="utf-8"))


def test_every_figure_stands_with_its_interval(page: Page, numbers: dict[str, Any]) -> None:
    found = numbers["intervals"]
    assert (found["level"], found["num_resamples"], found["num_units"]) == (0.95, 60, 30)
    expected = intervals.bootstrap_intervals(predictions(), TASK, 0.4, 60)
    for name, interval in expected.items():
        assert interval is not None
        assert found["metrics"][name] == list(interval)
        assert span(interval) in page.text, name
    assert "60 resamples of 30 groups, each drawn whole" in page.text


def test_few_images_are_said_to_have_no_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    write_report(tmp_path / "few", predictions(40), CONTEXT)  # in four groups
    page = Page((tmp_path / "few" / "report.html").read_text(encoding="utf-8"))
    assert "The metrics have no interval: 4 independent groups are too few." in page.text


def test_the_realised_rate_stands_beside_the_promised_one(
    judged: tuple[Page, dict[str, Any]],
) -> None:
    page, numbers = judged
    point = numbers["operating_point"]
    (kept, alarms), _ = numbers["confusion"]
    assert point["fpr"]["num_false_positives"] == alarms
    assert point["fpr"]["rate"] == alarms / (kept + alarms)
    assert "Highest false-positive rate wanted 5.0%" in page.text
    share = percent(alarms / (kept + alarms))
    assert f"False-positive rate here {share} (" in page.text
    assert f"{alarms} of {kept + alarms}" in page.text
    assert "Operating point" in page.text
    assert OperatingPoint.from_json({name: point[name] for name in fitted().to_json()}) == fitted(
        fpr=0.05, max_risk=0.05
    )


def test_the_unsure_band_is_judged_on_these_images(judged: tuple[Page, dict[str, Any]]) -> None:
    page, numbers = judged
    point = numbers["operating_point"]
    table = calibrated(predictions(), fitted(fpr=0.05, max_risk=0.05).calibration)
    shares = np.asarray(table["probability"].to_pylist())
    low, high = point["unsure"]
    unsure = (shares >= low) & (shares < high)
    wrong = (shares >= point["threshold"]) != (label_numbers(table, TASK) == 1)
    assert 0 < point["share_unsure"] == unsure.mean()
    assert point["error_answered"] == pytest.approx(wrong[~unsure].mean())
    assert point["error_answered"] < point["error_all"] == pytest.approx(wrong.mean())
    assert f"Images in it {percent(unsure.mean())}" in page.text
    assert f"unsure: {percent(unsure.mean())} of the images" in page.drawn
    curve = numbers["risk_coverage"]["curve"]
    assert curve[-1] == {"coverage": 1.0, "risk": pytest.approx(wrong.mean())}


def test_the_verdict_says_what_it_does_in_use(judged: tuple[Page, dict[str, Any]]) -> None:
    page, numbers = judged
    point = numbers["operating_point"]
    answered, wrong = percent(1 - point["share_unsure"]), percent(point["error_answered"])
    assert f"In use it answers {answered} of the images, {wrong} of those wrongly" in page.text


def test_a_band_that_does_not_carry_over_is_told() -> None:
    """Fitted to images that are easy to tell apart, and used on harder ones."""
    labels = np.arange(2000) % 2
    logits = np.random.default_rng(2).normal((labels - 0.5) * 6, 1.0)
    config = ThresholdConfig(calibration="none", max_risk=0.01)
    point = fit_operating_point(labels, logits, config)
    sentences = verdict(evaluate(predictions(), with_point(point)))
    assert any("unsure band was chosen for at most 1.0% wrong answers" in one for one in sentences)


def test_a_band_that_could_not_be_kept_on_validation_is_told() -> None:
    labels = np.arange(2000) % 2
    logits = np.random.default_rng(2).normal((labels - 0.5), 1.0)
    config = ThresholdConfig(calibration="none", max_risk=0.01)
    point = fit_operating_point(labels, logits, config)
    assert not point.keeps_risk
    evaluation = evaluate(predictions(), with_point(point))
    assert "carry over" not in " ".join(verdict(evaluation))
    (warning,) = (text for text in map(str, verdict_warnings(evaluation)) if "max_risk" in text)
    share = warning.removeprefix("Too many wrong answers: ").partition(" of the answers")[0]
    assert 0.01 < float(share.rstrip("%")) / 100 < 0.5
    assert "threshold.max_risk wants at most 1.00%, and even half of the images" in warning
    page = report_module.render(evaluation, dict.fromkeys(DRAWN, ""))
    assert f'class="caution"><strong>Too many wrong answers:</strong> {share}' in page


def test_images_that_the_model_saw_in_training_are_told() -> None:
    sentences = verdict(evaluate(predictions(), replace(CONTEXT, num_seen=12)))
    assert "Images skipped because the model saw them in training: 12." in sentences


def test_calibration_is_shown_before_and_after(judged: tuple[Page, dict[str, Any]]) -> None:
    page, numbers = judged
    found = numbers["calibration"]
    plain = measure(predictions(), TASK, 0.4)
    assert found["before"]["ece"] == pytest.approx(plain["ece"], abs=1e-6)
    assert found["after"]["ece"] == numbers["metrics"]["ece"]
    assert found["after"]["brier"] == numbers["metrics"]["brier"]
    assert rate(found["before"]["ece"]) in page.text
    assert "temperature, T = " in page.text
    assert "uncalibrated" in page.drawn


def test_groups_are_judged_beside_their_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    table = predictions()
    kinds = label_numbers(table, TASK)
    names = [f"video{number // 10}-{kind}" for number, kind in enumerate(kinds)]
    whole = table.set_column(4, table.schema.field("group"), pa.array(names))
    found = write_report(tmp_path / "lab", whole, CONTEXT)["group_level"]
    assert set(found["by"]) == {"mean", "max"}
    assert found["num_groups"] == len(set(names)) == found["by"]["max"]["metrics"]["num_images"]
    page = Page((tmp_path / "lab" / "report.html").read_text(encoding="utf-8"))
    assert "Groups, by mean" in page.text
    assert rate(found["by"]["mean"]["metrics"]["roc_auc"]) in page.text


def test_videos_are_judged_by_the_rule_of_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    table = predictions()
    kinds = label_numbers(table, TASK)
    names = [f"video{number // 10}-{kind}" for number, kind in enumerate(kinds)]
    whole = table.set_column(4, table.schema.field("group"), pa.array(names))
    point = fit_video_point(whole, TASK, ThresholdConfig(), VideoConfig("median"), 0.4)
    assert point is not None
    context = replace(CONTEXT, video_point=point)
    found = write_report(tmp_path / "lab", whole, context)["group_level"]["video"]
    area, interval = found["metrics"]["roc_auc"], found["intervals"]["roc_auc"]
    assert found["point"]["rule"] == "median"
    said = f"By video: ROC-AUC {rate(area)} ({span(interval)}), accuracy"
    sentence = next(text for text in verdict(evaluate(whole, context)) if "By video" in text)
    assert sentence.startswith(said)
    assert f"rule median, fixed on validation ({point.num_videos} videos)." in sentence
    page = Page((tmp_path / "lab" / "report.html").read_text(encoding="utf-8"))
    assert "Videos, by median" in page.text
    assert sentence in page.text
    lines = (tmp_path / "lab" / "tables" / "by_video.csv").read_text().splitlines()
    assert any(line.startswith(f"roc_auc,ROC-AUC,{area}") for line in lines)


def test_fakes_stand_against_their_own_originals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    table = predictions()
    table = table.set_column(4, table.schema.field("group"), pa.nulls(300, pa.string()))
    names = pa.array([f"pair{number // 4}" for number in range(300)])
    place = table.schema.get_field_index("pair")
    paired = table.set_column(place, table.schema.field("pair"), names)
    found = write_report(tmp_path / "lab", paired, CONTEXT)["pairs"]
    share, interval = found["share_above"], found["interval"]
    assert {row["generator"] for row in found["by_generator"]} == {"gan", "</td><script>x</script>"}
    page = Page((tmp_path / "lab" / "report.html").read_text(encoding="utf-8"))
    assert "Against their own originals" in page.text
    assert f"a share of {rate(share)} ({span(interval)}) scores above it" in page.text
    lines = (tmp_path / "lab" / "tables" / "pairs.csv").read_text().splitlines()
    assert lines[1].startswith(f"all,{found['num_pairs']},{share},{interval[0]}")
    assert len(lines) == 4
    assert write_report(tmp_path / "lab", table, CONTEXT)["pairs"] is None
    assert "Against their own originals" not in (tmp_path / "lab" / "report.html").read_text()


def test_groups_of_both_classes_are_named_and_not_judged(
    page: Page, numbers: dict[str, Any]
) -> None:
    assert numbers["group_level"]["by"] == {}
    assert "30 groups hold images of both classes, video0 for one" in page.text


def test_without_groups_the_page_has_no_group_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    table = predictions(40)
    alone = table.set_column(4, table.schema.field("group"), pa.nulls(40, pa.string()))
    assert write_report(tmp_path / "lab", alone, CONTEXT)["group_level"] is None
    page = Page((tmp_path / "lab" / "report.html").read_text(encoding="utf-8"))
    assert "group-level" not in page.values("id")
    assert "resamples of 40 images" in page.text


def test_a_source_without_negatives_has_no_area(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    table = predictions()
    web = np.asarray(table["source"].to_pylist()) == "web"
    kept = table.filter(pa.array(~(web & (label_numbers(table, TASK) == 0))))
    found = write_report(tmp_path / "lab", kept, CONTEXT)["worst_first"]
    assert {row["roc_auc"] for row in found if row["source"] == "web"} == {None}
    page = Page((tmp_path / "lab" / "report.html").read_text(encoding="utf-8"))
    assert "Across sources" in page.text


def test_a_worn_test_split_is_told(judged: tuple[Page, dict[str, Any]], page: Page) -> None:
    assert judged[1]["test_scorings"] == 3
    assert "Caution: this run has scored this split 3 times" in judged[0].text
    assert "Times this run scored this split not counted" in page.text
    once = evaluate(predictions(40), replace(CONTEXT, test_scorings=1))
    assert not any("Caution" in sentence for sentence in verdict(once))
    assert "once" in scorings(once.context)


def test_a_promise_that_is_broken_beyond_chance_is_told() -> None:
    point = fitted(fpr=0.05)
    table = calibrated(predictions(), point.calibration)
    kept = verdict(evaluate(table, with_point(point)))
    assert not any("chosen for" in sentence for sentence in kept)
    shifted = table.set_column(
        5, table.schema.field("logit"), pa.array((logits_of(table) + 2).astype(np.float32))
    )
    broken = verdict(evaluate(calibrated(shifted, point.calibration), with_point(point)))
    assert any("chosen for at most 5.0% false alarms" in sentence for sentence in broken)


def test_what_validation_could_not_promise_is_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    point = fitted(100)
    write_report(tmp_path / "lab", predictions(40), with_point(point))
    page = Page((tmp_path / "lab" / "report.html").read_text(encoding="utf-8"))
    assert point.warnings
    for warning in point.warnings:
        assert warning in page.text


def test_unlabelled_predictions_are_answered_at_the_operating_point(tmp_path: Path) -> None:
    table = predictions(60, labelled=False)
    found = write_report(tmp_path / "new", table, with_point(fitted()))
    assert found["operating_point"]["fpr"]["rate"] is None
    page = Page((tmp_path / "new" / "report.html").read_text(encoding="utf-8"))
    assert "Unsure band" in page.text
    assert "Calibration" not in page.text


def test_another_threshold_than_the_stored_one_is_refused() -> None:
    with pytest.raises(FaceproofError, match="report at the stored threshold"):
        replace(CONTEXT, operating_point=fitted())


def test_mistakes_are_shown_in_both_directions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    told = find_mistakes(predictions(), TASK, CONTEXT.threshold)
    paths = shown_paths(told.values())
    noise = np.random.default_rng(0).integers(0, 256, (144, 144, 3), np.uint8)
    extras = replace(EXTRAS, images=dict.fromkeys(paths[1:], noise))
    report = write_report(tmp_path / "x", predictions(), CONTEXT, extras)
    text = (tmp_path / "x" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [len(rows.shown) for rows in told.values()] == [12, 12]
    assert page.tags.count("img") == len(paths) - 1 == 23
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.values("src"))
    # Noise is the worst of images for JPEG.
    assert sum(len(source) for source in page.values("src")) < 23 * 25_000
    assert text.count('<p class="none">no image</p>') == 1
    for direction, rows in told.items():
        assert direction in page.words
        assert report["mistakes"][direction]["num"] == rows.num > 12
        assert f"12 of {rows.num}" in page.text
    first = told["fake called real"].shown[0]
    assert first.generator in ("gan", "</td><script>x</script>")
    assert f"real {percent(first.certainty)} {first.generator}, " in page.text
    assert first.path.removeprefix("/data/") in page.text
    assert "the file below /data/ ." in page.text


def test_where_there_are_no_mistakes_the_page_says_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare(monkeypatch)
    table = predictions()
    right = table.filter(pc.equal(pc.equal(table["label"], "fake"), pc.greater(table["logit"], 0)))
    context = replace(CONTEXT, threshold=0.5)
    report = write_report(tmp_path / "x", right, context)
    assert [told["num"] for told in report["mistakes"].values()] == [0, 0]
    page = Page((tmp_path / "x" / "report.html").read_text(encoding="utf-8"))
    assert page.words.count("None.") == 2
    assert "img" not in page.tags
