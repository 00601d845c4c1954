"""A metric is one record: added to the list, it is found wherever metrics are."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import matthews_corrcoef

from faceproof.artifact import model_card
from faceproof.artifact.card import EvaluationEntry
from faceproof.data.table import table_from_columns
from faceproof.evaluation.comparison import Cost, compare_runs
from faceproof.evaluation.evaluation_result import EvaluationContext, evaluate
from faceproof.evaluation.metrics import METRICS, Metric, better
from faceproof.evaluation.predictions import predictions_table
from faceproof.evaluation.scored_runs import read_runs, same_images
from faceproof.evaluation.scores import WeightedScores
from faceproof.io.run_folder import RunFolder
from faceproof.reports.comparison_page import write_comparison
from faceproof.reports.report import write_report
from faceproof.task import TASKS
from faceproof.training.live_metrics import live_metrics
from faceproof.workflows.sweep_folder import SweepFolder

TASK = TASKS["deepfake"]
LABELS = np.arange(120) % 2


def matthews(scores: WeightedScores) -> float:
    (tn, fp), (fn, tp) = scores.confusion.tolist()
    return (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


@pytest.fixture(autouse=True)
def _matthews(monkeypatch):
    record = Metric(
        "matthews",
        "Matthews correlation",
        matthews,
        "correlation of truth and answer; guessing scores 0",
        needs=("negative", "positive", "called"),
    )
    monkeypatch.setitem(METRICS, "matthews", record)


def logits_of(seed):
    return 2.0 * LABELS - 1 + np.random.default_rng(seed).normal(0, 1, len(LABELS))


def write_run(folder, seed):
    run = RunFolder(folder)
    evaluation = run.evaluations / "demo-test"
    run.evaluations.mkdir(parents=True)
    run.config.write_text(f"seed: {seed}\nmodel: {{}}\ndata: {{}}\n")
    run.update_record(model="cnn", data="demo")
    columns = {
        "path": [f"{n}.jpg" for n in range(len(LABELS))],
        "label": [TASK.classes[label] for label in LABELS],
    }
    logits = logits_of(seed)
    table = predictions_table(table_from_columns(columns), logits, 1 / (1 + np.exp(-logits)))
    context = EvaluationContext(
        "cnn on demo",
        TASK,
        "run",
        "cnn",
        "demo",
        "test",
        0.5,
        "given",
        num_resamples=100,
        detector=run.detector_digest,
    )
    found = evaluate(table, context)
    write_report(evaluation, table, found)
    return run


def expected(seed):
    return matthews_corrcoef(LABELS, logits_of(seed) > 0)


def test_it_is_logged_live_and_may_be_monitored():
    logits = torch.tensor(logits_of(0), dtype=torch.float32)
    found = live_metrics(logits, torch.tensor(LABELS))
    assert found["matthews"].item() == pytest.approx(expected(0), abs=1e-6)
    assert live_metrics(logits.abs(), torch.ones(120, dtype=torch.int64))["matthews"].isnan()
    assert better("val/matthews") == "max"


def test_it_is_in_the_report_with_its_interval(tmp_path):
    folder = write_run(tmp_path / "run", 0).evaluations / "demo-test"
    report = json.loads((folder / "report.json").read_text())
    value, (low, high) = report["metrics"]["matthews"], report["intervals"]["metrics"]["matthews"]
    assert value == pytest.approx(expected(0))
    assert low < value < high
    page = (folder / "report.html").read_text()
    assert "Matthews correlation" in page
    assert f"{value:.3f}" in page
    assert "correlation of truth and answer; guessing scores 0" in page


def test_it_is_in_the_comparison(tmp_path):
    runs = [write_run(tmp_path / str(seed), seed) for seed in (0, 1)]
    scored = same_images(read_runs(runs, "demo-test", [{"seed": seed} for seed in (0, 1)]))
    found = compare_runs(scored, [Cost(), Cost()], None, 100)
    page = write_comparison(tmp_path / "out", found, scored)
    rows = list(csv.DictReader((tmp_path / "out" / "comparison.csv").read_text().splitlines()))
    values = sorted(float(row["matthews"]) for row in rows)
    assert values == pytest.approx(sorted((expected(0), expected(1))))
    assert all(row["matthews_low"] for row in rows)
    assert found.configurations[0].metrics["matthews"].mean == pytest.approx(np.mean(values))
    for text in (page.read_text(), (tmp_path / "out" / "comparison.md").read_text()):
        assert "Matthews correlation" in text
        assert f"{values[0]:.3f}" in text


def test_it_sorts_the_leaderboard_of_a_sweep(tmp_path):
    with SweepFolder(tmp_path / "sweep") as sweep:
        for seed, value in (("0", 0.4), ("1", 0.7)):
            job = sweep.plan([f"seed={seed}"], ["seed"])
            best = {"val/matthews": value, "val/loss": 0.5}
            job.run.update_record(
                status="finished", monitor="val/matthews", best_epoch=0, epochs=1, best=best
            )
            job.run.write_operating_point({"threshold": 0.5})
            sweep.end(job, "")
        sweep.write_leaderboard()
        first, second = csv.DictReader(sweep.leaderboard.read_text().splitlines())
    assert (first["val/matthews"], second["val/matthews"]) == ("0.7", "0.4")


def test_it_is_on_the_model_card():
    entry = EvaluationEntry(
        name="demo-test",
        data="demo",
        split="test",
        num_images=120,
        threshold=0.5,
        same_operating_point=True,
        metrics={"matthews": 0.71234},
        intervals={"matthews": (0.6, 0.8)},
    )
    table = list(model_card.tabulate_evaluations([entry]))
    assert "Matthews correlation" in table[2]
    assert "0.712 (0.600 to 0.800)" in table[4]
