"""Loading from shards, in a folder and through an object store, against loading from files."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import baselines
from benchmarks.measuring import apart, in_turns, medians, ratio, read_images
from benchmarks.training import BATCH_SIZE, compose_model, make_net
from faceproof.data.datasets import ImageDataset
from faceproof.data.loaders import make_loader
from faceproof.data.samplers import EpochSampler
from faceproof.data.shards.order import find_shards
from faceproof.data.table import select

MEGABYTES = 0.5  # so that a small data set has many more shards than are open at a time


def rate(words: list[str], model: str, seconds: float, fetches: bool = False) -> float:
    """Return the images per second of a data set's loader, over whole epochs after the first.

    Args:
        words: `data=NAME` and its settings.
        model: whose input the images are resized for.
        seconds: after which no further epoch is begun.
        fetches: whether what was fetched is removed before each epoch, so that it is fetched again;
            what the worker processes hold open, 16 shards, is not.
    """
    from faceproof.app import compose_data

    with tempfile.TemporaryDirectory() as fetched:
        os.environ["FACEPROOF_SHARDS"] = fetched
        data, how = compose_data(words), make_net(compose_model(model)).input
        rows = select(data.table, "train")
        dataset = ImageDataset(rows, data.task, how.size, how.interpolation)
        sampler = EpochSampler(len(dataset), 0, shards=find_shards(dataset.paths))
        workers = baselines.num_workers(len(dataset), BATCH_SIZE)
        loader = make_loader(dataset, BATCH_SIZE, workers, sampler)
        spent, images = 0.0, 0
        for epoch in count():
            sampler.set_epoch(epoch)
            for file in Path(fetched).rglob("*.tar") if fetches else ():
                file.unlink()
            began = time.perf_counter()
            number = sum(len(batch.label) for batch in loader)
            if epoch:
                spent, images = spent + time.perf_counter() - began, images + number
            if spent > seconds:
                return images / spent
        raise AssertionError


def measure_shards(data: str, model: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Return a row a place: the loader's images per second there and from files, in turns.

    An object store is one on this machine, moto's, which takes its time from the same cores. It is
    left out where moto is not installed.
    """
    from faceproof.workflows.shard import ShardConfig, write_shards

    images = read_images(data).data
    with tempfile.TemporaryDirectory() as name, _store() as bucket:
        places = {"folder": f"{name}/set", **({"object store": f"{bucket}/set"} if bucket else {})}
        for place in places.values():
            written = write_shards(images, ShardConfig((), to=place, megabytes=MEGABYTES))
        ways = {"files": partial(apart, "benchmarks.shards:rate", [f"data={data}"], model, seconds)}
        for where, place in places.items():
            words = ["data=shards", f"data.root={place}", f"data.task={images.task.name}"]
            fetches = where == "object store"
            ways[where] = partial(apart, "benchmarks.shards:rate", words, model, seconds, fetches)
        found = in_turns(ways, rounds)
    typical = medians(found)
    return [
        {
            "shards in": where,
            "shards": len(written.index.shards),
            "megabytes": sum(shard.bytes for shard in written.index.shards) / 1e6,
            "files, images/s": typical["files"],
            "shards, images/s": typical[where],
            "shards / files": ratio(found, where, "files"),
        }
        for where in places
    ]


@contextmanager
def _store() -> Iterator[str | None]:
    """Run an S3-compatible store on this machine, and yield the URL of a bucket in it."""
    if find_spec("moto") is None:
        yield None
        return
    from pyarrow.fs import S3FileSystem

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    call = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            endpoint = os.environ["AWS_ENDPOINT_URL"]
            S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True).create_dir(
                "images"
            )
            yield "s3://images"
        finally:
            server.terminate()


def _wait_for(port: int, seconds: float = 120.0) -> None:
    """Wait until somebody listens."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
