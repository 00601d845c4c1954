"""What the verdict of a report warns of, and that it keeps silent where all is well."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from faceproof.data.table import table_from_columns
from faceproof.evaluation.evaluation_result import Evaluation, EvaluationContext, evaluate
from faceproof.evaluation.predictions import predictions_table, sigmoid
from faceproof.evaluation.robustness import compare_neutral
from faceproof.reports.report import render
from faceproof.reports.verdict_warnings import verdict_warnings
from faceproof.task import TASKS

TASK = TASKS["deepfake"]
CONTEXT = EvaluationContext(
    title="a run", task=TASK, run="run", model="resnet18", data="lab", split="test", threshold=0.5,
    threshold_origin="given", num_resamples=200,
)  # fmt: skip


def scored(gap: float, num_images: int = 800, per_group: int = 1, shift: float = 0.0) -> Any:
    """Return predictions whose logits part the classes by a gap; `shift` moves those of fakes."""
    labels = np.arange(num_images) % 2
    logits = np.random.default_rng(3).normal((labels - 0.5) * gap, 1) + shift * labels
    columns: dict[str, list[str | None]] = {
        "path": [f"{number:04}" for number in range(num_images)],
        "label": [TASK.classes[label] for label in labels],
        "split": ["test"] * num_images,
        "source": ["lab"] * num_images,
    }
    if per_group > 1:
        columns["group"] = [f"v{number // per_group}" for number in range(num_images)]
    return predictions_table(table_from_columns(columns), logits, sigmoid(logits))


def judged(gap: float = 3.0, context: EvaluationContext = CONTEXT, **facts: Any) -> Evaluation:
    return evaluate(scored(gap, **facts), context)


def warned(evaluation: Evaluation) -> dict[str, str]:
    return {one.title: one.text for one in verdict_warnings(evaluation)}


def test_a_good_detector_on_many_images_is_warned_of_nothing() -> None:
    evaluation = judged()
    assert warned(evaluation) == {}
    assert 'class="caution"' not in render(evaluation, DRAWN)


DRAWN = dict.fromkeys(
    ("confusion", "classes", "scores", "roc", "precision_recall", "reliability", "risk_coverage"),
    "",
)


def test_one_no_better_than_chance_is_told() -> None:
    found = warned(judged(gap=0.0))
    assert "includes 0.5, which guessing reaches" in found["Not better than chance"]
    evaluation = judged(gap=-2.0)
    assert "labels are swapped" in warned(evaluation)["Worse than chance"]
    assert "Worse than chance:" in render(evaluation, DRAWN)


def test_a_smoke_run_and_a_shortcut_are_told() -> None:
    shortcut = "file size alone predicts the class with ROC-AUC 0.930"
    limits = ("trainer.limit_train_batches=2",)
    found = warned(judged(context=replace(CONTEXT, limits=limits, shortcuts=(shortcut,))))
    assert list(found) == ["Smoke run", "Shortcut"]
    assert "cut short by trainer.limit_train_batches=2" in found["Smoke run"]
    assert shortcut in found["Shortcut"]
    assert "neutral=jpeg" in found["Shortcut"]


def test_answers_that_change_when_encoded_alike_are_told() -> None:
    plain = scored(3.0)
    neutral = compare_neutral(plain, scored(3.0, shift=-2.0), "neutral", 75, TASK, 0.5)
    assert neutral.answers == "depend"
    found = warned(evaluate(plain, replace(CONTEXT, neutral=neutral)))
    assert "The answers depend on the encoding" in found["Encoded alike, answers change"]
    same = compare_neutral(plain, plain, "neutral", 75, TASK, 0.5)
    assert warned(evaluate(plain, replace(CONTEXT, neutral=same))) == {}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"num_images": 60, "gap": 1.0}, "with 60 images the 95% interval of ROC-AUC, "),
        (
            {"num_images": 60, "gap": 1.0, "per_group": 5},
            "with 60 images in 12 independent groups the",
        ),
        ({"num_images": 80, "per_group": 10}, "80 images in 8 independent groups are too few for"),
    ],
)
def test_few_images_are_told_with_the_width_of_the_interval(
    facts: dict[str, Any], words: str
) -> None:
    evaluation = judged(**facts)
    found = warned(evaluation)["Few images"]
    assert found.startswith(words)
    interval = evaluation.intervals.metrics["roc_auc"]
    if interval is not None:
        assert f"is {interval[1] - interval[0]:.2f} wide" in found
