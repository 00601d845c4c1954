"""python -m benchmarks.hostile: many damaged and odd files, through all that reads pictures.

Nothing may crash; each file is either read or named with a reason; and what is said of the good
pictures among them must be what is said of them alone.
"""

import argparse
import io
import os
import random
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from faceproof.data.augment import Augment
from faceproof.data.facts import gather_facts
from faceproof.data.loading import PictureDataset
from faceproof.data.readable import readable_rows
from faceproof.data.sets import folder_data
from faceproof.evaluation.scoring import score
from faceproof.models.detector import Detector, PictureInput
from faceproof.models.heads import HiddenHead
from faceproof.models.trunks import face_cnn_trunk
from faceproof.task import TASKS

SIZE = 48
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF"}


def picture(draw: random.Random, size: tuple[int, int] = (64, 56)) -> Image.Image:
    """Return a picture of smooth colours and noise."""
    rng = np.random.default_rng(draw.randrange(2**32))
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize(size)
    noisy = np.asarray(coarse, np.int16) + rng.integers(-20, 20, (*size[::-1], 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of a picture file."""
    buffer = io.BytesIO()
    image.save(buffer, FORMATS[kind], **options)
    return buffer.getvalue()


def truncated(draw: random.Random) -> tuple[str, bytes]:
    """Cut a file at every twentieth."""
    kind = draw.choice(list(FORMATS))
    data = encoded(picture(draw), kind)
    return f"x.{kind}", data[: len(data) * draw.randrange(20) // 20]


def flipped(draw: random.Random) -> tuple[str, bytes]:
    """Flip some bits."""
    kind = draw.choice(list(FORMATS))
    data = bytearray(encoded(picture(draw), kind))
    for _ in range(draw.choice([1, 3, 30])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return f"x.{kind}", bytes(data)


def misnamed(draw: random.Random) -> tuple[str, bytes]:
    """Give a picture another's suffix."""
    kinds = draw.sample(list(FORMATS), 2)
    return f"x.{kinds[0]}", encoded(picture(draw), kinds[1])


def no_picture(draw: random.Random) -> tuple[str, bytes]:
    """Return what is not a picture at all."""
    beginnings = (
        b"%PDF-1.4\n",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
    )
    wholes = (b"", bytes(4096), b"no picture\n", b"<!doctype html><p>404", draw.randbytes(2000))
    data = draw.choice(beginnings + wholes)
    return f"x.{draw.choice(['jpg', 'png', 'webp', 'gif'])}", data


def declared_huge(draw: random.Random) -> tuple[str, bytes]:
    """Declare 20,000 pixels a side."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(60_000))
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in chunks
    )
    return "x.png", data


def odd(draw: random.Random) -> tuple[str, bytes]:
    """Return a picture that is whole, of a kind that few expect."""
    image = picture(draw)
    wide = np.asarray(image.convert("L"), np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = draw.randrange(10)
    ways: list[Callable[[], tuple[str, bytes]]] = [
        lambda: ("x.jpg", encoded(image.convert("CMYK"), "jpg")),
        lambda: ("x.png", encoded(Image.fromarray(wide), "png")),
        lambda: ("x.png", encoded(image.convert("P"), "png", transparency=0)),
        lambda: ("x.png", encoded(image.convert("LA"), "png")),
        lambda: ("x.png", encoded(image.convert("1"), "png")),
        lambda: ("x.jpg", encoded(image, "jpg", exif=exif)),
        lambda: ("x.gif", encoded(image, "gif", save_all=True, append_images=[picture(draw)])),
        lambda: ("x.png", encoded(image.resize((1, 1)), "png")),
        lambda: ("x.jpg", encoded(image.resize((1, 3000)), "jpg")),
        lambda: ("x.tif", encoded(image.convert("F"), "tif")),
    ]
    return draw.choice(ways)()


KINDS = (truncated, flipped, misnamed, no_picture, declared_huge, odd)


def write_hostile(folder: Path, number: int, seed: int) -> None:
    """Write so many hostile files, and what else a folder may hold."""
    draw = random.Random(seed)
    for place in range(number):
        name, data = draw.choice(KINDS)(draw)
        (folder / f"{place:05}-{name}").write_bytes(data)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    (folder / "a folder.jpg").mkdir()
    (folder / "with\na line.jpg").write_bytes(encoded(picture(draw), "jpg"))
    (folder / "'quotes\" & <tags>.jpg").write_bytes(encoded(picture(draw), "jpg"))


def write_good(folder: Path, number: int, seed: int) -> None:
    """Write good pictures."""
    folder.mkdir(parents=True)
    draw = random.Random(seed)
    for place in range(number):
        (folder / f"good-{place}.jpg").write_bytes(encoded(picture(draw), "jpg", quality=90))


def check(root: Path, number: int, seed: int) -> Iterator[str]:
    """Put hostile files among good ones through all that reads pictures; yield what was found."""
    for name, label in enumerate(("real", "fake")):
        write_good(root / "alone" / label, 20, seed + name)
        write_good(root / "among" / label, 20, seed + name)
        write_hostile(root / "among" / label, number // 2, seed + name)
    answers = {}
    torch.manual_seed(0)
    how = PictureInput(SIZE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
    net = Detector(face_cnn_trunk(SIZE), lambda features: HiddenHead(features, 8), how)
    task = TASKS["deepfake"]
    for name in ("alone", "among"):
        words = {"real": "real", "fake": "fake"}
        data = folder_data(name, "deepfake", str(root / name), "{label}/*", words, max_unreadable=1)
        facts = gather_facts(data.table["path"], None)
        rows, bad = readable_rows(data, root / f"{name}.csv", facts)
        if not all(bad["reason"].to_pylist()):
            raise AssertionError("a file is left out without a reason")
        logits = score(net, rows, task, num_workers=2)
        pictures = PictureDataset(rows, task, SIZE, "bilinear").__getitems__(list(range(40)))
        Augment(rotation=10)(pictures.image / 255, 0, 0, pictures.row)
        answers[name] = dict(zip(rows["path"].to_pylist(), logits.tolist(), strict=True))
        yield f"{name}: {rows.num_rows:,} read, {bad.num_rows:,} named with a reason"
    for path, logit in answers["alone"].items():
        if answers["among"][path.replace("/alone/", "/among/")] != logit:
            raise AssertionError(f"{path} is scored otherwise among hostile files")
    yield "the good pictures are scored alike, alone and among them"


def main() -> None:
    """Check so many files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FACEPROOF_CACHE"] = f"{folder}/cache"
        for line in check(Path(folder) / "pictures", given.files, given.seed):
            print(line)
    sys.exit(0)


if __name__ == "__main__":
    main()
