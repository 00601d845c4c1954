"""The finished runs of a sweep on the terminal: one by one, or averaged over their seeds."""

import statistics
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from faceproof.io.folders import from_here
from faceproof.words import counted
from faceproof.workflows.sweep_folder import Job, setting_of, varied

SEED = "seed"
SHOWN = 10  # rows of the table; the leaderboard has all runs


def over_seeds(jobs: Iterable[Job]) -> list[list[Job]]:
    """Return the runs that differ in nothing but their seed together, in the order of the first."""
    found: dict[frozenset[str], list[Job]] = {}
    for job in jobs:
        rest = {word for word in job.overrides if word.lstrip("+").partition("=")[0] != SEED}
        found.setdefault(frozenset(rest), []).append(job)
    return list(found.values())


def has_seeds(jobs: Iterable[Job]) -> bool:
    """Say whether a configuration was trained with several seeds."""
    return any(len(one) > 1 for one in over_seeds(jobs))


def print_ranking(finished: Sequence[Job]) -> None:
    """Print the finished runs, given best first; of several seeds, what they have on average.

    The best of several seeds is the luckiest draw and no better configuration, so none is named.
    """
    console = Console(soft_wrap=True, highlight=False)
    if has_seeds(finished):
        _print_configurations(finished)
        return
    settings = varied(finished)
    rows = [([setting_of(job, name) for name in settings], job.describe()) for job in finished]
    first = f", the best {SHOWN}" if len(finished) > SHOWN else ""
    console.print(f"{counted(len(finished), 'finished run')}{first}:")
    _print_table([*settings, "result"], [[*values, result] for values, result in rows])
    console.print(f"best on validation: {from_here(finished[0].folder)}", markup=False)


def _print_configurations(finished: Sequence[Job]) -> None:
    from faceproof.evaluation.metrics import better  # not for a command that only needs a name

    families = over_seeds(finished)
    sign = {"min": 1, "max": -1}
    families.sort(key=lambda one: (one[0].monitor, sign[better(one[0].monitor)] * _mean(one)))
    settings = [name for name in varied([one[0] for one in families]) if name != SEED]
    rows = [
        [*(setting_of(one[0], name) for name in settings), str(len(one)), _spread(one)]
        for one in families
    ]
    console = Console(soft_wrap=True, highlight=False)
    first = f", the best {SHOWN}" if len(families) > SHOWN else ""
    told = f"{counted(len(finished), 'finished run')} of {counted(len(families), 'configuration')}"
    console.print(f"{told}{first}; mean over seeds and standard deviation on validation:")
    _print_table([*settings, "seeds", "result"], rows)


def _values(jobs: Sequence[Job]) -> list[float]:
    return [value for job in jobs if (value := job.value) is not None]


def _mean(jobs: Sequence[Job]) -> float:
    return statistics.fmean(_values(jobs))


def _spread(jobs: Sequence[Job]) -> str:
    """Return the mean of the runs of a configuration, and how far they lie apart."""
    values, mean = _values(jobs), f"{jobs[0].monitor} {_mean(jobs):.4f}"
    if len(values) == 1:
        return mean
    apart = f"{min(values):.4f} to {max(values):.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f} ({apart})"


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for row in rows[:SHOWN]:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
