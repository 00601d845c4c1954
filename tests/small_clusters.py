"""A cluster of Ray on this machine, and a detector whose process dies once."""

import os
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from faceproof import lookup
from faceproof.workflows.export import export_run
from tests.ports import free_port
from tests.small_runs import finish_run, write_network

# Read when Ray is imported: 127.0.0.1 alone, and no word to its makers.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

STORE = 80_000_000  # bytes, the least that Ray takes
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="takes faceproof[ray]")

# It dies where the file is that its settings name, and takes the file away first.
DYING = """
import os
import signal

from faceproof.models.backbones import SmallBackbone
from torch import nn


class Dying(nn.Module):
    def __init__(self, sign):
        super().__init__()
        self.sign = sign

    def forward(self, images):
        if not images.is_meta and os.path.exists(self.sign):  # not where it is built
            os.unlink(self.sign)
            os.kill(os.getpid(), signal.SIGKILL)
        return images


def dying(size, sign):
    return SmallBackbone([Dying(sign), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)], size)
"""


@contextmanager
def small_cluster(nodes=2):
    """Start a cluster with one CPU a node, by `--on ray`; yield it with its address for clients."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        from ray.cluster_utils import Cluster

        # On a busy machine the half minute that Ray gives to a client's server may not be enough;
        # one that died is waited for as long.
        monkeypatch.setenv("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "60")
        port = free_port()
        quiet = {"include_dashboard": False, "ray_client_server_port": port}
        head = {"num_cpus": 1, "object_store_memory": STORE, **quiet}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(nodes - 1):
                cluster.add_node(num_cpus=1, object_store_memory=STORE)
            monkeypatch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster, f"ray://127.0.0.1:{port}"
        finally:
            cluster.shutdown()


def export_dying(folder: Path, sign: Path) -> Path:
    """Export a detector of code in `dying_networks`, which the working folder then holds."""
    Path("dying_networks.py").write_text(DYING)
    lookup.allow(["dying_networks"])
    backbone = {"name": "dying_networks.dying", "sign": str(sign)}
    write_network(folder / "run", gain=40.0, backbone=backbone)
    export_run(finish_run(folder / "run"), folder / "artifact")
    return folder / "artifact"
