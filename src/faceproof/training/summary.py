"""What a training prints: the network before it, the best epoch after it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from faceproof.io.folders import from_here
from faceproof.io.run_folder import RunFolder
from faceproof.models.detector import Detector, parameter_blocks
from faceproof.training.freeze_checks import last_epoch, parts_of
from faceproof.training.freezing import FreezeSchedule
from faceproof.words import after_epochs, for_shell


def print_network(
    net: Detector, schedule: FreezeSchedule, console: Console, max_epochs: int | None = None
) -> None:
    """Print the network block by block, and after how many epochs each part begins to train."""
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    blocks = parameter_blocks(net)
    end = last_epoch(max_epochs)
    planned = dict.fromkeys(sizes) | schedule.first_epoch(parts_of(net))
    first = {name: None if when is None or when >= end else when for name, when in planned.items()}
    inside = {name for block in blocks for name in block}
    parts = [(f"backbone block {number}", block) for number, block in enumerate(blocks)]
    parts.append(("head", [name for name in sizes if name not in inside]))
    table = Table("part", "parameters", "trains", title="model")
    for part, names in parts:
        table.add_row(part, f"{sum(sizes[n] for n in names):,}", _trains([first[n] for n in names]))
    table.add_row("all", f"{sum(sizes.values()):,}", _trains(list(first.values())))
    console.print(table)


def _trains(epochs: Sequence[int | None]) -> str:
    """Say when parameters begin to train."""
    known = {epoch for epoch in epochs if epoch is not None}
    if not known:
        return "never (frozen)"
    when = "from the start" if known == {0} else after_epochs(min(known))
    return f"{when}, in part" if None in epochs or len(known) > 1 else when


def print_best(best: Mapping[str, Any], num_epochs: int) -> None:
    """Print the metrics of the best epoch."""
    table = Table(
        "metric", "train", "validation",
        title=f"best epoch: {best['epoch'] + 1} of {num_epochs}",
    )  # fmt: skip
    names = [name.removeprefix("val/") for name in best if name.startswith("val/")]
    for name in sorted(names, key=lambda name: (name != "loss", name)):
        table.add_row(Text(name), _shown(best.get(f"train/{name}")), _shown(best[f"val/{name}"]))
    Console().print(table)


def print_end(run: RunFolder, verdict: str, warnings: Sequence[str] = ()) -> None:
    """Print what the detector does, what to be warned of, and the two commands to run next."""
    console = Console()
    for line in (f"verdict: {verdict}", *warnings):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    allow = "".join(f" --allow {module}" for module in own_modules(run.read_config()["model"]))
    console.print("next:", f"  faceproof evaluate {run.argument('run')}{allow}",
                  f"  tensorboard --logdir {for_shell(from_here(run.path))}",
                  sep="\n", soft_wrap=True, highlight=False, markup=False)  # fmt: skip


def own_modules(model: Mapping[str, Any]) -> list[str]:
    """Return the modules of the user's own that the settings of a model name."""
    names = [str(model[part]["name"]) for part in ("backbone", "head", "branch") if part in model]
    return sorted({name.rpartition(".")[0] for name in names if "." in name})


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
