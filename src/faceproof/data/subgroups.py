"""The setting `data.subgroups`: further columns of an image table, by which metrics are told."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from faceproof.data.table import SCHEMA
from faceproof.errors import FaceproofError
from faceproof.settings import SettingError
from faceproof.words import for_hydra, for_shell

# What the tables that are made of an image table call other things.
TAKEN = (
    *SCHEMA.names, "logit", "probability", "novelty", "content", "corruption", "row", "score",
    "percent",
)  # fmt: skip


def check_subgroups(names: Sequence[str] | None, setting: str = "subgroups") -> tuple[str, ...]:
    """Return the names of the columns; refuse what is no list of names, or means something else."""
    found = () if names is None else names
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise SettingError(setting, f"= {names!r} must be a list of columns, such as [age]")
    for name in found:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise SettingError(setting, f"has {name!r}, which is no name of a column")
        if name in TAKEN:
            raise SettingError(
                setting,
                f"has {name}, which is no further column, for tables of images and scores call "
                "something else so: rename the column (metrics by source and generator are in "
                "every report)",
            )
    if len(set(found)) < len(found):
        raise SettingError(setting, f"= {list(found)} names a column twice")
    return tuple(found)


def refuse_missing_subgroups(
    names: Sequence[str], columns: Collection[str], where: str, setting: str = "subgroups"
) -> None:
    """Refuse a subgroup that is no column of a table, and offer the setting as it was meant."""
    if missing := [name for name in names if name not in columns]:
        further = [name for name in columns if name not in TAKEN]
        near = {name: get_close_matches(name, further, 1) for name in missing}
        meant = dict.fromkeys(near[name][0] if near.get(name) else name for name in names)
        if all(name in columns for name in meant):
            hint = f"did you mean {offered(setting, [*meant])}?"
        else:
            hint = f"its further columns are: {', '.join(further) or 'none'}"
        raise FaceproofError(f"{where} has no column {missing[0]}, which {setting} names; {hint}")


def offered(setting: str, names: Sequence[str]) -> str:
    """Return the setting that names columns, as a shell takes it, such as `'subgroups=[age]'`."""
    return for_shell(f"{setting}=[{','.join(map(for_hydra, names))}]")
