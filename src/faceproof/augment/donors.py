"""Whose face is laid over a real image: that of a similar one from the same source."""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.augment.self_blending import PORTRAIT, Oval
from faceproof.data.datasets import read_or_gone
from faceproof.data.image_io import Pixels

Ovals = npt.NDArray[np.float32]

CANDIDATES = 8  # from which the likest in pose is taken


class Donors:
    """The real images of a training table, as places of faces and as what faces are taken from.

    Both images of a swap are of one source: an image of two cameras or two sets would be told by
    that. An image that is alone in its source takes the face of any other.

    Args:
        real: the real images of the training table.
        ovals: where their faces are, (R, 6), the three points of each `Oval`; NaN or None for where
            they are in portraits.
    """

    def __init__(self, real: pa.Table, ovals: Ovals | None) -> None:
        self.ovals = ovals
        self.paths = real["path"].combine_chunks()
        words = pc.fill_null(real["source"].cast(pa.string()), "").combine_chunks()
        codes = words.dictionary_encode().indices.to_numpy()
        self.source = codes.astype(np.int64)
        self.of_source = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]

    def choose(self, real: int, generator: np.random.Generator) -> int:
        """Draw another image of a real one's source, held alike."""
        same = self.of_source[self.source[real]]
        if len(same) == 1:
            same = np.arange(len(self.source))
        draws = generator.integers(len(same) - 1, size=CANDIDATES)
        others = same[draws + (draws >= np.searchsorted(same, real))]  # never the image itself
        pose = _pose(self.oval(real))
        apart = [np.abs(np.subtract(_pose(self.oval(int(one))), pose)).max() for one in others]
        return int(others[np.argmin(apart)])

    def oval(self, real: int) -> Oval:
        """Return where the face of a real image is."""
        if self.ovals is None or np.isnan(self.ovals[real]).any():
            return PORTRAIT
        centre, right, down = self.ovals[real].reshape(3, 2).tolist()
        return Oval(tuple(centre), tuple(right), tuple(down))

    def read(self, real: int) -> Pixels:
        """Decode a real image, (3, H, W) uint8.

        Raises:
            ImageGoneError: it can no longer be read.
        """
        return read_or_gone(self.paths[real].as_py())


def _pose(oval: Oval) -> tuple[float, float]:
    """Return how an oval is turned, in radians, and the logarithm of width by height."""
    wide, high = math.hypot(*oval.right), math.hypot(*oval.down)
    return math.atan2(*oval.down), math.log(wide / high)
