"""`faceproof predict`."""

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import refuse_missing_detector
from faceproof.workflows.predict import PredictConfig, predict


@shell(example="faceproof predict photos --detector detector --out verdicts.csv")
def command(config: PredictConfig) -> int:
    """Judge images and videos; 1 if some could not be read, unless that is allowed."""
    refuse_missing_detector(config.detector)
    tally = predict(config)
    return 1 if tally.unreadable and not config.keep_going else 0
