"""Sharpness-aware minimisation: steps by the gradient where the loss is highest nearby."""

import torch
from torch import Tensor, nn

TINY = 1e-12  # added to the gradient's length


class Sharpness:
    """Takes a network's weights to where the loss is higher, and back.

    Foret et al. 2021, "Sharpness-Aware Minimization for Efficiently Improving Generalization"
    (arXiv:2010.01412), equation 2: the way is rho long, along the gradient of the batch. It is
    outside of the optimizer, which then may be any. Of several processes each goes its own way, as
    in section 4.1 of the paper.

    Args:
        net: the network; what is frozen stays where it is.
        rho: how far, in the length of all weights that train.
    """

    def __init__(self, net: nn.Module, rho: float) -> None:
        self.net, self.rho = net, rho
        self.before: list[tuple[Tensor, Tensor]] = []

    def ascend(self, loss: Tensor) -> None:
        """Move the weights to where this loss of theirs is higher."""
        weights = [one for one in self.net.parameters() if one.requires_grad]
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        ways = [(one, way) for one, way in zip(weights, found, strict=True) if way is not None]
        # Running statistics too: those of the second forward pass are of other weights.
        moving = (*(one for one, _ in ways), *self.net.buffers())
        self.before = [(value, value.detach().clone()) for value in moving]
        length = torch.stack([way.norm() for _, way in ways]).norm()
        with torch.no_grad():
            for weight, way in ways:
                weight.add_(way * (self.rho / (length + TINY)))
        torch.clear_autocast_cache()  # it holds the weights of before in lower precision

    @torch.no_grad()
    def descend(self) -> None:
        """Bring everything back to where it was, to the last bit."""
        for value, before in self.before:
            value.copy_(before)
        self.before = []
