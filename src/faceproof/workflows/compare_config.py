"""The settings of `faceproof compare`, without what the command imports."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from faceproof.errors import FaceproofError
from faceproof.evaluation.margin import MARGIN


@dataclass(frozen=True)
class CompareConfig:
    """Compare runs that scored the same images.

    Every metric has its 95% interval; for each pair it is tested whether the difference is real
    (DeLong's test for ROC-AUC, McNemar's for accuracy, Holm-corrected, groups counted in). Runs
    that differ in their seed alone are one configuration: means over seeds are compared then, and
    the tests count seeds as chance too. Beside that stand parameters, multiply-adds and time per
    image. Writes comparison.html, .json, .csv, .md and .tex (for
    LaTeX).

    Attributes:
        runs: run folders that have been evaluated (latest is the newest), or the folder of a sweep,
            which stands for every finished run below it.
        evaluation: the folder below RUN/evaluations; by default the one that all runs have, of
            several the test split of the data set they were trained on.
        out: the folder to write.
        margin: of ROC-AUC: what is surely behind by less is called as good as the best.
        timing: time the networks on this machine.
        device: where to time them, cpu, cuda or auto.
        allow: a module with code of your own that a run may use; can be repeated.
    """

    runs: tuple[Path, ...]
    _: KW_ONLY
    evaluation: str | None = None
    out: Path = Path("comparison")
    margin: float = MARGIN
    timing: bool = True
    device: str = "auto"
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.margin < 0.5:
            raise FaceproofError(
                f"--margin {self.margin:g} is no margin of ROC-AUC, which guessing leaves at 0.5: "
                "give one above 0 and below 0.5, such as 0.01"
            )
        if self.device != "auto" and not self.timing:
            raise FaceproofError(
                f"--device {self.device} says where networks are timed, and --no-timing times "
                "none; leave out one"
            )
