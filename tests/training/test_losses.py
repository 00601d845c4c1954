"""The training losses by worked examples, and one of one's own in their place."""

import functools
import math

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR
from torch.utils.data import DataLoader

from faceproof.data.datasets import Batch
from faceproof.errors import FaceproofError
from faceproof.training.config import make_train_config
from faceproof.training.loss_config import LOSSES, make_loss_config
from faceproof.training.losses import (
    FeatureLoss,
    alignment,
    effective_weights,
    focal,
    label_smoothing,
    make_loss,
    supervised_contrastive,
    uniformity,
    weighted_bce,
)
from faceproof.training.module import DetectorModule
from tests.jobs import compose_job, train
from tests.small_networks import small

LOGITS, LABELS = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1, 1, 0])


def test_each_image_is_weighted_by_its_class():
    each = F.binary_cross_entropy_with_logits(LOGITS, LABELS.float(), reduction="none")
    found = weighted_bce(LOGITS, LABELS, torch.tensor([3.0, 0.5]))
    torch.testing.assert_close(found, (each * torch.tensor([0.5, 0.5, 3.0])).mean())


# Lightning's own, of a plain trainer.
@pytest.mark.filterwarnings("ignore:.*(LeafSpec|does not have many workers)")
def test_a_loss_of_ones_own_trains_and_validation_keeps_the_usual_one():
    def seven(logits, labels, class_weights):
        assert class_weights.tolist() == [1.0, 2.0]
        return 7 + 0 * logits.sum()

    net = small(0).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    module = DetectorModule(
        net,
        lambda net: SGD([{"params": [*net.parameters()], "name": "all"}], lr=1.0),
        lambda optimizer, num_steps: ConstantLR(optimizer, factor=1.0),
        class_weights=(1.0, 2.0),
        loss=seven,
    )
    batch = Batch(torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 0, 1]), torch.arange(4))
    loader = functools.partial(DataLoader, [batch], batch_size=None)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, loader(), loader())
    assert trainer.callback_metrics["train/loss"].item() == 7
    logits = net.eval()(batch.image)
    usual = F.binary_cross_entropy_with_logits(logits, batch.label.float())
    assert trainer.callback_metrics["val/loss"].item() == pytest.approx(usual.item(), rel=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


EVEN = torch.ones(2)
# Of length 1: two images alike, and one at a right angle to both.
FEATURES = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], requires_grad=True)


def test_a_smoothed_target_of_an_even_logit_and_of_a_sure_one():
    # -(0.95 log s + 0.05 log(1 - s)) for s = sigmoid(2)
    s = 1 / (1 + math.exp(-2))
    expected = -(0.95 * math.log(s) + 0.05 * math.log(1 - s))
    found = label_smoothing(torch.tensor([2.0]), torch.tensor([1]), EVEN, 0.1)
    assert found.item() == pytest.approx(expected, rel=1e-6)
    plain = label_smoothing(LOGITS, LABELS, torch.tensor([3.0, 0.5]), 0.0)
    torch.testing.assert_close(plain, weighted_bce(LOGITS, LABELS, torch.tensor([3.0, 0.5])))


def test_a_focal_loss_looks_away_from_what_is_right():
    # p = 1/2: a quarter of log 2; p = 9/10 of the negative class, weighted by 3
    found = focal(torch.tensor([0.0]), torch.tensor([1]), EVEN, 2.0)
    assert found.item() == pytest.approx(math.log(2) / 4, rel=1e-6)
    sure = focal(torch.tensor([-math.log(9)]), torch.tensor([0]), torch.tensor([3.0, 1.0]), 2.0)
    assert sure.item() == pytest.approx(3 * 0.01 * -math.log(0.9), rel=1e-5)
    weights = torch.tensor([3.0, 0.5])
    torch.testing.assert_close(
        focal(LOGITS, LABELS, weights, 0.0), weighted_bce(LOGITS, LABELS, weights)
    )


def test_a_focal_loss_of_images_that_are_right_for_sure_has_a_gradient():
    logits = torch.tensor([60.0, -60.0], requires_grad=True)
    focal(logits, torch.tensor([1, 0]), EVEN, 0.5).backward()
    assert logits.grad.isfinite().all()


def test_weights_by_effective_numbers():
    # 1 and 1.5 images of effect; their inverses, 1 and 2/3, scaled to add up to 2
    assert effective_weights((1, 2), 0.5) == pytest.approx((1.2, 0.8))
    assert effective_weights((10, 1000), 0.0) == pytest.approx((1, 1))
    ratio = 1000 / 10  # towards the inverse of the numbers
    negative, positive = effective_weights((10, 1000), 1 - 1e-9)
    assert negative / positive == pytest.approx(ratio, rel=1e-3)


