"""Which names in settings are looked up, which are imported, and that a run allows nothing."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from faceproof import lookup
from faceproof.errors import FaceproofError
from faceproof.lookup import find, is_allowed
from tests.jobs import evaluate, train

KNOWN = {"one": 1, "two": 2}


@pytest.fixture(autouse=True)
def _nothing_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_allowed", set())
    monkeypatch.delenv(lookup.VARIABLE, raising=False)


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that is written by whoever imports the module `tattler`."""
    written = tmp_path / "imported"
    (tmp_path / "tattler.py").write_text(
        f"from pathlib import Path\nPath({str(written)!r}).touch()\n"
        "def halving(factor):\n"
        "    from torch.optim.lr_scheduler import StepLR\n"
        "    return lambda optimizer, num_steps: StepLR(optimizer, 1, gamma=factor)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "tattler", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return written


def test_short_names_are_looked_up() -> None:
    assert find("two", KNOWN, "a.name") == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("twoo", r"a\.name = 'twoo' is not known; did you mean two\?"),
        ("xyz", r"a\.name = 'xyz' is not known; choose one of one, two"),
        (3, "a.name = 3 is not known"),
        ("os.system", r"may not\s+say that it is run; if it is yours, allow it: --allow os with"),
        ("tattler.halving", r"--allow tattler with .* or FACEPROOF_ALLOW=tattler"),
    ],
)
def test_other_names_are_refused_with_what_to_do(name: Any, message: str, witness: Path) -> None:
    with pytest.raises(FaceproofError, match=message):
        find(name, KNOWN, "a.name")
    assert not witness.exists()


@pytest.mark.parametrize(
    "allowed", ["tattler", "tattler.", " tattler", "tattler.halving", "./tattler.py"]
)
def test_code_of_ones_own_is_imported_from_the_working_folder(allowed: str, witness: Path) -> None:
    lookup.allow([allowed])
    assert find("tattler.halving", KNOWN, "a.name").__name__ == "halving"
    assert witness.exists()


def test_the_environment_allows_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lookup.VARIABLE, "mine, other.package")
    assert is_allowed("mine.make")
    assert is_allowed("other.package.deep.make")
    assert not is_allowed("mines.make")
    assert not is_allowed("other.make")


def test_what_is_allowed_and_missing_is_named(witness: Path) -> None:
    lookup.allow(["tattler", "nowhere"])
    for name in ("tattler.gone", "nowhere.gone", "tattler..halving"):
        with pytest.raises(FaceproofError, match=f"a.name = '{name}' cannot be imported"):
            find(name, KNOWN, "a.name")


TINY = (
    "model=face_cnn", "model.input.size=16", "trainer=smoke", "loader.batch_size=8",
    "loader.num_workers=0", "logger=csv",
)  # fmt: skip


def test_typed_settings_allow_what_they_name_and_a_run_does_not(
    small_faces: Path, witness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("data=face_or_not", f"data.root={small_faces}", *TINY)
    own = "scheduler={name: tattler.halving, factor: 0.5}"
    # The files of conf/ have another scheduler, so the user's own replaces the group.
    run = train(tmp_path / "run", *words, "~scheduler", f"+{own}")
    assert witness.exists()
    witness.unlink()
    monkeypatch.delitem(sys.modules, "tattler")
    monkeypatch.setattr(lookup, "_allowed", set())  # another process
    with pytest.raises(FaceproofError, match=r"scheduler.name = 'tattler.halving' is code that"):
        train(run.path, f"resume={run.path}", "trainer.max_epochs=2")
    assert not witness.exists()
    assert evaluate(run.path).is_dir()  # an evaluation needs no scheduler
    assert not witness.exists()
    train(run.path, f"resume={run.path}", "trainer.max_epochs=2", "allow=[tattler]")
    assert witness.exists()


def test_a_stranger_s_run_interpolates_and_calls_nothing(
    small_faces: Path, witness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tmp_path / "run", "data=face_or_not", f"data.root={small_faces}", *TINY)
    monkeypatch.setenv("SECRET", "s3cr3t-value")
    values = yaml.safe_load(run.config.read_text())
    values["data"] |= {"name": "${oc.env:SECRET}", "_target_": "tattler.halving", "kind": "x.y"}
    values["model"]["name"] = "${oc.env:SECRET}"
    run.config.write_text(yaml.safe_dump(values))
    folder = evaluate(run.path, "name=looked_at")
    assert "s3cr3t-value" not in (folder / "report.html").read_text()
    values["optimizer"]["name"] = "tattler.halving"
    run.config.write_text(yaml.safe_dump(values))
    with pytest.raises(FaceproofError, match=r"optimizer.name = 'tattler.halving' is code that"):
        train(run.path, f"resume={run.path}", "trainer.max_epochs=2")
    assert not witness.exists()


def test_own_code_is_checked_without_being_imported(tmp_path, monkeypatch):
    (tmp_path / "sees_nothing.py").write_text("raise AssertionError('it was imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lookup, "_allowed", {"sees_nothing", "not_there"})
    monkeypatch.setattr("sys.path", [*sys.path])
    lookup.check_own_code("resnet18", "model.backbone.name")
    lookup.check_own_code(None, "model.backbone.name")
    lookup.check_own_code("sees_nothing.net", "model.backbone.name")
    with pytest.raises(FaceproofError, match="No module named 'not_there' in"):
        lookup.check_own_code("not_there.net", "model.backbone.name")
    with pytest.raises(FaceproofError, match="is code that is not faceproof's"):
        lookup.check_own_code("os.system", "model.backbone.name")
