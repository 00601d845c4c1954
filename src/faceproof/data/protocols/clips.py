"""Finds the videos of a data set, or the folders of frames that they were cut into.

`videos/000.mp4` and `frames/000/0001.png` are the clip `000`, so that lists that name videos fit
both.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from faceproof.data.kinds import IMAGE, VIDEO, VIDEO_SUFFIXES, LeftOut, kind_of
from faceproof.data.layout import escaped, found_tree, is_text, walk_files
from faceproof.errors import FaceproofError
from faceproof.io.names import folded

# Folders that say nothing of what lies in them, by which the sets of many people differ.
CONTAINERS = frozenset(("videos", "video", "frames", "frames_all", "images", "image"))
# Folders beside these whose files show no face.
NO_FACES = frozenset(("masks", "mask", "landmarks", "models", "audio"))
VIDEOS, IMAGES = MEDIA = ("videos", "images")
KINDS = {VIDEOS: VIDEO, IMAGES: IMAGE}

log = logging.getLogger(__name__)


class Clip(NamedTuple):
    """A video, or the frames that it was cut into.

    `key` is its path without `CONTAINERS` and suffix; `files` are relative to the data set's root:
    one for a video.
    """

    key: str
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the name of the video, without folders."""
        return self.key.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """Return the folder that it lies in, without `CONTAINERS`."""
        return self.key.rpartition("/")[0]


def key_of(path: str) -> str:
    """Return the key of the clip that a list names by a video's path.

    Examples:
        >>> key_of("Celeb-real/videos/id0_0000.mp4")
        'Celeb-real/id0_0000'
    """
    *folders, name = path.replace("\\", "/").split("/")
    stem, dot, suffix = name.rpartition(".")
    name = stem if dot and f".{suffix.lower()}" in VIDEO_SUFFIXES else name
    return "/".join([word for word in folders if word.lower() not in CONTAINERS] + [name])


def find_clips(root: Path, folders: Iterable[str], media: str | None, expected: str) -> list[Clip]:
    """Return the clips below some folders of a data set, in the order of their keys.

    Args:
        root: of the data set.
        folders: relative to it; an empty one for all.
        media: `videos`, `images` (frames), or None for what is there.
        expected: the tree that should be there, for messages.

    Raises:
        FaceproofError: there is none, there are both videos and frames and `media` is None, or two
            files are one video.
    """
    left_out, unnamed, faceless = LeftOut(), list[str](), list[str]()
    found: dict[str, dict[str, list[str]]] = {VIDEO: {}, IMAGE: {}}
    for folder in folders:
        for below in sorted(walk_files(root / folder, (IMAGE, VIDEO), left_out)):
            path = f"{folder}/{below}" if folder else below
            if not is_text(path):
                unnamed.append(escaped(path))
                continue
            words = path.lower().split("/")
            if not NO_FACES.isdisjoint(words[:-1]):
                faceless.append(path)
                continue
            kind = VIDEO if Path(path).suffix.lower() in VIDEO_SUFFIXES else ""
            kind = kind or kind_of(str(root / path))
            key = key_of(path if kind == VIDEO else path.rpartition("/")[0])
            if kind == IMAGE and (len(words) < 2 or words[-2] in CONTAINERS):
                unnamed.append(path)  # a frame outside of a video's folder
                continue
            found[kind].setdefault(key, []).append(path)
    chosen = _chosen(root, found, media, expected)
    if chosen == VIDEO:
        _refuse_two_of_one(root, found[VIDEO])
    _tell(root, left_out, unnamed, faceless)
    return [Clip(key, tuple(files)) for key, files in sorted(found[chosen].items())]


def _chosen(
    root: Path, found: dict[str, dict[str, list[str]]], media: str | None, expected: str
) -> str:
    videos, frames = found[VIDEO], found[IMAGE]
    if media is None and videos and frames:
        raise FaceproofError(
            f"{root} has {len(videos):,} videos ({next(iter(videos.values()))[0]!r} the first) and "
            f"frames of {len(frames):,} videos ({next(iter(frames.values()))[0]!r} the first): say "
            "which to take by data.media=videos or data.media=images"
        )
    kind = KINDS[media or (VIDEOS if videos else IMAGES)]
    if not found[kind]:
        what = {VIDEOS: "video", IMAGES: "frame of a video"}.get(media or "", "video and no frame")
        other = len(found[IMAGE if kind == VIDEO else VIDEO])
        beside = f" (there are {other:,} clips of the other kind)" if other else ""
        raise FaceproofError(
            f"there is no {what} in the folders of the data set below {root}{beside}\n{expected}\n"
            f"{found_tree(root)}\nset data.root{' or data.media' if media else ''}"
        )
    if other := len(found[IMAGE if kind == VIDEO else VIDEO]):
        log.warning("%s: %s clips are left out by data.media=%s", root, f"{other:,}", media)
    return kind


def _refuse_two_of_one(root: Path, videos: dict[str, list[str]]) -> None:
    for files in videos.values():
        if len(files) > 1:
            raise FaceproofError(
                f"{root} has {files[0]} and {files[1]}, which are one video by their names; move "
                "one of them away"
            )


def _tell(root: Path, left_out: LeftOut, unnamed: Sequence[str], faceless: Sequence[str]) -> None:
    if left_out:
        log.warning("%s: %s", root, left_out)
    if faceless:
        log.info("%s: %s files of masks and the like are left out", root, f"{len(faceless):,}")
    if unnamed:
        log.warning(
            "%s: %s files are left out, for no folder of a video holds them or their names are no "
            "UTF-8 text, %r the first", root, f"{len(unnamed):,}", unnamed[0],
        )  # fmt: skip


def by_key(clips: Iterable[Clip]) -> dict[str, Clip]:
    """Return clips by their keys, as `io.names.folded` compares them."""
    return {folded(clip.key): clip for clip in clips}


def tell_missing(where: object, what: str, missing: Sequence[str], total: int, advice: str) -> None:
    """Warn of files that a list names and that are not there; refuse if all are.

    Args:
        where: the list, for the message.
        what: its entries are, in the plural.
        missing: those that are not there.
        total: how many it names.
        advice: what to do if none is there.

    Raises:
        FaceproofError: none is there.
    """
    if not missing:
        return
    if len(missing) == total:
        raise FaceproofError(
            f"none of the {total:,} {what} of {where} is there, {missing[0]!r} the first; {advice}"
        )
    log.warning(
        "%s: %s of %s %s are not there, %r the first",
        where, f"{len(missing):,}", f"{total:,}", what, missing[0],
    )  # fmt: skip


def tell_unnamed(where: object, unnamed: Collection[str], why: str) -> None:
    """Warn of clips that are there and are left out, because no list names them."""
    if unnamed:
        log.warning(
            "%s: %s clips are left out: %s, %r the first",
            where, f"{len(unnamed):,}", why, min(unnamed),
        )  # fmt: skip
