"""The term of a teacher, against formulas written out."""

import pytest
import torch
from torch.nn import functional as F

from faceproof.errors import FaceproofError
from faceproof.training.method_config import METHODS, CutMixConfig, make_method
from faceproof.training.methods import Distillation


def term(logits, taught, temperature):
    distillation = Distillation(lambda images: taught, temperature, 1.0)
    return distillation.add_to(torch.tensor(5.0), logits, distillation.teach(torch.zeros(1)))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_term_is_the_divergence_from_the_teacher_at_the_temperature(temperature):
    logits, taught = torch.tensor([0.3, -2.0, 4.0]), torch.tensor([1.0, -1.0, 9.0])
    ours, theirs = (torch.stack([-x / 2, x / 2], 1) / temperature for x in (logits, taught))
    expected = F.kl_div(ours.log_softmax(1), theirs.softmax(1), reduction="batchmean")
    torch.testing.assert_close(term(logits, taught, temperature), temperature**2 * expected)


def test_a_student_that_agrees_has_no_term_and_no_gradient():
    logits = torch.tensor([0.3, -2.0], requires_grad=True)
    found = term(logits, logits.detach(), 2.0)
    found.backward()
    assert found.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(logits.grad, torch.zeros(2))


def test_the_weight_divides_between_labels_and_teacher():
    logits, taught, loss = torch.zeros(2), torch.ones(2), torch.tensor(0.8)
    parts = [Distillation(lambda images: taught, 2.0, weight) for weight in (0.0, 0.25, 1.0)]
    none, some, all_of_it = (one.add_to(loss, logits, taught) for one in parts)
    assert none == loss
    torch.testing.assert_close(some, 0.75 * loss + 0.25 * all_of_it)


@pytest.mark.parametrize(
    ("group", "values", "message"),
    [
        ("mix", {"name": "mixing"}, "name = 'mixing' must be one of none, mixup, cutmix"),
        ("mix", {}, "name = None must be one of"),
        ("mix", {"name": ["mixup"]}, "must be one of"),
        ("mix", "mixup", "must be one of"),
        ("mix", {"name": "none", "alpha": 1}, "there is no setting alpha"),
        ("mix", {"name": "cutmix", "alpha": 0}, "alpha = 0 must be a number from 0.01"),
        ("adapter", {"name": "lora", "ranks": 2}, "there is no setting ranks; did you mean rank"),
        ("distill", {"name": "soft_targets"}, "teacher is missing"),
        ("distill", {"name": "soft_targets", "teacher": "x", "weight": 2}, "weight = 2 must be"),
    ],
)
def test_settings_that_make_no_method_are_refused(group, values, message):
    with pytest.raises(FaceproofError, match=message):
        make_method(values, METHODS[group])


def test_none_is_no_method():
    assert make_method({"name": "none"}, METHODS["mix"]) is None
    assert make_method({"name": "cutmix"}, METHODS["mix"]) == CutMixConfig(1.0)
