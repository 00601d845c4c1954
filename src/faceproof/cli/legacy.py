"""The commands whose settings are not yet a dataclass."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def run(words: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    arguments = _parser().parse_args(words)
    return int(arguments.run(arguments))


def _parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="faceproof",
        description="Tools for face image detectors. Training and evaluation are train.py and "
        "evaluate.py.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_compare(commands)
    _add_ensemble(commands)
    return parser


def _add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    comparer = commands.add_parser(
        "compare",
        help="set runs against each other that scored the same images",
        description="Set runs against each other that scored the same images: every figure with "
        "its 95%% interval, for each pair whether the difference is real (DeLong's test for "
        "ROC-AUC, McNemar's for accuracy, Holm-corrected, groups counted in), mean and spread over "
        "seeds, parameters, multiply-adds and time per image. Writes comparison.html, .json, "
        ".csv and .md.",
        epilog="example: faceproof compare multirun/2026-01-12_10-00-00 --out comparison",
    )
    comparer.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a run folder that train.py has written and evaluate.py evaluated, or the folder of a "
        "sweep, which stands for every finished run below it",
    )
    comparer.add_argument(
        "--evaluation",
        metavar="NAME",
        help="the folder below RUN/evaluations (default: the one that all runs have; of several, "
        "the test split of the data set they were trained on)",
    )
    comparer.add_argument(
        "--out", type=Path, default=Path("comparison"), help="folder (default: comparison)"
    )
    comparer.add_argument(
        "--no-timing", action="store_true", help="do not time the networks on this machine"
    )
    comparer.add_argument(
        "--device", default="auto", help="where to time them: cpu, cuda or auto (default)"
    )
    comparer.set_defaults(run=_compare)


def _add_ensemble(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    ensembler = commands.add_parser(
        "ensemble",
        help="average the scores of several runs",
        description="Make a run of several runs that were validated on the same images: their "
        "calibrated scores are averaged, and calibration and threshold of the average are fitted "
        "to validation. It is evaluated by evaluate.py and compared like any run. No image is "
        "scored to make it.",
        epilog="example: faceproof ensemble runs/A runs/B --weights fitted --out runs/both",
    )
    ensembler.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or the folder of a sweep"
    )
    ensembler.add_argument("--out", type=Path, required=True, help="the new run folder")
    ensembler.add_argument(
        "--average",
        choices=("probability", "logit"),
        default="probability",
        help="what is averaged (default: probability)",
    )
    ensembler.add_argument(
        "--weights",
        choices=("equal", "fitted"),
        default="equal",
        help="fitted: those of the least loss on validation (default: equal)",
    )
    ensembler.set_defaults(run=_ensemble)


def _ensemble(arguments: argparse.Namespace) -> int:
    from faceproof import app

    app.ensemble(arguments.runs, arguments.out, arguments.average, arguments.weights)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from faceproof import app

    app.compare(
        arguments.runs,
        arguments.evaluation,
        arguments.out,
        timing=not arguments.no_timing,
        device=arguments.device,
    )
    return 0
