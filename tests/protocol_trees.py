"""The folders of published data sets as their authors lay them out, with made files."""

import json
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.conftest import write_images

Write = Callable[[Path], None]  # writes a video, or a folder of frames, given without suffix
MANIPULATIONS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


def video(place: Path) -> None:
    """Write an empty file with the ending of a video; nothing that lists opens it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_name(f"{place.name}.mp4").touch()


def frames(place: Path) -> None:
    """Write a folder of one frame, which can be read."""
    number = zlib.crc32(str(place).encode())
    write_images(place, ["0000.jpg"], size=(20, 16), seed=number)


def two_empty_frames(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        (place / f"{number:04}.png").touch()


def write_json(file: Path, held: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(held), encoding="utf-8")


def pairs(first: int, number: int) -> list[list[str]]:
    """Return pairs of videos as the lists of FaceForensics++ have them."""
    return [[f"{n:03}", f"{n + 1:03}"] for n in range(first, first + 2 * number, 2)]


def faceforensics(
    root: Path,
    write: Write = video,
    splits: dict[str, int] | None = None,
    manipulations: Iterable[str] = MANIPULATIONS,
    inside: str = "c23/videos",
) -> Path:
    """Write FaceForensics++ with so many pairs of videos in each split."""
    first = 0
    for split, number in (splits or {"train": 2, "val": 1, "test": 1}).items():
        listed = pairs(first, number)
        write_json(root / f"splits/{split}.json", listed)
        first += 2 * number
        for one, other in listed:
            for name in (one, other):
                write(root / "original_sequences/youtube" / inside / name)
            for maker in manipulations:
                for name in (f"{one}_{other}", f"{other}_{one}"):
                    write(root / "manipulated_sequences" / maker / inside / name)
    return root


def dfd(root: Path, write: Write = video, people: int = 4, inside: str = "c23/videos") -> Path:
    """Write DeepFakeDetection: each two actors have a scene and swap faces in it."""
    for one in range(1, people, 2):
        for person, other in ((one, one + 1), (one + 1, one)):
            write(root / f"original_sequences/actors/{inside}/{person:02}__kitchen_pan")
            name = f"{person:02}_{other:02}__kitchen_pan__8DTEGQ5{person % 10}"
            write(root / f"manipulated_sequences/DeepFakeDetection/{inside}/{name}")
    return root


def celebdf(root: Path, write: Write = video, people: int = 8, inside: str = "") -> Path:
    """Write Celeb-DF: people swap faces by two, and the last two are tested."""
    lines = []
    for person in range(people):
        other = person + 1 - 2 * (person % 2)
        real, fake = f"id{person}_0000", f"id{person}_id{other}_0000"
        write(root / "Celeb-real" / inside / real)
        write(root / "Celeb-synthesis" / inside / fake)
        write(root / "YouTube-real" / inside / f"{person:05}")
        if person >= people - 2:
            lines += [f"1 Celeb-real/{real}.mp4", f"0 Celeb-synthesis/{fake}.mp4"]
            lines.append(f"1 YouTube-real/{person:05}.mp4")
    (root / "List_of_testing_videos.txt").write_text("\n".join(lines) + "\n")
    return root


def dfdc(root: Path, write: Write = video, parts: int = 2, originals: int = 2) -> Path:
    """Write DFDC: in each part fakes of originals, and a test set with labels.csv."""
    for part in range(parts):
        folder, held = root / f"dfdc_train_part_{part}", {}
        for number in range(originals):
            real, fake = f"real{part}{number}", f"fake{part}{number}"
            write(folder / real)
            write(folder / fake)
            held[f"{real}.mp4"] = {"label": "REAL", "split": "train", "original": None}
            held[f"{fake}.mp4"] = {"label": "FAKE", "split": "train", "original": f"{real}.mp4"}
        write_json(folder / "metadata.json", held)
    lines = ["filename,label"]
    for number in range(4):
        write(root / "test" / f"test{number}")
        lines.append(f"test{number}.mp4,{number % 2}")
    (root / "test" / "labels.csv").write_text("\n".join(lines))
    return root


def deeperforensics(
    root: Path, write: Write = video, splits: dict[str, int] | None = None
) -> dict[str, str]:
    """Write DeeperForensics, and return the split of each fake by its name."""
    listed: dict[str, str] = {}
    for split, number in (splits or {"train": 2, "val": 1, "test": 1}).items():
        names = [f"{len(listed) + n:03}_M1{len(listed) + n:02}" for n in range(number)]
        file = root / f"lists/splits/{split}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{name}.mp4\n" for name in names))
        for name in names:
            write(root / "manipulated_videos/end_to_end" / name)
        listed |= dict.fromkeys(names, split)
    return listed


def deepfakebench(root: Path, write: Write = two_empty_frames, number: int = 2) -> Path:
    """Write frames of FaceForensics++ and the JSON file that DeepfakeBench makes of them."""
    held: dict[str, dict[str, dict[str, dict[str, object]]]] = {}
    first = 0
    for split in ("train", "val", "test"):
        for one, other in pairs(first, number):
            for label, name in (("FF-real", one), ("FF-real", other), ("FF-DF", f"{one}_{other}")):
                place = f"FaceForensics++/{label}/c23/frames/{name}"
                write(root / place)
                listed = sorted(file.name for file in (root / place).iterdir())
                split_of_label = held.setdefault(label, {}).setdefault(split, {"c23": {}})
                split_of_label["c23"][name] = {  # type: ignore[index]
                    "label": label, "frames": [f"{place}/{frame}" for frame in listed],
                }  # fmt: skip
        first += 2 * number
    write_json(root / "FF-DF.json", {"FF-DF": held})
    return root / "FF-DF.json"


def forgerynet(root: Path, write: Callable[[Path], None], number: int = 2) -> Path:
    """Write ForgeryNet's images, each by `write`, and its lists; 7 makes fakes, 17 is real."""
    for split, folder in (("train", "Training"), ("val", "Validation")):
        lines = []
        for kind, line in ((7, "1 1 15"), (17, "0 0 0")):
            for n in range(number):
                path = f"{split}_release/{kind}/clip{n}/frame00038.jpg"
                place = root / folder / "image" / path
                place.parent.mkdir(parents=True, exist_ok=True)
                write(place)
                lines.append(f"{path} {line}")
        (root / folder / "image_list.txt").write_text("\n".join(lines))
    return root
