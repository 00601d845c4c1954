"""Refuses folders and tables that are not there, before anything is listed or built."""

import functools
from collections.abc import Callable, Mapping

from faceproof.data.combined import CombinedData, call_for_set
from faceproof.data.groups import check_groups
from faceproof.data.layout import Words, check_root, expected_tree
from faceproof.data.listing import (
    DataSet,
    FolderData,
    Source,
    TableData,
    absolute,
)
from faceproof.data.own_table import check_columns
from faceproof.data.prepared import PreparedData, read_about
from faceproof.data.protocols.protocol import ProtocolData
from faceproof.data.protocols.published import PublishedData
from faceproof.data.subgroups import check_subgroups


def check_places(sources: Mapping[str, Source | DataSet]) -> None:
    """Refuse data sets whose folder or table is not there.

    Of what is in them, the columns of a CSV file alone are looked at.

    Args:
        sources: the data sets by their places in `data.sets`; `data` for one that has none.

    Raises:
        FaceproofError: the message says what is missing, and which setting names it.
    """
    for name, source in sources.items():
        if isinstance(source, CombinedData):
            check_places(source.sets)
        elif name == "data":
            _check(source)()
        else:
            call_for_set(name, _check(source))


def _check(source: Source | DataSet) -> Callable[[], object]:
    """Return what refuses the place of a data set of one of our kinds."""
    if isinstance(source, TableData):
        return functools.partial(_check_table, source)
    if isinstance(source, PreparedData):
        return functools.partial(read_about, absolute(source.root))
    if isinstance(source, FolderData):
        return functools.partial(_check_folder, source)
    if isinstance(source, ProtocolData | PublishedData):
        return source.check_place
    return lambda: None


def _check_table(table: TableData) -> None:
    file, groups = absolute(table.file), check_groups(table.groups)
    check_columns(file, table.columns or {}, groups, check_subgroups(table.subgroups))


def _check_folder(folder: FolderData) -> None:
    root, words = absolute(folder.root), (_as_text(folder.labels), _as_text(folder.splits))
    check_root(root, expected_tree(root, folder.layout, *words))


def _as_text(words: Words | None) -> Words:
    return {str(word): name for word, name in (words or {}).items()}
