"""Leaves sources or generators out of a training, to judge a detector on what it never saw."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import pyarrow as pa
import pyarrow.compute as pc

from faceproof.data.listing import DataSet
from faceproof.data.table import counts, describe_counts
from faceproof.errors import FaceproofError
from faceproof.settings import Rule, SettingError, check, one_of
from faceproof.words import counted

log = logging.getLogger(__name__)

HELD_OUT = "held_out"  # what an evaluation calls the images that are judged of what was left out
FITTED = ("train", "val")  # the splits that a detector is fitted to or chosen by

Names = str | Sequence[str]
NAMES = Rule(
    lambda value: (
        isinstance(value, str | list | tuple)
        and all(isinstance(name, str) and name for name in _listed(value))
    ),
    "a name, or a list of names (a number in quotes)",
)


def _listed(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


@dataclass(frozen=True)
class TrainPartConfig:
    """What is absent from the training images alone, so that validation has it as a stranger.

    Attributes:
        source: names of sources (data sets of a combined one).
        generator: names of generators, whose fakes are meant.
    """

    source: Names = ()
    generator: Names = ()

    def __post_init__(self) -> None:
        check(self, source=NAMES, generator=NAMES)


@dataclass(frozen=True)
class LeaveOutConfig:
    """What a training must not see, to be judged on it.

    Attributes:
        source: names of sources (data sets of a combined one), absent with all of their images.
        generator: names of generators, whose fakes are absent.
        split: what is judged of that: the images of the split `test`, or `all`. With `auto` it is
            the test images, or all of a source that has none.
        train: what is absent from the training images alone, and stays in validation.
    """

    source: Names = ()
    generator: Names = ()
    split: str = "auto"
    train: TrainPartConfig = field(default_factory=TrainPartConfig)

    def __post_init__(self) -> None:
        check(self, source=NAMES, generator=NAMES, split=one_of("auto", "test", "all"))
        if not isinstance(self.train, TrainPartConfig):
            raise SettingError("train", f"= {self.train!r} must be source and generator by name")
        if self.split != "auto" and not self.names:
            raise SettingError(
                "split", f"= {self.split} changes nothing: no source and no generator is left out"
            )
        for column in ("source", "generator"):
            both = {*_listed(getattr(self, column))} & {*_listed(getattr(self.train, column))}
            if both:
                raise SettingError(
                    f"train.{column}",
                    f"names {min(both)}, which leave_out.{column} leaves out altogether; name it "
                    "in one of the two",
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The sources and generators that are left out altogether."""
        return (*_listed(self.source), *_listed(self.generator))


def leave_out(data: DataSet, config: LeaveOutConfig) -> tuple[DataSet, pa.Table | None]:
    """Return a data set without what is left out, and the images to judge of that.

    The images to judge of a source are its own. Those of a generator are its fakes beside the real
    test images of the sources that these fakes come from: in a data set of one source the same
    real images for each generator. An image that shares a group or a component
    with the images that stay in train or val is not judged. The table is None where nothing is
    left out altogether, and may be empty.

    Raises:
        FaceproofError: a name is not in the data set, or train or val would lack a class.
    """
    table, train = data.table, config.train
    for column in ("source", "generator"):
        known = names_in(data, column)
        for where, part in (("", config), ("train.", train)):
            for name in _listed(getattr(part, column)):
                if name not in known:
                    raise _unknown(f"leave_out.{where}{column}", name, known)
    of_source = _among(table, "source", config.source)
    of_generator = pc.and_(_among(table, "generator", config.generator), _fakes(data, table))
    left = pc.or_(of_source, of_generator)
    from_train = pc.and_(
        pc.or_(
            _among(table, "source", train.source),
            pc.and_(_among(table, "generator", train.generator), _fakes(data, table)),
        ),
        _among(table, "split", "train"),
    )
    absent = pc.or_(left, from_train)
    if not pc.any(absent).as_py():
        return data, None
    # What says which images of a published list are there would no longer be true.
    kept = replace(data, table=table.filter(pc.invert(absent)), coverage=())
    _check_kept(kept, data)
    if not config.names:
        return kept, None
    judged = pc.or_(
        _judged_of_sources(table, of_source, config), _judged_of_generators(data, left, config)
    )
    held_out = _without_crossing(table.filter(judged), kept.table, data.name)
    log.info(
        "%s: %s of %s images are left out (%s); to judge: %s", data.name,
        f"{pc.sum(left).as_py() or 0:,}", f"{table.num_rows:,}", ", ".join(config.names),
        describe_counts(held_out),
    )  # fmt: skip
    return kept, held_out


