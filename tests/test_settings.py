"""Settings that are misspelt or impossible are refused before any image is looked at."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from faceproof import app, lookup
from faceproof.data.combined import CombinedData
from faceproof.data.listing import FolderData
from faceproof.data.sources import OwnData, check_both_classes, make_source
from faceproof.errors import FaceproofError
from faceproof.models.build import build_network
from faceproof.settings import NAME
from faceproof.training.config import make_train_config
from faceproof.training.dry_run import dry_run
from faceproof.training.timm_names import check_timm_name
from tests.jobs import CONF, compose_job, train

SMALL = (
    "model=face_cnn", "model.input.size=16", "trainer=smoke", "loader.batch_size=8",
    "loader.num_workers=0", "logger=csv",
)  # fmt: skip


@pytest.fixture
def faces(small_faces: Path) -> tuple[str, ...]:
    return ("data=face_or_not", f"data.root={small_faces}")


def keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield every key of a configuration, inner ones dotted."""
    for key in node:
        yield f"{prefix}{key}"
        value = None if OmegaConf.is_missing(node, key) else node._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none():
            yield from keys(value, f"{prefix}{key}.")


def misspelt(key: str) -> str:
    """Return a key with its last two letters exchanged, or one more."""
    swapped = key[:-2] + key[-1] + key[-2]
    return swapped if swapped != key else key + key[-1]


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_every_key_that_is_misspelt_is_refused(name: str, tmp_path: Path, is_long: bool) -> None:
    extra = ("run=x", "data=demo") if name == "evaluate" else ()
    composed = compose_job(name, tmp_path, extra)
    words = [key for key in keys(composed) if not key.rpartition(".")[2].startswith("_")]
    assert len(words) > (50 if name == "train" else 20)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for key in words if is_long else words[::4]:
            with pytest.raises(HydraException, match=r"Could not (override|find)") as refusal:
                compose(name, [*extra, f"{misspelt(key)}=1"])
            assert misspelt(key) in str(refusal.value)


def mappings() -> list[str]:
    """Return every place of a training configuration that has settings of its own."""
    composed = compose_job("train", Path.cwd(), ("model=face_cnn", "data=face_or_not"))
    within = {key.rpartition(".")[0] for key in keys(composed)}
    free = {"data.labels", "data.splits", "data.generators"}  # folder words are the user's
    return sorted(within - free)


@pytest.mark.parametrize("place", mappings())
def test_a_key_that_nothing_reads_is_refused_though_it_was_added(
    place: str, faces: tuple[str, ...], tmp_path: Path, not_looked_at: Counter[str]
) -> None:
    word = f"{place}.settnig" if place else "settnig"
    with pytest.raises(Exception, match="settnig") as refusal:
        train(tmp_path / "run", *faces, *SMALL, f"+{word}=1")
    assert clear(refusal.value)
    assert not not_looked_at


def test_a_training_that_looks_at_its_data_is_counted(
    faces: tuple[str, ...], tmp_path: Path, not_looked_at: Counter[str]
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FaceproofError, match="no image below"):
        train(tmp_path / "run", *faces, *SMALL, f"data.root={tmp_path / 'empty'}")
    assert not_looked_at == {"FolderData": 1}


def clear(error: BaseException) -> bool:
    """Say whether train.py would end with one message rather than a traceback."""
    return isinstance(error, FaceproofError | OmegaConfBaseException)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("patiense: 3", r"no setting patiense; did you mean patience\?"),
        ("threshold: {fpt: 0.1}", r"no setting threshold.fpt; did you mean threshold.fpr\?"),
        ("model: {weigths: none}", r"did you mean model.weights\?"),
        ("logger: {tensorbord: true}", r"did you mean logger.tensorboard\?"),
        ("wholly: 1", "there is no setting wholly; there are adapter, allow, augment, cache"),
        ("optimizer: {learning_rate: 1}", "no setting optimizer.learning_rate; there are"),
        ("data: {rooot: here}", r"no setting data.rooot; did you mean data.root\?"),
    ],
)
def test_a_misspelt_key_in_an_experiment_file_is_refused(
    line: str, message: str, faces: tuple[str, ...], tmp_path: Path, not_looked_at: Counter[str]
) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "wrong.yaml").write_text(f"# @package _global_\n{line}\n")
    with pytest.raises(Exception, match=message):
        train(
            tmp_path / "run", f"hydra.searchpath=[file://{tmp_path}]", "experiments=wrong",
            *faces, *SMALL,
        )  # fmt: skip
    assert not not_looked_at


