"""The two tasks and their classes: the only place where label names become numbers."""

from dataclasses import dataclass

from faceproof.errors import FaceproofError


@dataclass(frozen=True)
class Task:
    """A two-class question about a face image. A positive logit means `positive`.

    Examples:
        >>> import faceproof as fp
        >>> task = fp.list_data("demo_faces", num_per_class=20).task
        >>> task.negative, task.positive
        ('non_face', 'face')
    """

    name: str
    negative: str
    positive: str

    @property
    def classes(self) -> tuple[str, str]:
        """The class names in the order of their numbers: 0, 1."""
        return self.negative, self.positive

    def number(self, label: str) -> int:
        """Return 0 for the negative class and 1 for the positive one."""
        return self.classes.index(label)


TASKS = {
    "deepfake": Task("deepfake", negative="real", positive="fake"),
    "face": Task("face", negative="non_face", positive="face"),
}


def get_task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        FaceproofError: there is no such task.
    """
    if name not in TASKS:
        raise FaceproofError(f"there is no task {name!r}; the tasks are {', '.join(TASKS)}")
    return TASKS[name]
