"""What Hydra would call of a configuration is looked at as soon as that is composed.

Hydra makes the callbacks and logs that a configuration names before `main` has it, and has no place
for a check of one's own before that. So the method that composes every configuration, those of a
sweep's runs too, is replaced here; it is private, and Hydra is held below 1.4.
"""

import copy
import functools
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from faceproof.allowed import check_hydra
from faceproof.errors import FaceproofError

PARTS = ("callbacks", "sweeper", "launcher", "hydra_logging", "job_logging")


def guard_hydra() -> None:
    """Have every configuration checked that this program composes from now on.

    One by which Hydra would call what it may not raises a ConfigCompositionException, of which
    Hydra shows the message alone.
    """
    load = ConfigLoaderImpl.load_configuration

    @functools.wraps(load)
    def checked(*args: Any, **options: Any) -> DictConfig:
        config = load(*args, **options)
        try:
            check_hydra(_parts(config))
        except (FaceproofError, OmegaConfBaseException) as error:
            raise ConfigCompositionException(f"error: {error}") from error
        return config

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]


def _parts(config: DictConfig) -> dict[str, Any]:
    """Return what Hydra calls by, as plain values; its logs name a folder that is not known yet."""
    config = copy.deepcopy(config)
    hydra = config.hydra
    with read_write(hydra), open_dict(hydra):
        hydra.runtime.output_dir = hydra.job.id = ""
        hydra.job.num = 0
    parts = {part: hydra.get(part) for part in PARTS}
    # `${hydra:..}` asks for what Hydra itself sets later.
    known = HydraConfig.instance()
    before, known.cfg = known.cfg, cast(Any, OmegaConf.masked_copy(config, "hydra"))
    try:
        found = {part: _plain(node) for part, node in parts.items()}
    finally:
        known.cfg = before
    return found | {"env_set": list(hydra.job.env_set)}  # of a job's environment the names alone


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
