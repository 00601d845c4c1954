"""Draws a contact sheet: small images with their verdicts, for a person to look through."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont, ImageOps

from faceproof.data.image_io import UnreadableImageError, read_image
from faceproof.inference.output_parts import Row
from faceproof.io.atomic import atomic_file

COLUMNS = 6
SIDE = 200  # pixels
GAP = 12
LINE = 18
INK, FAINT, PAPER = "#1a1a1a", "#666666", "#ffffff"


def write_contact_sheet(file: Path, rows: Sequence[Row]) -> None:
    """Draw images in the order of the rows, each with its name, probability and verdict.

    Args:
        file: the PNG to write.
        rows: the results of one or more images, each with a probability.
    """
    columns = min(COLUMNS, len(rows))
    cell = (SIDE + GAP, SIDE + GAP + 2 * LINE)
    height = math.ceil(len(rows) / columns)
    sheet = Image.new("RGB", (columns * cell[0] + GAP, height * cell[1] + GAP), PAPER)
    font = ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 13
    )
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        left, top = GAP + number % columns * cell[0], GAP + number // columns * cell[1]
        image = _thumbnail(row.path)
        offset = ((SIDE - image.width) // 2, (SIDE - image.height) // 2)
        sheet.paste(image, (left + offset[0], top + offset[1]))
        name = _shortened("/".join(Path(row.path).parts[-2:]), font)
        said = f"{row.probability:.3f}  {row.verdict}"
        draw.text((left, top + SIDE + 2), said, INK, font)
        draw.text((left, top + SIDE + 2 + LINE), name, FAINT, font)
    with atomic_file(file) as partial:
        sheet.save(partial, "PNG")


def _thumbnail(path: str) -> Image.Image:
    """Return an image, reduced; an empty frame if it can no longer be read."""
    try:
        image = Image.fromarray(read_image(path).transpose(1, 2, 0))
    except UnreadableImageError:
        return ImageOps.expand(Image.new("RGB", (SIDE - 2, SIDE - 2), PAPER), 1, FAINT)
    fitted: Image.Image = ImageOps.contain(image, (SIDE, SIDE))
    return fitted


def _shortened(name: str, font: ImageFont.FreeTypeFont) -> str:
    """Leave out the middle of a name that is wider than its image."""
    number, short = len(name), name
    while font.getlength(short) > SIDE and number > 2:
        number -= 1
        short = f"{name[: number // 2]}…{name[-(number - number // 2) :]}"
    return short
