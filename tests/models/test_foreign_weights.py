"""Weights of other programs: systems A, B and G, torchvision, and files to develop with."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from faceproof import app
from faceproof.models import Detector, build_network, load_initial_weights
from faceproof.models.state_dicts import read_state
from tests.jobs import REPOSITORY, compose_job
from tests.small_networks import save

SHARED = REPOSITORY.parent / "shared" / "weights"


class FaceCNN(nn.Module):
    """System A as its notebook has it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * 12 * 12, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))


class SEBlock(nn.Module):
    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            *(nn.Linear(channels, channels // reduction), nn.ReLU(inplace=True)),
            *(nn.Linear(channels // reduction, channels), nn.Sigmoid()),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(self.pool(x).flatten(1))[:, :, None, None]


class SEEfficientNet(nn.Module):
    """System B as its notebook has it; its classes are 0 fake, 1 real."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torchvision.models.efficientnet_b0(weights=None).features
        self.se = SEBlock(1280)
        self.fc = nn.Linear(1280, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.se(self.backbone(images)), 1).flatten(1))


class CNN3(nn.Module):
    """System G in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 64, 3)
        self.conv3, self.pool = nn.Conv2d(64, 128, 3), nn.MaxPool2d(2)
        self.fc1, self.fc2 = nn.Linear(128 * 17 * 17, 256), nn.Linear(256, 1)

    def forward(self, x: Tensor) -> Tensor:
        for convolution in (self.conv1, self.conv2, self.conv3):
            x = self.pool(F.relu(convolution(x)))
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def stir(model: nn.Module) -> nn.Module:
    """Give batch norms statistics of their own, as training does."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.num_batches_tracked.fill_(7)
    return model.eval()


def build(tmp_path: Path, *overrides: str) -> Detector:
    return build_network(app.plain(compose_job("train", tmp_path, overrides).model)).eval()


@torch.inference_mode()
def test_system_a_s_weights_give_system_a_s_outputs(tmp_path: Path) -> None:
    theirs, ours = FaceCNN().eval(), build(tmp_path, "model=face_cnn")
    path = save(theirs.state_dict(), tmp_path / "best_model.pth")
    assert load_initial_weights(ours, str(path)).endswith(
        "backbone and head loaded (matched by order and shape)"
    )
    images = torch.rand(4, 3, 48, 48)
    torch.testing.assert_close(ours(images), theirs(images)[:, 0], rtol=0, atol=1e-4)
    load_initial_weights(ours, str(path), swap_classes=True)
    torch.testing.assert_close(ours(images), -theirs(images)[:, 0], rtol=0, atol=1e-4)


@torch.inference_mode()
def test_system_b_s_checkpoint_gives_system_b_s_outputs(tmp_path: Path) -> None:
    theirs = stir(SEEfficientNet())
    checkpoint = {
        "epoch": 8,
        "model_state_dict": theirs.state_dict(),
        "optimizer_state_dict": torch.optim.Adam(theirs.parameters()).state_dict(),
        "train_losses": [0.7, 0.3],
        "best_val_loss": 0.1926,
    }
    path = str(save(checkpoint, tmp_path / "checkpoint_epoch_8.pth"))
    ours = build(tmp_path, "model=effnet_se")
    load_initial_weights(ours, path)
    images = torch.rand(2, 3, 96, 96)
    fake, real = theirs(images).unbind(1)
    torch.testing.assert_close(ours(images), real - fake, rtol=0, atol=1e-4)
    assert load_initial_weights(ours, path, swap_classes=True).endswith("classes swapped")
    torch.testing.assert_close(ours(images), fake - real, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_system_g_s_weights_give_system_g_s_outputs(tmp_path: Path) -> None:
    theirs, ours = CNN3().eval(), build(tmp_path, "model=cnn3")
    load_initial_weights(ours, str(save(theirs.state_dict(), tmp_path / "cnn.pth")))
    images = torch.rand(2, 3, 150, 150)
    torch.testing.assert_close(ours(images), theirs(images)[:, 0], rtol=0, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        (("model=resnet18",), lambda: torchvision.models.resnet18(num_classes=2)),
        (("model=effnet_b0",), lambda: torchvision.models.efficientnet_b0(num_classes=2)),
        (("model=densenet121",), lambda: torchvision.models.densenet121(num_classes=2)),
        (
            ("model=timm", "model.name=mobilenetv2_100"),
            lambda: torchvision.models.mobilenet_v2(num_classes=2),
        ),
    ],
    ids=["resnet18", "effnet_b0", "densenet121", "mobilenetv2"],
)
def test_torchvision_s_two_output_classifiers_give_their_outputs(
    tmp_path: Path, name: tuple[str, ...], theirs: Any, suffix: str
) -> None:
    """Systems E and F saved such; a safetensors file does not even keep the order of layers."""
    model, ours = stir(theirs()), build(tmp_path, *name, "model.input.size=64")
    said = load_initial_weights(ours, str(save(model.state_dict(), tmp_path / f"theirs{suffix}")))
    assert "backbone and head loaded" in said
    images = torch.rand(2, 3, 64, 64)
    outputs = model((images - ours.input_mean) / ours.input_std)
    torch.testing.assert_close(ours(images), outputs[:, 1] - outputs[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("file", "overrides"),
    [
        ("resnet18", ("model=resnet18",)),
        ("resnet50", ("model=resnet50",)),
        ("resnet50", ("model=resnet50_convtail",)),
        ("efficientnet_b0_drifted", ("model=effnet_b0",)),
        ("efficientnet_b0_drifted", ("model=effnet_se",)),
        ("mobilenet_v2_torchvision", ("model=timm", "model.name=mobilenetv2_100")),
    ],
)
def test_files_to_develop_with_load(tmp_path: Path, file: str, overrides: tuple[str, ...]) -> None:
    path = SHARED / f"{file}.safetensors"
    if not path.is_file():
        pytest.skip(f"shared/weights/{path.name} is not beside the repository")
    net = build(tmp_path, *overrides)
    assert "backbone loaded" in load_initial_weights(net, str(path))
    theirs, ours = read_state(path), net.backbone.state_dict()
    if file == "mobilenet_v2_torchvision":
        model = torchvision.models.mobilenet_v2(weights=None).eval()
        model.load_state_dict({key: value.float() for key, value in theirs.items()})
        images = torch.rand(2, 3, 96, 96)
        with torch.inference_mode():
            features = model.features(images).mean((2, 3))
            torch.testing.assert_close(net.backbone(images), features, rtol=0, atol=1e-4)
    else:
        assert all(torch.equal(ours[key], theirs[key].to(ours[key].dtype)) for key in ours)


def test_timm_s_own_file_of_the_same_network_agrees(tmp_path: Path) -> None:
    theirs = stir(timm.create_model("efficientnet_b0", num_classes=0))
    net = build(tmp_path, "model=effnet_b0")
    load_initial_weights(net, str(save(theirs.state_dict(), tmp_path / "backbone.safetensors")))
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(net.backbone(images), theirs(images))
