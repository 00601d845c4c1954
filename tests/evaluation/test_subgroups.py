"""Subgroups and the gaps between them, against statsmodels, a bootstrap, and worked examples."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from faceproof.data.table import table_from_columns
from faceproof.evaluation.breakdown import breakdown
from faceproof.evaluation.evaluation_result import EvaluationContext, evaluate
from faceproof.evaluation.metrics import measure
from faceproof.evaluation.predictions import predictions_table, sigmoid
from faceproof.evaluation.subgroups import bin_numbers, find_subgroups
from faceproof.reports.subgroup_text import gap_sentences
from faceproof.task import TASKS

TASK = TASKS["deepfake"]
Array = npt.NDArray[np.float64]


def scored(
    labels: npt.NDArray[np.int64],
    logits: Array,
    group: list[str] | None = None,
    **subgroups: list[str | None],
) -> pa.Table:
    columns = {
        "path": [f"/{number}.png" for number in range(len(labels))],
        "label": [TASK.classes[label] for label in labels],
        **({} if group is None else {"group": group}),
        **subgroups,
    }
    rows = table_from_columns(columns, list(subgroups))
    return predictions_table(rows, logits, sigmoid(logits), subgroups=list(subgroups))


def shares(*right: tuple[str, int, int]) -> pa.Table:
    """Fakes of each subgroup, of which so many of so many are called fake."""
    tones = [tone for tone, _, number in right for _ in range(number)]
    logits = [2.0 if n < good else -2.0 for _, good, number in right for n in range(number)]
    return scored(np.ones(len(tones), np.int64), np.array(logits), tone=tones)


def test_the_gap_of_two_subgroups_has_newcombes_interval() -> None:
    (found,) = find_subgroups(shares(("dark", 30, 50), ("light", 45, 60)), TASK, 0.5)
    gap = found.gaps["accuracy"]
    assert gap is not None
    assert (gap.worst, gap.best) == ("dark", "light")
    assert gap.difference == pytest.approx(45 / 60 - 30 / 50)
    assert gap.interval == pytest.approx(
        confint_proportions_2indep(45, 60, 30, 50, method="newcomb", alpha=0.05)
    )
    assert not gap.real
    assert found.num_pairs["accuracy"] == 1
    assert found.gaps["roc_auc"] is found.gaps["specificity"] is None  # there are no real images


def test_the_interval_of_the_largest_gap_holds_for_all_pairs_at_once() -> None:
    table = shares(("a", 30, 50), ("b", 40, 50), ("c", 45, 50), ("d", 48, 50))
    (found,) = find_subgroups(table, TASK, 0.5)
    gap = found.gaps["recall"]
    assert gap is not None
    assert found.num_pairs["recall"] == 6
    assert (gap.worst, gap.best, gap.real) == ("a", "d", True)
    assert gap.interval == pytest.approx(
        confint_proportions_2indep(48, 50, 30, 50, method="newcomb", alpha=0.05 / 6)
    )


def test_pairs_of_all_columns_count() -> None:
    table = shares(("a", 30, 50), ("b", 40, 50))
    both = table.append_column("age", table["tone"])
    assert [one.num_pairs["accuracy"] for one in find_subgroups(both, TASK, 0.5)] == [2, 2]


def test_a_gap_that_is_picked_of_many_equals_is_seldom_called_real() -> None:
    random = np.random.default_rng(0)
    called = 0
    for _ in range(200):
        right = [(name, int(random.binomial(60, 0.8)), 60) for name in "abcdefgh"]
        (found,) = find_subgroups(shares(*right), TASK, 0.5)
        gap = found.gaps["accuracy"]
        assert gap is not None
        called += gap.real
    assert called <= 18  # 5 % of 200 are 10; more than 18 come by chance once in 150 times
    # Without the correction it would be far more often.
    alone = stats.norm.sf(1.96) * 2 * 28
    assert alone > 1


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "specificity", "recall"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_gap_is_as_wide_as_the_bootstrap_over_groups_says(metric: str, shared: bool) -> None:
    """Of videos that are in both subgroups, as compressed copies are, and of others."""
    random = np.random.default_rng(5)
    num, frames = 120, 3
    labels = np.repeat(np.arange(num) % 2, 2 * frames)
    video = np.repeat(np.arange(num), 2 * frames)
    own = random.normal(0, 1.2, num)[video]
    second = np.tile(np.repeat([0, 1], frames), num)
    if not shared:
        video = 2 * video + second
        own = random.normal(0, 1.2, 2 * num)[video]
    logits = labels * 1.6 - 0.8 + own - 0.5 * second * labels + random.normal(0, 0.5, len(labels))
    copies: list[str | None] = [("c23", "c40")[one] for one in second]
    table = scored(labels, logits, [str(one) for one in video], compression=copies)
    (found,) = find_subgroups(table, TASK, 0.5)
    gap = found.gaps[metric]
    assert gap is not None

    sign = -1 if gap.worst == "c23" else 1
    members = [np.flatnonzero(video == one) for one in np.unique(video)]
    drawn = []
    for _ in range(400):
        rows = np.concatenate([members[n] for n in random.integers(0, len(members), len(members))])
        parts = [rows[second[rows] == number] for number in (0, 1)]
        c23, c40 = (measured(labels[part], logits[part], metric) for part in parts)
        drawn.append(sign * (c23 - c40))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert gap.interval[1] - gap.interval[0] == pytest.approx(high - low, rel=0.2)
    assert gap.interval == pytest.approx((low, high), abs=0.03)


def measured(labels: npt.NDArray[np.int64], logits: Array, metric: str) -> float:
    if metric == "roc_auc":
        above = stats.rankdata(logits)[labels == 1].sum()
        ones, zeros = (labels == 1).sum(), (labels == 0).sum()
        return float((above - ones * (ones + 1) / 2) / (ones * zeros))
    rows = {"recall": labels == 1, "specificity": labels == 0}.get(metric, labels >= 0)
    return float(((logits[rows] >= 0) == (labels[rows] == 1)).mean())


def test_rows_are_those_of_the_breakdown_and_of_each_subgroup_alone() -> None:
    random = np.random.default_rng(1)
    labels, logits = random.integers(0, 2, 300), random.normal(0, 1, 300)
    tone: list[str | None] = ["dark" if n % 3 else None if n % 2 else "light" for n in range(300)]
    table = scored(labels, logits, tone=tone)
    (found,) = find_subgroups(table, TASK, 0.5)
    assert (found.column, found.binned) == ("tone", False)
    assert found.rows == breakdown(table, TASK, 0.5, "tone")
    assert {row.value for row in found.rows} == {"dark", "light", None}
    for row in found.rows:
        chosen = np.array([one == row.value for one in tone])
        alone = measure(scored(labels[chosen], logits[chosen]), TASK, 0.5)
        assert (row.accuracy, row.roc_auc) == (alone["accuracy"], alone["roc_auc"])
    gap = found.gaps["roc_auc"]
    assert gap is not None
    assert {gap.worst, gap.best} == {"dark", "light"}  # images without a tone are no subgroup


def test_small_subgroups_are_counted_and_in_no_gap() -> None:
    (found,) = find_subgroups(shares(("a", 40, 50), ("b", 45, 50), ("c", 0, 9)), TASK, 0.5)
    gap = found.gaps["accuracy"]
    assert gap is not None
    assert gap.worst == "a"
    assert [(row.value, row.few, row.num_images) for row in found.rows][-1] == ("c", True, 9)
    frames = scored(np.ones(80, np.int64), np.ones(80), ["v1", "v2"] * 40, tone=["a", "b"] * 40)
    assert not any(find_subgroups(frames, TASK, 0.5)[0].gaps.values())  # forty frames of one video


def test_perfect_subgroups_keep_an_interval() -> None:
    (found,) = find_subgroups(shares(("a", 20, 20), ("b", 20, 20)), TASK, 0.5)
    gap = found.gaps["accuracy"]
    assert gap is not None
    assert gap.difference == 0
    assert gap.interval == pytest.approx(
        confint_proportions_2indep(20, 20, 20, 20, method="newcomb"), abs=1e-9
    )


def test_numbers_are_binned_at_their_quartiles() -> None:
    ages = [str(age) for age in range(1, 101)]
    named, binned = bin_numbers(pa.chunked_array([ages]))
    assert binned
    assert list(dict.fromkeys(named.to_pylist())) == [
        "1 to 25",
        "26 to 50",
        "51 to 75",
        "76 to 100",
    ]
    named, binned = bin_numbers(pa.chunked_array([[*ages, None]]))
    assert (named[-1].as_py(), binned) == (None, True)
    assert bin_numbers(pa.chunked_array([["1", "2", "6"] * 9]))[1] is False  # six skin tones
    assert bin_numbers(pa.chunked_array([[*ages, "old"]]))[1] is False
    assert bin_numbers(pa.chunked_array([[*ages, "nan"]]))[1] is False
    assert bin_numbers(pa.chunked_array([pa.nulls(3, pa.string())]))[1] is False


@given(st.lists(st.sampled_from([*np.linspace(1, 1.00001, 14), 5.0, -3.0]), min_size=1))
def test_every_number_is_in_the_bin_that_names_it(numbers: list[float]) -> None:
    named, binned = bin_numbers(pa.chunked_array([pa.array([f"{n:.17g}" for n in numbers])]))
    if binned:
        assert len(set(named.to_pylist())) <= 4
        by_number: dict[float, set[str]] = {}
        for number, name in zip(numbers, named.to_pylist(), strict=True):
            low, high = map(float, name.split(" to "))
            assert low - 1e-3 <= number <= high + 1e-3
            by_number.setdefault(number, set()).add(name)
        assert all(len(names) == 1 for names in by_number.values())


def test_a_report_without_subgroups_is_as_before_and_one_with_says_them() -> None:
    labels = np.tile([0, 1], 60)
    logits = np.random.default_rng(2).normal(labels * 2 - 1.0, 1)
    context = EvaluationContext(
        title="t", task=TASK, run="r", model="m", data="d", split="test", threshold=0.5,
        threshold_origin="given", num_resamples=100,
    )  # fmt: skip
    assert "subgroups" not in evaluate(scored(labels, logits), context).to_json()
    tone: list[str | None] = ["dark"] * 60 + ["light"] * 60
    found = evaluate(scored(labels, logits, tone=tone), context)
    (part,) = found.to_json()["subgroups"]
    assert part["column"] == "tone"
    assert part["gaps"]["roc_auc"]["worst"] in ("dark", "light")
    (sentence,) = gap_sentences(found.subgroups)
    assert sentence.startswith("By tone, ROC-AUC is lowest for")
    assert "which may be chance" in sentence
