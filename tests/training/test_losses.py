"""The training loss, and one of one's own in its place."""

import functools

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR
from torch.utils.data import DataLoader

from faceproof.data.datasets import Batch
from faceproof.training.losses import weighted_bce
from faceproof.training.module import DetectorModule
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
