"""Counts the verdicts on many images, and finds those that are least certain."""

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from faceproof.inference.output_parts import Row


@dataclass
class Tally:
    """How often each verdict was given, and for which images it is least certain.

    Attributes:
        least_certain: how many images to find.
        verdicts: how many images, or videos, have each verdict.
        unreadable: how many files could not be read.
    """

    least_certain: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    _nearest: list[tuple[float, int, Row]] = field(default_factory=list)

    def add(self, rows: Iterable[Row]) -> None:
        """Count rows of results."""
        for row in rows:
            if row.error is not None:
                self.unreadable += 1
                continue
            self.verdicts[str(row.verdict)] += 1
            if self.least_certain and row.frames is None:
                self._compare(row)

    def _compare(self, row: Row) -> None:
        """Store an image if it is among those nearest to the threshold so far."""
        if row.probability is None or row.threshold is None:
            return
        distance = abs(row.probability - row.threshold)
        entry = (-distance, -self.verdicts.total(), row)  # of equal distances, the first stays
        if len(self._nearest) < self.least_certain:
            heapq.heappush(self._nearest, entry)
        else:
            heapq.heappushpop(self._nearest, entry)

    @property
    def nearest(self) -> list[Row]:
        """Return the rows nearest to the threshold, nearest first."""
        return [row for _, _, row in sorted(self._nearest, key=lambda e: e[:2], reverse=True)]

    def __str__(self) -> str:
        parts = [f"{number:,} {verdict}" for verdict, number in self.verdicts.most_common()]
        if self.unreadable:
            parts.append(f"{self.unreadable:,} unreadable")
        return ", ".join(parts) or "no images"
