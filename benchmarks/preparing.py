"""How fast videos are prepared: against decoding alone, and a plain loop of the same detector."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from benchmarks.measuring import in_turns, medians, ratio
from faceproof.data.demo.portraits import render_portrait
from faceproof.prepare.boxes import crop
from faceproof.prepare.cropping import MARGIN
from faceproof.prepare.media import prepare_settings
from faceproof.prepare.retinaface import RetinaFace
from faceproof.workflows.prepare import Preparation, prepare_folder
from faceproof.workflows.prepare_sources import listed_paths

WIDTH, HEIGHT, RATE = 1280, 720, 25


def write_videos(folder: Path, number: int, seconds: float) -> list[Path]:
    """Write videos of a drawn person who moves, in H.264, as phones write them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for person in range(number):
        file = folder / f"{person}.mp4"
        drawn = render_portrait(np.random.default_rng(person)).image
        pixels = (255 * drawn.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
        portrait = Image.fromarray(pixels).resize((420, 420))
        background = Image.effect_noise((WIDTH, HEIGHT), 40).convert("RGB")
        with av.open(str(file), "w") as container:
            stream = container.add_stream("libx264", rate=RATE)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for frame in range(round(RATE * seconds)):
                scene = background.copy()
                scene.paste(portrait, (300 + round(200 * np.sin(frame / 40)), 150))
                container.mux(stream.encode(av.VideoFrame.from_image(scene)))
            container.mux(stream.encode())
        files.append(file)
    return files


def decode(files: list[Path]) -> int:
    """Decode every frame to RGB, and return how many there are."""
    number = 0
    for file in files:
        with av.open(str(file)) as container:
            for frame in container.decode(video=0):
                frame.to_ndarray(format="rgb24")
                number += 1
    return number


def plain_loop(files: list[Path], out: Path) -> int:
    """Do what most scripts do: a frame at a time, with the same detector; return their number."""
    detector = RetinaFace()
    out.mkdir(parents=True, exist_ok=True)
    number = 0
    for file in files:
        with av.open(str(file)) as container:
            for frame in container.decode(video=0):
                image = np.ascontiguousarray(frame.to_ndarray(format="rgb24").transpose(2, 0, 1))
                faces = detector([image])[0]
                if faces:
                    largest = max(faces, key=lambda face: face.box.area)
                    pixels = crop(image, largest.box, MARGIN).transpose(1, 2, 0)
                    name = f"{file.stem}_{number:06d}.png"
                    Image.fromarray(np.ascontiguousarray(pixels)).save(out / name)
                number += 1
    return number


def measure_preparing(
    folder: Path, videos: int, seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """Return frames a second of all frames of some videos, in turns, and the ratios."""
    files = write_videos(folder / "videos", videos, seconds)
    frames = decode(files)
    wanted = prepare_settings({"frames": "all"})
    preparation = Preparation(wanted, listed_paths([str(folder / "videos")]))
    numbers = iter(range(10**6))

    def rate(work: Callable[[], Any]) -> Callable[[], float]:
        def measured() -> float:
            began = time.perf_counter()
            work()
            return frames / (time.perf_counter() - began)

        return measured

    ways = {
        "decode alone": rate(lambda: decode(files)),
        "plain loop": rate(lambda: plain_loop(files, folder / f"loop{next(numbers)}")),
        "prepare": rate(lambda: prepare_folder(folder / f"out{next(numbers)}", preparation)),
    }
    found = in_turns(ways, rounds)
    return [
        {
            "frames": frames, "cores": os.cpu_count(), **medians(found),
            "prepare / plain loop": ratio(found, "prepare", "plain loop"),
            "prepare / decode": ratio(found, "prepare", "decode alone"),
        }
    ]  # fmt: skip
