"""The tiny autoencoder: what it computes, and what files of weights it takes and refuses."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from faceproof.augment.autoencoder import TinyAutoencoder, read_autoencoder
from faceproof.errors import FaceproofError
from tests.augment.test_web import photo

# What each layer is, by its place in TAESD: a convolution, one of half the size, a block, ...
ENCODER = "c b hbbb hbbb hbbb c".replace(" ", "")
DECODER = "cr bbbuc bbbuc bbbuc b c".replace(" ", "")


def weights(latents: int = 4, width: int = 6, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return TinyAutoencoder(latents, width).state_dict()


def write(file: Path, state: Mapping[str, Tensor]) -> Path:
    safetensors.torch.save_file({name: one.contiguous() for name, one in state.items()}, file)
    return file


def by_hand(state: Mapping[str, Tensor], half: str, layers: str, values: Tensor) -> Tensor:
    def conv(name: str, given: Tensor, stride: int = 1) -> Tensor:
        bias = state.get(f"{name}.bias")
        return F.conv2d(given, state[f"{name}.weight"], bias, stride, padding=1)

    for number, kind in enumerate(layers):
        name = f"{half}.layers.{number}"
        if kind in "ch":
            values = conv(name, values, 2 if kind == "h" else 1)
        elif kind == "r":
            values = values.clamp(min=0)
        elif kind == "u":
            values = values.repeat_interleave(2, 2).repeat_interleave(2, 3)
        else:
            inner = conv(f"{name}.conv.0", values).clamp(min=0)
            inner = conv(f"{name}.conv.2", inner).clamp(min=0)
            values = (conv(f"{name}.conv.4", inner) + values).clamp(min=0)
    return values


@pytest.mark.parametrize("latents", [4, 16])
def test_it_is_the_network_of_its_names(latents: int, tmp_path: Path) -> None:
    state = weights(latents)
    net = read_autoencoder(write(tmp_path / "tiny.safetensors", state))
    images = torch.rand(2, 3, 16, 24)
    latent = by_hand(state, "encoder", ENCODER, images)
    assert latent.shape == (2, latents, 2, 3)
    expected = by_hand(state, "decoder", DECODER, 3 * torch.tanh(latent / 3))
    torch.testing.assert_close(net(images), expected)


def test_names_as_taesd_has_them_are_read_too(tmp_path: Path) -> None:
    state = weights()
    own = {}
    for name, value in state.items():
        half, _, number, rest = name.split(".", 3)
        own[f"{half}.{int(number) + (half == 'decoder')}.{rest}"] = value.half()
    net = read_autoencoder(write(tmp_path / "taesd.safetensors", own))
    for name, value in net.state_dict().items():
        assert torch.equal(value, state[name].half().float()), name


@pytest.mark.parametrize("size", [(16, 16), (17, 9), (3, 30), (1, 1)])
def test_images_of_every_size_keep_it(size: tuple[int, int], tmp_path: Path) -> None:
    net = read_autoencoder(write(tmp_path / "tiny.safetensors", weights()))
    image = photo(*size)
    made = net.reconstruct(image)
    assert (made.shape, made.dtype) == (image.shape, np.uint8)
    # What was added on the right and below is what was there last, and is cut off again.
    height, width = size
    more = ((0, 0), (0, -height % 8), (0, -width % 8))
    whole = net.reconstruct(np.pad(image, more, "edge"))
    assert np.array_equal(made, whole[:, :height, :width])


def test_another_number_of_threads_gives_the_same(tmp_path: Path) -> None:
    net = read_autoencoder(write(tmp_path / "tiny.safetensors", weights(width=32)))
    image, threads = photo(64, 72), torch.get_num_threads()
    found = []
    for number in (1, 2, 4):
        torch.set_num_threads(number)
        found.append(net.reconstruct(image))
    torch.set_num_threads(threads)
    assert all(np.array_equal(found[0], one) for one in found)


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    state: dict[str, Tensor | None] = {**weights(), **changes}
    return {name: value for name, value in state.items() if value is not None}


FIRST = "encoder.layers.0.weight"
OTHERS = {
    "no autoencoder": ({"fc.weight": torch.ones(2, 2)}, r"encoder\.layers\.0\.weight is missing"),
    "a layer less": (changed(**{"encoder.layers.1.conv.0.bias": None}), "bias is missing"),
    "a layer more": (changed(more=torch.ones(1)), "more is none of its own"),
    "another shape": (changed(**{"decoder.layers.18.bias": torch.ones(4)}), r"is \(4,\) torch"),
    "whole numbers": (changed(**{"decoder.layers.18.bias": torch.ones(3).int()}), "of floats"),
    "no numbers": (changed(**{FIRST: torch.full((6, 3, 3, 3), torch.nan)}), "that are no numbers"),
    "no convolution": (changed(**{FIRST: torch.ones(6)}), "is no convolution's"),
    "five latents": (weights(5), "it has 5 channels in the latent and 6 inside, where 4 or 16"),
    "too wide": (
        {FIRST: torch.ones(300, 3, 3, 3), "decoder.layers.0.weight": torch.ones(300, 4, 3, 3)},
        "and 300 inside",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_weights_are_refused(what: str, tmp_path: Path) -> None:
    state, said = OTHERS[what]
    file = write(tmp_path / "other.safetensors", state)
    with pytest.raises(FaceproofError, match=rf"holds no weights of a tiny auto.*{said}"):
        read_autoencoder(file)


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    torch.save(weights(), file)  # a pickle, whatever its name
    with pytest.raises(FaceproofError, match="is no safetensors file"):
        read_autoencoder(file)
