"""A comparison as text: sentences for people, and Markdown."""

import re
from collections.abc import Iterator, Mapping, Sequence

from faceproof.evaluation.comparison import (
    ComparedRun,
    Comparison,
    Configuration,
    Spread,
    Tested,
    by_family,
    repeats_a_seed,
)
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.metrics import metrics_shown
from faceproof.evaluation.scored_tables import UNTUNED_ORIGIN
from faceproof.reports.numbers import (
    CHANCE,
    DASH,
    milliseconds,
    p_value,
    rate,
    scaled,
    signed,
    span,
)
from faceproof.reports.subgroup_text import compared_columns, gap_cell
from faceproof.words import percent


def verdict(comparison: Comparison) -> list[str]:
    """Return the result in plain sentences, the most important first."""
    first = comparison.configurations[0]
    area = first.metrics["roc_auc"]
    if area is None:
        return ["The images are of one class, so no run can be called better than another."]
    if all(map(_at_chance, comparison.configurations)):
        return [
            f"None is shown to be better than chance: no 95% interval of ROC-AUC lies above "
            f"{CHANCE}. That of the best, {first.name}, is {span(first.intervals['roc_auc'])}."
        ]
    interval = first.intervals["roc_auc"]
    reach = f" (95% interval {span(interval)})" if interval else ""
    what = f"ROC-AUC {rate(area.mean)}{reach}"
    if comparison.over_seeds:
        what = f"mean {what} over {_seeds(first)}"
        if area.standard_deviation is not None:
            what += f", which vary by a standard deviation of {area.standard_deviation:.3f}"
    pairs = [pair for pair in comparison.pairs if pair.first == first.name]
    leads = {pair.second: pair.roc_auc for pair in pairs if pair.roc_auc}
    equal = [name for name, one in leads.items() if one.difference == 0]
    if equal:
        sentences = [f"{_listed([first.name, *equal])} rank the images equally well: {what}."]
    else:
        sentences = [f"{first.name} ranks the images best: {what}."]
    if len(comparison.configurations) == 1:
        return [
            *sentences,
            "The runs differ only in their seed, so there is nothing to choose between.",
        ]
    if not leads:
        return [*sentences, "The images are too few to say whether any difference is real."]
    behind = {name: one for name, one in leads.items() if name not in equal}
    if behind:
        sentences.append(_leads("Their lead" if equal else "Its lead", behind))
    return sentences + _by_accuracy(comparison) + _cheapest(comparison, leads)


def _seeds(one: Configuration) -> str:
    return "1 seed" if len(one.runs) == 1 else f"{len(one.runs)} seeds"


def _at_chance(one: Configuration) -> bool:
    """Say whether a configuration is not shown to rank better than guessing does."""
    interval = one.intervals["roc_auc"]
    return interval is not None and interval[0] <= CHANCE


def _below_chance(one: Configuration) -> bool:
    interval = one.intervals["roc_auc"]
    return interval is not None and interval[1] < CHANCE


def _leads(subject: str, leads: Mapping[str, Tested]) -> str:
    """Say over which runs a lead is real, and over which it may be chance."""
    real = [name for name, one in leads.items() if one.real]
    chance = [name for name in leads if name not in real]
    if not chance:
        over = "the other" if len(real) == 1 else f"each of the other {len(real)}"
        return f"{subject} over {over} is real: chance alone does not explain it."
    if not real:
        over = chance[0] if len(chance) == 1 else f"any of the other {len(chance)}"
        return f"{subject} over {over} may be chance."
    return f"{subject} over {_listed(real)} is real; that over {_listed(chance)} may be chance."


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _by_accuracy(comparison: Comparison) -> list[str]:
    """Name the configuration that calls most images correctly, where that is another."""

    def accuracy(one: Configuration) -> float:
        spread = one.metrics["accuracy"]
        return 0.0 if spread is None else spread.mean

    first = comparison.configurations[0]
    most = max(comparison.configurations, key=accuracy)
    if accuracy(most) == accuracy(first):
        return []
    names = first.name, most.name
    tested = next(of.accuracy for of in comparison.pairs if (of.first, of.second) == names)
    word = "is real" if tested and tested.real else "may be chance"
    share = percent(accuracy(most))
    return [f"{most.name} calls more images correctly, {share}; that difference {word}."]


