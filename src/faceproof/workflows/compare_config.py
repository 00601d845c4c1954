"""The settings of `faceproof compare`, without what the command imports."""

from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Literal

from faceproof.errors import FaceproofError
from faceproof.evaluation.margin import MARGIN
from faceproof.io.names import CSV_SUFFIXES, JSON_SUFFIXES, LINES_SUFFIXES


@dataclass(frozen=True)
class CompareConfig:
    """Compare runs, or tables of scores of any detectors, of the same images.

    Every metric has its 95% interval; for each pair it is tested whether the difference is real
    (DeLong's test for ROC-AUC, McNemar's for accuracy, Holm-corrected, groups counted in). Runs
    that differ in their seed alone are one configuration: means over seeds are compared then, and
    the tests count seeds as chance too. Beside that stand parameters, multiply-adds and time per
    image. Writes comparison.html, .json, .csv, .md and .tex (for
    LaTeX).

    Attributes:
        runs: run folders that have been evaluated (latest is the newest), or the folder of a sweep,
            which stands for every finished run below it; and tables of path, label and score
            (CSV, JSON or Parquet), whose rows of the split val fix their threshold.
        evaluation: the folder below RUN/evaluations; by default the one that all runs have, of
            several the test split of the data set they were trained on.
        out: the folder to write.
        margin: of ROC-AUC: what is surely behind by less is called as good as the best.
        timing: time the networks on this machine.
        device: where to time them, cpu, cuda or auto.
        allow: a module with code of your own that a run may use; can be repeated.
        score: what the scores of tables are; a column named probability or logit says so by itself.
        score_of: the class that a high score in tables speaks for; by default fake (or face).
        task: of tables without runs: deepfake (real or fake) or face (face or not).
        columns: what a column of the tables is, as --columns.filename=path; null leaves it out.
        labels: what a word of the column label is, as --labels.0=real --labels.1=fake.
        splits: what a word of the column split is, as --splits.public=test.
        images: a table with labels and more columns of the tables' images, found by path.
        subgroups: a further column by whose values the metrics are told; can be repeated. By
            default those that the runs were evaluated with.
    """

    runs: tuple[Path, ...]
    _: KW_ONLY
    evaluation: str | None = None
    out: Path = Path("comparison")
    margin: float = MARGIN
    timing: bool = True
    device: str = "auto"
    allow: tuple[str, ...] = ()
    score: Literal["probability", "percent", "logit"] | None = None
    score_of: str | None = None
    task: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    images: Path | None = None
    subgroups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        of_tables = ("score", "score_of", "task", "columns", "labels", "splits", "images")
        for name in of_tables if not any(map(is_table, self.runs)) else ():
            if getattr(self, name):
                raise FaceproofError(
                    f"--{name.replace('_', '-')} says how tables of scores are read, and no table "
                    "is named; leave it out"
                )
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


def is_table(path: Path) -> bool:
    """Say whether a path is that of a table of scores, and not of a run."""
    known = (*CSV_SUFFIXES, *JSON_SUFFIXES, *LINES_SUFFIXES, ".parquet")
    return path.suffix.lower() in known and not path.is_dir()
