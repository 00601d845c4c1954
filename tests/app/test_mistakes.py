"""What is said where a folder or a run is typed without its setting."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from faceproof.app.composing import command_line, compose_data
from faceproof.app.mistakes import message, refuse_unknown_words, unknown_choice
from faceproof.errors import FaceproofError
from faceproof.words import LISTED_OPTIONS, OTHER_OPTIONS
from tests.jobs import CONF


@pytest.mark.parametrize(
    ("word", "program", "meant"),
    [
        ("my_images", "train", "data=folder data.root=my_images"),
        ("my images", "train", "data=folder 'data.root=my images'"),
        ("runs/a", "train", "resume=runs/a"),
        ("runs/a", "evaluate", "run=runs/a"),
        ("latest", "evaluate", "run=latest"),
        ("latest", "train", "resume=latest"),
    ],
)
def test_a_folder_without_its_setting_is_answered_by_it(
    word: str, program: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("my_images", "my images", "runs/a"):
        Path(folder).mkdir(parents=True)
    Path("runs/a/config.yaml").touch()
    with pytest.raises(FaceproofError) as caught:
        refuse_unknown_words([word], program)
    assert str(caught.value) == f"{word} needs its setting; did you mean {meant}?"


def test_a_folder_in_place_of_a_data_set_is_answered_by_what_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_images").mkdir()
    assert unknown_choice("data", "my_images", ["demo"]) == (
        "there is no data=my_images; did you mean data=folder data.root=my_images?"
    )
    with pytest.raises(FaceproofError, match=r"name one by data=folder data\.root=my_images"):
        compose_data(["my_images"])
    with pytest.raises(FaceproofError, match="name one by data=NAME"):
        compose_data(["elsewhere"])
    assert "(a folder of your own is data=folder data.root=FOLDER)" in unknown_choice(
        "data", "elsewhere", ["demo"]
    )


@pytest.mark.parametrize(
    ("program", "word", "said"),
    [
        ("train", "seed=1,2", "faceproof sweep 'seed=1,2' trains one of each; a single text with"),
        ("evaluate", "split=val,test", "to one setting; a single text with commas is "),
    ],
)
def test_several_values_of_a_setting_are_answered_by_what_takes_them(
    program: str, word: str, said: str
) -> None:
    with (
        initialize_config_dir(str(CONF), version_base="1.3"),
        pytest.raises(HydraException) as caught,
    ):
        compose(program, [word])
    answer = message(caught.value, program)
    assert answer.startswith(f"{word} gives several values")
    assert said in answer
    assert "\n" not in answer


def test_an_evaluation_without_a_run_is_told_how_to_name_one() -> None:
    with pytest.raises(MissingMandatoryValue) as caught:
        OmegaConf.to_container(OmegaConf.create({"run": "???"}), throw_on_missing=True)
    assert message(caught.value, "evaluate") == (
        "name the run: run=latest is the newest, run=FOLDER any other"
    )


def test_every_option_of_the_trainer_that_a_training_reads_is_a_setting() -> None:
    """Without a plus before it, whatever the file of conf/trainer/ lists."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain = compose("train", [])
        given = command_line([f"trainer.{name}=null" for name in OTHER_OPTIONS])
        composed = compose("train", given)
    assert set(plain.trainer) == set(LISTED_OPTIONS)
    assert set(composed.trainer) == {*LISTED_OPTIONS, *OTHER_OPTIONS}


@pytest.mark.parametrize(
    ("program", "given", "said"),
    [
        ("train", ["trainer.limit_train_batch=6"], "did you mean trainer.limit_train_batches?"),
        ("train", ["trainer.max_step=6"], "did you mean trainer.max_steps?"),
        ("train", ["scheduler=plateau", "scheduler.warmup=0.2"],
         "; this choice of scheduler has none, but scheduler=cosine has"),
        ("evaluate", ["data=demo", "data.file=x"], "data=protocol, data=table have"),
    ],
)  # fmt: skip
def test_no_setting_is_offered_in_its_own_place(program: str, given: list[str], said: str) -> None:
    with (
        initialize_config_dir(str(CONF), version_base="1.3"),
        pytest.raises((HydraException, OmegaConfBaseException)) as caught,
    ):
        compose(program, command_line(given))
    answer = message(caught.value, program)
    setting = given[-1].partition("=")[0]
    assert said in answer
    assert answer.startswith(f"there is no setting {setting}")
    assert f"did you mean {setting}?" not in answer


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--model", "resnet18"], "--model resnet18 is no option; .*did you mean model=resnet18?"),
        (["--model=resnet18"], "--model=resnet18 is no option; .*did you mean model=resnet18?"),
        (["--optimizer.lr", "0.1"], "did you mean optimizer.lr=0.1?"),
        (["--lr", "0.1", "seed=1"], "did you mean optimizer.lr=0.1?"),
        (["--data-dir", "My Faces"], "did you mean 'data.root=My Faces'?"),
        (["--model", "seed=1"], "did you mean model=VALUE?"),
        (["--model"], "did you mean model=VALUE?"),
    ],
)
def test_a_setting_that_is_typed_as_an_option_is_offered_with_its_value(
    given: list[str], said: str
) -> None:
    with pytest.raises(FaceproofError, match=said.replace("?", r"\?")):
        refuse_unknown_words(given, "train")
