"""The settings of `faceproof report`, without what the command imports."""

from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Literal

from faceproof.errors import FaceproofError
from faceproof.evaluation.operating_point import ThresholdConfig


@dataclass(frozen=True)
class ReportConfig:
    """Report the scores of any detector, given as a table.

    The table (CSV, JSON or Parquet) has a row for each image with its path, label and score.
    Without torch it gives what faceproof evaluate gives for a run: metrics with intervals,
    calibration, metrics by source, generator and subgroup, as report.html and report.json.

    Attributes:
        scores: the table, with the columns path, label and score, and maybe split, source,
            generator, group (video), pair and others.
        score: what the scores are; a column named probability or logit says so by itself.
        score_of: the class that a high score speaks for; by default fake (or face).
        task: deepfake (real or fake) or face (face or not).
        columns: what a column of the tables is, as --columns.filename=path; null leaves it out.
        labels: what a word of the column label is, as --labels.0=real --labels.1=fake.
        splits: what a word of the column split is, as --splits.public=test.
        images: a table with more columns of the same images, found by path.
        validation: a table of validation images and their scores, on which calibration, threshold
            and unsure band are fixed; else the rows of the split val are taken for that.
        subgroups: a column by whose values the metrics are told; can be repeated.
        threshold: how the threshold is fixed on validation.
        name: of the detector; by default that of the table.
        out: the folder to write.
    """

    scores: Path
    _: KW_ONLY
    score: Literal["probability", "percent", "logit"] | None = None
    score_of: str | None = None
    task: str = "deepfake"
    columns: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    images: Path | None = None
    validation: Path | None = None
    subgroups: tuple[str, ...] = ()
    threshold: ThresholdConfig = field(default_factory=ThresholdConfig)
    name: str | None = None
    out: Path = Path("report")

    def __post_init__(self) -> None:
        if self.name is not None and not self.name.strip():
            raise FaceproofError("--name is empty; give the detector a name")
