"""How a run was trained, in words."""

import pytest

from faceproof.io.run_folder import RunFolder
from faceproof.workflows.training_record import commands_of, recorded_time, training_record

CONFIG = """
data: {name: demo, task: deepfake}
model: {name: resnet18, input: {size: 160}}
optimizer: {name: adamw, lr: 0.001, backbone_lr: 0.0001, weight_decay: 0.01, options: {fused: true}}
scheduler: {name: cosine, warmup: 0.1, floor: 0.0, more_epochs: keep}
freeze: {stages: [{from_epoch: 0, train: head}, {from_epoch: 2, train: [head, last_1]}]}
augment: {horizontal_flip: 0.5, rotation: 0.0, strength: 1.0}
trainer: {max_epochs: 8, accumulate_grad_batches: 2}
loader: {batch_size: 16}
class_weights: balanced
patience: 3
seed: 7
"""


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path)
    run.config.write_text(CONFIG)
    run.update_record(
        data="demo", weights="ImageNet", monitor="val/loss", best_epoch=2, epochs=5, seconds=100.4,
        choices={"augment": "flip"}, versions={"torch": "2.15", "timm": "1.0"},
    )  # fmt: skip
    return run


def test_it_has_every_choice_in_words_and_counts_epochs_from_1(run):
    found = training_record(run)
    assert found["optimizer"] == (
        "adamw, learning rate 0.001 (0.0001 for the backbone), weight decay 0.01, fused=True"
    )
    assert found["learning-rate schedule"] == "cosine, warmup=0.1"
    assert found["batch size"] == "16, gradients of 2 batches added"
    assert found["augmentation"] == "flip (horizontal_flip=0.5)"
    assert found["what trains when"] == "head from the start; head and last_1 after 2 epochs"
    assert (found["class weights"], found["seed"]) == ("balanced", 7)
    assert found["early stopping"] == "after 3 epochs without improvement"
    assert found["epochs"] == "5 of 8"
    assert found["epoch used"] == "3, the best by val/loss"
    assert found["training time"] == "1 min 40 s"
    assert found["versions"] == "torch 2.15, timm 1.0"


def test_what_was_left_out_is_said_where_something_was(run):
    assert not [name for name in training_record(run) if "left out" in name]
    left_out = "{source: b, generator: [], train: {source: [], generator: [warp, blend]}}"
    run.config.write_text(f"{CONFIG}leave_out: {left_out}\n")
    found = training_record(run)
    assert found["left out"] == "source b"
    assert found["left out of train"] == "generator warp, blend"


def test_a_run_without_settings_and_record_has_nothing_recorded(tmp_path):
    run = RunFolder(tmp_path)
    run.config.write_text("data: {name: demo, task: deepfake}\nmodel: {name: ensemble}\n")
    found = training_record(run)
    assert found["optimizer"] is found["training time"] is found["epoch used"] is None


def test_seconds_add_up_and_a_failure_keeps_them(run):
    with recorded_time(run):
        pass
    with pytest.raises(ValueError, match="mine"), recorded_time(run):
        raise ValueError("mine")
    assert run.read_record()["seconds"] >= 100.4


def test_a_resumed_run_names_each_command_that_changed_it(run):
    first = commands_of(run, ["model=resnet18", "data.root=my photos"], resume=False)
    assert first == ["faceproof train model=resnet18 'data.root=my photos'"]
    run.update_record(commands=first)
    assert commands_of(run, ["resume=runs/x"], resume=True) == first
    longer = commands_of(run, ["resume=runs/x", "trainer.max_epochs=9"], resume=True)
    assert longer == [*first, "faceproof train resume=runs/x trainer.max_epochs=9"]
    assert commands_of(run, None, resume=False) == []


def test_several_data_sets_are_a_list_again():
    from faceproof.words import combined, train_command

    words = combined(["data=[demo,demo_faces]", "seed=1"])
    assert train_command(words) == "faceproof train 'data=[demo,demo_faces]' seed=1"