def _cheapest(comparison: Comparison, leads: Mapping[str, Tested]) -> list[str]:
    """Name the fastest that is surely no more than the margin behind the best, and no guesser."""
    first, *others = comparison.configurations
    best, margin = first.cost.milliseconds, comparison.margin
    equal = [
        one
        for one in others
        if one.name in leads and leads[one.name].interval[1] < margin
        if one.intervals["roc_auc"] is not None and not _at_chance(one)
    ]
    timed = [(one.cost.milliseconds, one) for one in equal if one.cost.milliseconds is not None]
    if not timed or best is None:
        return []
    least, fastest = min(timed, key=lambda pair: pair[0])
    if best / least < 1.2:
        return []
    return [
        f"{fastest.name} is as good within the margin of {margin:g} of ROC-AUC (it is behind by "
        f"{max(0.0, leads[fastest.name].interval[1]):.3f} at most) and is {best / least:.1f} times "
        "as fast."
    ]


def cautions(comparison: Comparison) -> list[str]:
    """Say what limits the comparison."""
    runs = comparison.runs
    found = [*_unequal_starts(comparison), *_guessers(comparison), *_repeated_seeds(runs)]
    criteria = sorted({run.criterion or "a given threshold" for run in runs})
    if len(criteria) > 1:
        found.append(
            f"The thresholds were chosen by different criteria ({', '.join(criteria)}): compare "
            "ROC-AUC, average precision, EER and TPR at 1% FPR, which do not depend on them."
        )
    untuned = [run.name for run in runs if run.threshold_origin == UNTUNED_ORIGIN]
    if untuned:
        defined = comparison.configurations[0].metrics["roc_auc"] is not None
        without = "Go by ROC-AUC, average precision and EER, or give" if defined else "Give"
        found.append(
            f"For {_listed(untuned)} no threshold was fixed on validation: what depends on one is "
            f"measured at 0.5. {without} rows of the split val."
        )
    if comparison.num_units < MIN_UNITS:
        found.append(
            f"There are {comparison.num_units} independent units, too few for intervals or "
            f"tests, which need at least {MIN_UNITS}."
        )
    often = max(run.test_scorings or 0 for run in runs)
    if often > 1:
        found.append(
            f"A run has scored these test images {often} times. If any choice was made after "
            "seeing an earlier result, its metrics are optimistic."
        )
    if len(comparison.configurations) > 2:
        found.append(
            "The best of several leads partly by chance: expect slightly less of it on new images."
        )
    return found


def _unequal_starts(comparison: Comparison) -> list[str]:
    """Say which began with random weights, where others did not."""
    random = [one.name for one in comparison.configurations if one.random_weights]
    if not random or len(random) == len(comparison.configurations):
        return []
    return [
        f"{_listed(random)} began with random weights: the comparison is also one of initial "
        "weights."
    ]


def _guessers(comparison: Comparison) -> list[str]:
    """Name those that are not better than chance, unless the verdict says so of all, or worse."""
    at_chance = [one for one in comparison.configurations if _at_chance(one)]
    worse = [one.name for one in at_chance if _below_chance(one)]
    sentences = []
    if 0 < len(at_chance) < len(comparison.configurations):
        sentences.append(
            f"Not shown to be better than chance: {_listed([one.name for one in at_chance])} (the "
            "95% interval of ROC-AUC does not lie above 0.5)."
        )
    if worse:
        sentences.append(
            f"Worse than chance: {_listed(worse)} (the 95% interval of ROC-AUC lies below 0.5). "
            "Look whether labels are swapped."
        )
    return sentences


def _repeated_seeds(runs: Sequence[ComparedRun]) -> list[str]:
    """Say which runs repeat the seed of another of their configuration."""
    return [
        f"{_listed([run.name for run in family])} differ in nothing but their seed, and some share "
        "it, so that they are compared one by one: name one run of each seed to compare means."
        for family in by_family(runs).values()
        if repeats_a_seed(family)
    ]


