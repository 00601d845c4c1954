"""How much one server takes at once: sizes, numbers and times, checked where they are set."""

from dataclasses import dataclass, fields, replace

from faceproof.errors import FaceproofError


@dataclass(frozen=True)
class Limits:
    """How much a server takes.

    Attributes:
        max_megabytes: size of an upload, a million bytes each.
        max_pixels: of an image, or of a frame of a video.
        decoding_megabytes: memory for all images and videos that are decoded at the same time, of
            up to 20 bytes a pixel, and 50 of a video's frame; others wait.
        max_frames: of a video, that a client may ask for.
        concurrency: uploads judged at the same time.
        queue: uploads arriving or waiting besides; more are told to come back later.
        timeout: seconds for an upload to arrive, and again for its answer.
        connections: open at the same time.
    """

    max_megabytes: float = 20.0
    max_pixels: float = 50e6
    decoding_megabytes: float = 1000.0
    max_frames: int = 64
    concurrency: int = 2
    queue: int = 64
    timeout: float = 30.0
    connections: int = 500

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            # Not a number and infinity are no limits.
            if item.name != "queue" and not 0 < value < float("inf"):
                option = f"--{item.name.replace('_', '-')}"
                raise FaceproofError(f"{option} {value} must be a number above 0")
        if self.queue < 0:
            raise FaceproofError(f"--queue {self.queue} must be 0 or more")

    @property
    def max_bytes(self) -> int:
        """The size of the largest upload."""
        return int(self.max_megabytes * 1_000_000)

    @property
    def places(self) -> int:
        """How many uploads may arrive, wait or be judged at the same time."""
        return self.concurrency + self.queue

    def divided(self, workers: int) -> "Limits":
        """Return the limits of each of several processes that serve together, rounded down.

        Sizes and times are those of an upload, and stay.

        Raises:
            FaceproofError: there is too little for one of them.
        """
        for name in ("concurrency", "connections"):
            if getattr(self, name) < workers:
                raise FaceproofError(
                    f"--workers {workers} takes --{name} {workers} or more, because each worker "
                    f"has a share of it; it is {getattr(self, name)}"
                )
        if workers > 1:
            self._refuse_too_little_memory(workers)
        return replace(
            self,
            decoding_megabytes=self.decoding_megabytes / workers,
            concurrency=self.concurrency // workers,
            queue=self.queue // workers,
            connections=self.connections // workers,
        )

    def _refuse_too_little_memory(self, workers: int) -> None:
        from faceproof.data.image_limits import BYTES_PER_PIXEL  # with Pillow

        needed = self.max_pixels * BYTES_PER_PIXEL / 1_000_000
        if needed * workers > self.decoding_megabytes:
            most = int(self.decoding_megabytes * 1_000_000 / BYTES_PER_PIXEL / workers)
            raise FaceproofError(
                f"each of --workers {workers} has its share of --decoding-megabytes "
                f"{self.decoding_megabytes:g}, and an image of --max-pixels "
                f"{self.max_pixels:,.0f} takes {needed:g}; give --decoding-megabytes "
                f"{needed * workers:g}, or --max-pixels {most}"
            )
