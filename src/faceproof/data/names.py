"""What the names of files say of the videos and people they show, in data sets that are known.

| data set            | names                                 | what they say                      |
|---------------------|---------------------------------------|------------------------------------|
| FaceForensics++     | `000`, `000_003`                      | videos 000 and 003                 |
| DeepFakeDetection   | `01__kitchen_pan`, `01_02__kitchen_p` | actors 01 and 02                   |
| DeeperForensics     | `000_M101`, `M101`                    | FaceForensics++'s 000; actor M101  |
| Celeb-DF            | `id0_0000`, `id0_id1_0000`            | persons id0 and id1                |
| FakeAVCeleb         | `id00076/00109_id00166_wavtolip`      | persons id00076 and id00166        |
| DFDC                | `dfdc_train_part_7`                   | its people are in that part alone  |
| DFDC preview        | `1788687_1224068_A_000`               | persons 1788687 and 1224068        |
| DeepfakeTIMIT       | `fadg0`                               | person fadg0                       |
| WildDeepfake        | `fake_train/12`                       | video 12 of fake_train             |
| LFW                 | `Aaron_Eckhart/Aaron_Eckhart_0001`    | the person                         |
| VGGFace2            | `n000123`                             | the person                         |
| others              | `person_12`, `subject3`, `actor-07`   | the person                         |
| others              | `video_12`, `clip3`, `abc_frame_0012` | the video, in its folder           |
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from faceproof.data.shards.paths import MEMBER

SOURCE_VIDEO, IDENTITY = KEYS = ("source_video", "identity")


class Value(NamedTuple):
    """A video or person that a path names.

    `kind` is empty where the name alone says so; else other names have to bear it out, for it may
    be mere counting: `pair` and `single` of three digits, `actor` such as M101, and `file` for a
    file that is named by three digits alone, which in most sets are those of a frame.
    """

    key: str  # one of `KEYS`
    name: str
    kind: str = ""


_END = r"(?=$|[_. -])"
# Shapes of the name of a folder, or of a file where no folder has one: kind, pattern, and the keys
# of its groups.
_SHAPES = (
    ("", rf"(\d{{3}})_([mw]\d{{3}}){_END}", (SOURCE_VIDEO, IDENTITY)),
    ("pair", rf"(\d{{3}})_(\d{{3}}){_END}", (SOURCE_VIDEO, SOURCE_VIDEO)),
    ("single", r"(\d{3})(?=$|_\d{4,}$|[_ -]?frame)", (SOURCE_VIDEO,)),
    ("actor", rf"([mw]\d{{3}}){_END}", (IDENTITY,)),
    ("", r"(\d\d)(?:_(\d\d))?__(?=[a-z])", (IDENTITY, IDENTITY)),
    ("", r"(\d{6,7})(?:_(\d{6,7}))?_[a-z]_\d{3}", (IDENTITY, IDENTITY)),
    ("", rf"(n\d{{6}}){_END}", (IDENTITY,)),
)
_COMPILED = [(kind, re.compile(pattern), keys) for kind, pattern, keys in _SHAPES]
# Words that may stand anywhere in a path.
_PERSON = re.compile(
    r"(?<![a-z0-9])((?:id|person|people|subject|actor|identity|speaker|celeb|celebrity)[-_ ]?\d+)"
    r"(?![a-z0-9])"
)
_PART = re.compile(r"(?:^|/)(dfdc_train_part_\d+)(?=/)")
_WILD = re.compile(r"(?:^|/)((?:real|fake)_(?:train|test)/\d+)(?=/)")
_TIMIT = re.compile(r"(?:^|/)([fm][a-z]{3}\d)(?=/)")
_TIMIT_SET = re.compile(r"(?:lower|higher)_quality/|timit")
_LFW = re.compile(
    r"(?:^|/)(?![^/]*(?:real|fake|train|test|face|image|photo|video))([^/_\d]+_[^/\d]+)/\1_\d{4}$"
)
_VIDEO = re.compile(
    r"(.*(?<![a-z0-9])(?:video|vid|clip|movie|sequence|seq)[-_ ]?\d+)(?!\d)"
    r"|(.*?)[-_ ]frame[-_ ]?\d+$"
)
_FORENSICS = re.compile(
    r"deepfakes|face2face|faceswap|neuraltextures|faceshifter|_sequences/|faceforensics|ff\+\+"
)


def values_of(path: str) -> tuple[Value, ...]:
    """Return the videos and people that a path names, folders divided by `/`; none if unknown.

    The path is relative to the data set's folder: what lies above says nothing of one image.
    """
    folder, slash, file = path.lower().rpartition("/")
    plain = folder + slash + (file.rpartition(".")[0] or file)
    found = [Value(IDENTITY, re.sub(r"[-_ ]", "", word)) for word in _PERSON.findall(plain)]
    found += [Value(IDENTITY, word) for word in (*_PART.findall(plain), *_LFW.findall(plain))]
    if _TIMIT_SET.search(plain):
        found += [Value(IDENTITY, word) for word in _TIMIT.findall(plain)]
    found += [Value(SOURCE_VIDEO, word) for word in _WILD.findall(plain)]
    shaped = _shapes(plain.split("/"))
    found += [value for value in shaped if value.kind not in ("single", "file") or not found]
    if not found and (video := _VIDEO.match(plain)):
        found.append(Value(SOURCE_VIDEO, video[1] or video[2]))
    return tuple(dict.fromkeys(found))


def inner_paths(paths: Sequence[str | None]) -> list[str]:
    """Return paths below the folder that all share, or of images in shards the names within."""
    names = [MEMBER.sub("", path or "").replace("\\", "/") for path in paths]
    folders = [name.rpartition("/")[0] + "/" for name in names]
    if not folders:
        return []
    first, last = min(folders), max(folders)  # all that lies between them shares what they share
    end = next((n for n, (a, b) in enumerate(zip(first, last)) if a != b), len(first))  # noqa: B905
    start = first.rfind("/", 0, end) + 1
    return [name[start:] for name in names]


def _shapes(words: list[str]) -> list[Value]:
    """Return the values in the last folder whose name has a known shape, else in the file's."""
    for word in (*reversed(words[:-1]), words[-1]):
        for kind, shape, keys in _COMPILED:
            if match := shape.match(word):
                kind = "file" if kind == "single" and words[-1] is word and len(word) == 3 else kind
                named = zip(keys, match.groups(), strict=True)
                return [Value(key, name, kind) for key, name in named if name is not None]
    return []


