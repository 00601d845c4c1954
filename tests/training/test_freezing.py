import pytest
import torch
from torch import nn

from faceproof.errors import FaceproofError
from faceproof.models.backbones import timm_backbone
from faceproof.models.heads import LinearHead
from faceproof.training.callbacks import set_trainable
from faceproof.training.freeze_checks import parts_of
from faceproof.training.freezing import FreezeSchedule, Parts
from tests.small_networks import join

BLOCKS = [["backbone.stem.weight"], ["backbone.a.weight", "backbone.a.bias"], ["backbone.b.weight"]]
NAMES = [*(name for block in BLOCKS for name in block), "head.weight", "head.bias"]
PARTS = Parts(NAMES, BLOCKS, frozenset({"backbone.a.bias"}))


def schedule(*stages):
    return FreezeSchedule([{"from_epoch": epoch, "train": train} for epoch, train in stages])


def trained(stages, epoch):
    return schedule(*stages).trainable(PARTS, epoch)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("all", set(NAMES)),
        ("head", {"head.weight", "head.bias"}),
        ("last_1", {"backbone.b.weight"}),
        ("last_2", {"backbone.a.weight", "backbone.a.bias", "backbone.b.weight"}),
        (["head", "last_1"], {"head.weight", "head.bias", "backbone.b.weight"}),
        (r"\.bias$", {"backbone.a.bias", "head.bias"}),
        (["head", "norms"], {"head.weight", "head.bias", "backbone.a.bias"}),
    ],
)
def test_terms_name_parameters(terms, expected):
    assert trained([(0, terms)], 0) == expected


def test_the_state_is_a_function_of_the_epoch():
    stages = [(0, "head"), (2, ["head", "last_1"]), (5, "all")]
    sizes = [len(trained(stages, epoch)) for epoch in range(7)]
    assert sizes == [2, 2, 3, 3, 3, 6, 6]


def test_first_epoch_of_each_parameter():
    first = schedule((0, "head"), (2, ["head", "last_1"])).first_epoch(PARTS)
    assert first["head.bias"] == 0
    assert first["backbone.b.weight"] == 2
    assert first["backbone.stem.weight"] is None


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([(1, "all")], "first must be 0"),
        ([], "first must be 0"),
        ([(0, "head"), (0, "all")], "larger than the one before"),
        ([(0, [])], "a term or a list of terms"),
        ([("soon", "all")], "from_epoch"),
    ],
)
def test_stages_that_are_no_schedule_are_refused(stages, message):
    with pytest.raises(FaceproofError, match=message):
        schedule(*stages)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (r"layer9", "matches no parameter.*backbone.stem.weight.*head.bias"),
        ("last_4", "has 3 blocks"),
        ("last_0", "has 3 blocks"),
        ("layer(", "is no pattern"),
    ],
)
def test_terms_that_match_nothing_are_refused_before_training(term, message):
    late = schedule((0, "head"), (7, term))
    with pytest.raises(FaceproofError, match=message):
        late.check(PARTS)


@pytest.fixture
def net():
    torch.manual_seed(0)
    backbone = timm_backbone("resnet18", drop_path_rate=0.5)
    return join(backbone, LinearHead, size=32)


def train_steps(net, steps=3):
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.01)
    for _ in range(steps):
        loss = net(torch.rand(4, 3, 32, 32)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def freeze(net, *terms):
    chosen = schedule((0, list(terms))).trainable(parts_of(net), 0)
    set_trainable(net, chosen)
    return chosen


def test_a_frozen_backbone_is_a_fixed_function(net):
    images = torch.rand(4, 3, 32, 32)
    freeze(net, "head")
    before = net.backbone(images)
    train_steps(net)
    assert torch.equal(net.backbone(images), before)  # drop path draws nothing, statistics rest


def test_frozen_parts_rest_and_the_others_learn(net):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    freeze(net, "head", "last_1")
    train_steps(net)
    after = net.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert all(name.startswith(("backbone.layer4", "head.")) for name in changed)
    assert {"backbone.layer4.1.bn2.running_mean", "backbone.layer4.0.conv1.weight"} <= changed


def test_unfreezing_again_trains_everything(net):
    freeze(net, "head")
    freeze(net, "all")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train_steps(net)
    after = net.state_dict()
    still = {name for name in after if torch.equal(before[name], after[name])}
    assert still == {"input_mean", "input_std"}


def test_eval_after_freezing_puts_all_modules_into_eval_mode(net):
    freeze(net, "head", "last_1")
    images = torch.rand(4, 3, 32, 32)
    net.eval()
    assert torch.equal(net(images), net(images))


def test_dropout_between_frozen_and_trained_layers_still_draws():
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    set_trainable(net, frozenset({"2.weight", "2.bias"}))
    ones = torch.ones(64, 4)
    assert not torch.equal(net(ones), net(ones))
