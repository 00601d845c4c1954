"""`faceproof explain` and `faceproof features`: what a detector goes by."""

import argparse
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from faceproof.cli.arguments import count, seed
from faceproof.errors import FaceproofError

if TYPE_CHECKING:
    import pyarrow as pa

    from faceproof.explain.effort import Effort
    from faceproof.explain.explanation import ExplainConfig, Trust
    from faceproof.explain.subject import Subject

METHODS = "cam,occlusion,integrated_gradients"
MAX_IMAGES = 200  # on a page; their pixels and maps are all held until it is written
EFFORTS = ("auto", "thorough", "standard", "coarse", "least")


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommands."""
    _add_explain(commands)
    _add_features(commands)


def _add_explain(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    explainer = commands.add_parser(
        "explain",
        help="show what in an image speaks for the answer, and how far that can be trusted",
        description="Draw maps of what in each image speaks for the class that was called. "
        "Without a IMAGE: of a run's most confident mistakes in an evaluation, with measures of "
        "how far such maps can be trusted: deletion and insertion curves against random orders, "
        "the maps of the network with shuffled weights, and, on data=demo, whether they find the "
        "planted forgeries. Writes explanation.html, .json, figures and a TensorBoard gallery, and "
        "prints the measures as a Markdown table.",
        epilog="examples: faceproof explain runs/NAME;  "
        "faceproof explain runs/NAME my/*.jpg --methods cam;  "
        "faceproof explain runs/NAME --mistakes 0 --sample 48",
    )
    explainer.add_argument(
        "subject", type=Path, metavar="RUN_OR_ARTIFACT",
        help="a run folder that train.py has written, or a detector artifact",
    )  # fmt: skip
    explainer.add_argument("images", nargs="*", metavar="IMAGE", help="image files")
    explainer.add_argument(
        "--methods", default=METHODS, metavar="M,M", help=f"of {METHODS} (default: all)"
    )
    explainer.add_argument(
        "--sanity", action=argparse.BooleanOptionalAction, default=None,
        help="measure how far the maps can be trusted: on the IMAGEs, or without any on a "
        "sample of the run's validation images (default: only without IMAGEs)",
    )  # fmt: skip
    explainer.add_argument(
        "--effort", default="auto", choices=EFFORTS,
        help="how fine the maps are and how much is measured; auto, the default, takes less the "
        "more an image costs the network, so that a CPU needs some two minutes at most",
    )  # fmt: skip
    explainer.add_argument(
        "--sample", type=count, metavar="N",
        help="validation images to measure on (default: 24, 16, 8 or 4, by effort)",
    )  # fmt: skip
    explainer.add_argument(
        "--mistakes", type=count, metavar="N",
        help="mistakes of each direction to show; 0 for none (default: 6, 6, 3 or 2, by effort)",
    )  # fmt: skip
    explainer.add_argument(
        "--evaluation", metavar="NAME",
        help="the folder below RUN/evaluations whose mistakes are shown (default: the only one, "
        "or of several the test split of the data set it was trained on)",
    )  # fmt: skip
    explainer.add_argument(
        "--toward", default="called", choices=("called", "positive"),
        help="what a map's positive values speak for: the class that was called (default), or "
        "always the positive one (fake, or face)",
    )  # fmt: skip
    explainer.add_argument(
        "--removal", default="blur", choices=("blur", "mean"),
        help="what a removed pixel becomes: blurred (default), or the image's mean colour",
    )  # fmt: skip
    explainer.add_argument(
        "--layer", metavar="NAME",
        help="the module whose output is the feature map of cam (default: the backbone's last)",
    )  # fmt: skip
    _add_shared(explainer, "explanation")
    explainer.set_defaults(run=_explain)


def _add_features(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    mapper = commands.add_parser(
        "features",
        help="put a run's images on a plane by the features of its backbone",
        description="Draw the backbone's features of a sample of a run's images by PCA and t-SNE, "
        "coloured by class, source and generator, and write them for TensorBoard's projector.",
        epilog="example: faceproof features runs/NAME --sample 500, then tensorboard --logdir runs",
    )
    mapper.add_argument(
        "subject", type=Path, metavar="RUN", help="a run folder that train.py has written"
    )
    mapper.add_argument(
        "--sample", type=count, metavar="N",
        help="images, one of a group (a video, say) at most (default: 500; on a CPU 200 for a "
        "network as large as a ViT-B/16)",
    )  # fmt: skip
    mapper.add_argument(
        "--split", default="val", choices=("val", "train"), help="of which split (default: val)"
    )
    _add_shared(mapper, "features")
    mapper.set_defaults(run=_features)


def _add_shared(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "--out", type=Path, help=f"folder (default: RUN/{name}, or {name} for what is no run)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of everything random (default: 0)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="NAME",
        help="a backbone or head of your own that the network may be made of, by its full name",
    )  # fmt: skip


def require_captum() -> None:
    """Refuse to go on without the library that computes the maps.

    Raises:
        FaceproofError: it is not installed.
    """
    if importlib.util.find_spec("captum") is None:
        raise FaceproofError("maps need the extra explain: pip install 'faceproof[explain]'")


def _explain(arguments: argparse.Namespace) -> int:
    require_captum()
    from faceproof.explain.attribution import find_layer
    from faceproof.explain.explanation import ExplainConfig, explain_rows
    from faceproof.explain.subject import load_subject
    from faceproof.io.folders import refuse_foreign_folder
    from faceproof.reports.explain_page import (
        FILES,
        Explanation,
        trust_markdown,
        write_explanation,
    )

    config = ExplainConfig(
        arguments.methods.split(","),
        arguments.layer, arguments.removal, arguments.toward, arguments.seed,
    )  # fmt: skip
    subject = load_subject(arguments.subject, arguments.device, arguments.allow)
    config = replace(config, effort=_effort(arguments, subject))
    out = _folder(arguments, subject, "explanation")
    refuse_foreign_folder(out, FILES)
    layer = None
    if "cam" in config.methods:
        layer = config.layer or find_layer(subject.net)
    sections, source = _wanted(arguments, subject, config.effort.shown)
    _refuse_many(sections)
    explained = [
        one
        for section, rows in sections.items()
        for one in explain_rows(subject, rows, config, section)
    ]
    wanted = not arguments.images if arguments.sanity is None else arguments.sanity
    trust = _trust(arguments, subject, sections, config) if wanted else None
    found = Explanation(
        subject.name, subject.task, subject.point.threshold, config, layer, explained, trust,
        source, effort_asked=arguments.effort != "auto",
    )  # fmt: skip
    page = write_explanation(out, found, _step(subject))
    if trust is not None:
        print(
            f"{subject.name}: {trust.num_images} images, {trust.images}; "
            f"effort {config.effort.name}"
        )
        print(trust_markdown(trust, subject.name))
    print(f"page: {page}")
    return 0


def _step(subject: "Subject") -> int:
    """Return the epoch whose weights are explained, where it is known."""
    epoch = None if subject.run is None else subject.run.read_record().get("best_epoch")
    return epoch or 0


def _folder(arguments: argparse.Namespace, subject: "Subject", name: str) -> Path:
    if arguments.out is not None:
        return Path(arguments.out)
    return Path(name) if subject.run is None else subject.run.path / name


def _effort(arguments: argparse.Namespace, subject: "Subject") -> "Effort":
    """Return the effort asked for, with the numbers of images asked for."""
    from faceproof.explain.effort import choose_effort

    chosen = choose_effort(arguments.effort, subject.net)
    sample = chosen.sample if arguments.sample is None else arguments.sample
    shown = chosen.shown if arguments.mistakes is None else arguments.mistakes
    return replace(chosen, sample=sample, shown=shown)


def _wanted(
    arguments: argparse.Namespace, subject: "Subject", number: int
) -> tuple[dict[str, "pa.Table"], str]:
    """Return the images to explain by section, and where they come from."""
    from faceproof.data.table import table_from_columns
    from faceproof.evaluation.mistakes import mistakes
    from faceproof.evaluation.predictions import read_predictions

    if arguments.images:
        return {"images": table_from_columns({"path": arguments.images})}, "those named"
    if subject.run is None:
        raise FaceproofError(
            f"{subject.name} is an artifact and holds no evaluation; name the images to explain"
        )
    if not number:
        return {}, "none, the measures alone"
    folder = _evaluation(subject, arguments.evaluation)
    predictions = read_predictions(folder / "predictions.parquet")
    found = mistakes(predictions, subject.task, subject.point.threshold)
    first = {name: rows.slice(0, number) for name, rows in found.items()}
    return first, f"the most confident mistakes of the evaluation {folder.name}"


def _refuse_many(sections: dict[str, "pa.Table"]) -> None:
    """Refuse more images than a page can show.

    Raises:
        FaceproofError: there are more.
    """
    number = sum(rows.num_rows for rows in sections.values())
    if number > MAX_IMAGES:
        raise FaceproofError(
            f"{number:,} images with their maps are more than one page can show, which is "
            f"{MAX_IMAGES}; name fewer, or set --mistakes lower; faceproof predict answers for "
            "any number, without maps"
        )


def _evaluation(subject: "Subject", name: str | None) -> Path:
    """Return the folder of the evaluation whose mistakes are to be shown.

    Raises:
        FaceproofError: there is none, or several and none of them is the obvious one.
    """
    assert subject.run is not None
    folder = subject.run.evaluations
    names = sorted(path.parent.name for path in folder.glob("[!.]*/predictions.parquet"))
    own = f"{subject.run.read_record().get('data')}-test"
    if name is None and len(names) == 1:
        return folder / names[0]
    chosen = name or own
    if chosen not in names:
        there = f"there are {', '.join(names)}" if names else "there is none"
        raise FaceproofError(
            f"{subject.name} has no evaluation {chosen}; {there}; make one by python evaluate.py "
            f"{subject.run.argument('run')}, name one by --evaluation, or use --mistakes 0"
        )
    return folder / chosen


def _trust(
    arguments: argparse.Namespace,
    subject: "Subject",
    sections: dict[str, "pa.Table"],
    config: "ExplainConfig",
) -> "Trust":
    """Measure the maps on the images named, or on a sample of the run's validation."""
    from faceproof.data.table import read_table, select
    from faceproof.explain.explanation import measure_trust, planted_rows
    from faceproof.explain.sampling import sample_rows

    if arguments.images:
        rows = sections["images"]
        return measure_trust(subject, rows, rows, "those named", config)
    assert subject.run is not None
    subject.run.require(subject.run.samples)
    validation = select(read_table(subject.run.samples), "val")
    rows = sample_rows(validation, config.effort.sample, arguments.seed)
    planted = planted_rows(validation, config.effort.sample, arguments.seed)
    words = f"a sample of its {validation.num_rows:,} validation images"
    return measure_trust(subject, rows, planted, words, config)


