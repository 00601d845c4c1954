"""Data sets: every configuration on its real layout, tables, combinations, and their refusals."""

import csv
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from faceproof import app
from faceproof.data import CombinedData, DataSet, FolderData, TableData
from faceproof.data.sources import make_source, resolve
from faceproof.data.table import counts, write_table
from faceproof.errors import FaceproofError
from tests.conftest import WORLD, MakeImages, write_images

REPOSITORY = Path(__file__).parents[2]
CONFIGURED = sorted(
    file.stem
    for file in (REPOSITORY / "conf" / "data").glob("[!_]*.yaml")
    if "[_folder]" in file.read_text("utf-8") and file.stem != "videos"  # of no images
)
SHARED = Path(os.environ.get("FACEPROOF_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
LABELS: dict[str, str | None] = {"real": "real", "fake": "fake"}


def configured(name: str, *overrides: str) -> DataSet:
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = compose("train", overrides=[f"data={name}", *overrides])
    data = app.list_data(app.plain(config.data))
    assert isinstance(data, DataSet)
    return data


def files(root: Path, name: str) -> list[str]:
    return sorted(f"{root}/{name}/{d}/{f}" for d, names in WORLD[name].items() for f in names)


def column(data: DataSet, name: str) -> list[Any]:
    values: list[Any] = data.table[name].to_pylist()
    return values


def rows(data: DataSet, *columns: str) -> set[tuple[Any, ...]]:
    return set(counts(data.table, *columns))


def two_folders(make_images: MakeImages, root: Path, number: int = 20) -> Path:
    for label in ("real", "fake"):
        make_images(root / label, [f"{n}.jpg" for n in range(number)], size=(8, 8))
    return root


def test_the_world_has_every_data_set_that_is_configured() -> None:
    assert set(CONFIGURED) == set(WORLD)


@pytest.mark.parametrize("name", CONFIGURED)
def test_a_configured_set_lists_every_image_of_its_layout(world: Path, name: str) -> None:
    data = configured(name)
    assert column(data, "path") == files(world, name)
    assert set(column(data, "source")) == {data.name} == {name}
    assert {label for (label,) in rows(data, "label")} == set(data.task.classes)
    assert {split for (split,) in rows(data, "split")} <= {"train", "val", "test"}


@pytest.mark.parametrize("name", ["face_or_not", "deepfake_and_real", "real_vs_fake_140k"])
def test_folders_of_splits_are_the_splits(world: Path, name: str) -> None:
    data = configured(name)
    for path, split in zip(column(data, "path"), column(data, "split"), strict=True):
        assert f"/{split}" in path.lower().removeprefix(str(world).lower())
    assert set(counts(data.table, "split", "label").values()) == {2}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deepfake_and_real", {("real", None), ("fake", "openforensics")}),
        ("real_vs_fake_140k", {("real", None), ("fake", "stylegan")}),
        ("face_or_not", {("face", None), ("non_face", None)}),
        ("ciplab", {("real", None)}
         | {("fake", f"photoshop_{hardness}") for hardness in ("easy", "mid", "hard")}),
        ("prefixed_generators", {("real", "CelebA"), ("real", "FFHQ"),
                                 ("fake", "StyleGAN"), ("fake", "StyleGAN2")}),
        ("wilddeepfake", {("real", None), ("fake", "wild")}),
    ],
)  # fmt: skip
def test_generators(world: Path, name: str, expected: set[tuple[str, str | None]]) -> None:
    assert rows(configured(name), "label", "generator") == expected


def test_videos_are_groups_and_stay_whole(world: Path) -> None:
    for seed in range(5):
        data = configured("wilddeepfake", f"data.split_seed={seed}")
        groups = column(data, "group")
        assert len(set(groups)) == len(rows(data, "group", "split")) == len(WORLD["wilddeepfake"])
        assert all(group.startswith("wilddeepfake/") for group in groups)
        tested = {group for group, split in rows(data, "group", "split") if split == "test"}
        assert tested == {"wilddeepfake/fake_test/3", "wilddeepfake/real_test/3"}