def test_a_setting_that_only_an_interpolation_reads_is_none_too_many(tmp_path: Path) -> None:
    config = compose_job("train", tmp_path, ("data=demo", *SMALL, "+side=96"))
    with pytest.raises(FaceproofError, match="no setting side"):
        app.training_values(config)
    config.model.input.size = "${side}"
    values = app.training_values(config)
    assert "side" not in values
    assert values["model"]["input"]["size"] == 96


FOLDER = {
    "kind": "folder", "name": "x", "task": "face", "root": "here", "layout": "{label}/*",
    "labels": {"a": "face", "b": "non_face"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"labels": ["real", "fake"]}, "labels = .* must be words and their meaning"),
        ({"ratios": {"train": 0.7, "val": 0.3, "all": "x"}}, "ratios = .* must be shares"),
        ({"generators": {"a": ["b"]}}, "generators = .* must be folder words"),
        ({"kind": "combined", "sets": ["a"]}, "sets = .* must be names and the data sets"),
        ({"kind": "combined", "sets": {"a": "b"}}, "sets = .* must be names and the data sets"),
        ({"kind": "combined", "sets": {"a": {**FOLDER, "splits": 3}}}, "sets.a.splits = 3 must be"),
        ({"task": ["face"]}, "task = .* must be a text"),
        ({"kind": "foulder"}, r"data.kind = 'foulder' is not known; did you mean folder\?"),
        ({"kind": None}, "kind is missing; choose one of folder"),
        ({"rooot": "x"}, r"no setting rooot; did you mean root\?"),
    ],
)
def test_values_of_another_kind_are_refused(wrong: dict[str, Any], message: str) -> None:
    values = {**FOLDER, **wrong}
    if values["kind"] == "combined":
        values = {"kind": "combined", "name": "x", "task": "face", "sets": values["sets"]}
    with pytest.raises(FaceproofError, match=message):
        make_source(values)


def own_data(labels: list[str], layout: int) -> object:
    return labels, layout


def test_a_data_set_of_ones_own_has_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_allowed", set())
    own = {"kind": f"{__name__}.own_data", "labels": ["a"], "layout": 5}
    with pytest.raises(FaceproofError, match=r"allow it: --allow tests\.test_settings"):
        make_source(own)
    app.allow_own_code({"data": own})
    source = make_source(own)
    assert isinstance(source, OwnData)
    check_both_classes(source)
    with pytest.raises(FaceproofError, match=r"returns a tuple; it must return a .*DataSet"):
        source.list()
    with pytest.raises(FaceproofError, match=r"no setting data\.root"):
        make_source({**own, "root": "x"}).list()
    combined = make_source({"kind": "combined", "name": "x", "task": "face", "sets": {"a": own}})
    assert isinstance(combined, CombinedData)
    check_both_classes(combined)


def test_folders_of_one_class_are_no_training_set() -> None:
    one = FolderData("x", "face", "here", "{label}/*", {"a": "face", "b": None})
    with pytest.raises(FaceproofError, match=r"no folder word of data\.labels means non_face"):
        check_both_classes(one)
    other = FolderData("y", "face", "here", "{label}/*", {"a": "non_face"})
    check_both_classes(CombinedData("both", "face", {"x": one, "y": other}))


def test_evaluating_with_a_key_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    for word, message in (
        ("+frams=3", "did you mean frames"),
        ("+loader.bach_size=1", "did you mean loader.batch_size"),
    ):
        with pytest.raises(FaceproofError, match=message):
            app.evaluate(compose_job("evaluate", tmp_path, ("run=nowhere", word)))


