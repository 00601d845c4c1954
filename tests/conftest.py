"""A tiny world: real JPEG files in the layouts in which people have the data sets."""

import functools
import ipaddress
import logging
import os
import socket
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest
from PIL import Image

from faceproof import lookup

if TYPE_CHECKING:
    from faceproof.data.listing import DataSet

# Processes that share cores wait for each other at every operation unless each keeps to one.
os.environ["OMP_NUM_THREADS"] = "1"
# Read when the libraries are imported, so before any test, and by processes that tests start.
os.environ["HF_HUB_OFFLINE"] = "1"

# How long an example takes says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

MakeImages = Callable[..., list[Path]]

# Every data set of conf/data that is read from folders, and the images in each of its folders.
WORLD = {
    "face_or_not": {
        f"{split}/{label}": ["a.jpg", "b.jpg"]
        for split in ("train", "val", "test")
        for label in ("faces", "non-faces")
    },
    "deepfake_and_real": {
        f"Dataset/{split}/{label}": ["1.jpg", "2.JPG"]
        for split in ("Train", "Validation", "Test")
        for label in ("Real", "Fake")
    },
    "real_vs_fake_140k": {
        f"real_vs_fake/real-vs-fake/{split}/{label}": ["00.jpg", "01.jpg"]
        for split in ("train", "valid", "test")
        for label in ("real", "fake")
    },
    "ciplab": {
        "real_and_fake_face/training_real": [f"real_{n:05}.jpg" for n in range(6)],
        "real_and_fake_face/training_fake": [
            f"{hardness}_{n}_1111.jpg" for hardness in ("easy", "mid", "hard") for n in range(2)
        ],
    },
    "prefixed_generators": {
        "0-CelebA": ["1.jpg", "2.jpg"],
        "0-FFHQ/deeper/still": ["1.jpg"],
        "1-StyleGAN": ["1.jpg", "2.jpg"],
        "1-StyleGAN2/00000": ["1.jpg"],
    },
    "real_fake_folders": {"Real": ["1.jpg", "2.jpg"], "Fake/from/anywhere": ["1.jpg", "2.jpg"]},
    "wilddeepfake": {
        **{f"{label}_train/{n}/{label}/0": ["1.png"] for label in ("real", "fake") for n in (0, 1)},
        **{f"{label}_test/3/{label}/12": ["1.png", "2.png"] for label in ("real", "fake")},
    },
}


# What Lightning leaves in the environment where it makes one of several processes; a process that
# is started with it waits for others that nobody starts.
OF_RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR",
            "MASTER_PORT")  # fmt: skip
