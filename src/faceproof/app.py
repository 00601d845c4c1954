"""Where configuration meets the package: the only module that knows Hydra.

Everything heavy is imported inside the functions that need it, so that `--help`, `--cfg job` and
shell completion answer at once.
"""

import contextlib
import functools
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from faceproof.allowed import check_targets
from faceproof.errors import FaceproofError
from faceproof.io.atomic import explain_disk_errors
from faceproof.io.run_folder import RunFolder, find_run, flatten, is_first_process, write_text
from faceproof.performance.waiting import wait_briefly
from faceproof.workflows.sweep_folder import sweep_name

if TYPE_CHECKING:
    from faceproof.data import DataSet
    from faceproof.evaluation.scoring import Scorer
    from faceproof.models import Detector
    from faceproof.task import Task
    from faceproof.workflows.evaluate import ThresholdConfig
    from faceproof.workflows.train import TrainConfig


Kind = TypeVar("Kind")

# What a resumed run may be told anew; all else is in its checkpoint or was decided by then.
CHANGEABLE = (
    "trainer.",
    "loader.",
    "cache.images",
    "cache.features",
    "cache.max_gb",
    "checkpoint.",
    "threshold.",
    "calibration",
    "patience",
    "compile",
)


def repository() -> str:
    """Return the folder that holds conf/ and experiments/."""
    beside = Path(__file__).parents[2]
    return str(beside if (beside / "conf").is_dir() else Path.cwd())


def run_folder(resume: str | None, fresh: str) -> str:
    """Return the folder of a run: that of the run to go on with, or a fresh one."""
    return fresh if resume is None else str(find_run(resume).path)


OmegaConf.register_new_resolver("faceproof_root", repository, replace=True)
OmegaConf.register_new_resolver("faceproof_run_folder", run_folder, replace=True)
OmegaConf.register_new_resolver("faceproof_sweep_name", sweep_name, replace=True)


def build(node: DictConfig) -> Any:
    """Make what a configuration node describes, out of plain Python values.

    Raises:
        FaceproofError: it names what a configuration may not; see `faceproof.allowed`.
    """
    check_targets(OmegaConf.to_container(node, resolve=True))
    return instantiate(node, _convert_="all")


