"""The story of `faceproof audit`: look at every file of a data set before anybody trains on it."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from faceproof.evaluation.cluster_config import LOCAL, EngineConfig
from faceproof.io.folders import refuse_file
from faceproof.settings import SettingError, make

if TYPE_CHECKING:
    from faceproof.audit.audit import Audit
    from faceproof.audit.file_statistics import Look
    from faceproof.data.listing import DataSet


@dataclass(frozen=True)
class AuditConfig:
    """Find leaks, shortcuts and bad files in a data set.

    Looks at every file of a data set for duplicates across splits, odd files and shortcuts, that is
    properties of the files that alone predict the class. Writes audit.html and audit.json.

    Exit code 0: neither errors nor warnings; 1: there are some; 2: the audit cannot be made.

    Attributes:
        settings: data=NAME, the data set, and data.KEY=VALUE. engine=ray, or engine=ray://HOST:PORT,
            lets the workers of a cluster look at the files (pip install 'faceproof[ray]'), at most
            cluster.workers=N of them with cluster.cpus_per_worker=N cores each.
        out: folder to write audit.html and audit.json to.
    """

    settings: tuple[str, ...]
    _: KW_ONLY
    out: Path = Path("audit")

    def __post_init__(self) -> None:
        refuse_file(self.out)

    @property
    def of_data(self) -> list[str]:
        """The settings of the data set."""
        return [word for word in self.settings if not _is_of_engine(word)]

    @property
    def engine(self) -> EngineConfig:
        """What looks at the files.

        Raises:
            SettingError: a setting is not known, or breaks its rule.
        """
        values: dict[str, Any] = {}
        for word in filter(_is_of_engine, self.settings):
            name, _, value = word.partition("=")
            place = values if name == "engine" else values.setdefault("cluster", {})
            place[name.removeprefix("cluster.")] = _typed(value)
        engine = make(EngineConfig, values)
        if engine.cluster.gpus_per_worker:
            raise SettingError(
                "cluster.gpus_per_worker",
                f"= {engine.cluster.gpus_per_worker:g} is of no use to an audit, which looks at "
                "files on CPUs; leave it out",
            )
        return engine

    def look(self) -> "Look | None":
        """Return what looks at the files; None for this machine.

        Raises:
            FaceproofError: as `engine`; or Ray is not installed.
        """
        engine = self.engine
        if engine.engine == LOCAL:
            return None
        from faceproof.workflows.audit_on_ray import look_on_ray

        return look_on_ray(engine.engine, engine.cluster)


def _is_of_engine(word: str) -> bool:
    return word.startswith(("engine=", "cluster."))


def _typed(value: str) -> Any:
    """Return a word of the command line as the number that it is; rules refuse what is odd."""
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def audit(data: "DataSet", config: AuditConfig, look: "Look | None" = None) -> "Audit":
    """Audit a data set, print what was found, and write the page.

    `look` looks at the files; None for this machine.
    """
    from faceproof.audit.audit import cached_audit
    from faceproof.audit.file_statistics import file_statistics_of
    from faceproof.reports.audit_page import describe, verdict, write_audit

    found = cached_audit(data, file_statistics_of(data.table, look))
    page = write_audit(found, config.out)
    print(f"{data.name}: {found.num_images:,} images: {verdict(found)}\n{describe(found)}")
    what = "how well each property of the files alone predicts the class"
    if found.shortcuts:
        print(f"{what} (ROC-AUC, 95% interval):")
    for shortcut in found.shortcuts:
        limit = "" if shortcut.limit is None else f"; limit {shortcut.limit}"
        interval = f"{shortcut.low:.3f} to {shortcut.high:.3f}{limit}"
        print(f"  {shortcut.name:24} {shortcut.auroc:.3f} ({interval})")
    print(f"page: {page}")
    return found
