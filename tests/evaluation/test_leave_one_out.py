"""Rows of detectors on what they never saw: means, the worst, and the interval of the mean."""

import json

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from faceproof.evaluation.intervals import bootstrap_intervals
from faceproof.evaluation.leave_one_out import Answers, Judged, LeaveOneOut, mean_values, study
from faceproof.evaluation.predictions import SCHEMA
from faceproof.task import get_task

TASK = get_task("deepfake")


def judged(source, num=60, shift=1.0, real=None, seed=0, labels=None):
    """Return answers for images of a source; with `real`, beside these rows."""
    rng = np.random.default_rng((seed, *map(ord, source)))
    rows = list(real or [])
    for n in range(num):
        label = labels or ("real", "fake")[n % 2]
        rows.append({
            "path": f"/{source}/{n}", "label": label, "source": source,
            "logit": rng.normal(shift * (label == "fake")), "probability": rng.uniform(),
        })  # fmt: skip
    table = pa.Table.from_pylist([{**dict.fromkeys(SCHEMA.names), **row} for row in rows], SCHEMA)
    return Judged(table, TASK, 0.5)


def area(one):
    labels = np.array(one.predictions["label"].to_pylist()) == "fake"
    return roc_auc_score(labels, one.predictions["logit"].to_numpy())


def test_means_and_the_worst_are_those_of_the_rows():
    parts = {"a": judged("a"), "b": judged("b", shift=0.2), "c": judged("c", shift=3)}
    home = judged("h", shift=4)
    found = study({}, [Answers(name, name, one, home) for name, one in parts.items()])
    areas = {name: area(one) for name, one in parts.items()}
    assert found.mean["roc_auc"].value == pytest.approx(np.mean(list(areas.values())))
    assert found.worst["roc_auc"].name == min(areas, key=areas.get)
    assert found.worst["eer"].value == max(row.held_out.metrics["eer"].value for row in found.rows)
    assert found.home["roc_auc"].value == pytest.approx(area(home))
    for row in found.rows:
        intervals = bootstrap_intervals(parts[row.name].predictions, TASK, 0.5)
        assert row.held_out.metrics["roc_auc"].interval == intervals["roc_auc"]
        assert row.held_out.num_by_class == {"real": 30, "fake": 30}


def test_the_mean_of_sources_is_surer_than_each_and_as_sure_as_independence_says():
    parts = [judged(name, 200) for name in "abcd"]
    low, high = mean_values(parts)["roc_auc"].interval
    one = bootstrap_intervals(parts[0].predictions, TASK, 0.5)["roc_auc"]
    assert (high - low) == pytest.approx((one[1] - one[0]) / 2, rel=0.25)


def test_images_that_all_rows_judge_are_drawn_once_for_all():
    """The mean of rows that are the very same is as unsure as one of them."""
    alone = judged("a", 200)
    same = mean_values([alone] * 4)["roc_auc"]
    single = mean_values([alone])["roc_auc"]
    assert same == single
    real = judged("r", 100, labels="real").predictions.to_pylist()
    few = [judged(name, 100, real=real[:20], labels="fake") for name in "abcd"]
    apart = [judged(name, 100, real=judged(f"{name}r", 20, labels="real").predictions.to_pylist(),
                    labels="fake") for name in "abcd"]  # fmt: skip
    widths = [np.ptp(mean_values(parts)["roc_auc"].interval) for parts in (few, apart)]
    assert widths[0] > 1.4 * widths[1]


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Of two sources of known ROC-AUC: fewer than 33 of 40 would come by chance in 0.1 %."""
    from scipy.stats import norm

    truth = np.mean([norm.cdf(shift / np.sqrt(2)) for shift in (0.5, 1.5)])
    held = 0
    for seed in range(40):
        parts = [judged("a", 80, 0.5, seed=seed), judged("b", 80, 1.5, seed=seed)]
        low, high = mean_values(parts, num_resamples=100)["roc_auc"].interval
        held += low <= truth <= high
    assert held >= 33


def test_a_row_of_one_class_does_not_count_where_both_are_needed():
    fakes = judged("f", labels="fake")
    found = study({}, [Answers("a", "a", judged("a"), None), Answers("f", "f", fakes, None)])
    assert found.counted["roc_auc"] == 1
    assert found.counted["accuracy"] == 2
    assert found.mean["roc_auc"].value == found.rows[0].held_out.metrics["roc_auc"].value
    assert found.rows[1].held_out.metrics["roc_auc"].value is None
    assert found.home["roc_auc"].value is None


def test_few_units_give_no_interval():
    assert mean_values([judged("a"), judged("b", 8)])["roc_auc"].interval is None


def test_what_was_not_judged_is_none_and_everything_is_plain_json():
    found = study({"model": "x"}, [Answers("a", "run-a", None, None, "not trained: it broke")])
    values = LeaveOneOut("source", "a, b", TASK, [found]).to_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    (row,) = values["studies"][0]["rows"]
    assert (row["held_out"], row["reason"]) == (None, "not trained: it broke")
    assert values["studies"][0]["mean"]["roc_auc"] == {"value": None, "interval": None}
