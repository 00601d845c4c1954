"""Several data sets as one, whose settings stand below `data.sets`."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from faceproof import settings
from faceproof.data.listing import DataSet, Source, describe_crop, framing_of
from faceproof.data.table import concat_tables, validate
from faceproof.errors import FaceproofError
from faceproof.settings import SHARE, TEXT, optional
from faceproof.task import get_task

Result = TypeVar("Result")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CombinedData:
    """Several data sets of one task as one; the column `source` tells them apart.

    Attributes:
        name: the name of all together.
        task: the task of every set.
        sets: a name for each set, and the settings of that set.
        max_unreadable: of all together; None for as many files as the sets allow in sum.
        allow_leaks: None to allow them where every set does.
    """

    name: str
    task: str
    sets: Mapping[str, Source | DataSet]
    max_unreadable: float | None = None
    allow_leaks: bool | None = None

    def __post_init__(self) -> None:
        settings.check(self, name=TEXT, task=TEXT, max_unreadable=optional(SHARE))
        settings.check(self, allow_leaks=optional(settings.SWITCH))
        get_task(self.task)

    def list(self) -> DataSet:
        """List every set; they must be of one task, have names of their own and share no image."""
        parts = [list_part(name, one) for name, one in self.sets.items()]
        others = [part.name for part in parts if part.task.name != self.task]
        if not parts or others:
            found = f"{others[0]}, which is of another task" if others else "none in data.sets"
            raise FaceproofError(
                f"data set {self.name} combines sets of task {self.task}; found {found}"
            )
        table = validate(
            concat_tables(part.table for part in parts), get_task(self.task), self.name
        )
        for place, part in zip(self.sets, parts, strict=True):
            if [one.name for one in parts].count(part.name) > 1:
                raise FaceproofError(
                    f"two of the sets of {self.name} have the name {part.name}, by which their "
                    f"images are told apart; set another as data.sets.{place}.name"
                )
        unreadable, leaks = self.max_unreadable, self.allow_leaks
        if unreadable is None:
            allowed = sum(part.max_unreadable * part.table.num_rows for part in parts)
            unreadable = allowed / table.num_rows
        if leaks is None:
            leaks = all(part.allow_leaks for part in parts)
        coverage = tuple(one for part in parts for one in part.coverage)
        crop = self._common_crop(parts)
        return DataSet(self.name, get_task(self.task), table, unreadable, leaks, coverage, crop)

    def _common_crop(self, parts: Sequence[DataSet]) -> Mapping[str, Any] | None:
        """Return how the faces of every set were cut out; None, after a warning, if not alike."""
        framings = [framing_of(part.crop) for part in parts]
        if all(framing == framings[0] for framing in framings):
            return parts[0].crop
        log.warning(
            "%s: the faces of its sets are not cut out alike (%s), so that the framing may tell "
            "the sets apart; prepare them with the same settings",
            self.name, "; ".join(f"{part.name}: {describe_crop(part.crop)}" for part in parts),
        )  # fmt: skip
        return None


def list_part(name: str, part: Source | DataSet) -> DataSet:
    """List a set of a combined one; its settings stand below `data.sets`."""
    return part if isinstance(part, DataSet) else call_for_set(name, part.list)


def call_for_set(name: str, call: Callable[[], Result]) -> Result:
    """Return what a call returns; its errors name settings of a combined set's part as such."""
    try:
        return call()
    except FaceproofError as error:
        raise FaceproofError(
            re.sub(r"(?<![\w/.-])data\.(?=[a-z])", f"data.sets.{name}.", str(error))
        ) from error
