"""Kinds of files: what is an image by its name or its bytes, and what nobody means."""

import importlib.machinery
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from faceproof.data import kinds
from faceproof.data.image_io import UnreadableImageError, decode_image, from_pillow
from faceproof.data.kinds import IMAGE, LEFT_BEHIND, OTHER, VIDEO, LeftOut, kind_of
from faceproof.io.left_behind import is_left_behind_folder

LEFT_NAMES = """
    1.jpg:Zone.Identifier|1.jpg\uf03aZone.Identifier|1.jpg.Zone.Identifier|1.jpg:com.dropbox.attrs
    Icon\r|icon\uf00d|.DS_Store|._1.jpg|Thumbs.db|thumbs.DB|ehthumbs.db|desktop.ini|Desktop.INI
    .nfs000000001|.fuse_hidden0001|.syncthing.1.jpg.tmp|~syncthing~1.jpg.tmp|1.jpg.part
    1.jpg.crdownload|1.jpg.tmp|1.jpg~|1.jpg.bak|1.jpg.BAK|.1.jpg.swp|#1.jpg#|~$notes.docx|1.jpg.old
    1 (Ann's conflicted copy 2024-01-02).jpg|1 (Case Conflict).jpg|1.sync-conflict-20240102-1.jpg
    1_conflict-20240102-1.jpg|1 (SFConflict a@b.c 2024-01-02).png|.hidden.jpg
    SYNOPHOTO_THUMB_XL.jpg|1.jpg@SynoEAStream|.1.jpg.icloud|.trashed-17-1.jpg
""".strip("\n")
LEFT_FOLDERS = """
    __MACOSX|@eaDir|#recycle|@Recycle|$RECYCLE.BIN|System Volume Information|lost+found|.Trash-1000
    .Trashes|.dropbox.cache|.stversions|.stfolder|.git|.ipynb_checkpoints|.AppleDouble|found.000
    LOST.DIR|#snapshot|fake (Selective Sync Conflict)|.Spotlight-V100|PaxHeaders.123|.thumbnails
""".strip("\n")


def listed(names: str) -> list[str]:
    return [name for line in names.split("\n") for name in line.strip(" ").split("|")]


def encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", listed(LEFT_NAMES))
def test_what_systems_and_programs_leave_is_no_image(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded("JPEG"))
    assert kind_of(str(tmp_path / name)) == LEFT_BEHIND


@pytest.mark.parametrize("name", ["MVI_1.THM", "1.AAE", "1.jpg.lnk", "1.txt", "1.xmp"])
def test_notes_beside_images_are_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded("JPEG"))
    assert kind_of(str(tmp_path / name)) == OTHER


@pytest.mark.parametrize("name", listed(LEFT_FOLDERS))
def test_folders_that_systems_and_programs_make(name: str) -> None:
    assert is_left_behind_folder(name)


@pytest.mark.parametrize(
    "name",
    ["1.jpg", "IMG (1).JPEG", "a b.png", "00_conf.jpg", "config.png", "copie.jpg", "x.jpg:large",
     "confused (1).jpg", "iconic.jpg", "part.png", "2020-01-01T10.30:15.jpg", "#1.jpg", "1.pgm"],
)  # fmt: skip
def test_names_of_images_stay_images(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded("JPEG"))
    assert kind_of(str(tmp_path / name)) == IMAGE


@pytest.mark.parametrize("name", ["real", "fake-old", "tmp", "recycled", "0-conf", "v1.real"])
def test_folders_of_ones_own_are_looked_into(name: str) -> None:
    assert not is_left_behind_folder(name)


@pytest.mark.parametrize("name", ["frame", "frame.0001", "frame.dat"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"])
def test_where_the_ending_says_nothing_the_bytes_decide(
    tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / name).write_bytes(encoded(kind))
    assert kind_of(str(tmp_path / name)) == IMAGE


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypisom", VIDEO),
        (b"\xff\x0a", "JPEG XL"),
        (b"RIFF\0\0\0\0AVI ", VIDEO),
        (b"some text", OTHER),
        (b"", OTHER),
    ],
)
def test_other_bytes(
    tmp_path: Path, start: bytes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "_installed", frozenset)
    (tmp_path / "file").write_bytes(start)
    assert kind_of(str(tmp_path / "file")) == kind


def test_every_ending_has_one_kind_and_every_format_is_pillows() -> None:
    groups = [*kinds.FORMATS.values(), *(extra.suffixes for extra in kinds.EXTRAS)]
    groups += [suffixes for _, suffixes in kinds.UNREAD.values()] + [tuple(kinds.VIDEO_SUFFIXES)]
    everything = [suffix for group in groups for suffix in group]
    assert len(everything) == len(set(everything))
    Image.init()
    assert set(kinds.FORMATS) <= set(Image.OPEN)
    pillows = {suffix for suffix, name in Image.registered_extensions().items()
               if name in kinds.FORMATS}  # fmt: skip
    assert pillows <= set(everything)


@pytest.mark.parametrize(
    ("start", "advice"),
    [
        (b"\0\0\0\x18ftypheic", r"but HEIC: pip install 'faceproof\[heif\]'"),
        (b"\xff\x0a" + bytes(9), "JPEG XL: decode them to PNG"),
        (b"\0\0\0\x18ftypisom", "but a video: faceproof predict judges videos"),
        (b"%PDF-1.4", "save them as PNG"),
    ],
)
def test_a_file_under_the_name_of_an_image_says_what_reads_it(
    start: bytes, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "find_spec", lambda name: None)
    with pytest.raises(UnreadableImageError, match=advice):
        decode_image(start)


@pytest.mark.parametrize(
    ("extra", "options"),
    [(kinds.EXTRAS[0], {"quality": -1})],
)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_an_extra_reads_its_format_upright(
    extra: kinds.Extra, options: dict[str, object], orientation: int
) -> None:
    pytest.importorskip(extra.module)
    extra.register()
    blocks = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    image, exif = Image.fromarray(np.kron(blocks, np.ones((8, 8, 1), np.uint8))), Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, extra.format, exif=exif.tobytes(), **options)
    found = decode_image(buffer.getvalue())
    with Image.open(buffer) as opened:
        assert (from_pillow(opened) == found).all()
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.allclose(found.transpose(1, 2, 0), upright, atol=2)


def test_with_an_extra_its_endings_are_images(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.machinery.ModuleSpec("pillow_heif", None)
    monkeypatch.setattr(kinds, "find_spec", lambda name: spec if name == "pillow_heif" else None)
    kinds._installed.cache_clear()
    try:
        assert [kind_of(name) for name in ("a.heic", "a.HEIF", "a.jxl")] == [
            IMAGE,
            IMAGE,
            "JPEG XL",
        ]
    finally:
        kinds._installed.cache_clear()


def test_what_was_left_out_is_told_in_one_line() -> None:
    left_out = LeftOut()
    assert not left_out
    for kind, name in ((OTHER, "a.txt"), ("HEIC", "b.heic"), (LEFT_BEHIND, "x"), (OTHER, "c")):
        left_out.add(kind, name)
    assert str(left_out) == (
        "left out: 1 HEIC file ('b.heic'): pip install 'faceproof[heif]' reads them; "
        "1 hidden file, or of systems and programs ('x'); 2 files of other kinds ('a.txt', ...)"
    )
