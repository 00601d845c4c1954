"""The page of a detector on the hub: its metadata, and what stays of an edited README."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from faceproof.artifact.artifact import read_card
from faceproof.artifact.card import EvaluationEntry
from faceproof.artifact.hub_card import hub_card
from faceproof.artifact.model_card import model_card
from faceproof.errors import FaceproofError
from faceproof.workflows.export import export_run
from tests.small_runs import write_run

MEASURED = EvaluationEntry(
    "test", "celebdf", "test", 200, 0.4, True,
    {"roc_auc": 0.9, "accuracy": 0.8, "eer": None, "average_precision": 0.85},
    {"roc_auc": (0.85, 0.94), "accuracy": (0.7, 0.88), "eer": None, "average_precision": None},
)  # fmt: skip


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_run(write_run(folder / "run"), folder / "artifact")
    return read_card(folder / "artifact")


def with_training(card, data, initial, backbone=None):
    """Return the card of a detector that was measured, and trained on a data set of that name."""
    detector = card.detector
    networks = [replace(one, initial_weights=initial, backbone=backbone or one.backbone)
                for one in detector.networks]  # fmt: skip
    trained = replace(detector.trained_on, name=data)
    detector = replace(
        detector, trained_on=trained, networks=tuple(networks), evaluations=(MEASURED,)
    )
    return replace(card, detector=detector)


def test_the_hub_reads_the_metrics_with_their_intervals(card):
    card = with_training(card, "celebdf", "random 0")
    page = ModelCard(hub_card(card, model_card(card, "detector"), "a/b", "cc-by-nc-4.0"))
    found = page.data
    assert (found.license, found.library_name) == ("cc-by-nc-4.0", "faceproof")
    assert found.pipeline_tag == "image-classification"
    assert "deepfake-detection" in found.tags
    assert found.metrics == ["accuracy", "average_precision", "roc_auc"]
    measured = {one.metric_type: one for one in found.eval_results}
    assert measured.keys() == {"roc_auc", "accuracy", "average_precision"}  # not the undefined one
    auc = measured["roc_auc"]
    assert (auc.dataset_name, auc.dataset_split, auc.metric_value) == ("celebdf", "test", 0.9)
    assert auc.metric_args == {"images": 200, "threshold": 0.4, "interval_95": [0.85, 0.94]}
    assert "interval_95" not in measured["average_precision"].metric_args
    assert "0.900 (0.850 to 0.940)" in page.text
    assert 'faceproof.load("hf://a/b")' in page.text
    assert "faceproof pull hf://a/b --to detector" in page.text


def test_a_detector_that_nobody_measured_has_no_results(card):
    page = ModelCard(hub_card(card, model_card(card, "detector"), "a/b"))
    assert page.data.license == "unknown"
    assert page.data.eval_results is None
    assert "Weights of this detector: not stated." in page.text


@pytest.mark.parametrize(
    ("data", "initial", "backbone", "said"),
    [
        ("celebdf", "random 0", None, ["celebdf, on request, for research (github.com/yuezunli"]),
        ("demo+mine", "mine.pth: whole", None, [
            "demo, drawn by faceproof itself", "mine, whose terms are not known to faceproof",
            "mine.pth: whole; their licence is not known",
        ]),
        ("demo", "ImageNet weights of resnet18.a1_in1k from timm's hub",
         {"name": "timm", "model": "resnet18.a1_in1k"}, ["timm's hub; licence apache-2.0"]),
        (None, None, None, ["a data set without a name, whose terms are not known"]),
    ],
)  # fmt: skip
def test_the_page_says_what_is_known_of_licences(card, data, initial, backbone, said):
    card = with_training(card, data, initial, backbone)
    page = hub_card(card, model_card(card, "detector"), "a/b", "mit")
    assert "Weights of this detector: `mit`" in page
    assert all(one in page for one in said), page.partition("## Licences")[2]


def test_a_page_of_ours_is_written_anew_for_another_repository_and_keeps_its_licence(card):
    first = hub_card(card, model_card(card, "detector"), "a/b", "mit")
    again = hub_card(card, first, "c/d")
    assert again == hub_card(card, model_card(card, "x"), "c/d", "mit")
    assert "hf://a/b" not in again


def test_what_the_owner_has_written_stays(card):
    own = model_card(card, "detector").replace("## Limits", "## Limits\n\n- Not for passports.")
    page = hub_card(card, own, "a/b", "mit")
    assert page.endswith(own)
    assert ModelCard(page).data.license == "mit"
    block = "---\nlicense: mit\ntags:\n- mine\n---\n\n"
    assert hub_card(card, block + own, "a/b") == block + own


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("license: mit", "states the licence 'mit', and --license says 'gpl-3.0'; change one"),
        ("license: [", r"metadata block of README\.md cannot be read"),
        ("license: gpl-3.0\nmodel-index: 3", r"metadata block of README\.md cannot be read"),
    ],
)
def test_a_metadata_block_that_is_wrong_is_refused(card, block, message):
    with pytest.raises(FaceproofError, match=message):
        hub_card(card, f"---\n{block}\n---\n# mine\n", "a/b", "gpl-3.0")