def markdown(comparison: Comparison) -> str:
    """Return the tables as Markdown."""
    headings = [metric.short for metric in metrics_shown("comparison")]
    classes = ", ".join(f"{number:,} {name}" for name, number in comparison.num_by_class.items())
    pairs = [
        [pair.first, pair.second, *_tests(pair.roc_auc), *_tests(pair.accuracy)]
        for pair in comparison.pairs
    ]
    runs = _markdown_table(
        ["Model", *headings, "Parameters", "Multiply-adds", "ms per image"],
        [_markdown_row(run) for run in comparison.runs],
    )
    parts = [
        f"# {_cell(comparison.title)}",
        f"Evaluation {_cell(comparison.evaluation)}: {classes}; the positive class is "
        f"{comparison.task.positive}. In brackets 95% intervals.",
        *map(_cell, verdict(comparison)),
        *(f"Caution: {_cell(sentence)}" for sentence in cautions(comparison)),
        *([*_over_seeds(comparison, headings)] if comparison.over_seeds else [runs]),
        "## Is the difference real?",
        "First minus second; p after Holm's correction.",
        _markdown_table(["First", "Second", "ROC-AUC", "p", "Accuracy", "p"], pairs),
        *(["## Each run", runs] if comparison.over_seeds else []),
        *_subgroups(comparison),
    ]
    return "\n\n".join(parts) + "\n"


def _subgroups(comparison: Comparison) -> Iterator[str]:
    for part in compared_columns(comparison.subgroups):
        yield f"## Subgroups by {_cell(part.column)}: {part.label}"
        rows = [
            [row.value or "not known", f"{row.num_images:,}", *(cell or DASH for cell in cells)]
            for row, cells in part.rows
        ]
        gaps = ["largest gap", "", *map(gap_cell, part.gaps)]
        yield _markdown_table(["Subgroup", "Images", *part.names], [*rows, gaps])
        yield (
            "The interval of a gap holds for all pairs of subgroups of all columns of a model at "
            "once (Bonferroni), at 95%."
        )


def _over_seeds(comparison: Comparison, headings: Sequence[str]) -> Iterator[str]:
    yield "## Over seeds"
    yield (
        "Mean ± standard deviation over seeds (smallest to largest); of ROC-AUC the 95% interval "
        "of the mean, over images and seeds."
    )
    rows = [
        [one.name, str(len(one.runs)), *map(_spread, one.metrics.values()),
         span(one.intervals["roc_auc"]), "random" if one.random_weights else "trained",
         *costs_in_words(one)]
        for one in comparison.configurations
    ]  # fmt: skip
    more = ["Interval of ROC-AUC", "Initial weights", "Parameters", "Multiply-adds", "ms per image"]
    yield _markdown_table(["Configuration", "Seeds", *headings, *more], rows)


def _markdown_row(run: ComparedRun) -> list[str]:
    values = [
        rate(run.metrics[name]) + (f" ({span(interval)})" if interval else "")
        for name, interval in run.intervals.items()
    ]
    return [run.name, *values, *costs_in_words(run)]


def costs_in_words(run: ComparedRun | Configuration) -> list[str]:
    """Return parameters, multiply-adds and milliseconds per image, each in short."""
    cost = run.cost
    return [scaled(cost.parameters), scaled(cost.multiply_adds), milliseconds(cost.milliseconds)]


def _tests(one: Tested | None) -> list[str]:
    if one is None:
        return ["undefined", DASH]
    low, high = one.interval
    return [f"{signed(one.difference)} ({low:+.3f} to {high:+.3f})", p_value(one.p_holm)]


def _spread(one: Spread | None) -> str:
    if one is None:
        return "undefined"
    if one.standard_deviation is None:
        return rate(one.mean)
    ends = f"{rate(one.min)} to {rate(one.max)}"
    return f"{rate(one.mean)} ± {one.standard_deviation:.3f} ({ends})"


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, cells))} |" for cells in lines)


def _cell(text: str) -> str:
    """Keep what a name holds from ending a cell, a line, or plain text."""
    return " ".join(re.sub(r"[\\|<*_`\[]", r"\\\g<0>", text).split())
