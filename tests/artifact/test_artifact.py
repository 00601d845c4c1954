"""What an artifact holds, and the strangers' artifacts that are refused."""

import errno
import json
import os
import pickle
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

import faceproof
from faceproof.artifact.artifact import read_card, refuse_occupied, write_artifact
from faceproof.errors import FaceproofError
from faceproof.workflows.export import export_cascade, export_run
from tests.small_runs import (
    change_card,
    change_weights,
    network_of,
    replace_weights,
    write_ensemble,
    write_run,
)  # fmt: skip


def many_networks(card):
    """Make an ensemble of 101 networks of a card."""
    first = network_of(card)
    networks = [{**first, "weight": 1 / 101} for _ in range(101)]
    for number, one in enumerate(networks):
        one["weights"] = {**first["weights"], "file": f"{number}.safetensors"}
    card["detector"].update(average="logit", networks=networks)


def written(folder, name):
    """Write an artifact of that name whose files no one checks."""
    card = replace(read_card(folder), name=name)
    write_artifact(folder, card, {"a": b"a"}, lambda _: None, overwrite=True)


@pytest.mark.parametrize("where", ["fsync", "rename"])
def test_an_artifact_that_cannot_take_its_place_leaves_the_earlier_one(
    artifact, monkeypatch, where
):
    rename = Path.rename

    def fail(given, *more):
        if isinstance(given, Path) and ".partial" not in given.name:
            return rename(given, *more)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os if where == "fsync" else Path, where, fail)
        with pytest.raises(
            FaceproofError, match=r"artifact(/card\.json)? could not be written: the disk fails"
        ):
            written(artifact, "other")
    assert faceproof.load(artifact).card.name != "other"
    written(artifact, "other")
    assert read_card(artifact).name == "other"
    assert [path.name for path in artifact.parent.iterdir()] == ["artifact"]


def test_an_artifact_moved_out_by_a_process_that_was_killed_is_put_back(artifact):
    artifact.rename(artifact.parent / ".artifact.old")
    with pytest.raises(FaceproofError, match="artifact holds a detector artifact; name another"):
        refuse_occupied(artifact, overwrite=False)
    assert faceproof.load(artifact)


def test_an_artifact_is_weights_a_card_and_a_text(exported):
    assert sorted(p.name for p in exported.iterdir()) == [
        "README.md", "card.json", "model.safetensors",
    ]  # fmt: skip
    card = json.loads((exported / "card.json").read_text())
    assert (card["format"], card["gate"]) == ("faceproof detector 2", None)
    detector = card["detector"]
    assert detector["task"] == {"name": "deepfake", "classes": ["real", "fake"]}
    assert network_of(card)["input"] == {
        "size": 16, "mean": [0.4] * 3, "std": [0.1] * 3, "interpolation": "bilinear",
    }  # fmt: skip
    assert detector["trained_on"]["images"] == {
        "train": {"fake": 4, "real": 4}, "val": {"fake": 4, "real": 4},
    }  # fmt: skip
    read = faceproof.load(exported).card
    assert (read.kind, read.to_json()) == ("detector", card)


def point(card):
    return card["detector"]["operating_point"]


def deep():
    node = 1
    for _ in range(30):
        node = [node]
    return node


def refused(folder, message, **options):
    with pytest.raises(FaceproofError, match=message):
        faceproof.load(folder, **options)


