"""Trains from videos without preparing first: their faces are cut out into the cache."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from faceproof.data.listing import DataSet, FolderData
from faceproof.data.prepared import PAGE, PreparedData
from faceproof.errors import FaceproofError
from faceproof.io.cache import cache_folder
from faceproof.io.stamps import key_of, stamp_of
from faceproof.prepare.media import prepare_settings
from faceproof.settings import SettingError, make
from faceproof.workflows.prepare import Preparation, prepare_folder
from faceproof.workflows.prepare_sources import listed_data

log = logging.getLogger(__name__)


def list_videos(prepare: Mapping[str, Any], **settings: Any) -> DataSet:
    """List the faces in videos, cut out into the cache unless they are there already.

    Args:
        prepare: settings of `prepare.media.prepare_settings`.
        settings: of `data.listing.FolderData`.

    Raises:
        FaceproofError: a setting has no meaning, the videos cannot be listed, or no face is found
            in any.
    """
    folder = make(FolderData, settings)
    try:
        wanted = prepare_settings(prepare)
    except SettingError as error:
        raise error.within("prepare") from error
    listed = listed_data(folder.list())
    preparation = Preparation(wanted, listed)
    made_with = [f"{name} {value}" for name, value in preparation.made_with.items()]
    # A video of the same name and size may be another.
    stamps = [f"{one.path} {stamp_of(one.path)}" for one in preparation.media]
    out = cache_folder() / "prepared" / key_of((*made_with, *stamps))
    log.info("the faces of %s files are cut out into %s", f"{len(listed.rows):,}", out)
    about = prepare_folder(out, preparation, wait=True)
    if not about.counts["crops"]:
        raise FaceproofError(
            f"no face is found in any of {len(listed.rows):,} files; {out / PAGE} says of each why"
        )
    found = PreparedData(folder.name, folder.task, str(out)).list()
    return replace(found, max_unreadable=folder.max_unreadable, allow_leaks=folder.allow_leaks)
