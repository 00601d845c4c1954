"""Evaluations in a run folder: only those of the weights that the run holds now are used."""

import json

import numpy as np
import pytest
import torch
import yaml

from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import predictions_table, write_predictions
from faceproof.evaluation.scored_runs import choose_evaluation
from faceproof.evaluation.stored_evaluations import (
    evaluations_of,
    read_report,
    stale_evaluations,
)
from faceproof.io.run_folder import RunFolder
from tests.small_runs import no_predictions, write_ensemble, write_evaluation, write_run


def other_weights(run: RunFolder) -> None:
    checkpoint = torch.load(run.best, weights_only=True)
    checkpoint["state_dict"]["net.head.logit.linear.bias"] += 1
    torch.save(checkpoint, run.best)


def other_input(run: RunFolder) -> None:
    config = run.read_config()
    config["model"]["input"]["interpolation"] = "bicubic"
    run.config.write_text(yaml.safe_dump(config))


def other_predictions(run: RunFolder) -> None:
    table = predictions_table(table_from_columns({"path": ["a"]}), np.ones(1), np.ones(1))
    write_predictions(table, run.evaluations / "tiny-test" / "predictions.parquet")


def no_predictions_at_all(run: RunFolder) -> None:
    (run.evaluations / "tiny-test" / "predictions.parquet").unlink()


def an_older_version(run: RunFolder) -> None:
    change_report(run, lambda report: report.pop("detector"))


def half_a_report(run: RunFolder) -> None:
    file = run.evaluations / "tiny-test" / "report.json"
    file.write_text(file.read_text()[:20])


def change_report(run, change):
    file = run.evaluations / "tiny-test" / "report.json"
    report = json.loads(file.read_text())
    change(report)
    file.write_text(json.dumps(report))


@pytest.fixture
def run(tmp_path):
    made = RunFolder(write_run(tmp_path / "run"))
    write_evaluation(made, "tiny-test", no_predictions())
    return made


def test_what_is_of_the_run_is_used(run):
    assert evaluations_of(run) == ["tiny-test"]
    assert not stale_evaluations(run)
    assert read_report(run, "tiny-test")["detector"] == run.detector_digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_weights, "of other weights"),
        (other_input, "of other weights .or another network"),
        (other_predictions, "not what the report was computed from"),
        (no_predictions_at_all, "predictions.parquet is missing"),
        (an_older_version, "does not say which weights"),
        (half_a_report, "damaged"),
    ],
)
def test_what_is_not_is_refused_and_named(run, change, message):
    change(run)
    assert not evaluations_of(run)
    assert list(stale_evaluations(run)) == ["tiny-test"]
    with pytest.raises(FaceproofError, match=message) as refusal:
        read_report(run, "tiny-test")
    assert "faceproof evaluate" in str(refusal.value)
    with pytest.raises(FaceproofError, match=message):
        choose_evaluation([run, run])
    with pytest.raises(FaceproofError, match=message):
        choose_evaluation([run, run], "tiny-test")


def test_the_epochs_and_the_threads_of_a_run_do_not_matter(run):
    config = run.read_config()
    config |= {"trainer": {"max_epochs": 99}, "seed": 5}
    config["model"] |= {"weights": "none", "name": "another"}
    run.config.write_text(yaml.safe_dump(config))
    assert evaluations_of(run) == ["tiny-test"]


@pytest.mark.parametrize("what", ["weights", "shares"])
def test_an_evaluation_of_an_ensemble_is_of_all_its_members(tmp_path, what):
    run = RunFolder(write_ensemble(tmp_path / "run"))
    write_evaluation(run, "tiny-test", no_predictions())
    assert evaluations_of(run) == ["tiny-test"]
    if what == "weights":
        other_weights(RunFolder(run.path / "members" / "m1"))
    else:
        notes = json.loads(run.ensemble.read_text())
        for member in notes["members"]:
            member["weight"] = 0.5
        run.ensemble.write_text(json.dumps(notes))
    assert not evaluations_of(run)
