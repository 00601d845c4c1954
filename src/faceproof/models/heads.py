"""Heads: from a backbone's features to one logit per image."""

from collections.abc import Callable, Mapping
from itertools import pairwise

from torch import Tensor, nn


class Logit(nn.Module):
    """The last linear layer, with one output or two.

    Two outputs under cross-entropy are the same function, gradients included, as their difference
    under binary cross-entropy: softmax(z)[1] = sigmoid(z[1] - z[0]). So a two-output layer keeps
    both rows of weights and returns the difference.
    """

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__()
        if num_outputs not in (1, 2):
            raise ValueError(f"a logit has 1 or 2 outputs, found {num_outputs}")
        self.linear = nn.Linear(num_features, num_outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B,) logits of (B, num_features)."""
        outputs: Tensor = self.linear(features).float()  # before the difference loses digits
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]


class LinearHead(nn.Module):
    """Dropout and one linear layer on pooled features (B, C).

    Args:
        num_features: C.
        num_outputs: outputs of the last linear layer, 1 or 2; see `Logit`.
        dropout: the probability with which a feature is dropped.
    """

    def __init__(self, num_features: int, num_outputs: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.logit = Logit(num_features, num_outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B,) logits of (B, C)."""
        return self.logit(self.dropout(features))  # type: ignore[no-any-return]


class HiddenHead(nn.Module):
    """One hidden layer with ReLU and dropout on flat features (B, C).

    Args:
        num_features: C.
        num_hidden: the width of the hidden layer.
        dropout: the probability with which a hidden value is dropped.
        num_outputs: outputs of the last linear layer, 1 or 2; see `Logit`.
    """

    def __init__(
        self, num_features: int, num_hidden: int, dropout: float = 0.0, num_outputs: int = 1
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(num_features, num_hidden)
        self.dropout = nn.Dropout(dropout)
        self.logit = Logit(num_hidden, num_outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B,) logits of (B, C)."""
        return self.logit(self.dropout(self.hidden(features).relu()))  # type: ignore[no-any-return]


class SqueezeExciteHead(nn.Module):
    """Squeeze-and-excitation on a feature map, then global average pooling and a linear layer.

    Hu et al., "Squeeze-and-Excitation Networks" (2018), with the reduction of 16 that they use.

    Args:
        num_features: C.
        reduction: how many times narrower the squeezed layer is.
        num_outputs: outputs of the last linear layer, 1 or 2; see `Logit`.
    """

    def __init__(self, num_features: int, reduction: int = 16, num_outputs: int = 2) -> None:
        super().__init__()
        self.squeeze = nn.Linear(num_features, num_features // reduction)
        self.excite = nn.Linear(num_features // reduction, num_features)
        self.logit = Logit(num_features, num_outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B,) logits of (B, C, h, w)."""
        pooled = features.mean((2, 3))
        scale = self.excite(self.squeeze(pooled).relu()).sigmoid()
        # Scaling channels and averaging commute, so the map itself need not be scaled.
        return self.logit(pooled * scale)  # type: ignore[no-any-return]


class ConvTailHead(nn.Module):
    """Batch norm, then a tail of convolutions of growing width, and a hidden layer (system D).

    For each width: 3x3 convolution ReLU, batch norm, dropout; then global average pooling, a linear
    layer with ReLU, dropout, and the logit.

    Args:
        num_features: C.
        widths: of the convolutions, first to last.
        num_hidden: the width of the linear layer.
        dropout: the probability with which a value is dropped.
    """

    EPS = 1e-3  # of Keras, in which system D is written; torch's default is 1e-5

    def __init__(
        self,
        num_features: int,
        widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512),
        num_hidden: int = 128,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_features, eps=self.EPS)
        self.tail = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, width, 3, padding=1),
                    nn.ReLU(),
                    nn.BatchNorm2d(width, eps=self.EPS),
                    nn.Dropout(dropout),
                )
                for before, width in pairwise((num_features, *widths))
            )
        )
        self.last = HiddenHead(widths[-1], num_hidden, dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B,) logits of (B, C, h, w)."""
        return self.last(self.tail(self.norm(features)).mean((2, 3)))  # type: ignore[no-any-return]


HEADS: Mapping[str, Callable[..., nn.Module]] = {
    "linear": LinearHead,
    "hidden": HiddenHead,
    "squeeze_excite": SqueezeExciteHead,
    "conv_tail": ConvTailHead,
}
