import numpy as np
import pytest
from scipy import stats

from faceproof.data.table import table_from_columns
from faceproof.evaluation.predictions import predictions_table
from faceproof.evaluation.robustness import compare_neutral, corruption_row, worst
from faceproof.task import get_task

TASK = get_task("deepfake")


def predictions(logits, labels):
    rows = table_from_columns(
        {
            "path": [f"{number}.jpg" for number in range(len(labels))],
            "label": [TASK.classes[label] for label in labels],
            "split": ["test"] * len(labels),
            "source": ["here"] * len(labels),
        }
    )
    return predictions_table(rows, logits, 1 / (1 + np.exp(-logits)))


def scored(seed=0, size=200):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    return rng.normal(2 * (2 * labels - 1), 2), labels


def test_the_same_answers_do_not_part():
    logits, labels = scored()
    plain = predictions(logits, labels)
    found = compare_neutral(plain, plain, "neutral", 90, TASK, 0.5)
    assert (found.changed, found.p_value, found.parts) == (0, 1.0, False)


def test_a_detector_of_the_wrapping_parts():
    logits, labels = scored()
    plain, wrapped = predictions(logits, labels), predictions(logits * 0 - 1, labels)
    found = compare_neutral(plain, wrapped, "neutral", 90, TASK, 0.5)
    assert found.parts
    assert found.wrapped.recall == 0
    assert found.plain.accuracy > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_the_p_value_is_mcnemar_s(seed):
    from statsmodels.stats.contingency_tables import mcnemar

    logits, labels = scored(seed)
    other = logits + np.random.default_rng(seed + 9).normal(0, 2, len(logits))
    found = compare_neutral(
        predictions(logits, labels), predictions(other, labels), "neutral", 90, TASK, 0.5
    )
    before, after = ((values > 0) == (labels == 1) for values in (logits, other))
    cells = [[(before & after).sum(), (before & ~after).sum()],
             [(~before & after).sum(), (~before & ~after).sum()]]  # fmt: skip
    assert found.p_value == pytest.approx(mcnemar(cells, exact=True).pvalue)


def test_chance_alone_rarely_parts():
    parted = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 100)
        first, second = (rng.normal(2 * labels - 1, 1.5) for _ in range(2))
        pair = predictions(first, labels), predictions(second, labels)
        parted += compare_neutral(*pair, "neutral", 90, TASK, 0.5).parts
    assert stats.binomtest(parted, 200, 0.05).pvalue > 0.001 or parted < 10


def test_the_worst_is_the_lowest_accuracy_that_is_defined():
    logits, labels = scored()
    rows = [
        corruption_row("jpeg", level, predictions(logits * scale, labels), TASK, 0.5)
        for level, scale in ((90, 1), (50, -1), (70, 0.5))
    ]
    assert str(worst(rows)) == "jpeg 50"
    assert worst([]) is None
    assert str(corruption_row("none", 0, predictions(logits, labels), TASK, 0.5)) == "as they are"
