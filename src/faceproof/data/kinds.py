"""Says by its name, and where that says nothing by its first bytes, what kind of file a file is.

The one list of the kinds of files for every command: which are images, which are videos, which hold
an image that is not read and what would read it, and which are left behind by systems,
synchronisers, archivers and editors.
"""

import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from faceproof.io.left_behind import is_copy, is_left_behind

# Pillow's formats that are read, and the endings of their files: those that cameras, phones, web
# sites and data sets use, whose decoders are in C, and which have a signature. Left out: EPS, which
# Pillow hands to Ghostscript; TGA, which has no signature, so that any bytes may pass for one; JPEG
# 2000, whose cost no header bounds; and containers, drawings and layered files (ICO, PSD, WMF, FPX,
# PDF ...), which hold no photograph of their own.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif", ".avifs"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
IMAGE, VIDEO, LEFT_BEHIND, OTHER = "image", "video", "left behind", "other"
OWN_OUTPUT = "output"  # a folder that a command of faceproof has written
FOLDER = "folder"  # one that is left behind, with all that is in it
VIDEO_SUFFIXES = frozenset(
    (
        ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp",
        ".3g2", ".mts", ".m2ts", ".m2t", ".vob", ".ogv", ".asf", ".mxf",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Extra:
    """A format that Pillow reads with a library of an extra.

    Attributes:
        install: the extra that brings the module.
        module: the library's, whose function `registers` makes Pillow read it.
        format: Pillow's name of the format.
    """

    name: str
    suffixes: tuple[str, ...]
    install: str
    module: str
    format: str
    registers: str

    def is_installed(self) -> bool:
        """Say whether the module is there."""
        return find_spec(self.module) is not None

    def register(self) -> None:
        """Let Pillow read the format from now on."""
        getattr(import_module(self.module), self.registers)()


EXTRAS = (
    Extra(
        "HEIC", (".heic", ".heif", ".hif", ".heics", ".heifs"), "heif", "pillow_heif", "HEIF",
        "register_heif_opener",
    ),
)  # fmt: skip
NOT_IMAGES = (FOLDER, OWN_OUTPUT, LEFT_BEHIND, OTHER)
_PNG = "save them as PNG"
# JPEG XL is none of the extras: its plugin for Pillow decodes a file when it is opened, before its
# size is known and can be refused.
# Images that nothing here reads, and what does.
UNREAD: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "camera raw": (
        "develop them to PNG, JPEG or TIFF by a raw converter, such as darktable-cli",
        (
            ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2",
            ".raf", ".pef", ".srw", ".raw", ".rwl", ".3fr", ".fff", ".iiq", ".kdc", ".dcr", ".mrw",
            ".x3f", ".erf", ".mef", ".mos", ".gpr",
        ),
    ),
    "JPEG XL": ("decode them to PNG by djxl", (".jxl",)),
    "JPEG 2000": (_PNG, (".jp2", ".j2k", ".jpf", ".jpx", ".jpm", ".j2c", ".jpc", ".jph")),
    "TGA": (_PNG, (".tga", ".icb", ".vda", ".vst")),
    "Photoshop": (_PNG, (".psd", ".psb")),
    "HDR": (_PNG, (".exr", ".hdr", ".pfm", ".jxr", ".wdp")),
    "drawing or page": (_PNG, (".svg", ".svgz", ".eps", ".ps", ".ai", ".pdf", ".wmf", ".emf")),
    "icon": (_PNG, (".ico", ".cur", ".icns")),
    "rare image format": (
        _PNG,
        (
            ".pcx", ".sgi", ".rgb", ".ras", ".sun", ".dds", ".qoi", ".xbm", ".xpm", ".pam", ".xcf",
            ".pct", ".pict", ".fits", ".fit", ".dcm", ".nii", ".bpg", ".flif",
        ),
    ),
    "array": (_PNG, (".npy", ".npz")),
}  # fmt: skip
ADVICE_FOR_VIDEOS = (
    "faceproof predict judges videos; all else takes images: faceproof prepare cuts the faces out "
    "of videos, and data=prepared takes them"
)

# One of these marks a folder that faceproof has written, whose plots are nobody's data: a run, a
# sweep, an artifact, an evaluation, a set of shards, and what compare, explore, spectra, explain,
# features and prepare (finished or not) write.
_OUTPUTS = (
    {"config.yaml", "record.json"}, {"leaderboard.csv", "sweep.lock"}, {"card.json", "README.md"},
    {"predictions.parquet", "report.json"}, {"features.json", "features.png"},
    *({f"{page}.html", f"{page}.json"} for page in ("comparison", "explore", "spectra")),
    {"explanation.html", "explanation.json"}, {"prepared.json", "media.parquet"},
    {"journal.jsonl", "prepare.lock"}, {"shards.json", "samples.parquet"},
)  # fmt: skip

# What a name must have that is left behind although its ending is known; most have none of it.
_SUSPECT = re.compile(r"^[._~#]|^syno|conf|konf|copi", re.IGNORECASE)
# Notes beside images, which need not be opened to see that they are none.
_NOTES = frozenset(
    (
        ".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".md", ".html", ".htm",
        ".log", ".py", ".sh", ".xmp", ".mat", ".pts", ".pkl", ".pt", ".zip", ".tar", ".gz", ".rar",
        ".7z", ".parquet", ".doc", ".docx", ".xls", ".xlsx", ".mp3", ".wav", ".m4a",
        ".thm", ".aae", ".lnk", ".url", ".webloc", ".desktop", ".lock", ".gdoc", ".gsheet",
    )
)  # fmt: skip
# Of the first bytes of images and videos, for files whose ending says nothing.
_MAGIC = (
    (rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|BM.{4}\0{4}|II[*+]\0|MM\0[*+]", IMAGE),
    (rb"RIFF....WEBP|....ftypavi[fs]|P[1-6]\s+[#0-9]", IMAGE),
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", "HEIC"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"8BPS", "Photoshop"),
    (rb"....ftypcrx|FUJIFILMCCD-RAW|IIU\0|IIRO", "camera raw"),
    (rb"%PDF|%!PS", "drawing or page"),
    (rb"....ftyp|....moov|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01[\xb3\xba]|FLV\x01|OggS", VIDEO),
    (rb"0&\xb2u\x8ef\xcf\x11|G.{187}G.{187}G", VIDEO),  # the second: MPEG transport streams
)
_MAGIC_PATTERNS = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in _MAGIC)
START = 400  # bytes

_BY_SUFFIX = {
    **{suffix: IMAGE for suffixes in FORMATS.values() for suffix in suffixes},
    **{suffix: extra.name for extra in EXTRAS for suffix in extra.suffixes},
    **{suffix: name for name, (_, suffixes) in UNREAD.items() for suffix in suffixes},
    **dict.fromkeys(VIDEO_SUFFIXES, VIDEO),
    **dict.fromkeys(_NOTES, OTHER),
}


def kind_of(path: str) -> str:
    """Return the kind of a file that was found in a folder.

    It is `IMAGE`, `VIDEO`, `LEFT_BEHIND`, `OTHER`, or a format that is not read; hidden files,
    copies by synchronisers and editors, and files that are not whole are left behind too. The file
    is opened only if its ending is not known.
    """
    name = path.rpartition(os.sep)[2]
    kind = _BY_SUFFIX.get(os.path.splitext(name)[1].lower())  # noqa: PTH122
    if (kind is None or _SUSPECT.search(name)) and (
        name.startswith(".") or is_left_behind(name) or is_copy(name)
    ):
        return LEFT_BEHIND
    kind = kind or kind_of_bytes(_start(path)) or OTHER
    return IMAGE if kind in _installed() else kind


def is_own_output(names: Collection[str]) -> bool:
    """Say whether a folder with files of these names is one that faceproof has written."""
    return any(marks.issubset(names) for marks in _OUTPUTS)


def kind_of_bytes(start: bytes) -> str | None:
    """Return the kind of a file by its first `START` bytes; None if they are of none known."""
    return next((kind for pattern, kind in _MAGIC_PATTERNS if pattern.match(start)), None)


def _start(path: str) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(START)
    except (OSError, ValueError):  # whoever reads the whole file says why it cannot be read
        return b""


def extra_of(data: bytes) -> Extra | None:
    """Return the extra that reads the bytes of a file, by the first of them; None for none."""
    kind = kind_of_bytes(data[:START])
    return next((extra for extra in EXTRAS if extra.name == kind), None)


def why_unknown(data: bytes) -> str:
    """Say why the bytes of a file are no image that can be read."""
    kind = kind_of_bytes(data[:START])
    if kind is None or not (advice := what_reads(kind)):
        return "no image format that can be read"
    return f"no image format that can be read, but {'a video' if kind == VIDEO else kind}: {advice}"


@cache
def _installed() -> frozenset[str]:
    return frozenset(extra.name for extra in EXTRAS if extra.is_installed())


def what_reads(kind: str) -> str:
    """Say what reads a kind of file that is not read as an image; empty if it is no image."""
    for extra in EXTRAS:
        if kind == extra.name:
            return f"pip install 'faceproof[{extra.install}]' reads them"
    if kind == VIDEO:
        return ADVICE_FOR_VIDEOS
    return UNREAD[kind][0] if kind in UNREAD else ""


@dataclass
class LeftOut:
    """Counts the files that were found beside images and are not read, by their kind."""

    _found: dict[str, tuple[int, str]] = field(default_factory=dict)  # number, and the first

    def add(self, kind: str, name: str) -> None:
        """Count a file of a kind."""
        number, first = self._found.get(kind, (0, name))
        self._found[kind] = number + 1, first

    def kinds(self) -> list[str]:
        """Return the kinds of which files were left out."""
        return list(self._found)

    def number(self, *kinds: str) -> int:
        """Return how many files of some kinds were left out."""
        return sum(self._found[kind][0] for kind in kinds if kind in self._found)

    def __bool__(self) -> bool:
        return bool(self._found)

    def __str__(self) -> str:
        """Return one line; what matters most, images that are not read, stands first."""
        return f"left out: {self.kinds_told()}"

    def kinds_told(self) -> str:
        """Return what was left out, as text."""
        kinds = sorted(self._found, key=lambda kind: (kind in NOT_IMAGES, kind))
        return "; ".join(self._told(kind) for kind in kinds)

    def _told(self, kind: str) -> str:
        number, first = self._found[kind]
        plural = "" if number == 1 else "s"
        words = {
            VIDEO: f"video{plural}",
            LEFT_BEHIND: f"hidden file{plural}, or of systems and programs",
            FOLDER: f"hidden folder{plural}, or of systems and programs",
            OWN_OUTPUT: f"folder{plural} that faceproof has written",
            OTHER: f"file{plural} of other kinds",
        }.get(kind, f"{kind} file{plural}")
        advice = f": {what_reads(kind)}" if what_reads(kind) else ""
        return f"{number:,} {words} ({first!r}{', ...' if number > 1 else ''}){advice}"
