"""`faceproof explore` and `faceproof spectra`: what a data set looks like."""

import argparse
from pathlib import Path

from faceproof.cli.arguments import seed

SAMPLE = 2000


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both commands to the command line."""
    explorer = commands.add_parser(
        "explore",
        help="show what a data set holds",
        description="Show what a data set holds: images by class, split, source and generator; "
        "sizes, aspect, intensity and sharpness by class; a grid of images of each class; mean "
        "images. Counts are of all images, the rest of a sample. Writes explore.html, "
        "explore.json and figures.",
        epilog="example: faceproof explore data=demo",
    )
    _add_settings(explorer, "explore")
    explorer.set_defaults(run=_explore)
    spectral = commands.add_parser(
        "spectra",
        help="show the mean Fourier spectra of a data set's classes and generators",
        description="Average the log power spectra of a data set by class, source and generator, "
        "set each against the real images (for task face, those that are no face), and find "
        "single frequencies that stand out, such as the grid that up-sampling leaves. Writes "
        "spectra.html, spectra.json, spectra.npz and figures.",
        epilog="example: faceproof spectra data=demo",
    )
    _add_settings(spectral, "spectra")
    spectral.add_argument(
        "--size",
        type=int,
        help="pixels a side of the square in the middle that is looked at, never resized; smaller "
        "images are left out and named (default: 128, or less where many images are smaller)",
    )
    spectral.set_defaults(run=_spectra)


def _add_settings(parser: argparse.ArgumentParser, name: str) -> None:
    """Add what both commands take."""
    parser.add_argument(
        "settings", nargs="+", metavar="data=NAME", help="the data set, and data.KEY=VALUE"
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=SAMPLE,
        metavar="N",
        help=f"look at N images, each class at its share (default: {SAMPLE})",
    )
    parser.add_argument("--all", action="store_true", help="look at all images")
    parser.add_argument("--seed", type=seed, default=0, help="of the sample (default: 0)")
    parser.add_argument(
        "--out", type=Path, default=Path(name), help=f"folder to write to (default: {name})"
    )


def _explore(arguments: argparse.Namespace) -> int:
    from faceproof import app
    from faceproof.workflows.explore import ExploreConfig, explore

    config = ExploreConfig(
        sample=arguments.sample, all=arguments.all, seed=arguments.seed, out=arguments.out
    )
    explore(app.compose_data(arguments.settings), config)
    return 0


def _spectra(arguments: argparse.Namespace) -> int:
    from faceproof import app
    from faceproof.workflows.spectra import SpectraConfig, spectra

    config = SpectraConfig(
        sample=arguments.sample,
        all=arguments.all,
        size=arguments.size,
        seed=arguments.seed,
        out=arguments.out,
    )
    spectra(app.compose_data(arguments.settings), config)
    return 0
