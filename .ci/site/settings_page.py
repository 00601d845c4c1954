"""The reference of settings: every setting of conf/ with type, default and meaning."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from conf_files import CONF, comments, header, written
from rows import REQUIRED, Setting, meanings, settings_of, table, type_words, value_words

from faceproof.augment.synthesis_config import SynthesisConfig
from faceproof.augment.transforms import Augment
from faceproof.augment.web import WebAugment
from faceproof.data.combined import CombinedData
from faceproof.data.leave_out import LeaveOutConfig, TrainPartConfig
from faceproof.data.listing import DemoData, FolderData, ShardData, TableData
from faceproof.data.loader_config import CacheConfig, LoaderConfig
from faceproof.data.protocols.protocol import ProtocolData
from faceproof.data.protocols.published import PublishedData
from faceproof.data.sources import KINDS
from faceproof.evaluation.cluster_config import ClusterConfig
from faceproof.evaluation.config import EvaluateConfig
from faceproof.evaluation.novelty import NoveltyConfig
from faceproof.evaluation.operating_point import ThresholdConfig
from faceproof.evaluation.video_point import VideoConfig
from faceproof.models.backbones import BACKBONES
from faceproof.models.branches import BRANCHES
from faceproof.models.build import ModelConfig
from faceproof.models.detector import InputConfig
from faceproof.models.heads import HEADS
from faceproof.training.config import (
    CheckpointConfig,
    CosineConfig,
    LoggerConfig,
    PlateauConfig,
    TrainConfig,
)
from faceproof.training.freezing import FreezeStage
from faceproof.training.loss_config import LOSSES
from faceproof.training.method_config import METHODS
from faceproof.training.optimizer_config import OptimizerConfig
from faceproof.words import TRAINER_OPTIONS

WIRING = ("num_features", "input")  # what the builder passes to a part of a model
PARTS = (
    "data", "model", "freeze", "optimizer", "scheduler", "augment", "synthesis", "trainer",
    "logger", *METHODS,
)  # fmt: skip


def choices(group: str) -> str:
    """Return the files of a group of conf/, with what each says of itself."""
    lines = [f"| `{group}=` | |", "|---|---|"]
    for file in sorted((CONF / group).glob("[!_]*.yaml")):
        text = header(file).replace("|", "\\|").replace("{", "&#123;").replace("_", "\\_")
        text = re.sub(r"docs/(\w+)\.md", r"[\1](../\1.md)", text)
        lines.append(f"| `{file.stem}` | {text or '&nbsp;'} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Part:
    """A part of the page of settings: a heading, a sentence, and tables."""

    heading: str
    text: str = ""
    rows: list[Setting] = field(default_factory=list)
    group: str = ""  # whose files are listed

    def markdown(self) -> str:
        """Return the part as Markdown."""
        tables = [table(self.rows)] if self.rows else []
        listed = [choices(self.group)] if self.group else []
        return "\n\n".join(filter(None, [self.heading, self.text, *listed, *tables]))


def by_choice(group: str, rows: list[Setting]) -> list[Setting]:
    """Return rows whose default names the value of each file of the group, where they differ."""
    files = {file.stem: written(file) for file in sorted((CONF / group).glob("[!_]*.yaml"))}
    found = []
    for row in rows:
        key = row.name.removeprefix(f"{group}.")
        values = {
            name: {k.removeprefix(f"{key}."): v for k, v in held.items() if k.startswith(f"{key}.")}
            or held.get(key, "???")
            for name, held in files.items()
        }
        words = {name: value_words(value) for name, value in values.items()}
        told = "<br>".join(f"{name}: {word}" for name, word in words.items())
        default = told if len(set(words.values())) > 1 else next(iter(words.values()))
        found.append(Setting(row.name, row.type, default, row.meaning))
    return found


def training_parts() -> Iterator[Part]:
    """Yield what a training reads beside the groups."""
    file = CONF / "train.yaml"
    values, notes = written(file), comments(file)
    apart = (*PARTS, "loader", "cache", "checkpoint", "threshold", "video", "leave_out", "novelty")
    top = settings_of(TrainConfig, "", values, notes, apart)
    calibration = "how probabilities are calibrated: `auto`, `temperature`, `isotonic` or `none`"
    top.append(Setting("calibration", "text", value_words(values["calibration"]), calibration))
    yield Part("## The training", "Of `faceproof train`, in `conf/train.yaml`.", top)
    for kind, name in (
        (LoaderConfig, "loader"), (CacheConfig, "cache"), (CheckpointConfig, "checkpoint"),
        (ThresholdConfig, "threshold"),
        (VideoConfig, "video"), (LeaveOutConfig, "leave_out"),
        (NoveltyConfig, "novelty"),
    ):  # fmt: skip
        held = {key.removeprefix(f"{name}."): value for key, value in values.items()}
        rows = settings_of(kind, name, held, leave_out=("calibration", "train"))
        if kind is LeaveOutConfig:
            of_train = {key: held[f"train.{key}"] for key in ("source", "generator")}
            rows += settings_of(TrainPartConfig, "leave_out.train", of_train)
        yield Part(f"### {name}", "", rows)
    command = [
        Setting("compare", "true or false", "`false`", notes["compare"]),
        Setting("resume", "text or null", "`null`", notes["resume"]),
        Setting("allow", "list", "`[]`", notes["allow"]),
    ]
    yield Part("### The command itself", "", command)


def data_parts() -> Iterator[Part]:
    """Yield the settings of data sets, by kind."""
    kind = "`data.kind` says which; a file of `conf/data/` sets it. A dotted name is a function of "
    own = "your own: [add a data set](../how_to/add_a_data_set.md)."
    known = ", ".join(f"`{name}`" for name in KINDS)
    yield Part("## data", f"{kind}{own}", group="data",
               rows=[Setting("data.kind", "text", REQUIRED, f"{known}, `guess` (the settings of "
                             "`folder`, of which the layout line and the meaning of its words are "
                             "guessed; `data=folder` is one), or your own function")])  # fmt: skip
    for name, holder, start, text in (
        ("folder", FolderData, "_folder", "Images in folders whose names say what they are."),
        ("table", TableData, "table", "Images that a CSV, JSON or Parquet file lists."),
        ("shards", ShardData, "shards", "Images in shards; see [shards](../shards.md)."),
        ("combined", CombinedData, "_sets", "Several data sets as one; `data=[a,b]` makes one."),
        (
            "protocol",
            PublishedData,
            "protocol",
            "A published list of images; see "
            "[a published protocol](../data.md#a-published-protocol).",
        ),
        ("demo", DemoData, "demo", "The demonstration set, which is drawn on first use."),
    ):
        file = CONF / "data" / f"{start}.yaml"
        values = {key.partition(".")[0]: {} for key, _ in written(file).items()}
        held = yaml.safe_load(file.read_text("utf-8"))
        values |= {key: held[key] for key in values if key in held}
        others = comments(CONF / "data" / "_folder.yaml")
        if holder is DemoData:
            others = meanings(FolderData) | {"root": "the folder that it is drawn into"}
        if holder is TableData:
            others = meanings(FolderData)
        rows = settings_of(holder, "data", values, others)
        yield Part(f"### kind: {name}", text, rows)
    yield from protocol_parts()


def protocol_parts() -> Iterator[Part]:
    """Yield the settings of published data sets: those of all, and those of each."""
    values = yaml.safe_load((CONF / "data" / "_protocol.yaml").read_text("utf-8"))
    notes = comments(CONF / "data" / "_folder.yaml")
    text = "What all of them have: [published data sets](../data.md#published-data-sets)."
    yield Part("### Published data sets", text, settings_of(ProtocolData, "data", values, notes))
    common = [key for key in values if key != "kind"]
    for name, holder in KINDS.items():
        if isinstance(holder, type) and issubclass(holder, ProtocolData):
            held = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text("utf-8"))
            rows = settings_of(holder, "data", held, leave_out=common)
            yield Part(f"### kind: {name}", (holder.__doc__ or "").partition("\n")[0], rows)


def model_parts() -> Iterator[Part]:
    """Yield the settings of models."""
    defaults = {"backbone": "???", "head": "???", "name": "???"}
    rows = settings_of(ModelConfig, "model", defaults, leave_out=("input",))
    rows += settings_of(InputConfig, "model.input")
    yield Part(
        "## model",
        "A model is a backbone, a head and an input, and may have a branch.",
        rows,
        "model",
    )
    for part, known in (("backbone", BACKBONES), ("head", HEADS), ("branch", BRANCHES)):
        for name, create in known.items():
            options = {"options": "what else timm's `create_model` takes, as `drop_path_rate`"}
            rows = settings_of(create, f"model.{part}", notes=options, leave_out=WIRING)
            yield Part(f"### {part}: {name}", "", rows)


def group_parts() -> Iterator[Part]:
    """Yield the settings of the other groups."""
    stages = settings_of(FreezeStage, "freeze.stages")
    yield Part("## freeze", "`freeze.stages` is a list of stages.", stages, "freeze")
    rows = by_choice("optimizer", settings_of(OptimizerConfig, "optimizer"))
    yield Part("## optimizer", "", rows, "optimizer")
    yield Part("## scheduler", "", [Setting("scheduler.name", "text", REQUIRED,
               "`cosine`, `plateau`, `none`, or a function of your own, which gets the optimizer "
               "and the number of steps")], "scheduler")  # fmt: skip
    for name, kind in (("cosine", CosineConfig), ("plateau", PlateauConfig)):
        values = written(CONF / "scheduler" / f"{name}.yaml")
        yield Part(f"### scheduler: {name}", "", settings_of(kind, "scheduler", values))
    yield Part("## loss", "", [Setting("loss.name", "text", "`bce`",
               ", ".join(f"`{name}`" for name in LOSSES) + ", or a function of your own, which "
               "gets logits, labels and class weights, and further settings by name")],
               "loss")  # fmt: skip
    for name, kind in LOSSES.items():
        if rows := settings_of(kind, "loss", written(CONF / "loss" / f"{name}.yaml")):
            yield Part(f"### loss: {name}", (kind.__doc__ or "").partition("\n")[0], rows)
    for group, known in METHODS.items():
        names = ", ".join(f"`{name}`" for name in ("none", *known))
        name = Setting(f"{group}.name", "text", "`none`", names)
        yield Part(f"## {group}", "See [adapting](../adapting.md).", [name], group)
        for choice, kind in known.items():
            rows = settings_of(kind, group, written(CONF / group / f"{choice}.yaml"))
            yield Part(f"### {group}: {choice}", (kind.__doc__ or "").partition("\n")[0], rows)
    values = written(CONF / "augment" / "_shared.yaml")
    text = "Ranges of random changes of training images; zero switches a change off."
    yield Part("## augment", text, settings_of(Augment, "augment", values), "augment")
    text = "What images suffer on the web, before they are resized: `augment=web` switches it on."
    yield Part("### augment.web", text, settings_of(WebAugment, "augment.web"))
    text = "Pseudo-fakes: [how to train on them](../how_to/pseudo_fakes.md)."
    rows = by_choice("synthesis", settings_of(SynthesisConfig, "synthesis"))
    yield Part("## synthesis", text, rows, "synthesis")
    yield trainer_part()
    rows = by_choice("logger", settings_of(LoggerConfig, "logger"))
    yield Part("## logger", "", rows, "logger")


def trainer_part() -> Part:
    """Return the settings of the trainer, which are options of Lightning's."""
    file = CONF / "trainer" / "_shared.yaml"
    values, notes = written(file), comments(file)
    said = {
        "accelerator": "what it computes on: `auto`, `cpu` or `gpu`",
        "devices": "how many devices of one machine; with `trainer=ddp`, processes",
        "num_nodes": "how many machines",
        "strategy": "how several devices work together",
        "accumulate_grad_batches": "batches whose gradients are added up to one optimizer step",
        "gradient_clip_val": "the largest norm of the gradients; null leaves them alone",
        "log_every_n_steps": "steps between two values of a step that are logged",
        "max_epochs": "how many epochs; 3 are enough for `data=demo`, a real set wants more",
        "precision": "what it computes in; `auto` is bfloat16 where the hardware has it, else "
        "float32",
        "limit_train_batches": "batches of an epoch, or their share",
        "limit_val_batches": "batches of a validation, or their share",
    }
    limits = ("limit_train_batches", "limit_val_batches")
    kinds = {"gradient_clip_val": "number or null", "devices": "whole number or `auto`"}
    kinds |= dict.fromkeys(limits, "whole number or share")
    values |= dict.fromkeys(limits, 1.0)
    rows = [
        Setting(f"trainer.{name}", kinds.get(name, type_words(type(value))), value_words(value),
                said.get(name) or notes[name])
        for name, value in values.items()
    ]  # fmt: skip
    others = ", ".join(f"`{name}`" for name in TRAINER_OPTIONS if name not in values)
    text = (
        "Options of Lightning's `Trainer`, of which it says what each means. One that is not in "
        f"this table may be given all the same, as in `trainer.max_time=00:01:00:00`: {others}."
    )
    return Part("## trainer", text, rows, "trainer")


