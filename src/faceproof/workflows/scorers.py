"""What scores images by a run: by its best epoch, or by the members of an ensemble."""

from collections.abc import Callable

import pyarrow as pa

from faceproof.augment.corruptions import Corruption
from faceproof.evaluation.config import EvaluateConfig
from faceproof.evaluation.novelty import combine_novelty
from faceproof.evaluation.predictions import Scores
from faceproof.inference.scoring import Scoring, score, score_with_novelty
from faceproof.io.run_folder import RunFolder
from faceproof.models.novelty import DetectorWithNovelty
from faceproof.models.weights import load_network
from faceproof.task import Task
from faceproof.workflows.ensemble import is_ensemble, read_ensemble
from faceproof.workflows.novelty import load_novelty

# Returns the logits of the rows of an image table, corrupted or not, and their novelties, (N,)
# float64 each; None instead of these where the run does not know them.
Scorer = Callable[[pa.Table, Corruption | None], tuple[Scores, Scores | None]]


def make_scorer(
    run: RunFolder, task: Task, config: EvaluateConfig, progress: bool = True
) -> Scorer:
    """Return what scores images in this process, by a run's best epoch or an ensemble's members.

    `progress` shows how far it is.
    """
    if is_ensemble(run):
        return _scorer_of_members(run, task, config, progress)
    net = load_network(run)
    novelty = load_novelty(run, net)
    size, workers = int(config.loader.batch_size), config.loader.num_workers

    def score_rows(rows: pa.Table, corruption: Corruption | None) -> tuple[Scores, Scores | None]:
        how = Scoring(size, workers, config.device, corruption, progress)
        if novelty is None:
            return score(net, rows, task, how), None
        return score_with_novelty(DetectorWithNovelty(net, novelty), rows, task, how)

    return score_rows


def _scorer_of_members(
    run: RunFolder, task: Task, config: EvaluateConfig, progress: bool
) -> Scorer:
    ensemble = read_ensemble(run)
    scorers = [make_scorer(one.run, task, config, progress) for one in ensemble.members]
    weights = [one.weight for one in ensemble.members]

    def score_rows(rows: pa.Table, corruption: Corruption | None) -> tuple[Scores, Scores | None]:
        found = [scorer(rows, corruption) for scorer in scorers]
        novelties = combine_novelty([novelty for _, novelty in found], weights)
        return ensemble.combine([logits for logits, _ in found]), novelties

    return score_rows
