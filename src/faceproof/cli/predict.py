"""`faceproof predict`."""

from dataclasses import replace

from faceproof.cli.shell import shell
from faceproof.workflows.hub import fetched
from faceproof.workflows.predict import PredictConfig, predict


@shell(example="faceproof predict photos --detector detector --out verdicts.csv")
def command(config: PredictConfig) -> int:
    """Judge images and videos; 1 if some could not be read, unless that is allowed."""
    tally = predict(replace(config, detector=fetched(config.detector)))
    return 1 if tally.unreadable and not config.keep_going else 0
