"""Training on several machines by torchrun: two hosts, each a loopback address of this machine."""

import os
import subprocess
import sys
import time

import pytest
import torch

from faceproof.io.run_folder import RunFolder
from tests.jobs import train
from tests.small_clusters import free_port
from tests.small_sources import write_sources
from tests.test_distributed import assert_alike

NUM_HOSTS = 2
# The images of validation divide among no number of processes; of training they do among four.
SPLITS = {"train": 8, "val": 7, "test": 4}
UNEVEN = {"train": 9, "val": 7, "test": 4}
COMMON = (
    "data=table", "data.allow_leaks=true", "model=face_cnn", "model.input.size=16",
    "model.head.dropout=0", "augment=none", "trainer.precision=32-true", "optimizer=sgd",
    "scheduler=none", "logger=csv", "loader.num_workers=0",
)  # fmt: skip

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="macOS has no second loopback address, Windows no torchrun"
)


@pytest.fixture
def on_hosts(tmp_path):
    """Return what runs faceproof train by torchrun on each host, and waits for all."""
    agents = []

    def start(folder, per_host, *words):
        port = free_port()
        for host in range(NUM_HOSTS):
            command = [
                sys.executable, "-m", "torch.distributed.run", f"--nnodes={NUM_HOSTS}",
                f"--nproc-per-node={per_host}", f"--node-rank={host}",
                f"--local-addr=127.0.0.{host + 1}", "--master-addr=127.0.0.1",
                f"--master-port={port}", "-m", "faceproof", "train", *words,
                f"hydra.run.dir={folder}",
            ]  # fmt: skip
            environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "TMPDIR": str(tmp_path)}
            with (tmp_path / f"{folder}-{host}.txt").open("w") as log:
                agents.append(
                    subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env=environment)
                )
        wait_for(agents[-NUM_HOSTS:], [tmp_path / f"{folder}-{n}.txt" for n in range(NUM_HOSTS)])
        return RunFolder(tmp_path / folder)

    yield start
    for agent in agents:
        agent.terminate()  # which ends its processes
        agent.wait()


def wait_for(agents, logs, seconds=300):
    """Wait for all agents to end well; fail with the ends of all logs where one does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(one.poll() is None for one in agents):
        if any(one.poll() for one in agents):
            break
        time.sleep(0.1)
    ends = "\n---\n".join(log.read_text()[-3000:] for log in logs)
    assert [one.poll() for one in agents] == [0] * len(agents), ends


def several(per_host):
    """Return the words of a training whose processes see eight images in a step together."""
    return (
        "trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={per_host}",
        f"trainer.num_nodes={NUM_HOSTS}", f"loader.batch_size={8 // (per_host * NUM_HOSTS)}",
    )  # fmt: skip


def test_two_hosts_are_one_process(on_hosts, tmp_path, is_long):
    """Were a validation image counted twice, the metrics would differ."""
    file = write_sources(tmp_path / "data", "a", {"a": SPLITS})
    words = (*COMMON, f"data.file={file}", "trainer.max_epochs=2")
    one = train(tmp_path / "one", *words, "trainer=cpu", "loader.batch_size=8")
    per_host = 2 if is_long else 1
    two = on_hosts("two", per_host, *words, *several(per_host))
    assert two.read_record()["status"] == "finished"
    assert two.read_record()["device"].startswith(f"{NUM_HOSTS * per_host} x CPU")
    assert_alike(one, two)


@pytest.mark.long
def test_two_hosts_go_on_exactly_where_images_do_not_divide_among_processes(on_hosts, tmp_path):
    file = write_sources(tmp_path / "data", "a", {"a": UNEVEN})
    words = (*COMMON, f"data.file={file}", *several(2))
    whole = on_hosts("whole", 2, *words, "trainer.max_epochs=3")
    on_hosts("part", 2, *words, "trainer.max_epochs=1")
    part = on_hosts("part", 2, "resume=part", "trainer.max_epochs=3")
    states = [torch.load(one.last, weights_only=True)["state_dict"] for one in (whole, part)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert_alike(whole, part)
