"""The story of `faceproof compare`: runs, or tables of scores, of the same images, side by side.

Find the runs, choose the evaluation they share, read their predictions and those of the tables,
measure what the networks cost, compare, and write the page. torch is imported for the costs alone,
so that runs that cannot be compared are refused within seconds, and tables need none.
"""

import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from faceproof import lookup
from faceproof.errors import FaceproofError
from faceproof.evaluation.comparison import Cost, compare_runs
from faceproof.evaluation.json_values import printable
from faceproof.evaluation.score_table import ScoreFormat, meanings
from faceproof.evaluation.scored_runs import (
    ScoredRun,
    choose_evaluation,
    find_runs,
    read_runs,
    same_images,
    with_subgroups,
)
from faceproof.evaluation.scored_tables import beside_runs, read_scored_tables
from faceproof.io.run_folder import RunFolder, flatten
from faceproof.reports.comparison_page import write_comparison
from faceproof.reports.comparison_terminal import show
from faceproof.workflows.compare_config import CompareConfig, is_table
from faceproof.workflows.ensemble import is_ensemble, read_ensemble

if TYPE_CHECKING:
    from faceproof.models.build import ModelConfig
    from faceproof.models.cost import Timing
    from faceproof.models.detector import Detector

# The description of each network of a run, or of an ensemble's, and what makes it.
Networks = Sequence[tuple[str, Callable[[], "Detector"]]]


def compare(config: CompareConfig) -> Path:
    """Compare runs that scored the same images, and return the page.

    Raises:
        FaceproofError: the runs cannot be compared.
    """
    lookup.allow(config.allow)
    tables = [*{path.resolve(): path for path in config.runs if is_table(path)}.values()]
    folders = [path for path in config.runs if not is_table(path)]
    runs = find_runs(folders, 1 if tables else 2) if folders else []
    if len(runs) + len(tables) < 2:
        raise FaceproofError(f"a comparison needs two runs or tables; found {tables[0]} alone")
    scored = _read(runs, tables, config)
    costs, timed_on = list[Cost](), None
    if runs:
        costs, timed_on = measure_costs(list(map(_networks, runs)), config.timing, config.device)
    costs += [Cost()] * len(tables)
    comparison = compare_runs(scored, costs, timed_on, margin=config.margin)
    page = write_comparison(config.out, comparison, scored)
    show(Console() if sys.stdout.isatty() else Console(width=160), comparison, page)
    return page


def _read(
    runs: Sequence[RunFolder], tables: Sequence[Path], config: CompareConfig
) -> list[ScoredRun]:
    """Return what runs and tables answered for the same images, the runs first."""
    read: list[ScoredRun] = []
    if runs:
        for run in runs:
            run.require(run.config, run.record)
        evaluation = choose_evaluation(runs, config.evaluation)
        read = list(read_runs(runs, evaluation, [_settings(run) for run in runs]))
    if tables:
        task = read[0].report.task.name if read else config.task or "deepfake"
        how = ScoreFormat(
            task, config.score, config.score_of, meanings(config.columns),
            meanings(config.labels), meanings(config.splits), config.subgroups,
        )  # fmt: skip
        read = beside_runs(read, read_scored_tables(tables, how, config.images))
    return with_subgroups(same_images(read), config.subgroups)


def _settings(run: RunFolder) -> Mapping[str, Any]:
    """Return the settings of a run by dotted keys, as they can be shown."""
    settings: Mapping[str, Any] = printable(flatten(run.read_config()))
    return settings


def _networks(run: RunFolder) -> Networks:
    from faceproof.models.build import read_model

    members = [one.run for one in read_ensemble(run).members] if is_ensemble(run) else [run]
    models = [(read_model(member.read_config()["model"]), member.best) for member in members]
    return [
        (json.dumps(model.network, sort_keys=True), functools.partial(_build, model, weights))
        for model, weights in models
    ]


def _build(model: "ModelConfig", weights: Path) -> "Detector":
    """Build a network to measure it; a run may have been kept without its weights."""
    from faceproof.models.build import build_of_file

    return build_of_file(model, weights if weights.is_file() else None)


def measure_costs(
    runs: Sequence[Networks], timing: bool, device: str
) -> tuple[list[Cost], str | None]:
    """Return what scoring an image costs each run, and what it was timed on.

    Networks of the same description are measured once.
    """
    from faceproof.models import cost
    from faceproof.models.devices import pick_device

    nets = {text: make() for text, make in dict(pair for one in runs for pair in one).items()}
    place, times, timed_on = pick_device(device), dict[str, "Timing"](), None
    if timing:
        timed_on = cost.device_name(place)
        print(f"timing {len(nets)} networks on {timed_on}", file=sys.stderr)
        times = dict(zip(nets, cost.time_networks(list(nets.values()), place), strict=True))
    found = {text: _cost(net, times.get(text)) for text, net in nets.items()}
    return [_together([found[text] for text, _ in one]) for one in runs], timed_on


def _cost(net: "Detector", time: "Timing | None") -> Cost:
    from faceproof.models import cost

    parameters, multiply_adds = cost.count_parameters(net), cost.count_multiply_adds(net)
    if time is None:
        return Cost(parameters, multiply_adds, None, None)
    return Cost(parameters, multiply_adds, time.median, (time.low, time.high))


def _together(costs: Sequence[Cost]) -> Cost:
    """Return the cost of several networks, one after the other."""
    times = [one.milliseconds for one in costs if one.milliseconds is not None]
    ranges = [one.milliseconds_range for one in costs if one.milliseconds_range is not None]
    timed = len(times) == len(costs)
    return Cost(
        sum(one.parameters or 0 for one in costs),
        sum(one.multiply_adds or 0 for one in costs),
        sum(times) if timed else None,
        (sum(low for low, _ in ranges), sum(high for _, high in ranges)) if timed else None,
    )