def clear_errors(main: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Let an entry point end with one message and exit code 1 where the user can mend it.

    Defects of ours keep their traceback; in a multirun the error is left to the sweep. Ctrl-C
    outside of the epochs, which write a checkpoint first, ends with exit code 130.
    """

    @functools.wraps(main)
    def wrapped(config: DictConfig) -> Any:
        wait_briefly()
        try:
            return main(config)
        except (FaceproofError, InstantiationException, OmegaConfBaseException) as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            _remove_if_unused(Path(HydraConfig.get().runtime.output_dir))
            sys.exit(f"error: {_message(error)}")
        except KeyboardInterrupt:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            folder = Path(HydraConfig.get().runtime.output_dir)
            _remove_if_unused(folder)
            print(f"interrupted{_how_to_go_on(config, folder)}", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)

    return wrapped


def _how_to_go_on(config: DictConfig, folder: Path) -> str:
    """Say how a training is gone on with; nothing of an evaluation, which is asked for again."""
    if "resume" not in config:
        return ""
    run = RunFolder(folder) if config.resume is None else find_run(config.resume)
    return f"; {run.how_to_go_on()}"


def _message(error: Exception) -> str:
    """Return the message of the error that a configuration library has wrapped."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, FaceproofError):
            return str(cause)
        cause = cause.__cause__
    return f"the configuration cannot be used: {error}"


def _remove_if_unused(folder: Path) -> None:
    """Remove a run folder in which Hydra wrote its log and nothing else is."""
    hydras = folder / f"{HydraConfig.get().job.name}.log"
    if folder.is_dir() and set(folder.iterdir()) <= {hydras}:
        hydras.unlink(missing_ok=True)
        folder.rmdir()


def train(config: DictConfig) -> float:
    """Train what a configuration describes and return the best value of the monitored figure.

    Raises:
        FaceproofError: the configuration, the images or the training stand against it.
    """
    resume = config.resume is not None
    run = find_run(config.resume) if resume else RunFolder(HydraConfig.get().runtime.output_dir)
    if resume:
        config = resumed_config(run, list(HydraConfig.get().overrides.task))
    else:
        refuse_begun(run)
        check_config(config, "train")
    OmegaConf.resolve(config)

    from faceproof.old_settings import check_values
    from faceproof.training.dry_run import dry_run
    from faceproof.workflows.train import fit, seed_everything

    check_values(plain(config))
    seed_everything(config.seed)
    train_config = build_train_config(config)
    # All that needs no image comes before the first one: a large data set is listed for long.
    net, weights = build_network(config.model, initial=not resume)
    # With a trainer of its own: a strategy that is given as an object serves one.
    dry_run(replace(train_config, trainer=build(config.trainer)), net)
    data = recorded_data(run, config) if resume else build_data(config.data, for_training=True)
    facts = {} if resume else _facts(config, data, weights)
    text = OmegaConf.to_yaml(config)
    # Of several processes of one run the first alone writes into its folder.
    held = run.held() if is_first_process() else contextlib.nullcontext()
    with explain_disk_errors(run.path), held:
        if not resume:
            refuse_begun(run)  # by another process, while this one listed its images
        return fit(run, data, net, train_config, facts, hyperparameters(config), text, resume)


def refuse_begun(run: RunFolder) -> None:
    """Refuse to begin a run where one stands.

    Raises:
        FaceproofError: there is one, and this is the process that would write into it.
    """
    if run.begun and is_first_process():
        raise FaceproofError(
            f"{run.path} holds a run already; go on with it by {run.argument('resume')}, or choose "
            "another folder by hydra.run.dir"
        )


def check_config(config: DictConfig, name: str) -> None:
    """Refuse settings that no file of conf/ has and nothing would read.

    Args:
        config: what was composed.
        name: of the file that it was composed of, train or evaluate.

    Raises:
        FaceproofError: there is one.
    """
    from faceproof.old_settings import check_names

    written = OmegaConf.load(Path(repository()) / "conf" / f"{name}.yaml")
    check_names(plain(config, resolve=False), plain(written, resolve=False))


def plain(config: Any, resolve: bool = True) -> dict[str, Any]:
    """Return a configuration as plain Python values; nothing in it may be left open if resolved."""
    values: Any = OmegaConf.to_container(config, resolve=resolve, throw_on_missing=resolve)
    assert isinstance(values, dict)
    return values


def build_data(node: DictConfig, for_training: bool = False) -> "DataSet":
    """Make the data set that a configuration describes.

    Args:
        node: the configuration.
        for_training: whether it must be able to hold images of both classes.

    Raises:
        FaceproofError: the description makes no sense, or the data set cannot be listed.
    """
    from faceproof.old_settings import check_both_classes, check_data

    check_data(plain(node))
    if for_training:
        check_both_classes(plain(node))
    data: DataSet = build(node)
    return data


def _facts(config: DictConfig, data: "DataSet", weights: str) -> dict[str, Any]:
    """Return what the record says of a run's configuration."""
    choices = HydraConfig.get().runtime.choices
    return {
        "model": config.model.name,
        "data": data.name,
        "weights": weights,
        "choices": {group: choices.get(group) for group in config if group in choices},
    }


def build_train_config(config: DictConfig) -> "TrainConfig":
    """Make the recipe that a training configuration describes."""
    from faceproof.data.loader_config import CacheConfig, LoaderConfig
    from faceproof.training.checkpoints import Saving
    from faceproof.workflows.train import TrainConfig

    weights = config.class_weights
    return TrainConfig(
        optimizer=build(config.optimizer),
        scheduler=build(config.scheduler),
        freeze=build(config.freeze),
        augment=build(config.augment),
        trainer=build(config.trainer),
        loader=_settings(LoaderConfig, config, "loader"),
        cache=_settings(CacheConfig, config, "cache"),
        saving=_settings(Saving, config, "checkpoint"),
        class_weights=tuple(weights) if OmegaConf.is_list(weights) else weights,
        monitor=config.monitor,
        patience=config.patience,
        tensorboard=config.logger.tensorboard,
        seed=config.seed,
        compile=config.get("compile", False),  # older runs have no such setting
        threshold=build_threshold_config(config),
    )


def _settings(kind: Callable[..., Kind], config: DictConfig, group: str) -> Kind:
    """Make plain settings of a group; one that an older run does not have is left to itself."""
    given = OmegaConf.to_container(config[group]) if group in config else {}
    try:
        return kind(**given)  # type: ignore[arg-type]
    except TypeError as error:
        raise FaceproofError(f"{group} has a setting that it does not know: {error}") from error


def build_threshold_config(config: DictConfig) -> "ThresholdConfig":
    """Make the criterion of a threshold."""
    from faceproof.workflows.evaluate import ThresholdConfig

    wanted = config.threshold
    return ThresholdConfig(wanted.criterion, wanted.fpr, wanted.value, config.calibration)


def build_network(model: DictConfig, initial: bool) -> tuple["Detector", str]:
    """Make a network, with its initial weights if wanted, and say what these are."""
    from faceproof.models import build, load_initial_weights

    settings = build.read_model(plain(model))
    net = build.build_network(settings)
    if not initial:
        return net, "those of a checkpoint"
    return net, load_initial_weights(net, settings.weights, settings.swap_classes)


def hyperparameters(config: DictConfig) -> dict[str, str | int | float | bool]:
    """Return the settings of a run on one level, for TensorBoard's HParams tab."""
    plain = flatten(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    return {
        key: value if isinstance(value, str | int | float | bool) else str(value)
        for key, value in plain.items()
        if not key.endswith(("_target_", "_partial_")) and value is not None
    }


def resumed_config(run: RunFolder, overrides: list[str]) -> DictConfig:
    """Return the configuration of a run to go on with, changed by what the command line says.

    Raises:
        FaceproofError: the run cannot be resumed, or an override is not one of its settings.
    """
    run.require(run.config, run.last, run.samples)
    config = _read_config(run)
    record = run.read_record()
    if OmegaConf.select(config, "trainer.precision") == "auto" and "precision" in record:
        config.trainer.precision = record["precision"]  # here it may be chosen otherwise
    choices = record.get("choices", {})
    flat = flatten(OmegaConf.to_container(config))  # type: ignore[arg-type]
    for override in _parsed(overrides):
        key = override.key_or_group
        if key == "resume" or (key in choices and override.value() == choices[key]):
            continue
        known = OmegaConf.select(config, key, throw_on_missing=False)
        if not key.startswith(CHANGEABLE) or OmegaConf.is_config(known) or key not in flat:
            raise FaceproofError(
                f"{override.input_line} cannot be changed when a run is resumed: its configuration "
                f"in {run.config.name} stands, and only single settings of {', '.join(CHANGEABLE)} "
                "may be given anew, such as trainer.max_epochs=20"
            )
        OmegaConf.update(config, key, override.value())
    return config


def recorded_data(run: RunFolder, config: DictConfig) -> "DataSet":
    """Return the images that a run was trained on, as it recorded them."""
    from faceproof.data import DataSet
    from faceproof.data.table import read_table
    from faceproof.task import get_task

    return DataSet(config.data.name, get_task(config.data.task), read_table(run.samples))


def compose_data(overrides: list[str]) -> "DataSet":
    """Make the data set that overrides such as `data=NAME` describe.

    Raises:
        FaceproofError: they name no data set or no setting of it.
    """
    if strangers := [word for word in overrides if not word.lstrip("+").startswith("data")]:
        raise FaceproofError(f"{strangers[0]!r} is no setting of a data set; say data=NAME")
    try:
        if GlobalHydra.instance().is_initialized():  # inside evaluate.py
            config = compose("train", overrides)
        else:
            with initialize_config_dir(str(Path(repository()) / "conf"), version_base="1.3"):
                config = compose("train", overrides)
        data = build_data(config.data)
    except (HydraException, OmegaConfBaseException) as error:
        raise FaceproofError(_message(error)) from error
    return data


def evaluate(config: DictConfig) -> Path:
    """Score the best epoch of a run on a split of a data set, and return the report's folder.

    Raises:
        FaceproofError: there is no such run, the data set answers another question, or the split
            is empty.
    """
    check_config(config, "evaluate")
    run = find_run(config.run)
    run.require(run.config, run.samples)
    trained = _read_config(run)

    from faceproof.augment.corruptions import neutral_corruption, robustness_corruptions
    from faceproof.old_settings import check_values
    from faceproof.workflows.evaluate import Request, evaluate_run

    check_values(plain(config, resolve=False), null=True)
    request = Request(
        split=config.split,
        name=config.name,
        frames=config.frames,
        threshold=requested_threshold(config),
        neutral=None if config.neutral is None else neutral_corruption(config.neutral),
        robustness=() if config.robustness is None else robustness_corruptions(config.robustness),
    )
    own, others = recorded_data(run, trained), requested_data(config)
    scorer = build_scorer(run, own.task, device=config.device, **build(config.loader))
    with explain_disk_errors(run.evaluations):
        return evaluate_run(run, scorer, own, others, request)


def build_scorer(run: RunFolder, task: "Task", **options: Any) -> "Scorer":
    """Return what scores images by a run's best epoch, or by an ensemble's members."""
    from faceproof.evaluation.scoring import combined_scorer, run_scorer
    from faceproof.workflows.ensemble import is_ensemble, read_ensemble

    if is_ensemble(run):
        ensemble = read_ensemble(run)
        scorers = [build_scorer(one.run, task, **options) for one in ensemble.members]
        return combined_scorer(scorers, ensemble.combine)
    net, _ = build_network(_read_config(run).model, initial=False)
    return run_scorer(run, net, task, **options)


def requested_threshold(config: DictConfig) -> "ThresholdConfig | None":
    """Return the criterion that an evaluation asks for, None for the run's own.

    Raises:
        FaceproofError: settings of a criterion are given without one.
    """
    from faceproof.workflows.evaluate import ThresholdConfig

    wanted = {**config.threshold, "calibration": config.calibration}
    given = {name: value for name, value in wanted.items() if value is not None}
    if given and "criterion" not in given:
        raise FaceproofError(
            f"{', '.join(given)} would change nothing without threshold.criterion: the run's own "
            "threshold and calibration stand unless another criterion is given"
        )
    return ThresholdConfig(**given) if given else None


def requested_data(config: DictConfig) -> list["DataSet"]:
    """Return the data sets that an evaluation names: none, one, or each of `data=[a,b,c]`."""
    if "data" not in config:
        return []
    overrides = list(HydraConfig.get().overrides.task)
    chosen: Any = [o.value() for o in _parsed(overrides) if o.key_or_group == "data"][-1]
    if isinstance(chosen, str):
        return [build_data(config.data)]
    if not chosen:
        raise FaceproofError("data=[] names no data set; leave it out for the run's own")
    # Hydra would lay several choices of a group over one another.
    if settings := [word for word in overrides if word.lstrip("+~").startswith("data.")]:
        raise FaceproofError(f"{settings[0]} cannot be said of several data sets at once")
    return [compose_data([f"data={name}"]) for name in chosen]


def compare(
    paths: list[Path],
    evaluation: str | None = None,
    folder: Path = Path("comparison"),
    timing: bool = True,
    device: str = "auto",
) -> Path:
    """Compare runs that scored the same images, and return the page.

    Args:
        paths: run folders, and folders that hold some.
        evaluation: the name of an evaluation; None for the one that all have.
        folder: where to write.
        timing: whether to time the networks on this machine.
        device: where to time them.

    Raises:
        FaceproofError: the runs cannot be compared.
    """
    from rich.console import Console

    from faceproof.evaluation.comparison import (
        choose_evaluation,
        compare_runs,
        find_runs,
        read_scored,
    )
    from faceproof.evaluation.costs import measure_costs
    from faceproof.reports.comparison_page import show, write_comparison

    runs = find_runs(paths)
    name = choose_evaluation(runs, evaluation)
    configs = [_read_config(run) for run in runs]
    plain = [flatten(OmegaConf.to_container(one, resolve=True)) for one in configs]  # type: ignore[arg-type]
    scored = read_scored(runs, name, plain)
    described = [_networks(run) for run in runs]
    networks = dict(pair for one in described for pair in one)
    of_each = [[text for text, _ in one] for one in described]
    costs, timed_on = measure_costs(of_each, networks, timing, device)
    comparison = compare_runs(scored, costs, timed_on)
    page = write_comparison(folder, comparison, scored)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    show(console, comparison, page)
    return page


def _networks(run: RunFolder) -> list[tuple[str, Callable[[], "Detector"]]]:
    """Return the description of each network of a run, or of an ensemble's, and what makes it."""
    from faceproof.models.build import build_network, read_model
    from faceproof.workflows.ensemble import is_ensemble, read_ensemble

    members = [one.run for one in read_ensemble(run).members] if is_ensemble(run) else [run]
    models = [read_model(plain(_read_config(member).model)) for member in members]
    return [
        (json.dumps(model.network, sort_keys=True), functools.partial(build_network, model))
        for model in models
    ]


def ensemble(
    paths: list[Path], folder: Path, average: str = "probability", weights: str = "equal"
) -> RunFolder:
    """Make an ensemble of runs, and return its run folder.

    Args:
        paths: run folders, and folders that hold some.
        folder: where to make it.
        average: probability or logit.
        weights: equal, or fitted to validation.

    Raises:
        FaceproofError: the runs cannot be averaged, or the folder is in use.
    """
    from faceproof.evaluation.comparison import find_runs
    from faceproof.task import get_task
    from faceproof.workflows.ensemble import make_ensemble

    runs = find_runs(paths, at_least=1)
    if ensembles := [one.path for one in runs if one.ensemble.is_file()]:
        raise FaceproofError(f"{ensembles[0]} is an ensemble itself; name its members' runs")
    if len(runs) < 2:
        raise FaceproofError(f"an ensemble needs two runs or more; found {runs[0].path}")
    first = _read_config(runs[0])
    run = RunFolder(folder)
    made = make_ensemble(
        run, runs, get_task(first.data.task), build_threshold_config(first), average, weights
    )
    config = {
        "model": {"name": "ensemble"},
        "ensemble": {"average": average, "weights": weights, "members": list(map(str, paths))},
        "data": {"name": first.data.name, "task": first.data.task},
    }
    write_text(run.config, OmegaConf.to_yaml(config))
    for member in made.members:
        print(f"{member.weight:.3f}  {member.run.path.name}")
    print(f"next:\n  python evaluate.py {run.argument('run')}")
    return run


def _read_config(run: RunFolder) -> DictConfig:
    """Return the configuration of a run.

    Raises:
        FaceproofError: the file is damaged.
    """
    config = OmegaConf.create(run.read_config())
    assert isinstance(config, DictConfig)
    return config


def _parsed(overrides: list[str]) -> list[Override]:
    """Parse command-line overrides."""
    parsed: list[Override] = OverridesParser.create().parse_overrides(overrides)
    return parsed
