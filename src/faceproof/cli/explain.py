"""`faceproof explain` and `faceproof features`: what a detector looks at."""

import argparse
from pathlib import Path

from faceproof.cli.arguments import count, seed

METHODS = "cam,occlusion,integrated_gradients"
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


def _explain(arguments: argparse.Namespace) -> int:
    from faceproof.workflows.explain import ExplainConfig, explain

    given = {name: value for name, value in vars(arguments).items() if name != "run"}
    lists = {"images": tuple(arguments.images), "allow": tuple(arguments.allow)}
    explain(ExplainConfig(**given | lists | {"methods": tuple(arguments.methods.split(","))}))
    return 0


def _features(arguments: argparse.Namespace) -> int:
    from faceproof.workflows.features import FeaturesConfig, features

    given = {name: value for name, value in vars(arguments).items() if name != "run"}
    features(FeaturesConfig(**given | {"allow": tuple(arguments.allow)}))
    return 0