def _features(arguments: argparse.Namespace) -> int:
    from faceproof.data.table import read_table, select
    from faceproof.explain.effort import choose_effort
    from faceproof.explain.features import FILES, sample_features, write_features
    from faceproof.explain.sampling import sample_rows
    from faceproof.explain.subject import load_subject
    from faceproof.io.folders import refuse_foreign_folder

    subject = load_subject(arguments.subject, arguments.device, arguments.allow)
    if subject.run is None:
        raise FaceproofError(f"{subject.name} is an artifact and names no images; give a run")
    out = _folder(arguments, subject, "features")
    refuse_foreign_folder(out, FILES)
    subject.run.require(subject.run.samples)
    of_split = select(read_table(subject.run.samples), arguments.split)
    if not of_split.num_rows:
        raise FaceproofError(
            f"{subject.name} has no images in the split {arguments.split} to take features of; "
            "choose the other --split"
        )
    number = arguments.sample
    if number is None:
        number = choose_effort("auto", subject.net).num_placed
    rows = sample_rows(of_split, number, arguments.seed)
    features, thumbnails = sample_features(subject, rows)
    title = f"{rows.num_rows:,} {arguments.split} images by the backbone's features, {subject.name}"
    found = write_features(
        out, title, features, rows, thumbnails, subject.task.classes, arguments.seed
    )
    print(title)
    for name, row in found["nearest"].items():
        print(
            f"  nearest neighbour of the same {name}: {row['share']:.3f} "
            f"(by chance {row['chance']:.3f})"
        )
    print(f"figure: {out / 'features.png'}; projector: tensorboard --logdir {out}")
    return 0