def credible_values(paths: Sequence[str], trusted: bool = False) -> list[tuple[Value, ...]]:
    """Return `values_of` each path, without what may be mere counting.

    Three digits are videos of FaceForensics++ where the path has its folders, or where two names
    bear each other out: `000_003` beside `003_000`, or beside the originals (the folder `000` or
    `003`, or both files). M101 is an actor where there is a `000_M101` too. Where they are
    `trusted`, for somebody has said that names mean videos and people, only what may be the number
    of a frame is left out.
    """
    rows = [values_of(path) for path in paths]
    pairs = {tuple(v.name for v in row) for row in rows if row and row[0].kind == "pair"}
    kinds = {(v.kind, v.name) for row in rows for v in row}
    known = {v.name for row in rows for v in row if not v.kind}
    for pair in pairs:
        originals = any(("single", name) in kinds for name in pair)
        # Files are often counted by three digits, so that one of them alone says little.
        files = [("file", name) in kinds for name in pair]
        if pair[::-1] in pairs or originals or all(files) or (trusted and any(files)):
            known.update(pair)
    sure = (trusted or _FORENSICS.search(path.lower()) is not None for path in paths)
    return [
        tuple(v for v in row if v.name in known or not v.kind or (of_set and v.kind != "file"))
        for row, of_set in zip(rows, sure, strict=True)
    ]
