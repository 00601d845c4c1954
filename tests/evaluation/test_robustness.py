import numpy as np
import pytest
from scipy import stats

from faceproof.data.table import table_from_columns
from faceproof.evaluation.predictions import predictions_table
from faceproof.evaluation.robustness import compare_neutral, corruption_row, most_changed, worst
from faceproof.task import get_task

TASK = get_task("deepfake")


def predictions(logits, labels, groups=None):
    rows = table_from_columns(
        {
            "path": [f"{number}.jpg" for number in range(len(labels))],
            "label": [None if label is None else TASK.classes[label] for label in labels],
            "split": ["test"] * len(labels),
            "source": ["here"] * len(labels),
            "group": [None] * len(labels) if groups is None else groups,
        }
    )
    logits = np.asarray(logits, float)
    return predictions_table(rows, logits, 1 / (1 + np.exp(-logits)))


def scored(seed=0, size=200):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    return rng.normal(2 * (2 * labels - 1), 2), labels


def compared(before, after, labels, groups=None):
    tables = (predictions(logits, labels, groups) for logits in (before, after))
    return compare_neutral(*tables, "neutral", 90, TASK, 0.5)


def test_the_same_answers_hold():
    logits, labels = scored()
    found = compared(logits, logits, labels)
    assert (found.changed, found.p_value, found.parts, found.answers) == (0, 1.0, False, "hold")


def test_a_detector_of_the_wrapping_parts():
    logits, labels = scored()
    plain, wrapped = predictions(logits, labels), predictions(logits * 0 - 1, labels)
    found = compare_neutral(plain, wrapped, "neutral", 90, TASK, 0.5)
    assert found.parts
    assert found.wrapped.recall == 0
    assert found.plain.accuracy > 0.8


@pytest.mark.parametrize("size", [40, 400])
def test_right_and_wrong_changes_do_not_cancel(size):
    """Recall falls from 0.75 to 0.50 and specificity rises from 0.75 to 1: accuracy stays."""
    labels = np.repeat([1, 0], size)
    quarter = size // 4
    before = np.concatenate(
        [np.repeat([1, -1], [3 * quarter, quarter]), np.repeat([1, -1], [quarter, 3 * quarter])]
    )
    after = np.concatenate([np.repeat([1, -1], [2 * quarter, 2 * quarter]), np.repeat(-1, size)])
    found = compared(before, after, labels)
    assert (found.plain.recall, found.wrapped.recall) == (0.75, 0.5)
    assert (found.plain.specificity, found.wrapped.specificity) == (0.75, 1)
    assert found.plain.accuracy == found.wrapped.accuracy
    assert found.answers == "depend"
    assert found.changed == size // 2
    negative, positive = found.by_class
    assert (negative.label, negative.to_negative, negative.to_positive) == ("real", quarter, 0)
    assert (positive.label, positive.to_negative, positive.to_positive) == ("fake", quarter, 0)
    assert positive.called.value == pytest.approx(-0.25)
    assert positive.shift.value < -0.2


def test_frames_of_one_video_are_one_witness():
    labels = np.repeat([1, 0], 40)
    before, after = np.repeat([2.0, -2.0], 40), np.repeat([-2.0, -2.0], 40)
    alone = compared(before, after, labels)
    assert alone.answers == "depend"
    assert alone.p_value < 1e-9
    found = compared(before, after, labels, np.repeat(["video", "other"], 40))
    assert found.p_value == 1
    assert found.answers == "unclear"
    many = compared(before, after, labels, [f"video {row // 4}" for row in range(80)])
    assert many.answers == "depend"
    # Ten videos, all one way; of each class two tests, of which one shows nothing.
    assert many.p_value == pytest.approx(4 * 2 * 0.5**10)


def test_a_small_effect_of_many_images_is_judged_by_its_size():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], 20_000)
    before = rng.normal(3 * (2 * labels - 1), 1)
    flipped = np.zeros(len(labels), bool)
    flipped[rng.choice(20_000, 100, replace=False)] = True  # 0.5 % of the fakes
    found = compared(before, np.where(flipped, -0.1, before), labels)
    assert found.p_value < 1e-9
    assert found.answers == "hold"


