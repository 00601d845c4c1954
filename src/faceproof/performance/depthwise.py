"""Compute slow gradients of depthwise convolutions in float32 where the CPU trains in bfloat16.

Switch: `depthwise`. oneDNN has fast bfloat16 kernels for depthwise convolutions and most of their
gradients, but general ones, four to twenty times slower than those of float32, for two (seen with
torch 2.15 and `ONEDNN_VERBOSE=1`): that of the images at strides above 1, and that of the weights
of kernels wider than 3.
Gain: `effnet_se` trains in memory at 17.8 images a second instead of 9.7 (docs/performance.md).
"""

from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn import functional as F

from faceproof.performance import is_enabled

MAX_FAST_KERNEL = 3  # width up to which the weights' gradient is fast in bfloat16


def quicken_depthwise(net: nn.Module) -> int:
    """Make slow depthwise convolutions of a network train faster in bfloat16; return how many.

    Names, weights and outputs do not change; gradients are at least as exact. Training in float32
    does not change at all.
    """
    if not is_enabled("depthwise"):
        return 0
    count = 0
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and type(module) in QUICK and _is_slow(module):
            module.__class__ = QUICK[type(module)]
            count += 1
    return count


def _is_slow(module: nn.Conv2d) -> bool:
    """Say whether a convolution is depthwise and lacks a fast gradient in bfloat16."""
    return (
        module.groups == module.in_channels > 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and (max(module.stride) > 1 or max(module.kernel_size) > MAX_FAST_KERNEL)
    )


class QuickDepthwise(nn.Conv2d):
    """A depthwise convolution that autocast to bfloat16 does not slow down."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of (B, C, H, W)."""
        if not (input.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(input)
        dtype = torch.get_autocast_dtype("cpu")
        bias = None if self.bias is None else self.bias.to(dtype)
        output: Tensor = _Depthwise.apply(
            input.to(dtype), self.weight.to(dtype), bias, self.stride, self.padding, self.dilation
        )
        return output


class QuickDepthwiseSame(QuickDepthwise):
    """The same for timm's convolution that pads as TensorFlow does, by the image's size."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of (B, C, H, W)."""
        padded = pad_same(input, list(self.kernel_size), list(self.stride), list(self.dilation))
        return super().forward(padded)


QUICK: dict[type[nn.Module], type[nn.Conv2d]] = {
    nn.Conv2d: QuickDepthwise,
    Conv2dSame: QuickDepthwiseSame,
}


class _Depthwise(torch.autograd.Function):
    """The convolution in the dtype of its input, its slow gradients in float32."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, *geometry: tuple[int, int]
    ) -> Tensor:
        """Convolve each channel by itself; `geometry` is stride, padding and dilation."""
        stride, padding, dilation = geometry
        ctx.save_for_backward(images, weight)
        ctx.options = *geometry, False, (0, 0), images.shape[1]
        ctx.bias_sizes = None if bias is None else [len(bias)]
        return F.conv2d(images, weight, bias, stride, padding, dilation, images.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of images, weights and bias."""
        images, weight = ctx.saved_tensors
        slow_images = max(ctx.options[0]) > 1
        slow_weights = max(weight.shape[-2:]) > MAX_FAST_KERNEL
        slow = (slow_images, slow_weights, slow_weights)
        results: list[Tensor | None] = [None, None, None]
        for exact in (False, True):
            mask = [ctx.needs_input_grad[place] and slow[place] == exact for place in range(3)]
            if any(mask):
                given = [gradients[0], images, weight]
                if exact:
                    given = [value.float() for value in given]
                parts = torch.ops.aten.convolution_backward(
                    *given, ctx.bias_sizes, *ctx.options, mask
                )
                for place, part in enumerate(parts):
                    if mask[place]:
                        results[place] = part.to(images.dtype)
        return *results, None, None, None
