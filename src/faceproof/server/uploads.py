"""Reads what a client has sent as an image or a video, within the limits of the server."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import UnidentifiedImageError
from torch import Tensor

from faceproof.data.image_io import UNREADABLE, UnreadableImageError, decode_image, reason_of
from faceproof.data.image_limits import BYTES_PER_PIXEL, TooCostlyError, open_image
from faceproof.data.kinds import extra_of, why_unknown
from faceproof.data.model_input import Fit
from faceproof.errors import FaceproofError
from faceproof.inference.video import Clip, read_clip
from faceproof.prepare.video import (
    Bounds,
    TooManyPixelsError,
    UnknownVideoError,
    UnreadableVideoError,
)
from faceproof.server.judging_queue import RefusedError, too_late
from faceproof.server.limits import Limits
from faceproof.server.memory import MemoryBudget
from faceproof.words import apart

# A decoder of H.264 keeps up to 17 frames of 1.5 bytes a pixel; beside them are the RGB of four
# frames, where faces are found, an upright copy, and a frame's numbers while it is resized.
BYTES_PER_PIXEL_OF_VIDEO = 50

Found = TypeVar("Found")


class UploadReader:
    """Reads uploads, several at the same time in one budget of memory, videos among them.

    Attributes:
        watch: called with each image that was read, (3, H, W) uint8, upright, and its width and
            height as its file says them.

    Raises:
        FaceproofError: the budget does not hold the largest image that is taken.
    """

    def __init__(self, limits: Limits) -> None:
        needed = limits.max_pixels * BYTES_PER_PIXEL / 1_000_000
        if needed > limits.decoding_megabytes:
            takes, holds = apart(needed, limits.decoding_megabytes, ".6g")
            raise FaceproofError(
                f"--decoding-megabytes {holds} holds no image of --max-pixels "
                f"{limits.max_pixels:,.0f}, which takes {takes}; change one of them"
            )
        self.limits = limits
        self.watch: Callable[[npt.NDArray[np.uint8], tuple[int, int]], None] = lambda *_: None
        self._memory = MemoryBudget(int(limits.decoding_megabytes * 1_000_000))

    def read(
        self, file: BinaryIO, fits: tuple[Fit, ...], num_frames: int, deadline: float
    ) -> Tensor | Clip:
        """Read a file as an image, (3, H, W) uint8, or else as a video; by its bytes alone.

        Args:
            file: can be sought in.
            fits: how the networks want their images.
            num_frames: of a video.
            deadline: on the clock of `time.monotonic`.

        Raises:
            RefusedError: it is too large (413), neither (415), damaged (422), or takes too long
                (504).
        """
        image = self.read_image(file, deadline)
        if image is not None:
            return image
        return self.read_video(deadline, lambda bounds: read_clip(file, fits, num_frames, bounds))

    def read_video(self, deadline: float, read: Callable[[Bounds], Found]) -> Found:
        """Read a file that is no image as a video, by a function that keeps to some bounds.

        Raises:
            RefusedError: see `read`.
        """

        def reserve(num_pixels: int) -> AbstractContextManager[None]:
            return self._memory.take(num_pixels * BYTES_PER_PIXEL_OF_VIDEO, deadline)

        try:
            return read(Bounds(int(self.limits.max_pixels), deadline, reserve))
        except UnknownVideoError as error:
            reason = f"the file is no image that can be read, and as a video: {error}"
            raise RefusedError(415, reason) from error
        except UnreadableVideoError as error:
            raise RefusedError(422, f"the video cannot be read: {error}") from error
        except TooManyPixelsError as error:
            raise RefusedError(413, str(error)) from error
        except TimeoutError as error:
            raise too_late(self.limits) from error

    def read_image(self, file: BinaryIO, deadline: float) -> Tensor | None:
        """Read a file as an image, (3, H, W) uint8; None if it is none.

        Raises:
            RefusedError: it is too large (413), of a kind that is not read (415), damaged (422), or
                the memory for it is not free in time (504).
        """
        file.seek(0)
        data = file.read()
        size = _image_size(data)
        if size is None:
            return None
        num_pixels = size[0] * size[1]
        if num_pixels > self.limits.max_pixels:
            found, most = f"{size[0]} x {size[1]} pixels", f"{self.limits.max_pixels:,.0f}"
            raise RefusedError(413, f"the image has {found}; at most {most} are taken")
        try:
            with self._memory.take(num_pixels * BYTES_PER_PIXEL, deadline):
                pixels = decode_image(data)
                self.watch(pixels, size)
                return torch.from_numpy(pixels)
        except TimeoutError as error:
            raise too_late(self.limits) from error
        except UnreadableImageError as error:
            raise RefusedError(422, f"the image cannot be read: {error}") from error


def _image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height by the header of an image, undecoded; None if it is none."""
    try:
        with open_image(data) as image:
            return image.size
    except UnidentifiedImageError as error:
        if extra_of(data) is None:
            return None
        # ffmpeg would judge a tile of it as a video.
        raise RefusedError(415, f"{why_unknown(data)}; or send it as JPEG") from error
    except TooCostlyError as error:
        raise RefusedError(413, f"the image is not decoded: {error}") from error
    except UNREADABLE as error:
        raise RefusedError(422, f"the image cannot be read: {reason_of(error)}") from error