def test_a_supervised_contrastive_term_of_three_images():
    # The third has no other of its class; the first two: -log(e / (e + 1))
    found = supervised_contrastive(FEATURES, torch.tensor([0, 0, 1]), 1.0)
    assert found.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)
    # All of one class: the third's two shares are equal, log 2; the others' mean of both
    found = supervised_contrastive(FEATURES, torch.tensor([1, 1, 1]), 1.0)
    other = math.log(1 + math.exp(-1)) + 0.5
    assert found.item() == pytest.approx((2 * other + math.log(2)) / 3, rel=1e-6)


@pytest.mark.parametrize("labels", [[0, 1, 0], [0], [1, 1, 1]])
def test_terms_of_features_have_finite_gradients(labels):
    for name in ("supervised_contrastive", "alignment_uniformity"):
        loss = make_loss(make_loss_config({"name": name}))
        features = FEATURES[: len(labels)].detach().clone().requires_grad_()
        numbers = torch.tensor(labels)
        loss(torch.zeros(len(labels)), numbers, EVEN, features).backward()
        assert features.grad.isfinite().all()


def test_alignment_and_uniformity_of_three_images():
    # Squared distances: 0 in the pair, and 2 to the third
    assert alignment(FEATURES, torch.tensor([0, 0, 1])).item() == 0
    assert alignment(FEATURES, torch.tensor([0, 1, 1])).item() == pytest.approx(2)
    assert alignment(FEATURES, torch.tensor([1, 1, 1])).item() == pytest.approx(4 / 3)
    expected = math.log((1 + 2 * math.exp(-4)) / 3)
    assert uniformity(FEATURES, 2.0).item() == pytest.approx(expected, rel=1e-6)


def test_a_term_takes_maps_by_their_mean_and_features_of_any_length():
    def term(unit, labels):
        torch.testing.assert_close(unit.norm(dim=1), torch.ones(3))
        return unit[0, 0]

    loss = FeatureLoss(weighted_bce, term, 0.5)
    maps = 7 * FEATURES[:, :, None, None] + torch.tensor([[1.0, -1.0]])
    found = loss(LOGITS, LABELS, EVEN, maps)
    torch.testing.assert_close(found, weighted_bce(LOGITS, LABELS, EVEN) + 0.5)


SMALL = ("model=face_cnn", "model.weights=none", "model.input.size=16", "trainer=smoke",
         "logger=csv")  # fmt: skip


@pytest.fixture
def words(small_faces):
    return (*SMALL, "data=face_or_not", f"data.root={small_faces}", "loader.num_workers=0")


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_by_each_loss_moves_the_backbone(name, words, tmp_path):
    run = train(tmp_path / "run", *words, f"loss={name}", "freeze=none")
    states = [torch.load(run.last, weights_only=True)["state_dict"]]
    states.append(
        torch.load(
            train(tmp_path / "usual", *words, "freeze=none").last, weights_only=True
        )["state_dict"]
    )  # fmt: skip
    same = all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    # The classes are of the same size, so that their weights are 1.
    assert same == (name in ("bce", "class_balanced"))


def test_a_term_of_features_that_never_change_is_refused(words, tmp_path):
    with pytest.raises(FaceproofError, match="the term changes nothing; let the backbone train"):
        train(tmp_path / "run", *words, "loss=supervised_contrastive", "freeze=head_only")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("loss=class_balanced", "class_weights=balanced"), "weight the classes a second time"),
        (("loss=class_balanced", "synthesis=both", "synthesis.share=1"), "both classes equally"),
        (("loader.sampler=paired", "synthesis=both", "synthesis.share=1"), "leaves out the pairs"),
        (("loss.name=focl",), r"loss\.name = 'focl' is not known; did you mean focal"),
        (("loss=focal", "loss.gamma=-1"), r"loss\.gamma = -1 must be a number from 0 on"),
        (("loss=label_smoothing", "loss.smoothing=1"), r"loss\.smoothing = 1 must be a share"),
    ],
)
def test_settings_of_a_loss_without_a_meaning_are_refused(changes, message, tmp_path):
    from faceproof import app

    values = app.training_values(compose_job("train", tmp_path, changes))
    with pytest.raises(FaceproofError, match=message):
        make_train_config(values)


def test_a_function_of_ones_own_is_a_loss_if_it_takes_its_settings(monkeypatch, tmp_path):
    (tmp_path / "my_losses.py").write_text(
        "def half(logits, labels, class_weights, scale=1.0):\n    return scale * logits.mean()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FACEPROOF_ALLOW", "my_losses")
    found = make_loss(make_loss_config({"name": "my_losses.half", "scale": 0.5}))
    assert found(torch.tensor([4.0]), LABELS, EVEN).item() == 2
    with pytest.raises(FaceproofError, match="must take logits, labels and class weights"):
        make_loss_config({"name": "my_losses.half", "slope": 1})
