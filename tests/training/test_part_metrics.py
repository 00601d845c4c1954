"""Runs whose best epoch is chosen by the worst or the mean source or generator."""

import pyarrow.parquet as pq
import pytest

from faceproof.errors import FaceproofError
from faceproof.evaluation.part_metrics import PartMetric
from faceproof.evaluation.predictions import label_numbers, logits_of, read_predictions
from faceproof.io.run_folder import read_epochs
from faceproof.task import get_task
from tests.jobs import train
from tests.small_sources import TINY, write_sources

WORST = "val/worst_source_loss"


@pytest.fixture
def tiny(tmp_path):
    return (*TINY, f"data.file={write_sources(tmp_path / 'world')}", "trainer=cpu")


def recomputed(run, name):
    """Compute a metric of the best epoch from the stored scores of validation."""
    table = read_predictions(run.validation)
    part = PartMetric.find(name, table, get_task("deepfake"))
    return part(label_numbers(table, get_task("deepfake")), logits_of(table))


@pytest.mark.parametrize("name", ["worst_source_loss", "mean_generator_accuracy"])
def test_the_best_epoch_is_the_one_whose_parts_are_best(tiny, tmp_path, name):
    monitor = f"val/{name}"
    run = train(tmp_path / "run", *tiny, f"monitor={monitor}", "trainer.max_epochs=3",
                "trainer.precision=32-true")  # fmt: skip
    rows, record = read_epochs(run.metrics), run.read_record()
    values = [row[monitor] for row in rows]
    best = min(values) if name.endswith("loss") else max(values)
    assert record["monitor"] == monitor
    assert record["best"][monitor] == best
    assert values[record["best_epoch"]] == best
    assert recomputed(run, name) == pytest.approx(best, abs=1e-5)


def test_a_resumed_run_logs_the_same_parts(tiny, tmp_path):
    words = (*tiny, f"monitor={WORST}", "scheduler=plateau", f"scheduler.monitor={WORST}",
             "patience=5")  # fmt: skip
    whole = train(tmp_path / "whole", *words, "trainer.max_epochs=2")
    parted = train(tmp_path / "parted", *words, "trainer.max_epochs=1")
    train(parted.path, f"resume={parted.path}", "trainer.max_epochs=2")
    logged = [[row[WORST] for row in read_epochs(run.metrics)] for run in (whole, parted)]
    assert logged[0] == logged[1]
    assert None not in logged[0]


def test_parts_are_logged_where_they_choose_and_nowhere_else(tiny, tmp_path):
    run = train(tmp_path / "run", *tiny, "trainer.max_epochs=1")
    assert not [name for name in read_epochs(run.metrics)[0] if "source" in name]


def test_one_source_is_refused_before_training(tmp_path):
    file = write_sources(tmp_path / "world", "a")
    with pytest.raises(FaceproofError, match="by two sources of validation or more; found a"):
        train(tmp_path / "run", *TINY, f"data.file={file}", "monitor=val/worst_source_roc_auc")


def test_validation_alone_may_have_a_generator_that_chooses(tiny, tmp_path):
    run = train(tmp_path / "run", *tiny, "leave_out.train.generator=warp", "trainer.max_epochs=1",
                "monitor=val/worst_generator_roc_auc")  # fmt: skip
    rows = pq.read_table(run.samples).to_pylist()
    found = {(row["split"], row["generator"]) for row in rows if row["generator"]}
    assert found == {("train", "blend"), ("val", "warp"), ("val", "blend"), ("test", "warp"),
                     ("test", "blend")}  # fmt: skip
    assert run.read_config()["leave_out"]["train"]["generator"] == "warp"
    assert not run.held_out.exists()