HYDRA_HANDLERS = (logging.StreamHandler, logging.FileHandler)  # pytest's are their subclasses


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--long`: all of what else runs in a short form, in each of its combinations."""
    parser.addoption("--long", action="store_true", help="run the long tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked as long, unless they are asked for."""
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in set(long)]
    if tuple(map(int, version("torch").split(".")[:2])) < (2, 7):
        reason = "PyTorch exports to ONNX from release 2.7 on"
        for item in items:
            if item.get_closest_marker("onnx_export"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    """Say whether the long tests were asked for."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """Take back what commands have left in this process, which end with theirs otherwise.

    That is the ranks of several processes, the modules that were allowed, and where messages go:
    Hydra opens a file in the folder of a job and sets the level of all loggers.
    """
    allowed = set(lookup._allowed)
    yield
    for name in OF_RANKS:
        os.environ.pop(name, None)
    lookup._allowed.intersection_update(allowed)
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    for handler in [one for one in root.handlers if type(one) in HYDRA_HANDLERS]:
        root.removeHandler(handler)
        handler.close()


@pytest.fixture(autouse=True)
def _checkout_is_left_alone() -> Iterator[None]:
    """Refuse data that is written into the checkout: the next test would find it, or the user."""
    data = Path(__file__).parents[1] / "data"
    before = data.exists()
    yield
    assert data.exists() == before, f"a test wrote {data}; give it a folder of its own"


@pytest.fixture(scope="module", autouse=True)
def _nothing_stays_allowed() -> Iterator[None]:
    """Take back the modules that what is shared by the tests of a file has allowed."""
    yield
    lookup._allowed.clear()


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is remembered between runs out of the home folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _files_are_settled() -> Iterator[None]:
    """Trust the stamps of files that a test has just written."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("faceproof.io.stamps.SETTLED", 0.0)
        yield


class NetworkRefusedError(Exception):
    """A test reached for the network; no OSError, which would be taken for an outage."""


def refuse_network(host: Any) -> None:
    """Refuse a host that is not this machine; it may be an address, as bytes too, or None.

    Raises:
        NetworkRefusedError: it is another machine.
    """
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
        away = not (address.is_loopback or address.is_unspecified)  # a server's "all of mine"
    except ValueError:
        away = True
    if away:
        raise NetworkRefusedError(f"a test reached for {name}; tests run without a network")


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Let tests talk to this machine only."""

    def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: socket.socket, *arguments: Any) -> Any:
            if isinstance(arguments[-1], tuple):  # the address; a path for Unix sockets
                refuse_network(arguments[-1][0])
            return method(self, *arguments)

        return call

    def looked_up(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(host: Any, *arguments: Any, **options: Any) -> Any:
            refuse_network(host)
            return function(host, *arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("connect", "connect_ex", "sendto"):
            monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
            monkeypatch.setattr(socket, name, looked_up(getattr(socket, name)))
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)  # even a server of a test would be asked for through it
        yield


def write_images(
    folder: Path,
    names: Iterable[str],
    size: tuple[int, int] | None = None,
    seed: int = 0,
    face: bool = False,
) -> list[Path]:
    """Write noisy JPEG images; with `face`, a bright oval with two dark eyes in the middle.

    An image is a function of its name and the seed; `size` is (width, height), 32 to 48 px if it
    is not given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for path in paths:
        rng = np.random.default_rng((seed, face, zlib.crc32(path.name.encode())))
        width, height = size or rng.integers(32, 49, 2).tolist()
        pixels = rng.normal(rng.uniform(70, 130, 3), 20, (height, width, 3))
        if face:
            y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
            pixels[x**2 / 0.4 + y**2 / 0.7 < 1] += (90, 60, 40)
            for eye in (-0.3, 0.3):
                pixels[(x - eye) ** 2 + (y + 0.25) ** 2 < 0.02] -= 120
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, "JPEG", quality=90)
    return paths


def write_faces(folder: Path, **numbers: int) -> Path:
    """Write a face_or_not set with so many images a class in each split, and return its root."""
    root = folder / "face_or_not"
    for seed, (split, number) in enumerate(numbers.items()):
        names = [f"{n}.jpg" for n in range(number)]
        write_images(root / split / "faces", names, seed=seed, face=True)
        write_images(root / split / "non-faces", names, seed=seed)
    return root


@pytest.fixture
def make_images() -> MakeImages:
    """Return `make_images(folder, names, size=(width, height), seed=0, face=False)`."""
    return write_images


@pytest.fixture
def portraits(tmp_path: Path, make_images: MakeImages) -> "DataSet":
    """A data set whose fakes are larger, of two makers, and one of which is no image."""
    from faceproof.data.listing import FolderData  # not above, as in `not_looked_at`

    root = tmp_path / "set"
    make_images(root / "real/camera", [f"{n}.jpg" for n in range(12)], (40, 30), 1, face=True)
    make_images(root / "fake/first", [f"{n}.jpg" for n in range(6)], (50, 50), 2)
    make_images(root / "fake/second", [f"{n}.jpg" for n in range(5)], (60, 30), 3)
    (root / "fake/second/5.jpg").write_bytes(b"no image")
    return FolderData(
        "portraits", "deepfake", str(root), "{label}/{generator}/*",
        {"real": "real", "fake": "fake"}, max_unreadable=0.1,
    ).list()  # fmt: skip


@pytest.fixture
def small_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a face_or_not set, 8, 4 and 4 images a class, that can be learned."""
    return write_faces(tmp_path_factory.mktemp("small"), train=8, val=4, test=4)


@pytest.fixture
def not_looked_at(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count, by class, how often a data set was listed (which draws that of the demo)."""
    # Not above: it needs the environment that is set there.
    from faceproof.data.combined import CombinedData
    from faceproof.data.listing import DemoData, FolderData, ShardData, TableData
    from faceproof.data.protocols.protocol import ProtocolData
    from faceproof.data.sources import OwnData

    calls: Counter[str] = Counter()

    def counted(kind: type, do: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(do)
        def listed(source: Any) -> Any:
            calls[kind.__name__] += 1
            return do(source)

        return listed

    for kind in (
        CombinedData, DemoData, FolderData, OwnData, ProtocolData, ShardData, TableData
    ):  # fmt: skip
        monkeypatch.setattr(kind, "list", counted(kind, kind.list))
    return calls


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write every data set of `WORLD` below a folder, point FACEPROOF_DATA at it, return it."""
    root = tmp_path / "data"
    for name, folders in WORLD.items():
        for folder, names in folders.items():
            write_images(root / name / folder, names, size=(12, 8))
    monkeypatch.setenv("FACEPROOF_DATA", str(root))
    return root
