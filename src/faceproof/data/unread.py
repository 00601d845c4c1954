"""Settings of a data set that would change nothing: refused where that is sure, else said."""

import logging
from collections.abc import Collection, Iterable, Mapping

from faceproof.io.names import folded
from faceproof.settings import SettingError

log = logging.getLogger(__name__)

Words = Mapping[str, str | None]  # what a folder word, or a word of a table, means


def refuse_unread_words(
    layout: str, splits: Words, generators: Words, generator: str | None, usual_splits: Words
) -> None:
    """Refuse settings of a folder set that its layout line gives nothing to do.

    Usual words for splits are in the settings of ready data sets, whose layout line may be changed:
    they are left to `warn_of_unread_words`.

    Raises:
        SettingError: it names the setting and the placeholder that is missing or too many.
    """
    for name, placeholder, words in (
        ("splits", "{split}", _unusual(splits, usual_splits)),
        ("generators", "{generator}", generators),
    ):
        if words and placeholder not in layout:
            raise SettingError(
                name,
                f"= {dict(words)} changes nothing: data.layout = {layout!r} has no {placeholder}; "
                f"add it there, or set data.{name}=null",
            )
    if generator is not None and "{generator}" in layout:
        raise SettingError(
            "generator",
            f"= {generator!r} changes nothing: the {{generator}} of data.layout = {layout!r} says "
            "what made the fakes; set data.generator=null, or write * in its place",
        )


def warn_of_unread_words(
    where: object, layout: str, meanings: Mapping[str, Words], usual_splits: Words,
    seen: Mapping[str, Collection[str]],
) -> None:  # fmt: skip
    """Warn of folder words that have a meaning and are the name of no folder.

    Args:
        where: what was listed, for the message.
        layout: its layout line.
        meanings: by placeholder (label, split, generator), what its words mean.
        usual_splits: words for splits that have a meaning anyway.
        seen: by placeholder of the layout line, the words that were found.
    """
    for name, words in meanings.items():
        if words and name not in seen:
            unlabelled = ", so that all images are unlabelled" * (name == "label")
            log.warning(
                "%s: data.%ss changes nothing: data.layout = %r has no {%s}%s",
                where, name, layout, name, unlabelled,
            )  # fmt: skip
            continue
        asked = _unusual(words, usual_splits) if name == "split" else words
        if missing := words_without_use(asked, seen.get(name, ())):
            log.warning(
                "%s: data.%ss gives a meaning to %s, which no folder is named; found %s",
                where, name, ", ".join(map(repr, missing)), shown(seen[name]),
            )  # fmt: skip


def words_without_use(words: Iterable[str], seen: Collection[str]) -> list[str]:
    """Return the words that are none of those seen, whose case and form of accents is alike."""
    there = {folded(word) for word in seen}
    return [word for word in words if folded(word) not in there]


def shown(words: Collection[str]) -> str:
    """Return the first of some words, for a message."""
    first = sorted(words)[:10]
    return ", ".join(map(repr, first)) + (" and others" if len(words) > len(first) else "")


def _unusual(splits: Words, usual: Words) -> Words:
    """Return the words for splits that would have another meaning, or none, without the setting."""
    return {word: split for word, split in splits.items() if usual.get(folded(word), "") != split}
