"""The short form of `python -m tests.stress.hostile`, and the predictor on the same files."""

import contextlib

import pytest
from PIL import Image

from faceproof.data.image_io import UNREADABLE
from faceproof.inference.predictor import load
from faceproof.workflows.export import export_run
from tests.small_runs import write_run
from tests.stress.hostile import answers, check, check_api, check_commands, compare
from tests.stress.hostile_files import write_good, write_hostile


def test_hostile_files_are_read_or_named_and_change_nothing(tmp_path):
    found = list(check(tmp_path / "images", 120, seed=1))
    assert found[0] == "alone: 40 read, 0 named with a reason"
    assert found[-1] == "the good images are scored alike, alone and among them"


def test_the_commands_meet_hostile_files_and_name_them(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    found = list(check_commands(tmp_path, 60, seed=1))
    assert [line.partition(":")[0] for line in found] == [
        "audit", "training", "predict", "evaluation", "predict", "API",
    ]  # fmt: skip


def test_the_short_form_has_an_image_that_lies_on_its_side(tmp_path):
    write_hostile(tmp_path, 60, seed=1)
    turned = []
    for file in tmp_path.glob("*-x.jpg"):
        with contextlib.suppress(*UNREADABLE), Image.open(file) as image:
            turned.append(image.getexif().get(0x0112))
    assert set(turned) & {5, 6, 7, 8}


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    export_run(write_run(folder / "run"), folder / "detector")
    return load(folder / "detector")


def write_both(folder, number, seed):
    for name in ("alone", "among"):
        write_good(folder / name / "any", 8, seed=0)
    write_hostile(folder / "among" / "any", number, seed)


def test_a_detector_answers_or_says_why_not(detector, tmp_path):
    write_both(tmp_path, 120, seed=2)
    alone, among = answers(detector, tmp_path / "alone"), answers(detector, tmp_path / "among")
    assert len(alone) == 8
    compare(alone, among)
    errors = [row.error for row in among.values() if row.error]
    assert len(errors) > 30
    assert "the file is not there" in errors  # it vanished between listing and reading
    named = [path.rpartition("/")[2] for path in among]
    assert "with\na line.jpg" in named
    assert "other\u2028line\u2029ends\u0085.jpg" in named
    assert "no text \\xff\\xfe.jpg" in named  # its bytes are spelt out


def test_the_interface_answers_or_refuses_in_words(detector, tmp_path):
    pytest.importorskip("fastapi", reason="the server takes faceproof[serve]")
    write_both(tmp_path, 120, seed=3)
    assert check_api(detector, tmp_path / "among").endswith("refused in words")