def test_a_combination_keeps_sources_and_splits(world: Path) -> None:
    data = configured("combined")
    parts = ["deepfake_and_real", "real_vs_fake_140k", "ciplab"]
    assert column(data, "path") == [path for name in parts for path in files(world, name)]
    for name in parts:
        alone = configured(name).table.to_pylist()
        assert [row for row in data.table.to_pylist() if row["source"] == name] == alone


def test_a_combination_with_an_image_twice_or_of_two_tasks(world: Path) -> None:
    part, faces = configured("ciplab"), configured("face_or_not")
    with pytest.raises(FaceproofError, match=r"both lists 12 .* more than once, .*jpg for one"):
        CombinedData("both", "deepfake", {"a": part, "b": part}).list()
    with pytest.raises(FaceproofError, match=r"both .*face_or_not, which is of another task"):
        CombinedData("both", "deepfake", {"a": part, "b": faces}).list()
    with pytest.raises(FaceproofError, match=r"found none in data\.sets"):
        CombinedData("both", "deepfake", {}).list()


def test_a_combination_keeps_the_limits_and_names_of_its_sets(world: Path) -> None:
    parts = [configured("ciplab"), configured("deepfake_and_real")]
    strict, lax = parts[0], replace(parts[1], max_unreadable=0.5, allow_leaks=True)
    whole = CombinedData("both", "deepfake", {"a": strict, "b": lax}).list()
    sizes = [part.table.num_rows for part in parts]
    assert whole.max_unreadable == pytest.approx((0.01 * sizes[0] + 0.5 * sizes[1]) / sum(sizes))
    assert not whole.allow_leaks
    assert CombinedData("both", "deepfake", {"b": lax}).list().allow_leaks
    given = CombinedData("both", "deepfake", {"a": strict, "b": lax}, 0.2, True).list()
    assert (given.max_unreadable, given.allow_leaks) == (0.2, True)
    same = CombinedData("both", "deepfake", {"a": strict, "b": replace(lax, name="ciplab")})
    with pytest.raises(FaceproofError, match=r"have the name ciplab.*data\.sets\.a\.name"):
        same.list()


def test_a_set_of_a_combination_speaks_of_its_own_settings(tmp_path: Path) -> None:
    source = FolderData("x", "deepfake", str(tmp_path / "none"), "{label}/*", LABELS)
    with pytest.raises(FaceproofError, match=r"set data\.sets\.mine\.root"):
        CombinedData("both", "deepfake", {"mine": source}).list()


def test_moving_the_root_changes_no_split(tmp_path: Path, make_images: MakeImages) -> None:
    old = two_folders(make_images, tmp_path / "old")
    before = FolderData("x", "deepfake", str(old), "{label}/*", LABELS).list()
    shutil.move(old, tmp_path / "new" / "place")
    after = FolderData("x", "deepfake", str(tmp_path / "new" / "place"), "{label}/*", LABELS).list()
    assert column(after, "split") == column(before, "split")
    assert len(set(column(before, "split"))) == 3


def test_auto_leaves_one_folder_to_the_ratios(tmp_path: Path, make_images: MakeImages) -> None:
    two_folders(make_images, tmp_path / "rest")
    two_folders(make_images, tmp_path / "test", 2)
    splits: dict[str, str | None] = {"rest": "auto", "test": "test"}
    ratios = {"train": 0.5, "val": 0.5}
    data = FolderData("x", "deepfake", str(tmp_path), "{split}/{label}/*", LABELS, splits,
                       ratios=ratios).list()  # fmt: skip
    found = Counter(column(data, "split"))
    assert found["test"] == 4
    assert found["train"] + found["val"] == 40
    assert min(found.values()) > 2


def test_auto_takes_nothing_into_a_test_set_that_is_given(
    tmp_path: Path, make_images: MakeImages, caplog: pytest.LogCaptureFixture
) -> None:
    two_folders(make_images, tmp_path / "train")
    two_folders(make_images, tmp_path / "test", 2)
    splits: dict[str, str | None] = {"train": "auto", "test": "test"}
    place = ("x", "deepfake", str(tmp_path), "{split}/{label}/*", LABELS, splits)
    data = FolderData(*place).list()
    for path, split in zip(column(data, "path"), column(data, "split"), strict=True):
        assert (split == "test") == ("/test/" in str(path))
    assert {"train", "val"} < set(column(data, "split"))
    assert "the test images are given and stay as they are" in caplog.text
    assert "train (85%) and val (15%)" in caplog.text  # as data=folder divides a training folder
    asked = FolderData(*place, ratios={"train": 0.2, "val": 0.2, "test": 0.6}).list()
    assert column(asked, "split").count("test") > 12


