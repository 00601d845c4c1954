"""Depthwise convolutions whose gradients are computed in float32 where bfloat16 is slow.

On a CPU, oneDNN has fast bfloat16 kernels for a depthwise convolution itself and for most of its
gradients. For two it has none and takes general ones, which are four to twenty times slower than
those of float32 (seen with torch 2.15, `ONEDNN_VERBOSE=1`): the gradient of the images where the
stride is above 1, and that of the weights where the kernel is wider than 3.
"""

from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn import functional as F

MAX_FAST_KERNEL = 3  # of the weights' gradient in bfloat16


def _is_depthwise(module: nn.Conv2d) -> bool:
    """Say whether a convolution looks at each channel by itself."""
    return module.groups == module.in_channels > 1


def quicken_depthwise(net: nn.Module) -> int:
    """Have slow depthwise convolutions of a network train faster in bfloat16; return how many.

    Names, weights and outputs stay as they are; gradients are as exact or more so. Under float32
    nothing changes.
    """
    slow = [
        module
        for module in net.modules()
        if isinstance(module, nn.Conv2d)
        and type(module) in QUICK
        and _is_depthwise(module)
        and _is_slow(module)
    ]
    for module in slow:
        module.__class__ = QUICK[type(module)]
    return len(slow)


def _is_slow(module: nn.Conv2d) -> bool:
    """Say whether a gradient of a depthwise convolution has no fast kernel in bfloat16."""
    return (
        module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and (max(module.stride) > 1 or max(module.kernel_size) > MAX_FAST_KERNEL)
    )


class QuickDepthwise(nn.Conv2d):
    """A depthwise convolution that autocast to bfloat16 does not slow down."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of (B, C, H, W)."""
        if not (input.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(input)
        return self._quickly(input, torch.get_autocast_dtype("cpu"))

    def _quickly(self, input: Tensor, kind: torch.dtype) -> Tensor:
        """Return the convolution, computed in numbers of a kind."""
        bias = None if self.bias is None else self.bias.to(kind)
        found: Tensor = _Depthwise.apply(
            input.to(kind), self.weight.to(kind), bias, self.stride, self.padding, self.dilation
        )
        return found


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
    """The convolution in the numbers it is given, slow gradients in float32."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
    ) -> Tensor:
        """Convolve each channel by itself."""
        ctx.save_for_backward(images, weight)
        ctx.how = stride, padding, dilation, False, (0, 0), images.shape[1]
        ctx.bias_sizes = None if bias is None else [len(bias)]
        return F.conv2d(images, weight, bias, stride, padding, dilation, images.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of images, weights and bias."""
        images, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        slow = max(ctx.how[0]) > 1, max(weight.shape[-2:]) > MAX_FAST_KERNEL
        found: list[Tensor | None] = [None, None, None]
        for exact in (False, True):
            mask = [
                wanted[0] and slow[0] == exact,
                wanted[1] and slow[1] == exact,
                wanted[2] and slow[1] == exact,
            ]
            if any(mask):
                given = gradients[0], images, weight
                if exact:
                    given = tuple(value.float() for value in given)  # type: ignore[assignment]
                parts = torch.ops.aten.convolution_backward(*given, ctx.bias_sizes, *ctx.how, mask)
                for place, part in enumerate(parts):
                    if mask[place]:
                        found[place] = part.to(images.dtype)
        return *found, None, None, None