def sweep_part() -> Part:
    """Return the settings of a search."""
    file = CONF / "sweep" / "optuna.yaml"
    said, values = comments(file), written(file)
    rows = [
        Setting(name, "text or null" if values[name] is None else type_words(type(values[name])),
                value_words(values[name]), said[name])
        for name in said
        if name.startswith("hydra.sweeper.") and ".params." not in name
    ]  # fmt: skip
    text = "Several runs from one command; see [sweeps](../sweeps.md). Of `sweep=optuna`:"
    return Part("## sweep", text, rows, "sweep")


def evaluation_parts() -> Iterator[Part]:
    """Yield the settings of an evaluation."""
    file = CONF / "evaluate.yaml"
    values, notes = written(file), comments(file)
    rows = settings_of(EvaluateConfig, "", values, notes, ("loader", "threshold", "cluster"))
    rows += [
        Setting(row.name, f"{row.type.removesuffix(' or null')} or null", "`null`", row.meaning)
        for row in settings_of(ThresholdConfig, "threshold", leave_out=("calibration", "max_risk"))
    ]
    band = (
        "another share of wrong answers outside of the unsure band; `own` for the run's, null for "
    )
    rows.append(Setting("threshold.max_risk", "number, `own` or null", "`own`", f"{band}no band"))
    held = {key.removeprefix("loader."): value for key, value in values.items()}
    rows += settings_of(LoaderConfig, "loader", held)
    rows += settings_of(ClusterConfig, "cluster")
    rows += [
        Setting("data", "a data set or null", "`null`",
                "another data set than the run's own, or several: `data=[a,b]`"),
        Setting("allow", "list", "`[]`", notes["allow"]),
    ]  # fmt: skip
    yield Part("## The evaluation", "Of `faceproof evaluate`, in `conf/evaluate.yaml`.", rows)


INTRODUCTION = """# Settings

Every setting has a dotted name, and the same name is the key in `conf/` and the word on the command
line: `optimizer.lr=0.0003`. `GROUP=CHOICE` takes a file of a folder of `conf/`: `model=resnet18` is
`conf/model/resnet18.yaml`. A name that does not exist is refused, with the names that are like it;
so is a value that makes no sense.

`required` means that there is no default: the file of the choice sets it, or you do. Environment
variables have [a page of their own](environment.md).
"""


def settings_page() -> str:
    """Return the reference of settings."""
    parts = [
        *training_parts(), *data_parts(), *model_parts(), *group_parts(), sweep_part(),
        *evaluation_parts(),
    ]  # fmt: skip
    return "\n\n".join([INTRODUCTION.strip(), *(part.markdown() for part in parts)]) + "\n"
