"""What the page says of a file: the verdict, and images of what it rests on, as HTML."""

import base64
import io
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from faceproof.inference.faces import FaceOptions, FacesVerdict, judge_faces
from faceproof.inference.predictor import Predictor, stack_fitted
from faceproof.inference.timeline import clock, draw_timeline, most_positive
from faceproof.inference.video import NUM_FRAMES, Clip
from faceproof.inference.video_verdict import RULE, judge_clip
from faceproof.prepare.face_finder import Box, crop
from faceproof.reports.html import render
from faceproof.server.heat_map import HeatMaps, shrunk
from faceproof.server.limits import Desk, too_large
from faceproof.server.uploads import read_for_faces, read_upload

TIMELINE = 3.7, 2.7  # inches: type that can be read on a phone
FILTERS = {"digits": "{:.3f}".format, "clock": clock, "left": "{:.2%}".format}
TEMPLATE = "answer.html.j2"
WIDE = 720  # pixels, the longer side of an image with boxes
FONT, PAD = 20, 4  # pixels
# Of a face's box, as of the verdict beside it.
POSITIVE, NEGATIVE, OPEN = "#d55e00", "#0072b2", "#64707f"


def answer_page(
    predictor: Predictor,
    maps: HeatMaps,
    file: io.BytesIO,
    desk: Desk,
    options: FaceOptions | None = None,
) -> str:
    """Return the answer on a file as HTML.

    Args:
        predictor: the detector.
        maps: what draws what an answer rests on.
        file: what was sent.
        desk: whose limits hold.
        options: how faces are found; None judges the whole.

    Raises:
        RefusedError: there is none.
    """
    limits = desk.limits
    if file.seek(0, io.SEEK_END) > limits.max_bytes:
        raise too_large(limits)
    about = {
        "positive": predictor.task.positive,
        "negative": predictor.task.classes[0],
        "unsure": predictor.scorer.point.unsure,
        "problem": None,
        "waiting": False,
        "maps": maps,
    }
    if options is not None:
        image = read_for_faces(file, limits)
        found = judge_faces(predictor, image, options)
        return _say(about | _about_faces(predictor, maps, image, found, options))
    frames = min(NUM_FRAMES, limits.max_frames)
    read = read_upload(file, predictor.fits, limits, frames, desk.deadline())
    if isinstance(read, Clip):
        return _say(about | _about_clip(predictor, read))
    (verdict,) = predictor.judge(stack_fitted([predictor.fit(read)]))
    drawn = {"image": _png(shrunk(read)), "map": _map(maps, read, verdict.probability)}
    return _say(about | drawn | {"said": verdict, "kind": "image"})


def _say(about: dict[str, Any]) -> str:
    return render(TEMPLATE, FILTERS, **about)


def _about_clip(predictor: Predictor, clip: Clip) -> dict[str, Any]:
    """Return what is said of a video."""
    said = judge_clip(predictor, clip)
    strip = [
        {
            "url": _png(shrunk(clip.thumbnails[number])),
            "probability": said.frames[number].probability,
            "time": said.times[number],
        }
        for number in most_positive(said)
    ]
    timeline = _figure(draw_timeline(said, TIMELINE))
    return {"said": said, "kind": "video", "timeline": timeline, "strip": strip, "rule": RULE}


def _about_faces(
    predictor: Predictor,
    maps: HeatMaps,
    image: Tensor,
    found: FacesVerdict,
    options: FaceOptions,
) -> dict[str, Any]:
    """Return what is said of an image by its faces.

    The map is of what the verdict is of: the face that decides, or the whole image.
    """
    said = found.image
    deciding = next((n for n, face in enumerate(found.faces) if face is said), None)
    part = image
    if deciding is not None:
        part = crop(image, found.boxes[deciding], options.margin)
    colours = [
        {predictor.task.positive: POSITIVE, predictor.task.classes[0]: NEGATIVE}.get(
            face.verdict, OPEN
        )
        for face in found.faces
    ]
    return {
        "said": said,
        "kind": "faces",
        "found": found,
        "deciding": deciding,
        "image": _png(_numbered(image, found.boxes, colours)),
        "map": _map(maps, part, said.probability),
    }


def _map(maps: HeatMaps, image: Tensor, probability: float | None) -> str | None:
    """Draw what an answer rests on, if there is one and it can be drawn."""
    if probability is None or maps.problem is not None:
        return None
    return _png(maps.draw(image))


def _numbered(image: Tensor, boxes: Sequence[Box], colours: list[str]) -> Image.Image:
    """Draw numbered boxes on an image, (3, H, W) uint8; the numbers stand outside, above."""
    small = shrunk(image, WIDE)
    scale = small.width / image.shape[-1]
    draw = ImageDraw.Draw(small)
    font = ImageFont.load_default(size=FONT)
    for number, (box, colour) in enumerate(zip(boxes, colours, strict=True), 1):
        left, top, right, bottom = (round(scale * place) for place in box)
        draw.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=3)
        width = draw.textlength(str(number), font=font) + 2 * PAD
        above = max(0, top - FONT - 2 * PAD)
        draw.rectangle((left, above, left + width, above + FONT + 2 * PAD), fill=colour)
        draw.text((left + PAD, above + PAD), str(number), fill="white", font=font)
    return small


def _figure(figure: Figure) -> str:
    """Return a figure as a data URL."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=200, facecolor="white")
    return _url(file)


def _png(image: Image.Image) -> str:
    """Return an image as a data URL."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return _url(file)


def _url(file: io.BytesIO) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