def test_words_that_yaml_reads_as_numbers(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path / "0", ["a.jpg"])
    make_images(tmp_path / "1", ["a.jpg"])
    labels: Any = {0: "real", 1: "fake"}
    data = FolderData("x", "deepfake", str(tmp_path), "{label}/*", labels).list()
    assert column(data, "label") == ["real", "fake"]


def test_a_layout_without_labels_is_unlabelled(tmp_path: Path, make_images: MakeImages) -> None:
    make_images(tmp_path, ["a.jpg", "b.jpg"])
    data = FolderData("x", "face", str(tmp_path), "**", {}).list()
    assert rows(data, "label", "split") == {(None, "unlabelled")}


def test_the_home_folder_may_be_written_as_a_tilde(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_folders(make_images, tmp_path / "faces", 1)
    monkeypatch.setenv("HOME", str(tmp_path))
    data = FolderData("x", "deepfake", "~/faces", "{label}/*", LABELS).list()
    assert column(data, "path")[0] == f"{tmp_path}/faces/fake/0.jpg"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "age"}, "no task 'age'; the tasks are deepfake, face"),
        ({"labels": {"real": "real", "fake": None}}, "no image of class fake; found .*real"),
        (
            {"labels": {"real": "real", "fake": "Fake"}},
            "labels.fake = .Fake. must be one of real, fake",
        ),
        ({"ratios": {"train": 1, "val": 1}}, r"data\.ratios = .* add up to 1"),
    ],
)
def test_settings_that_cannot_be(
    tmp_path: Path, make_images: MakeImages, change: dict[str, Any], message: str
) -> None:
    two_folders(make_images, tmp_path, 4)
    settings = {"name": "x", "task": "deepfake", "root": str(tmp_path), "layout": "{label}/*"}
    with pytest.raises(FaceproofError, match=message):
        FolderData(**{**settings, "labels": LABELS, **change}).list()


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    text = "path,label,group\na/1.jpg,real,v1\n../b.jpg,fake,\n/abs/c.jpg,,\n"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "mine.csv").write_text(text)
    data = configured("table", f"data.file={tmp_path}/in/mine.csv")
    assert column(data, "path") == [f"{tmp_path}/in/a/1.jpg", f"{tmp_path}/b.jpg", "/abs/c.jpg"]
    assert data.name == "mine"
    assert set(column(data, "source")) == {"mine"}
    assert column(data, "split")[2] == "unlabelled"
    assert set(column(data, "split")[:2]) <= {"train", "val", "test"}


def test_a_table_has_the_name_of_its_file_unless_another_is_given(tmp_path: Path) -> None:
    names = {"my faces (2).csv": "my-faces-2", "é.csv": "table"}
    for number, (name, found) in enumerate(names.items()):
        (tmp_path / name).write_text(f"path,label\n{number}.jpg,real\n")
        values = {"kind": "table", "task": "deepfake", "file": str(tmp_path / name)}
        assert make_source(resolve({**values, "name": None})).list().name == found
        assert make_source(resolve({**values, "name": "own"})).list().name == "own"
        both = {"kind": "combined", "name": "both", "task": "deepfake", "sets": {"a": values}}
        assert resolve(both)["sets"]["a"]["name"] == found


def test_a_table_keeps_what_it_says_and_whole_groups(world: Path, tmp_path: Path) -> None:
    data = configured("wilddeepfake")
    write_table(data.table, tmp_path / "all.parquet")
    again = TableData("again", "deepfake", str(tmp_path / "all.parquet")).list()
    assert again.table.to_pylist() == data.table.to_pylist()
    without = data.table.set_column(2, "split", data.table["split"].cast("string"))
    write_table(without.drop_columns(["split"]), tmp_path / "some.parquet")
    divided = TableData("again", "deepfake", str(tmp_path / "some.parquet")).list()
    assert len(rows(divided, "group", "split")) == len(rows(divided, "group"))


