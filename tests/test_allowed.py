"""A configuration names parts of faceproof's and nothing else."""

from pathlib import Path

import pytest
import yaml

from faceproof.allowed import PARTS, VARIABLE, check_targets
from faceproof.errors import FaceproofError
from jobs import CONF, REPOSITORY, train

HOSTILE = (
    "os.system", "builtins.eval", "subprocess.Popen", "faceproof.sweep.run_process",
    "faceproof.run.write_text", "faceproof.data.demo.os.system", "torch.load", "torch.hub.load",
    "torch.optim.lr_scheduler.torch.load", "timm.create_model", "torch.optim.Adam.mro", 3, None,
)  # fmt: skip


@pytest.mark.parametrize("target", HOSTILE)
def test_what_could_do_harm_is_refused_however_deep(target):
    node = {"stages": [{"a": 1}, {"inner": {"_target_": target}}]}
    with pytest.raises(FaceproofError, match=r"at freeze\.stages\.1\.inner\._target_"):
        check_targets(node, "freeze.")


def test_every_configuration_of_ours_is_allowed():
    files = [*CONF.glob("*/*.yaml"), *(REPOSITORY / "experiments").glob("*.yaml")]
    assert len(files) > 40
    for file in files:
        if file.parent.name not in ("sweep", "hydra"):  # Hydra's own parts, which we do not build
            check_targets(yaml.safe_load(file.read_text()))


def test_every_allowed_part_is_there():
    from hydra.utils import get_object

    assert all(callable(get_object(name)) for name in PARTS)


def test_ones_own_parts_are_allowed_by_the_environment(monkeypatch):
    node = {"_target_": "mine.trunks.small"}
    for words in ("mine.", "other.thing, mine.trunks.small"):
        monkeypatch.setenv(VARIABLE, words)
        check_targets(node)
    for words in ("min", "mine.trunks", "", "mine.trunks.smaller"):
        monkeypatch.setenv(VARIABLE, words)
        with pytest.raises(FaceproofError, match=VARIABLE):
            check_targets(node)


def test_a_command_line_cannot_call_what_it_likes(small_faces, tmp_path):
    witness = tmp_path / "witness"
    words = ("data=face_or_not", f"data.root={small_faces}", "trainer=smoke")
    call = ("freeze._target_=os.system", f"+freeze.command='touch {witness}'")
    with pytest.raises(FaceproofError, match=r"names 'os\.system'"):
        train(tmp_path / "run", *words, *call)
    assert not Path(witness).exists()