IMPOSSIBLE = [
    ("freeze.stages=[{from_epoch: 0, train: last_9}]", "this backbone has 2 blocks"),
    ("freeze.stages=[{from_epoch: 0, train: nothing}]", "matches no parameter"),
    ("freeze.stages=[{from_epoch: 1, train: head}]", "the first must be 0 and each larger"),
    ("freeze.stages=[]", "first must be 0"),
    ("cache.views=0", "cache.views = 0"),
    ("cache.views=2 augment=none", "cache.views = 2 changes nothing"),
    ("cache.features=none cache.max_gb=3", "cache.max_gb = 3 changes nothing"),
    ("cache.max_gb=-1", "cache.max_gb = -1"),
    ("cache.images=ram", "cache.images = 'ram'"),
    ("threshold.fpr=0.01", "threshold.fpr = 0.01 changes nothing with threshold.criterion=youden"),
    ("threshold.criterion=f1 threshold.value=0.5", "threshold.value = 0.5 changes nothing with"),
    ("threshold.criterion=fpr threshold.value=0.5", "threshold.value = 0.5 changes nothing with"),
    ("threshold.criterion=fixed threshold.fpr=0.5", "threshold.fpr = 0.5 changes nothing with"),
    ("threshold.fpr=one", "threshold.fpr = 'one' must be a rate"),
    ("threshold.fpr=-0.1", "threshold.fpr = -0.1 must be a rate"),
    ("threshold.value=2", "threshold.value = 2 must be a share"),
    ("threshold.criterion=best", "criterion = 'best' must be one of youden, f1, fpr, fixed"),
    ("calibration=platt", "calibration = 'platt' must be one of"),
    ("optimizer.lr=-1", "optimizer.lr = -1 must be"),
    ("optimizer.lr=null", "optimizer.lr = None must be"),
    ("optimizer=sgd optimizer.options.momentum=-1", "optimizer cannot be made: Invalid momentum"),
    ("optimizer.name=torch.optim.Foo", "optimizer.name = 'torch.optim.Foo' cannot be imported"),
    ("loader.batch_size=0", "loader.batch_size = 0 must be 'auto' or a count from 1 on"),
    ("loader.batch_size=many", "loader.batch_size = 'many' must be"),
    ("loader.num_workers=-1", "loader.num_workers = -1 must be 'auto' or a count"),
    ("loader.num_workers=100000", "at most 256"),
    ("loader.batch_size=1000000000000000000000000", "at most 65536"),
    ("monitor=val/auc", "'val/auc' cannot be monitored"),
    ("monitor=val/rocauc", "'val/rocauc' cannot be monitored; did you mean val/roc_auc"),
    ("monitor=train/loss", "'train/loss' cannot be monitored"),
    ("monitor=3", "monitor = 3 must be the name"),
    ("patience=-1", "patience = -1 must be a count of epochs, from 0 on, or null"),
    ("seed=-1", "seed = -1 must be a whole number"),
    ("seed=null", "seed = None must be a whole number"),
    ("scheduler=plateau scheduler.factor=2", "scheduler.factor = 2 must be"),
    ("scheduler=plateau scheduler.patience=-1", "scheduler.patience = -1 must be"),
    ("scheduler=plateau scheduler.min_lr=-1", "scheduler.min_lr = -1 must be"),
    ("scheduler=plateau scheduler.monitor=val/x", "'val/x' cannot be monitored"),
    ("scheduler=plateau +scheduler.mode=min", "no setting scheduler.mode"),
    ("scheduler.warmup=2", "scheduler.warmup = 2 must be a share"),
    ("scheduler.floor=-1", "scheduler.floor = -1 must be a share"),
    ("trainer.precision=bf15", "trainer cannot be made: Precision 'bf15' is invalid"),
    ("trainer.accelerator=abacus", "trainer cannot be made: .*invalid accelerator"),
    ("trainer.strategy=dpp", "trainer cannot be made: .*invalid strategy"),
    ("trainer.devices=0", "trainer cannot be made"),
    ("trainer.num_nodes=0", "trainer cannot be made"),
    ("trainer.max_epochs=0", "trainer.max_epochs = 0 must be 1 or more"),
    ("trainer.max_epochs=-2", "trainer cannot be made"),
    ("trainer.max_epochs=many", "trainer.max_epochs = 'many' must be a whole number"),
    ("trainer.limit_train_batches=few", "trainer.limit_train_batches = 'few' must be a number"),
    ("trainer.accumulate_grad_batches=0", "accumulate_grad_batches = 0 must be 1 or more"),
    ("trainer.gradient_clip_val=-1", "gradient_clip_val = -1 must be"),
    ("trainer.limit_train_batches=0", "limit_train_batches = 0 must be above 0"),
    ("trainer.limit_val_batches=0", "limit_val_batches = 0 must be above 0"),
    ("+trainer.fast_dev_run=true", "fast_dev_run = True must be false"),
    ("+trainer.overfit_batches=2", "overfit_batches = 2 must be 0"),
    ("+trainer.check_val_every_n_epoch=2", "check_val_every_n_epoch = 2 must be 1"),
    ("+trainer.check_val_every_n_epoch=2 scheduler=plateau trainer.max_epochs=4",
     "check_val_every_n_epoch = 2 must be 1"),
    ("+trainer.check_val_every_n_epoch=null", "check_val_every_n_epoch = None must be 1"),
    ("+trainer.val_check_interval=0.5", "val_check_interval = 0.5 must be 1.0"),
    ("+trainer.val_check_interval='00:00:05:00'", "val_check_interval = None must be 1.0"),
    ("+trainer.val_check_interval=1", "val_check_interval = 1 must be 1.0"),
    ("trainer.accumulate_grad_batches=1.5", "accumulate_grad_batches = 1.5 must be"),
    ("trainer.gradient_clip_val=inf", "gradient_clip_val = inf must be"),
    ("trainer.gradient_clip_val=nan", "gradient_clip_val = nan must be"),
    ("trainer.log_every_n_steps=1.5", "log_every_n_steps = 1.5 must be"),
    ("+trainer.enable_checkpointing=false", "there is no setting trainer.enable_checkpointing"),
    ("+trainer.use_distributed_sampler=true", "there is no setting trainer.use_distributed"),
    ("+trainer.callbacks=", "there is no setting trainer.callbacks"),
    ("+trainer.limit_test_batches=2", "did you mean trainer.limit_"),
    ("+trainer.max_epoch=2", "did you mean trainer.max_epochs"),
    ("+threshold.calibration=isotonic", "there is no setting threshold.calibration"),
    ("compare=true", "compare = true compares the runs of a sweep"),
    ("sweep=seeds", "sweep = seeds makes several runs"),
    ("class_weights=even", "must be none, balanced, or two positive numbers"),
    ("class_weights=[1,2,3]", "must be none, balanced, or two positive numbers"),
    ("class_weights=[1,-1]", "must be none, balanced, or two positive numbers"),
    ("class_weights=[a,b]", "must be none, balanced, or two positive numbers"),
    ("class_weights=[inf,1]", "must be none, balanced, or two positive numbers"),
    ("class_weights=[nan,1]", "must be none, balanced, or two positive numbers"),
    ("class_weights=[1e300,1]", "each from 1e-06 to 1e\\+06"),
    ("class_weights=[1e-300,1e-300]", "each from 1e-06 to 1e\\+06"),
    ("augment.rotation=inf", "augment.rotation = inf must lie between"),
    ("augment.rotation=200 augment.strength=2", "augment.rotation = 200 must lie between"),
    ("augment.strength=inf", "must lie between"),
    ("augment.strength=1e30", "augment.strength = 1e\\+30 must lie between"),
    ("augment.strength=-1", "augment.strength = -1 must lie between"),
    ("augment.horizontal_flip=2", "augment.horizontal_flip = 2 must lie between"),
    ("model.input.size=2", "Output size is too small"),
    ("model.input.size=large", "model.input.size = 'large' must be a positive size"),
    ("model.input.mean=[0,0]", "three means"),
    ("model.input.mean=[nan,0,0]", "three means"),
    ("model.input.mean=[1e30,0,0]", "three means"),
    ("model.input.mean=[a,b,c]", "model.input.mean = .* must be three means"),
    ("model.input.std=[inf,1,1]", "three positive stds"),
    ("model.input.std=[nan,1,1]", "three positive stds"),
    ("model.input.std=[1e-300,1,1]", "three positive stds"),
    ("model=resnet18 model.weights=none model.input.size=100000", "positive size"),
    ("model.input.interpolation=area", "interpolation = 'area' must be one of"),
    ("model.weights=nowhere.pth", "there is no weights file nowhere.pth"),
    ("model.weights=imagenet", "has no ImageNet weights"),
    ("model.swap_classes=maybe", "model.swap_classes = 'maybe' must be true or false"),
    ("model.head.dropout=2", "dropout probability"),
    ("+model.head.num_outputs=3", "a logit has 1 or 2 outputs"),
    ("model=resnet18 model.weights=none model.input.size=32 +model.backbone.pooled=false",
     "cannot take an image of 32 x 32 pixels"),
    ("model=effnet_lite_se model.weights=none model.input.size=32 model.backbone.pooled=true",
     "cannot take an image of 32 x 32 pixels"),
    ("model=vit_b16 model.weights=none model.input.size=224 +model.backbone.size=192",
     "cannot take an image of 224 x 224 pixels"),
    ("data.splits=random", "data.splits = 'random' must be words"),
    ("data.ratios=0.7", "data.ratios = 0.7 must be shares"),
    ("data.task=[face]", "data.task = .* must be a text"),
    ("data.task=age", "there is no task 'age'"),
    ("data.labels.faces=cat", "data.labels.faces = 'cat' must be one of non_face, face"),
    ("data.labels.faces=non_face", "no folder word of data.labels means face"),
    ("data.labels.faces=null", "no folder word of data.labels means face"),
    ("data.splits.train=first", "data.splits.train = 'first' must be one of"),
    ("data.layout='{labl}/*'", "has {labl}; it may have"),
    ("data.ratios={train: 2, val: -1, test: 0}", "data.ratios.train = 2 must be a share"),
    ("data.ratios={train: 0.7, val: 0.7, test: 0.7}", "that add up to 1"),
    ("data.max_unreadable=-1", "data.max_unreadable = -1 must be a share"),
    ("data.split_seed=x", "data.split_seed = 'x' must be a whole number"),
    ("data.allow_leaks=no", "data.allow_leaks = 'no' must be true or false"),
    ("data=demo data.num_per_class=0", "data.num_per_class = 0 must be a count from 1 on"),
    ("data=demo data.seed=-1", "data.seed = -1 must be a whole number"),
    ("data=combined data.sets.ciplab.ratios.val=2", "data.sets.ciplab.ratios.val = 2 must be"),
    ("data=table", "Missing mandatory value: (data.)?file"),
    ("model=timm", "Missing mandatory value: (model.)?name"),
    ("logger.tensorboard=maybe", "logger.tensorboard = 'maybe' must be true or false"),
    ("compare=maybe", "compare = 'maybe' must be true or false"),
    ("checkpoint.minutes=-1", "checkpoint.minutes = -1 must be a number above 0, or null"),
    ("checkpoint.steps=0", "checkpoint.steps = 0 must be a count from 1 on, or null"),
    ("checkpoint.steps=1.5", "checkpoint.steps = 1.5 must be a count from 1 on, or null"),
    ("checkpoint.steps=true", "checkpoint.steps = True must be a count from 1 on, or null"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), IMPOSSIBLE)