def test_a_file_is_refused_and_a_pickle_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").mkdir, ())

    for name in ("model.pkl", "model.pt", "best.ckpt"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        refused(tmp_path / name, "pickles, which can run code, are not loaded")
    refused(tmp_path, r"is a run and no detector artifact: there is no card.json")
    assert not (tmp_path / "exploded").exists()


def test_weights_in_a_pickle_are_refused(artifact):
    (artifact / "model.pt").write_bytes((artifact / "model.safetensors").read_bytes())
    change_card(artifact, lambda card: network_of(card)["weights"].update(file="model.pt"))
    refused(artifact, "only safetensors are loaded")


def test_another_folder_is_refused(tmp_path):
    refused(tmp_path / "gone", "is no detector artifact: there is no card.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"format": "faceproof detector 9"}', "3"])
def test_a_card_that_is_none_is_refused(artifact, text):
    (artifact / "card.json").write_text(text)
    refused(artifact, "is damaged|its format is")


@pytest.mark.parametrize("value", ["9" * 5000, "1e999", '"\\ud800"', "-1e400", '{"\\udc00": 1}'])
def test_a_card_that_could_not_be_shown_is_refused(artifact, value):
    file = artifact / "card.json"
    text = json.dumps(json.loads(file.read_text()) | {"name": "HERE"})
    file.write_text(text.replace('"HERE"', value))
    refused(artifact, "card.json is damaged, no whole JSON: ")


def test_a_card_of_absurd_size_is_refused(artifact):
    with (artifact / "card.json").open("r+b") as file:
        file.truncate(20_000_000)
    refused(artifact, "20,000,000 bytes; at most 10,000,000")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: network_of(c).pop("backbone"), r"networks\.0 lacks or should not have backbone"),
        (lambda c: c.pop("made"), "it lacks or should not have made"),
        (lambda c: c.update(code="print()"), "lacks or should not have code"),
        (lambda c: c["detector"].update(average="mode"), "found 'mode' of 1"),
        (lambda c: c["detector"].update(networks=[]), "found None of 0"),
        (lambda c: c["detector"].update(networks={}), r"detector\.networks = .* must be a list"),
        (lambda c: network_of(c).update(weight=0.5), "networks sum to 1; found 0.5"),
        (lambda c: network_of(c).update(weight=-1), "weight is from 0 to 1; found -1"),
        (
            lambda c: c["detector"]["task"].update(classes=["fake", "real"]),
            "deepfake are real, fake",
        ),
        (lambda c: c["detector"]["task"].update(classes=["real"]), "must be a list of 2"),
        (lambda c: c["detector"]["task"].update(name="age"), "there is no task 'age'"),
        (lambda c: c["detector"].update(task=None), r"detector\.task = 'None' must be a mapping"),
        (lambda c: c.update(gate=c["detector"]), "the gate of a cascade answers the task face"),
        (lambda c: c.update(name=3), "name = '3' must be a text"),
        (lambda c: point(c).update(threshold=1.5), "makes no sense"),
        (lambda c: point(c).update(threshold=float("nan")), "holds NaN"),
        (lambda c: point(c).update(threshold="0.5"), r"threshold = '0\.5' must be a finite number"),
        (lambda c: point(c).update(threshold=True), "threshold = 'True' must be a finite number"),
        (
            lambda c: point(c).update(num_positive=0.5),
            "= '0.5' must be a whole number",
        ),
        (lambda c: point(c).update(warnings=[[]]), r"warnings\.0 = '\[\]' must be a text"),
        (lambda c: point(c).pop("criterion"), "lacks or should not have criterion"),
        (lambda c: point(c).update(format="other"), "its format is 'other'"),
        (lambda c: point(c)["calibration"].update(temperature=10**400), "a number beyond all use"),
        (lambda c: point(c)["calibration"].update(temperature=-1), "no rising map"),
        (lambda c: network_of(c)["weights"].update(sha256=5), "sha256 = '5' must be a text"),
        (lambda c: network_of(c)["weights"].update(sha256="5"), "is not the file that the card"),
        (lambda c: network_of(c)["weights"].pop("sha256"), "lacks or should not have sha256"),
        (lambda c: network_of(c)["input"].update(size=10**6), "positive size"),
        (lambda c: network_of(c)["input"].update(size=16.5), "must be a whole number"),
        (lambda c: network_of(c)["input"].update(size=10**30), "a number beyond all use"),
        (lambda c: network_of(c)["backbone"].update(x=deep()), "nested more than 20 levels"),
        (lambda c: network_of(c)["backbone"].update(x=10**30), "a number beyond all use"),
        (lambda c: network_of(c)["head"].update(nmae=1), r"no setting model\.head\.nmae"),
        (lambda c: network_of(c)["head"].pop("name"), "settings with a name"),
        (many_networks, "up to 100 networks, each with its own weights; found 101 with 101"),
    ],
)
def test_a_card_that_disagrees_with_itself_is_refused(artifact, change, message):
    change_card(artifact, change)
    refused(artifact, message)


