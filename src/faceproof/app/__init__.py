"""Knows Hydra, with `programs`: composes a configuration and calls a workflow with plain values.

Heavy imports stand inside functions, so that `--help`, `--cfg job` and shell completion are fast.
"""

from faceproof.app.composing import (
    allow_own_code,
    command_line,
    compose_choice,
    compose_data,
    compose_data_settings,
    data_refusal,
    list_data,
    plain,
    sources_or_generators,
)
from faceproof.app.conf import choices_of, config_root, own_conf, say_own_conf
from faceproof.app.mistakes import MENDABLE, message, refuse_unknown_choice, refuse_unknown_words
from faceproof.app.tasks import evaluate, train, training_values

__all__ = [
    "MENDABLE",
    "allow_own_code",
    "choices_of",
    "command_line",
    "compose_choice",
    "compose_data",
    "compose_data_settings",
    "config_root",
    "data_refusal",
    "evaluate",
    "list_data",
    "message",
    "own_conf",
    "plain",
    "refuse_unknown_choice",
    "refuse_unknown_words",
    "say_own_conf",
    "sources_or_generators",
    "train",
    "training_values",
]