def names_in(data: DataSet, column: str) -> list[str]:
    """Return the sources of a data set, or the generators of its fakes, in alphabetical order."""
    table = data.table
    rows = table.filter(_fakes(data, table)) if column == "generator" else table
    return sorted(name for (name,) in counts(rows, column) if name is not None)


def _unknown(setting: str, name: str, known: Sequence[str]) -> FaceproofError:
    close = get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"
    return SettingError(setting, f"names {name!r}, which is not in the data set; {hint}")


def _among(table: pa.Table, column: str, names: Names) -> pa.ChunkedArray:
    """Say of each row whether a column has one of these names; null is none of them."""
    wanted = pa.array(_listed(names), pa.string())
    return pc.is_in(table[column].cast(pa.string()), value_set=wanted)


def _fakes(data: DataSet, table: pa.Table) -> pa.ChunkedArray:
    return _among(table, "label", data.task.positive)


def _check_kept(kept: DataSet, data: DataSet) -> None:
    """Refuse to leave so much out that train or val lacks a class that it had."""
    before, after = (counts(one.table, "split", "label") for one in (data, kept))
    for split in FITTED:
        for label in data.task.classes:
            if (split, label) in before and (split, label) not in after:
                raise FaceproofError(
                    f"leave_out leaves no image of class {label} in the split {split} of "
                    f"{data.name}; found {describe_counts(kept.table)}: leave out less, or train "
                    "on more sources or generators"
                )


def _judged_of_sources(
    table: pa.Table, of_source: pa.ChunkedArray, config: LeaveOutConfig
) -> pa.ChunkedArray:
    """Say of each row whether it is judged as one of a source that is left out."""
    labelled = pc.and_(of_source, table["label"].is_valid())
    if config.split == "all":
        return labelled
    of_test = pc.and_(labelled, _among(table, "split", "test"))
    if config.split == "test":
        return of_test
    with_test = {name for (name,) in counts(table.filter(of_test), "source")}
    without = [name for name in _listed(config.source) if name not in with_test]
    return pc.or_(of_test, pc.and_(labelled, _among(table, "source", without)))


def _judged_of_generators(
    data: DataSet, left: pa.ChunkedArray, config: LeaveOutConfig
) -> pa.ChunkedArray:
    """Say of each row whether it is judged as a fake of a generator left out, or beside one."""
    table = data.table
    fakes = pc.and_(_among(table, "generator", config.generator), _fakes(data, table))
    of_test = _among(table, "split", "test")
    if config.split != "all":
        fakes = pc.and_(fakes, of_test)
    sources = [name for (name,) in counts(table.filter(fakes), "source") if name is not None]
    real = pc.and_(_among(table, "label", data.task.negative), pc.and_(of_test, pc.invert(left)))
    return pc.or_(fakes, pc.and_(real, _among(table, "source", sources)))


def _without_crossing(held_out: pa.Table, kept: pa.Table, name: str) -> pa.Table:
    """Return the images to judge that share no group and no component with train or val."""
    fitted = kept.filter(_among(kept, "split", FITTED))
    crossing = pa.chunked_array([pa.array([False] * held_out.num_rows, pa.bool_())])
    for column in ("group", "component"):
        there = pc.drop_null(fitted[column].unique())
        crossing = pc.or_(crossing, pc.is_in(held_out[column], value_set=there))
    found = held_out.filter(pc.invert(crossing))
    if num := held_out.num_rows - found.num_rows:
        log.warning(
            "%s: %s of what is left out share a group or a person with images that are trained on "
            "or choose the best epoch, and are not judged", name, counted(num, "image"),
        )  # fmt: skip
    return found
