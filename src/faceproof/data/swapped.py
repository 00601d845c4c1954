"""Labels that say the opposite of the word that they stand for, as in data.labels.real=fake."""

import logging
import re
from collections.abc import Mapping

from faceproof.io.names import folded
from faceproof.task import Task

log = logging.getLogger(__name__)


def warn_of_swapped_labels(labels: Mapping[str, str | None], task: Task) -> None:
    """Warn of words that name one class and are labelled as the other.

    Args:
        labels: folder word, or word of a table, to class name; null leaves its images out.
        task: whose classes these are.
    """
    for word, label in labels.items():
        said = class_in(str(word), task)
        if label is not None and said is not None and said != label:
            log.warning(
                "SWAPPED LABELS? data.labels.%s=%s: the word says %s, and its images are labelled "
                "%s. If that is a slip, the detector learns the opposite of what you want: leave "
                "the setting out, or write data.labels.%s=%s",
                word, label, said, label, word, said,
            )  # fmt: skip


def class_in(word: str, task: Task) -> str | None:
    """Return the class that a word names, as `training_real` does; None for none or for both.

    Examples:
        >>> from faceproof.task import get_task
        >>> class_in("Non-Faces", get_task("face")), class_in("real_or_fake", get_task("deepfake"))
        ('non_face', None)
    """
    plain = "_".join(re.findall(r"[^\W_]+", folded(word)))
    named = [one for one in task.classes if re.search(rf"(^|_){one}s?(_|$)", plain)]
    longest = max(named, key=len, default=None)
    return longest if all(longest and one in longest for one in named) else None
