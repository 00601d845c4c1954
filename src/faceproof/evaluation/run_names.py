"""Names for the runs of a comparison, and the families of runs that differ only in their seed."""

from collections import Counter
from collections.abc import Sequence

from faceproof.evaluation.scored_runs import ScoredRun

# Settings that say where or how often, and not what was trained.
SEED = "seed"
INCIDENTAL = (
    "resume", "compare", "logger.tensorboard", "logger.mlflow", "logger.wandb", "logger.project",
    "loader.num_workers", "checkpoint.minutes", "checkpoint.steps", "cache.images",
    "cache.features", "cache.max_gb",
)  # fmt: skip


def name_runs(scored: Sequence[ScoredRun]) -> list[str]:
    """Name each run by the settings in which they differ, or by its folder where that is shorter.

    A folder that is but a number, as those of a sweep are, says nothing and names no run.
    """
    folders = [one.path.resolve() for one in scored]
    by_folder = [one.path.stem if one.is_table else one.path.resolve().name for one in scored]
    if len(set(by_folder)) < len(by_folder):
        by_folder = [f"{folder.parent.name}/{folder.name}" for folder in folders]
    if any(one.is_table for one in scored):  # which have no settings to differ in
        return by_folder if len(set(by_folder)) == len(by_folder) else list(map(str, folders))
    by_settings = [" ".join(words) for words in _differing_words(scored)]
    distinct = len(set(by_settings)) == len(by_settings) and all(by_settings)
    telling = len(set(by_folder)) == len(by_folder) and not any(map(str.isdigit, by_folder))
    shorter = sum(map(len, by_settings)) <= sum(map(len, by_folder))
    if distinct and (shorter or not telling):
        return by_settings
    return by_folder if len(set(by_folder)) == len(by_folder) else list(map(str, folders))


def _differing_words(scored: Sequence[ScoredRun], leave_out: str = "") -> list[list[str]]:
    """Return for each run the settings in which it differs from others, as short words.

    A choice such as model=resnet18 stands for all the settings that come with it.
    """
    choices = [one.record.get("choices") or {} for one in scored]
    groups = {key: None for chosen in choices for key in chosen}
    parted = [group for group in groups if len({str(c.get(group)) for c in choices}) > 1]
    keys = {key: None for one in scored for key in one.config}
    words: list[list[str]] = [[str(chosen.get(group)) for group in parted] for chosen in choices]
    for key in keys:
        if key in (*INCIDENTAL, leave_out) or "_target_" in key:
            continue
        group = key.partition(".")[0]
        values: dict[str | None, set[str]] = {}  # of the setting, by the choice of its group
        for one, chosen in zip(scored, choices, strict=True):
            choice = chosen.get(group) if group in parted else None
            values.setdefault(choice, set()).add(str(one.config.get(key)))
        if any(len(found) > 1 for found in values.values()):
            short = key.rpartition(".")[2]
            for one, of_run in zip(scored, words, strict=True):
                of_run.append(f"{short}={one.config.get(key)}")
    return words


def find_families(scored: Sequence[ScoredRun], names: Sequence[str]) -> list[str]:
    """Return for each run the name of the runs that differ from it in nothing but the seed."""
    settings = [
        frozenset((k, str(v)) for k, v in one.config.items() if k not in (SEED, *INCIDENTAL))
        | ({("table", str(one.path))} if one.is_table else set())
        for one in scored
    ]
    words = [" ".join(words) for words in _differing_words(scored, leave_out=SEED)]
    sizes = Counter(settings)
    labels: dict[frozenset[tuple[str, str]], str] = {}
    for number, setting in enumerate(settings):
        if sizes[setting] == 1:
            labels[setting] = names[number]
        else:
            labels.setdefault(setting, words[number] or str(scored[number].report.model))
    return [labels[setting] for setting in settings]