def test_a_path_twice_in_a_table_under_two_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.jpg,real\n./a.jpg,fake\n")
    with pytest.raises(FaceproofError, match=r"lists 1 images more than once, .*/a\.jpg"):
        TableData("t", "deepfake", str(tmp_path / "t.csv")).list()


@pytest.mark.skipif(not (SHARED / "contents.csv").is_file(), reason="the real sets are not here")
@pytest.mark.parametrize(
    "name", ["ciplab", "deepfake_and_real", "face_or_not", "real_vs_fake_140k"]
)
def test_the_real_sets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEPROOF_DATA", str(SHARED))
    with (SHARED / "contents.csv").open(newline="") as file:
        listed = [row for row in csv.DictReader(file) if row["path"].startswith(f"{name}/")]
    data = configured(name)
    found = [os.path.relpath(path, SHARED) for path in column(data, "path")]
    assert sorted(found) == sorted(row["path"] for row in listed)
    assert Counter(column(data, "label")) == Counter(row["label"] for row in listed)
    splits = Counter(row["split"] for row in listed)
    assert "" in splits or Counter(column(data, "split")) == splits


def test_leaving_bridges_out_needs_groups() -> None:
    with pytest.raises(FaceproofError, match=r"bridges = 'leave_out' changes nothing without"):
        configured("real_fake_folders", "data.bridges=leave_out")


def test_keys_from_the_layout_line_connect(tmp_path: Path) -> None:
    for number, (video, person) in enumerate([("a", 1), ("a", 2), ("b", 2), ("c", 3), ("d", 4)]):
        for label in LABELS:
            write_images(tmp_path / label, [f"{video}-{person}-{number}.jpg"])
    data = configured(
        "real_fake_folders", f"data.root={tmp_path}",
        "data.layout='{label}/{source_video}-{identity}-*'", "data.groups=[source_video,identity]",
    )  # fmt: skip
    components = {
        Path(path).name[:3]: component
        for path, component in zip(column(data, "path"), column(data, "component"), strict=True)
    }
    assert components["a-1"] == components["a-2"] == components["b-2"]
    assert len(set(components.values())) == 3
    assert column(data, "group") == column(data, "component")
    assert len(rows(data, "component", "split")) == 3


def test_a_pattern_finds_several_values_in_a_word(tmp_path: Path) -> None:
    for label, name in (("real", "p1"), ("real", "p2"), ("fake", "p1 on p2"), ("real", "p3")):
        write_images(tmp_path / label / name, ["0.jpg"])
    data = configured(
        "real_fake_folders", f"data.root={tmp_path}", "data.layout='{label}/{who}/*'",
        "data.groups={who: 'p[0-9]+'}",
    )  # fmt: skip
    assert len(set(column(data, "component"))) == 2


def test_columns_of_a_table_connect(tmp_path: Path) -> None:
    lines = ["path,label,identity,source_video"]
    lines += [f"{n}.jpg,{'fake' if n % 2 else 'real'},{n // 4:03},v{n // 2}" for n in range(80)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    file = f"data.file={tmp_path}/t.csv"
    data = configured("table", file, "data.groups=[source_video,identity]")
    assert len(set(column(data, "component"))) == 20
    assert len(rows(data, "component", "split")) == 20
    assert column(data, "component")[0] == "t/identity=000"
    with pytest.raises(
        FaceproofError, match=r"identity is none of an image table.* in data\.groups"
    ):
        configured("table", file)
    with pytest.raises(FaceproofError, match=r"data\.groups names mother, which is not there"):
        configured("table", file, "data.groups=[source_video,identity,mother]")


def test_keys_that_find_nothing_are_said(
    tmp_path: Path, make_images: MakeImages, caplog: pytest.LogCaptureFixture
) -> None:
    two_folders(make_images, tmp_path)
    configured("real_fake_folders", f"data.root={tmp_path}", "data.groups=[identity]")
    assert "data.groups (identity) finds no video and no person" in caplog.text
