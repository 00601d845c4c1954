"""How much of a published list of images is there, unchanged: part of every result on it."""

from collections.abc import Mapping
from dataclasses import dataclass

from faceproof.words import percent


@dataclass(frozen=True)
class Coverage:
    """What of a published protocol is present and unchanged.

    Attributes:
        protocol: its name.
        digest: of the list: of its rows, in whatever file and order.
        splits: of each split, how many images it lists, and how many of them are missing and
            changed.
    """

    protocol: str
    digest: str
    splits: dict[str, tuple[int, int, int]]

    def numbers(self, split: str | None = None) -> tuple[int, int, int]:
        """Return how many images are listed, missing and changed: of a split, or of all."""
        rows = self.splits.values() if split is None else [self.splits.get(split, (0, 0, 0))]
        listed, missing, changed = map(sum, zip((0, 0, 0), *rows, strict=True))
        return listed, missing, changed

    def share(self, split: str | None = None) -> float:
        """Return the share that is present and unchanged; 1.0 where nothing is listed."""
        listed, missing, changed = self.numbers(split)
        return (listed - missing - changed) / listed if listed else 1.0

    def lowest(self) -> tuple[float, str | None]:
        """Return the lowest share, of all or of a split, and which split it is of."""
        shares = [(self.share(one), one) for one in (None, *self.splits)]
        return min(shares, key=lambda pair: pair[0])

    def told(self, split: str | None = None) -> str:
        """Return it in words, for all images and for one split."""
        listed, *_ = self.numbers()
        text = f"protocol {self.protocol}: {percent(self.share())} of {listed:,} images present "
        text += "and unchanged"
        if split in self.splits and len(self.splits) > 1:
            of_split, *_ = self.numbers(split)
            text += f"; of its split {split} {percent(self.share(split))} of {of_split:,}"
        return f"{text} (digest of the list {self.digest})"

    def to_json(self) -> Mapping[str, object]:
        """Return it as plain values, which `io.parse` reads."""
        splits = {name: list(numbers) for name, numbers in self.splits.items()}
        return {"protocol": self.protocol, "digest": self.digest, "splits": splits}
