"""Every file of conf/ and experiments/ composes, builds and trains; what makes no sense does not.

The files are found, not listed: a new one is tested by being there.
"""

import itertools
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

import faceproof
from faceproof import app
from faceproof.data.loader_config import LoaderConfig
from faceproof.data.run_tables import read_samples
from faceproof.data.table import SCHEMA
from faceproof.errors import FaceproofError
from faceproof.evaluation.config import EvaluateConfig
from faceproof.io.run_folder import RunFolder
from faceproof.lookup import LIST_VIDEOS
from faceproof.prepare.media import prepare_settings
from faceproof.task import get_task
from faceproof.training.config import make_train_config
from faceproof.workflows.export import export_run
from faceproof.workflows.prepare import Preparation, prepare_folder
from faceproof.workflows.prepare_sources import Listed
from faceproof.workflows.scorers import make_scorer
from tests import protocol_trees as trees
from tests.conftest import write_images
from tests.jobs import CHOICES, CONF, REPOSITORY, compose_job, train
from tests.small_faces import write_clip, write_photograph
from tests.small_runs import write_run
from tests.tiny_transformers import words_of

EXPERIMENTS = sorted(file.stem for file in (REPOSITORY / "experiments").glob("*.yaml"))
# The files that are no choice of a group above are those with parts of Hydra's.
HYDRA = sorted(str(file.relative_to(CONF).with_suffix("")) for file in CONF.glob("hydra/*/*.yaml"))
EXTRAS = {"hydra/launcher/slurm": "hydra_plugins.hydra_submitit_launcher"}
SMALL = (
    "model=face_cnn", "model.weights=none", "model.input.size=16", "trainer=smoke",
    "loader.batch_size=8",
    "loader.num_workers=0", "logger=csv",
)  # fmt: skip
EVEN = {"train": 0.4, "val": 0.3, "test": 0.3}  # so that few images fill every split
MODEL_SIZES = {"face_cnn": 16, "cnn3": 32}  # others: large enough for five halvings
NUM = 16  # images in a folder
# Instead of the small network, which has no layer of normalisation and no attention.
NORMALISED = ("model=timm", "model.name=test_resnet", "model.input.size=64", "model.weights=none")
ATTENTIVE = (*words_of("vit"), "model.weights=none")


def write_world(node: DictConfig, folder: Path) -> tuple[str, ...]:
    """Make the images that a data set wants, and return what train.py must be told of them."""
    makers: dict[str, Callable[[Any, Path], tuple[str, ...]]] = {
        "folder": write_layout,
        "demo": lambda node, folder: (f"data.num_per_class={NUM}",),
        "table": write_table,
        "combined": lambda node, folder: tuple(
            f"data.sets.{name}.{word.removeprefix('data.')}"
            for name, part in node.sets.items()
            for word in write_world(part, folder)
        ),
        "shards": write_shards,
        "guess": write_folders,
        "protocol": write_published,
        "prepared": write_prepared,
        LIST_VIDEOS: write_videos,
        **PROTOCOLS,
    }
    assert node.kind in makers, f"say in this test how a small world is made for {node.kind}"
    words = makers[node.kind](node, folder)
    even = tuple(f"data.ratios.{name}={share}" for name, share in EVEN.items())
    divided = "ratios" in node and node.get("splits") != "official"
    if divided and node.ratios is None:
        return (*words, f"data.ratios={json.dumps(EVEN).replace(chr(34), '')}")
    return (*words, *even) if divided else words


def write_protocol(write: Callable[[Path], object]) -> Callable[[Any, Path], tuple[str, ...]]:
    """Return what writes a protocol's set to where its settings look for it."""

    def written(node: Any, folder: Path) -> tuple[str, ...]:
        write(Path(node.root))
        return ()

    return written


def write_forgerynet(root: Path) -> None:
    trees.forgerynet(root, write_image, NUM)


def write_image(place: Path) -> None:
    number = zlib.crc32(str(place).encode())
    write_images(place.parent, [place.name], size=(20, 16), seed=number)


