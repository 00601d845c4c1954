"""Options of commands that the other options leave nothing to do are refused, each way round."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faceproof.cli.main import run
from faceproof.errors import FaceproofError
from faceproof.workflows.compare_config import CompareConfig
from faceproof.workflows.explain import ExplainConfig
from faceproof.workflows.explore import ExploreConfig
from faceproof.workflows.predict import PredictConfig
from faceproof.workflows.spectra import SpectraConfig

HERE = Path("a")


def predict(**options: Any) -> object:
    return PredictConfig(("a",), detector=HERE, **options)


def explain(*images: str, **options: Any) -> object:
    return ExplainConfig(HERE, images, **options)


def compare(**options: Any) -> object:
    return CompareConfig((HERE,), **options)


def explore(**options: Any) -> object:
    return ExploreConfig(("data=demo",), **options)


def spectra(**options: Any) -> object:
    return SpectraConfig(("data=demo",), **options)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (predict, {"overwrite": True}, "--overwrite replaces the file of --out"),
        (predict, {"least_certain": 24}, "--least-certain is of the --contact-sheet"),
        (compare, {"device": "cpu", "timing": False}, "--no-timing times none"),
        (explore, {"sample": 2000, "all": True}, "--sample 2000 changes nothing with --all"),
        (spectra, {"sample": 9, "all": True}, "--sample 9 changes nothing with --all"),
        (explain, {"layer": "x", "methods": ("occlusion",)}, "--methods has no cam"),
        (explain, {"evaluation": "x", "mistakes": 0}, "--mistakes 0 shows none"),
        (explain, {"sample": 3, "sanity": False}, "--no-sanity measures nothing"),
    ],
)
def test_an_option_without_effect_is_refused(
    make: Callable[..., object], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FaceproofError, match=message):
        make(**options)
    for name in options:  # each alone, or the other one, is fine
        if make is not predict:
            make(**{name: options[name]})


@pytest.mark.parametrize("name", ["evaluation", "mistakes", "sample"])
def test_what_chooses_images_is_refused_where_they_are_named(name: str) -> None:
    with pytest.raises(FaceproofError, match=f"--{name} 1 changes nothing: the images are named"):
        explain("a.jpg", **{name: 1})


def test_predict_takes_both_halves() -> None:
    predict(overwrite=True, out=Path("a.csv"))
    predict(least_certain=3, contact_sheet=Path("a.png"))


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "data=demo", "--out", ""],
        ["predict", "a.jpg", "--detector", ""],
        ["compare", ""],
        ["export", "run", "--to="],
    ],
)
def test_an_empty_path_is_not_the_working_folder(words: list[str]) -> None:
    with pytest.raises(FaceproofError, match="is empty; name a file or folder"):
        run(words)
