"""The options of Lightning's trainer, checked as far as that takes no torch.

`dry_run` checks the rest, on a trainer that is made of them.
"""

from collections.abc import Mapping
from typing import Any

from faceproof.settings import (
    INTEGER,
    Rule,
    SettingError,
    UnknownSettingError,
    is_number,
    optional,
)
from faceproof.words import TRAINER_OPTIONS

NUMBER = Rule(is_number, "a number")
# What kind of number an option is; which numbers make sense, Lightning and `dry_run` say.
KINDS = {
    **dict.fromkeys(("max_epochs", "min_epochs", "min_steps", "log_every_n_steps"),
                    optional(INTEGER)),
    **dict.fromkeys(("max_steps", "num_nodes", "accumulate_grad_batches"), INTEGER),
    **dict.fromkeys(("limit_train_batches", "limit_val_batches"), optional(NUMBER)),
}  # fmt: skip


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that no trainer has, and words where numbers are meant.

    Raises:
        SettingError: it names the option, and what it must be.
    """
    for name, value in options.items():
        if name not in TRAINER_OPTIONS:
            raise UnknownSettingError(f"trainer.{name}", TRAINER_OPTIONS)
        if name in KINDS and not KINDS[name].fits(value):
            raise SettingError(f"trainer.{name}", f"= {value!r} must be {KINDS[name].meaning}")