def test_a_card_that_would_run_something_is_refused(artifact):
    change_card(artifact, lambda c: network_of(c)["backbone"].update(name="os.system"))
    refused(artifact, r"model\.backbone\.name = 'os\.system' is code that is not faceproof's")
    resnet = {"name": "timm", "model": "resnet18", "checkpoint_path": "x.pth"}
    change_card(artifact, lambda c: network_of(c).update(backbone=resnet))
    refused(artifact, "may not set checkpoint_path")


def test_an_input_that_is_not_that_of_the_weights_is_refused(artifact):
    change_card(artifact, lambda c: network_of(c)["input"].update(mean=[0.5, 0.5, 0.5]))
    refused(artifact, r"was trained with input mean \[0.4.* the card says \[0.5")


def test_changed_weights_are_refused_before_anything_parses_them(artifact, monkeypatch):
    file = artifact / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    monkeypatch.setattr(safetensors.torch, "load", lambda data: pytest.fail("was parsed"))
    refused(artifact, "is not the file that the card was written for")


def test_weights_of_absurd_size_are_refused_unread(artifact):
    with (artifact / "model.safetensors").open("r+b") as file:
        file.truncate(50_000_000)
    refused(artifact, r"model\.safetensors has 50,000,000 bytes; at most 10,\d{3},\d+ are sensible")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if "bias" not in k}, "lacks or should not have 6"),
        (lambda s: {**s, "extra": torch.zeros(1)}, "lacks or should not have 1 tensors: extra"),
        (lambda s: {**s, "head.hidden.bias": torch.zeros(9)}, r"head.hidden.bias is \(9,\)"),
        (lambda s: {k: v.half() for k, v in s.items()}, "torch.float16, and the card's network"),
        (lambda s: {**s, "head.hidden.bias": torch.full((8,), torch.nan)}, "that are not finite"),
        (lambda s: {**s, "head.hidden.bias": torch.full((8,), torch.inf)}, "that are not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(artifact, change, message):
    change_weights(artifact, change)
    refused(artifact, message)


def header(entries) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no tensors at all",
        struct.pack("<Q", 2**62) + b"{}",
        header({"w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}),
        header({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}) + bytes(4),
        pickle.dumps({"weight": 1}),
    ],
)
def test_damaged_weights_are_refused(artifact, data):
    replace_weights(artifact, data)
    refused(artifact, "is no whole safetensors file")


@pytest.mark.parametrize(
    "name",
    ["../model.safetensors", "/etc/model.safetensors", "a/model.safetensors", ".model.safetensors"],
)
def test_paths_that_leave_the_folder_are_refused(artifact, name):
    shutil.copy(artifact / "model.safetensors", artifact.parent / "model.safetensors")
    change_card(artifact, lambda card: network_of(card)["weights"].update(file=name))
    refused(artifact, "which is not one of its own")


def test_links_are_refused(artifact):
    outside = artifact.parent / "outside.safetensors"
    (artifact / "model.safetensors").rename(outside)
    refused(artifact, "is not whole: model.safetensors is not there")
    (artifact / "model.safetensors").symlink_to(outside)
    refused(artifact, "is a link or no plain file")
    card = artifact.parent / "card.json"
    (artifact / "card.json").rename(card)
    (artifact / "card.json").symlink_to(card)
    refused(artifact, "card.json is a link or no plain file")


def test_unknown_devices_and_backends_are_refused(exported):
    refused(exported, "device = 'abacus' cannot be used", device="abacus")
    refused(exported, "backend = 'abacus' must be one of torch, onnx", backend="abacus")
    refused(exported, "was exported without ONNX", backend="onnx")


def test_a_cascade_of_a_cascade_is_refused(tmp_path):
    gate, detector = write_run(tmp_path / "g", "face"), write_run(tmp_path / "d")
    export_cascade(gate, detector, tmp_path / "cascade")
    with pytest.raises(FaceproofError, match="a cascade is made of detectors and ensembles"):
        export_cascade(gate, tmp_path / "cascade", tmp_path / "deeper")
    with pytest.raises(FaceproofError, match="the gate of a cascade answers the task face"):
        export_cascade(detector, gate, tmp_path / "swapped")
    export_run(write_ensemble(tmp_path / "e"), tmp_path / "ensemble")
    kinds = [read_card(tmp_path / name).kind for name in ("cascade", "ensemble")]
    assert kinds == ["cascade", "ensemble"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "cascade",
        "d",
        "e",
        "ensemble",
        "g",
        "tiny",
    ]
