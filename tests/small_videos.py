"""Videos that say of each frame which it is: its grey is a function of its number."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIDE = 48


def write_video(
    file: Path,
    times,
    codec="mpeg4",
    gop=12,
    options=None,
    rotation=0,
    with_sound=False,
    side=SIDE,
    image=None,
):
    """Write a video whose frames are shown from the given times on, in seconds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = 0
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=8000) if with_sound else None
        for number, time in enumerate(times):
            pixels = grey_frame(number, side) if image is None else image(number)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            quiet = np.zeros((1, 8000), np.float32)
            frame = av.AudioFrame.from_ndarray(quiet, format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return file


def write_sound(file: Path):
    """Write a file with sound and no video."""
    with av.open(str(file), "w") as container:
        sound = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 8000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return file


def grey_frame(number, side=SIDE):
    return np.full((side, side, 3), 20 + 18 * (number % 12), np.uint8)


def numbers_of(clip, fit):
    """Return which frame each of a clip's is, modulo 12."""
    greys = clip.fitted[fit].float().mean((1, 2, 3)).numpy()
    return [round(float(grey - 20) / 18) for grey in greys]