def write_bench(node: Any, folder: Path) -> tuple[str, ...]:
    return (f"data.file={trees.deepfakebench(Path(node.root), trees.frames, 8)}",)


def write_actors(root: Path) -> None:
    """Write actors of whom so many are connected that their splits are all filled."""
    trees.dfd(root, trees.frames, people=40)


def write_deeper(node: Any, folder: Path) -> tuple[str, ...]:
    splits = {"train": NUM, "val": NUM, "test": NUM}
    trees.deeperforensics(Path(node.root), trees.frames, splits)
    half = {split: number // 2 for split, number in splits.items()}
    trees.faceforensics(Path(node.targets), trees.frames, half, ())
    return ()


def write_celebs(node: Any, folder: Path) -> tuple[str, ...]:
    trees.celebdf(Path(node.root), trees.frames, people=80)
    return ("data.allow_leaks=true",)  # its file says so: people are in several splits


SIXTEEN = {"train": 8, "val": 8, "test": 8}
PROTOCOLS: dict[str, Callable[[Any, Path], tuple[str, ...]]] = {
    "faceforensics": write_protocol(
        lambda root: trees.faceforensics(root, trees.frames, SIXTEEN, inside="c23/images")
    ),
    "dfd": write_protocol(write_actors),
    "celebdf": write_celebs,
    "dfdc": write_protocol(lambda root: trees.dfdc(root, trees.frames, parts=20)),
    "deeperforensics": write_deeper,
    "deepfakebench": write_bench,
    "forgerynet": write_protocol(write_forgerynet),
}


def people() -> Iterator[tuple[str, str, int]]:
    """Yield two people for each split and label, by number."""
    places = itertools.product(("train", "val"), ("real", "fake"), range(2))
    yield from ((split, label, number) for number, (split, label, _) in enumerate(places))


def write_prepared(node: Any, folder: Path) -> tuple[str, ...]:
    """Prepare photographs of drawn people."""
    rows = [
        {"path": str(write_photograph(folder / f"{number}.png", [(number, 128, 128, 180)])),
         "label": label, "split": split, "source": "drawn"}
        for split, label, number in people()
    ]  # fmt: skip
    empty = dict.fromkeys(SCHEMA.names)
    listed = Listed("deepfake", [empty | row for row in rows])
    prepare_folder(folder / "faces", Preparation(prepare_settings({}), listed), 0)
    return (f"data.root={folder / 'faces'}",)


def write_videos(node: Any, folder: Path) -> tuple[str, ...]:
    """Write videos of drawn people."""
    for split, label, number in people():
        file = folder / f"videos/{split}/{label}/{number}.mp4"
        write_clip(file, lambda frame, number=number: [(number, 128, 128, 180)], 2)
    layout = "data.layout={split}/{label}/*"
    return (f"data.root={folder / 'videos'}", layout, "data.prepare.frames=1")


def write_folders(node: Any, folder: Path) -> tuple[str, ...]:
    """Write images into folders whose names say what they are."""
    for number, label in enumerate(("Real", "Fake")):
        images = [f"{number}-{n}.jpg" for n in range(NUM)]
        write_images(folder / "mine" / label, images, size=(20, 16), seed=number)
    return (f"data.root={folder / 'mine'}",)


def write_layout(node: Any, folder: Path) -> tuple[str, ...]:
    """Write images in the folders that a layout line asks for."""
    splits = list(node.splits) or ["any"]
    makers = list(node.generators) or ["maker"]
    for number, (label, split) in enumerate(itertools.product(node.labels, splits)):
        for n in range(NUM):
            path = node.layout.replace("{label}", label).replace("{split}", split)
            path = path.replace("{generator}", makers[n % len(makers)])
            path = path.replace("{group}", f"g{n}").replace("**", "deeper/*")
            *above, name = path.split("/")
            place = Path(node.root, *(word.replace("*", "x") for word in above))
            image = name.replace("*", f"{number}-{n}.jpg")
            write_images(place, [image], size=(20, 16), seed=number)
    return ()


def write_table(node: Any, folder: Path) -> tuple[str, ...]:
    labels = ("real", "fake")
    for number, label in enumerate(labels):
        write_images(folder / label, [f"{n}.jpg" for n in range(NUM)], (20, 16), seed=number)
    rows = [f"{label}/{n}.jpg,{label}" for label in labels for n in range(NUM)]
    (folder / "images.csv").write_text("\n".join(["path,label", *rows]))
    return (f"data.file={folder / 'images.csv'}",)


def write_published(node: Any, folder: Path) -> tuple[str, ...]:
    from faceproof.cli.main import main

    *_, file = write_table(node, folder)
    even = (f"data.ratios.{name}={share}" for name, share in EVEN.items())
    words = ["data=table", file, *even]
    assert main(["protocol", "write", *words, "--to", str(folder / "protocol.csv")]) == 0
    return (f"data.file={folder / 'protocol.csv'}", f"data.root={folder}")


def write_shards(node: Any, folder: Path) -> tuple[str, ...]:
    from faceproof.cli.main import main

    *_, file = write_table(node, folder)
    even = (f"data.ratios.{name}={share}" for name, share in EVEN.items())
    assert main(["shard", "data=table", file, *even, "--to", str(folder / "shards")]) == 0
    return (f"data.root={folder / 'shards'}",)


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEPROOF_DATA", str(tmp_path / "data"))


@pytest.fixture
def faces(small_faces: Path) -> tuple[str, ...]:
    return ("data=face_or_not", f"data.root={small_faces}")


def assert_reloads(run: RunFolder) -> None:
    """Export a run, and see that the artifact gives its images the scores of the run."""
    artifact, task = run.path.parent / "artifact", get_task(OmegaConf.load(run.config).data.task)
    export_run(run.path, artifact)
    rows = read_samples(run).slice(0, 4)
    config = EvaluateConfig(str(run.path), loader=LoaderConfig(4), device="cpu")
    scored, _ = make_scorer(run, task, config, progress=False)(rows, None)
    verdicts = faceproof.load(artifact, "cpu").predict_batch(rows["path"].to_pylist())
    assert [one.logit for one in verdicts] == pytest.approx(scored.tolist(), abs=1e-4)


def test_every_file_is_tested_by_one_of_these() -> None:
    found = {file.relative_to(CONF).with_suffix("") for file in CONF.rglob("*.yaml")}
    named = {Path(group, name) for group, names in CHOICES.items() for name in names}
    parts = {one for one in found if one.name.startswith("_")}
    assert found == named | parts | {Path("train"), Path("evaluate")} | set(map(Path, HYDRA))
    tested = {*TRAIN_GROUPS, *OF_METHODS, "loss", "synthesis", "data", "model", "trainer", "sweep"}
    assert set(CHOICES) - {"hydra"} == tested


TRAIN_GROUPS = ("augment", "freeze", "optimizer", "scheduler", "logger")
WITH_EXTRAS = {"mlflow", "wandb"}  # in training/test_trackers
OF_TRAINING = {group: [n for n in CHOICES[group] if n not in WITH_EXTRAS] for group in TRAIN_GROUPS}
# Each choice of every group once, several groups at a time; models: test_every_model.
TRAIN_CONFIGS = [
    tuple(f"{group}={names[i % len(names)]}" for group, names in OF_TRAINING.items())
    for i in range(max(map(len, OF_TRAINING.values())))
]


@pytest.mark.parametrize("train_config", TRAIN_CONFIGS, ids=" ".join)
def test_every_part_of_a_train_config_trains(
    train_config: tuple[str, ...], faces: tuple[str, ...], tmp_path: Path
) -> None:
    norms = NORMALISED if "freeze=norms" in train_config else ()
    assert_reloads(train(tmp_path / "run", *faces, *SMALL, *norms, *train_config))


OF_METHODS = ("adapter", "mix", "distill")


@pytest.mark.parametrize("word", [f"{g}={name}" for g in OF_METHODS for name in CHOICES[g]])
def test_every_method_trains(word: str, faces: tuple[str, ...], tmp_path: Path) -> None:
    wanted = ATTENTIVE if word == "adapter=lora" else ()
    if word == "distill=soft_targets":
        wanted = (f"distill.teacher={write_run(tmp_path / 'teacher', task='face')}",)
    assert_reloads(train(tmp_path / "run", *faces, *SMALL, *wanted, word))


@pytest.mark.parametrize("word", ["ema=0.5", "swa=0.5"])
def test_a_run_that_averages_its_weights_is_exported(
    word: str, faces: tuple[str, ...], tmp_path: Path
) -> None:
    assert_reloads(train(tmp_path / "run", *faces, *SMALL, word, "trainer.max_epochs=2"))


@pytest.mark.parametrize("name", CHOICES["loss"])
def test_every_loss_trains(name: str, faces: tuple[str, ...], tmp_path: Path) -> None:
    """Not with every freeze schedule: some look at features, and refuse those that never change."""
    run = train(tmp_path / "run", *faces, *SMALL, f"loss={name}", "freeze=none")
    assert_reloads(run)


@pytest.mark.parametrize("name", CHOICES["synthesis"])
def test_every_synthesis_trains(name: str, tmp_path: Path) -> None:
    """On real and fake images, of which pseudo-fakes are made."""
    words = write_world(compose_job("train", tmp_path, ("data=deepfake_and_real",)).data, tmp_path)
    data = ("data=deepfake_and_real", *words, "freeze=none")
    run = train(tmp_path / "run", *data, *SMALL, f"synthesis={name}")
    assert_reloads(run)


@pytest.mark.parametrize("name", CHOICES["data"])
def test_every_data_set_is_trained_on(name: str, tmp_path: Path) -> None:
    missing = (f"data.{key}=x" for key in ("root", "file") if f"{key}: ???" in yaml_of(name))
    node = compose_job("train", tmp_path, (f"data={name}", *missing)).data
    words = write_world(node, tmp_path)
    run = train(tmp_path / "run", f"data={name}", *SMALL, *words)
    assert run.best.is_file()
    assert f"data: {name}" in (tmp_path / "run" / "record.json").read_text().replace('"', "")


def yaml_of(name: str) -> str:
    return (CONF / "data" / f"{name}.yaml").read_text()


# The module gathers validation's scores itself.
@pytest.mark.filterwarnings("ignore:It is recommended to use .*sync_dist:UserWarning")
@pytest.mark.parametrize("name", CHOICES["trainer"])
def test_every_trainer_trains_or_says_what_it_lacks(
    name: str, faces: tuple[str, ...], tmp_path: Path, not_looked_at: Counter[str]
) -> None:
    words = (*faces, *SMALL, f"trainer={name}", "trainer.devices=1", "trainer.max_epochs=1",
             "+trainer.limit_train_batches=1", "+trainer.limit_val_batches=1")  # fmt: skip
    words = tuple(w.lstrip("+") if name == "smoke" else w for w in words)
    wants_gpu = yaml.safe_load((CONF / "trainer" / f"{name}.yaml").read_text())
    if wants_gpu.get("accelerator") == "gpu" and not torch.cuda.is_available():
        with pytest.raises(FaceproofError, match="No supported gpu backend found"):
            train(tmp_path / "run", *words)
        assert not not_looked_at
        return
    try:
        assert train(tmp_path / "run", *words).best.is_file()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains(name: str, tmp_path: Path) -> None:
    composed = compose_job("train", tmp_path, (f"experiments={name}",))
    data = write_world(composed.data, tmp_path)
    size = MODEL_SIZES.get(composed.model.name, 64)
    run = train(
        tmp_path / "run", f"experiments={name}", *data, f"model.input.size={size}",
        "model.weights=none", "trainer.accelerator=cpu", "trainer.max_epochs=1",
        "+trainer.limit_train_batches=1", "+trainer.limit_val_batches=2", "loader.batch_size=8",
        "loader.num_workers=0", "logger=csv",
    )  # fmt: skip
    kept = OmegaConf.load(run.config)
    for setting in ("optimizer", "scheduler", "freeze", "augment", "monitor"):
        assert kept[setting] == composed[setting], setting
    assert_reloads(run)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_its_question_command_expected_figure_and_time(name: str) -> None:
    text = (REPOSITORY / "experiments" / f"{name}.yaml").read_text()
    header = text.split("defaults:")[0]
    assert f"experiments={name}" in header
    of_system = () if name.endswith("recommended") else ("# System",)  # whose recipe it is
    for word in (*of_system, "?", "# Command:", "# Reported:", "# Expected:"):
        assert word in header, word


def sweeps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every file that has values for a sweeper, and these."""
    for file in sorted((*CONF.glob("sweep/*.yaml"), *(REPOSITORY / "experiments").glob("*.yaml"))):
        group = "sweep" if file.parent.name == "sweep" else "experiments"
        params = (yaml.safe_load(file.read_text()).get("hydra") or {}).get("sweeper", {})
        if group == "sweep" or params:
            yield f"{group}={file.stem}", params["params"]


@pytest.mark.parametrize(("word", "params"), [pytest.param(*one, id=one[0]) for one in sweeps()])
def test_every_value_of_a_sweep_composes_and_builds(
    word: str, params: dict[str, Any], tmp_path: Path
) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        whole = compose("train", [word], return_hydra_config=True)
    sweeper = instantiate(whole.hydra.sweeper)
    assert type(sweeper).__module__ == "hydra_plugins.faceproof.sweepers"
    parser = OverridesParser.create()
    for key, text in params.items():
        override = parser.parse_overrides([f"{key}={text}"])[0]
        value = override.value()
        if isinstance(value, IntervalSweep):
            values = [str(value.start), str(value.end)]
        elif override.is_sweep_override():
            values = list(map(str, override.sweep_string_iterator()))
        else:
            values = [str(text)]
        first = tuple(f"{k}={v}" for k, v in params.items() if k == "scheduler")
        for one in values:
            settings = compose_job("train", tmp_path, (*first, f"{key}={one}"))
            make_train_config(app.training_values(settings))


@pytest.mark.parametrize("name", HYDRA)
def test_every_part_of_hydra_s_is_made_where_its_extra_is(name: str, tmp_path: Path) -> None:
    *_, kind, choice = name.split("/")
    written = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    if name in EXTRAS and find_spec(EXTRAS[name].split(".")[0]) is not None:
        try:
            there = find_spec(EXTRAS[name]) is not None
        except ModuleNotFoundError:
            there = False
        if not there:
            assert written["defaults"] == ["submitit_slurm"]
            return
    with initialize_config_dir(str(CONF), version_base="1.3"):
        whole = compose("train", [f"hydra/{kind}={choice}"], return_hydra_config=True)
    part = whole.hydra[kind]
    assert {key: part._get_node(key)._value() for key in written if key == "name"} == {
        key: value for key, value in written.items() if key == "name"
    }
    assert instantiate(part) is not None


def test_the_seed_systems_are_as_they_were(tmp_path: Path) -> None:
    """What torchvision's networks have that timm's do not, and what system E left out."""
    import torchvision

    from faceproof.models.build import build_network

    def network(*words: str) -> Any:
        model = OmegaConf.to_container(compose_job("train", tmp_path, words).model, resolve=True)
        return build_network(model)

    assert network("experiments=frozen_effnet").head.dropout.p == 0
    assert network("model=effnet_b0").head.dropout.p == 0.2  # system F kept it
    vit, resnet = network("experiments=frozen_vit"), network("experiments=frozen_resnet18")
    assert (vit.input.mean, vit.input.std) == (resnet.input.mean, resnet.input.std)
    theirs, ours = torchvision.models.efficientnet_b0(), network("experiments=effnet_se")
    depth = [part.p for part in theirs.modules() if type(part).__name__ == "StochasticDepth"]
    rates = [part.drop_prob for part in ours.modules() if type(part).__name__ == "DropPath"]
    assert rates == pytest.approx([rate for rate in depth if rate])