def test_what_is_impossible_is_refused_before_any_data_is_touched(
    words: str, message: str, faces: tuple[str, ...], tmp_path: Path, not_looked_at: Counter[str]
) -> None:
    data = () if words.startswith("data=") else faces
    with pytest.raises(Exception, match=message) as refusal:
        train(tmp_path / "run", *data, *SMALL, *split(words))
    assert clear(refusal.value), refusal.value
    assert not not_looked_at
    assert not list((tmp_path / "run").iterdir())


def split(words: str) -> list[str]:
    """Split at the spaces that stand before a setting."""
    return re.split(r" (?=\+?[a-z_.]+=)", words)


def test_a_dry_run_leaves_network_and_random_numbers_as_they_were(
    faces: tuple[str, ...], tmp_path: Path
) -> None:
    config = compose_job("train", tmp_path, (*faces, *SMALL, "model=resnet18"))
    settings = make_train_config(app.training_values(config))
    net = build_network(settings.model)
    net.head.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    drawn = torch.get_rng_state()
    dry_run(settings, net)
    assert torch.equal(drawn, torch.get_rng_state())
    assert modes == [module.training for module in net.modules()]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_settings_are_refused_without_torch():
    """What is misspelt is said at once."""
    seen = (
        "import sys; from faceproof.evaluation import config; "
        "from faceproof.training import config; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", seen], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.max_epochs=three"], "trainer.max_epochs = 'three' must be a whole number"),
        (["model=timm", "model.name=resnet81"], "timm has no model 'resnet81'; names like"),
        (["data=table", "data.file=mine.csv"], "age is none of an image table"),
        (["data=table", "data.file=mine.csv", "data.subgroups=[agee]"],
         "did you mean 'data.subgroups=[age]'?"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_torch_is_imported(
    words: list[str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text("path,label,age\na.png,real,3\n")
    command = [sys.executable, "-X", "importtime", "-m", "faceproof", "train", *words]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert said in found.stderr
    assert not re.search(r"\| +torch$", found.stderr, re.MULTILINE)


def test_names_of_timm_are_known_without_importing_it() -> None:
    import timm

    for name in ("resnet18", "resnet18.tv_in1k", "vit_tiny_patch16_224_in21k", *timm.list_models()):
        check_timm_name({"backbone": {"name": "timm", "model": name}})
    with pytest.raises(FaceproofError, match="timm has no model 'resnet19'; names like it: resnet"):
        check_timm_name({"backbone": {"name": "timm", "model": "resnet19"}})


@pytest.mark.parametrize(
    "name",
    ["con", "NUL", "aux.txt", "Com1", "lpt9.tar.gz", "prn .x", "run.", "run ", ".run", "a/b"],
)
def test_names_that_windows_does_not_take_are_refused(name: str) -> None:
    assert not NAME.fits(name)
    assert NAME.fits(f"x{name.strip(' ./').replace('/', '')}")
