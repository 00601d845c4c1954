"""Settings of `faceproof compare` and `faceproof ensemble`, without what the commands import.

The help of a command is shown without loading torch.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Literal, get_args

from faceproof.errors import FaceproofError

Average = Literal["probability", "logit"]
Weights = Literal["equal", "fitted"]


@dataclass(frozen=True)
class CompareConfig:
    """Compare runs that scored the same images.

    Every metric has its 95% interval; for each pair of runs it is tested whether the difference is
    real (DeLong's test for ROC-AUC, McNemar's for accuracy, Holm-corrected, groups counted in).
    Beside that stand mean and spread over seeds, parameters, multiply-adds and time per image.
    Writes comparison.html, .json, .csv and .md.

    Attributes:
        runs: run folders that train.py has written and evaluate.py evaluated, or the folder of a
            sweep, which stands for every finished run below it.
        evaluation: the folder below RUN/evaluations; by default the one that all runs have, of
            several the test split of the data set they were trained on.
        out: the folder to write.
        timing: time the networks on this machine.
        device: where to time them, cpu, cuda or auto.
        allow: a module with code of your own that a run may use; can be repeated.
    """

    runs: tuple[Path, ...]
    _: KW_ONLY
    evaluation: str | None = None
    out: Path = Path("comparison")
    timing: bool = True
    device: str = "auto"
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class EnsembleConfig:
    """Make a run of several runs that were validated on the same images.

    Their calibrated scores are averaged; calibration and threshold of the average are fitted to
    validation. It is evaluated by evaluate.py and compared like any run. No image is scored to
    make it.

    Attributes:
        runs: run folders, or the folder of a sweep, which stands for every finished run below it.
        out: the new run folder.
        average: what is averaged.
        weights: equal, or fitted: those of the least loss on validation.
    """

    runs: tuple[Path, ...]
    _: KW_ONLY
    out: Path
    average: Average = "probability"
    weights: Weights = "equal"

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            FaceproofError: one is not among its choices.
        """
        for name, value, kind in (
            ("average", self.average, Average),
            ("weights", self.weights, Weights),
        ):
            choices = get_args(kind)
            if value not in choices:
                raise FaceproofError(f"{name} is {' or '.join(choices)}; found {value!r}")
