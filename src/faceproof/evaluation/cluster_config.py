"""Settings of what computes an evaluation or an audit: this machine or a cluster; torch-free."""

from dataclasses import dataclass, field

from faceproof.settings import COUNT, Rule, SettingError, check, count_up_to, is_number

LOCAL, RAY, RAY_CLIENT = "local", "ray", "ray://"
ENGINE = Rule(
    lambda value: (
        value in (LOCAL, RAY)
        or (isinstance(value, str) and value.startswith(RAY_CLIENT) and value != RAY_CLIENT)
    ),
    "local, ray or ray://HOST:PORT",
)
MAX_WORKERS = 256  # each holds all of torch
_WORKERS = count_up_to(1, MAX_WORKERS)
WORKERS = Rule(
    lambda value: value == "auto" or _WORKERS.fits(value), f"'auto' or {_WORKERS.meaning}"
)
GPUS = Rule(
    lambda value: is_number(value) and value >= 0 and (value <= 1 or float(value).is_integer()),
    "a share up to 1, or a whole number",
)


@dataclass(frozen=True)
class ClusterConfig:
    """The workers of `engine=ray`.

    Attributes:
        workers: at most so many; `auto` for as many as the cluster has room for.
        cpus_per_worker: cores of each.
        gpus_per_worker: GPUs of each; 0.5 lets two share one.
    """

    workers: int | str = "auto"
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0

    def __post_init__(self) -> None:
        check(self, workers=WORKERS, cpus_per_worker=COUNT, gpus_per_worker=GPUS)


@dataclass(frozen=True)
class EngineConfig:
    """What computes.

    Attributes:
        engine: `local` for this machine, `ray` or `ray://HOST:PORT` for a cluster.
        cluster: the workers of a cluster.
    """

    engine: str = LOCAL
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        check(self, engine=ENGINE)
        if self.engine == LOCAL and self.cluster != ClusterConfig():
            raise SettingError(
                "cluster.*",
                f"are settings of engine=ray, and engine is {LOCAL}; set engine=ray, or leave them "
                "out",
            )
