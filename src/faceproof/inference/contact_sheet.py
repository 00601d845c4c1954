"""Draws contact sheets: small images with their verdicts, for a person to look through."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont, ImageOps

from faceproof.data.image_io import UnreadableImageError, decode_image, thumbnail
from faceproof.inference.objects import read_anywhere
from faceproof.inference.output_parts import Row
from faceproof.io.atomic import atomic_file

COLUMNS = 6
SIDE = 200  # pixels
GAP = 12
LINE = 18
INK, FAINT, PAPER = "#1a1a1a", "#666666", "#ffffff"


def write_contact_sheet(file: Path, rows: Sequence[Row]) -> None:
    """Draw images in the order of the rows, each with its name, probability and verdict."""
    cells = (
        (_thumbnail(row.path), f"{row.probability:.3f}  {row.verdict}", _short_name(row.path))
        for row in rows
    )
    columns = min(COLUMNS, len(rows))
    sheet = draw_sheet(cells, columns, math.ceil(len(rows) / columns), INK)
    with atomic_file(file) as partial:
        sheet.save(partial, "PNG")


def draw_sheet(
    cells: Iterable[tuple[Image.Image, str, str]], columns: int, rows: int, ink: str
) -> Image.Image:
    """Draw images of at most `SIDE` pixels a side in a grid, each with two lines of text below."""
    width, height = SIDE + GAP, SIDE + GAP + 2 * LINE
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), _font()
    for number, (image, first, second) in enumerate(cells):
        left, top = GAP + number % columns * width, GAP + number // columns * height
        sheet.paste(image, (left + (SIDE - image.width) // 2, top + (SIDE - image.height) // 2))
        draw.text((left, top + SIDE + 2), first, ink, font)
        draw.text((left, top + SIDE + 2 + LINE), second, FAINT, font)
    return sheet


def _font() -> ImageFont.FreeTypeFont:
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), 13)


def _thumbnail(path: str) -> Image.Image:
    """Return an image, reduced; an empty frame if it can no longer be read."""
    try:
        return ImageOps.contain(thumbnail(decode_image(read_anywhere(path)), SIDE), (SIDE, SIDE))
    except UnreadableImageError:
        return ImageOps.expand(Image.new("RGB", (SIDE - 2, SIDE - 2), PAPER), 1, FAINT)


def _short_name(path: str) -> str:
    """Return the end of a path, without its middle where it is wider than an image."""
    name, font = "/".join(Path(path).parts[-2:]), _font()
    number, short = len(name), name
    while font.getlength(short) > SIDE and number > 2:
        number -= 1
        short = f"{name[: number // 2]}…{name[-(number - number // 2) :]}"
    return short