def test_few_images_without_a_change_prove_nothing():
    labels = np.repeat([1, 0], 12)
    logits = np.where(labels == 1, 2.0, -2.0)
    assert compared(logits, logits, labels).answers == "unclear"


def test_scores_that_move_without_a_changed_answer_are_seen():
    logits, labels = scored(size=400)
    far = np.sign(logits) * (np.abs(logits) + 3)
    found = compared(far, far - 2, labels)
    assert found.changed == 0
    assert found.answers == "depend"
    assert all(one.shift.value < -0.2 for one in found.by_class)


def test_changes_both_ways_are_unsteady():
    labels = np.repeat([1, 0], 200)
    before = np.where(np.arange(400) % 4 == 0, 0.1, np.where(np.arange(400) % 4 == 1, -0.1, 3.0))
    after = np.where(np.abs(before) < 1, -before, before)
    assert compared(before, after, labels).answers == "unsteady"


def test_answers_without_labels_are_tested_too():
    logits = np.repeat([2.0, -2.0], 50)
    found = compared(logits, np.full(100, -2.0), [None] * 100)
    assert found.answers == "depend"
    assert [one.label for one in found.by_class] == [None]
    assert found.by_class[0].to_negative == 50


@pytest.mark.parametrize("seed", range(3))
def test_the_p_value_of_a_class_is_mcnemar_s(seed):
    from statsmodels.stats.contingency_tables import mcnemar

    logits, labels = scored(seed)
    other = logits + np.random.default_rng(seed + 9).normal(1, 2, len(logits))
    found = compared(logits, other, labels)
    tests = []
    for label, one in enumerate(found.by_class):
        before, after = (values[labels == label] > 0 for values in (logits, other))
        cells = [[(before & after).sum(), (before & ~after).sum()],
                 [(~before & after).sum(), (~before & ~after).sum()]]  # fmt: skip
        moved = (other - logits)[labels == label] / logits.std()
        tests += [mcnemar(cells, exact=True).pvalue, stats.ttest_1samp(moved, 0).pvalue]
        assert one.called.value == pytest.approx(after.mean() - before.mean())
        assert one.shift.value == pytest.approx(moved.mean(), abs=1e-6)
    corrected = stats_holm(tests)
    seen = [test.p_value for one in found.by_class for test in (one.called, one.shift)]
    assert seen == pytest.approx(corrected, rel=1e-4)


def stats_holm(p_values):
    from statsmodels.stats.multitest import multipletests

    return multipletests(p_values, method="holm")[1].tolist()


def test_chance_alone_rarely_parts():
    parted = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 100)
        first, second = (rng.normal(2 * labels - 1, 1.5) for _ in range(2))
        found = compared(first, second, labels)
        parted += found.parts
        assert found.answers != "hold"  # half of them change
    assert stats.binomtest(parted, 200, 0.05).pvalue > 0.001 or parted < 10


def test_the_worst_is_the_lowest_accuracy_that_is_defined():
    logits, labels = scored()
    rows = [
        corruption_row("jpeg", level, predictions(logits * scale, labels), TASK, 0.5)
        for level, scale in ((90, 1), (50, -1), (70, 0.5))
    ]
    assert str(worst(rows)) == "jpeg 50"
    assert (
        worst(rows).accuracy_interval[0] < worst(rows).accuracy < worst(rows).accuracy_interval[1]
    )
    assert worst([]) is None
    assert str(corruption_row("none", 0, predictions(logits, labels), TASK, 0.5)) == "as they are"


def test_the_worst_is_no_corruption_that_has_all_called_the_commoner_class():
    labels = np.repeat([1, 0], [90, 10])
    plain = predictions(np.where(np.arange(100) % 10 < 2, -1, 1) * (2 * labels - 1), labels)
    all_fake = corruption_row("blur", 4, predictions(np.ones(100), labels), TASK, 0.5, plain)
    mild = corruption_row("jpeg", 75, plain, TASK, 0.5, plain)
    assert all_fake.accuracy > mild.accuracy
    assert worst([mild, all_fake]) == all_fake
    assert most_changed([mild, all_fake]) == all_fake
    assert (mild.changed, all_fake.changed) == (0, 0.26)
    assert most_changed([mild]) is None
