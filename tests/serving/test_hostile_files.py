"""The short form of `python -m benchmarks.hostile`, and what a detector says of the same files."""

from pathlib import Path

from small_runs import write_run

from benchmarks.hostile import check, write_good, write_hostile
from faceproof.serving.export import Options, export_run
from faceproof.serving.files import Loading, predict_files
from faceproof.serving.listing import list_pictures
from faceproof.serving.predictor import load


def test_hostile_files_are_read_or_named_and_change_nothing(tmp_path):
    found = list(check(tmp_path / "pictures", 120, seed=1))
    assert found[0] == "alone: 40 read, 0 named with a reason"
    assert found[-1] == "the good pictures are scored alike, alone and among them"


def answers(predictor, folder):
    batches = predict_files(predictor, list_pictures([str(folder)]), Loading(8, 0))
    return {Path(row["path"]).name: row for batch in batches for row in batch}


def test_a_detector_answers_or_says_why_not(tmp_path):
    run = write_run(tmp_path / "run")
    export_run(run, tmp_path / "detector", Options())
    predictor = load(tmp_path / "detector")
    for name in ("alone", "among"):
        write_good(tmp_path / name, 8, seed=0)
    write_hostile(tmp_path / "among", 120, seed=2)
    alone, among = answers(predictor, tmp_path / "alone"), answers(predictor, tmp_path / "among")
    assert len(alone) == 8
    for name, row in alone.items():
        assert row["logit"] == among[name]["logit"]
    for row in among.values():
        assert (row["verdict"] is None) == bool(row["error"])
    assert sum(bool(row["error"]) for row in among.values()) > 30
