"""Reading a prepared folder, which may be damaged, half written, or a stranger's."""

import json
from dataclasses import asdict, fields, replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from faceproof.data.combined import CombinedData
from faceproof.data.prepared import (
    ABOUT,
    FORMAT,
    IMAGE_SCHEMA,
    IMAGES,
    MEDIA,
    About,
    PreparedData,
)
from faceproof.errors import FaceproofError
from faceproof.io.stamps import digest_of
from faceproof.prepare.cropping import CropConfig
from faceproof.prepare.media import PrepareSettings, prepare_settings
from faceproof.prepare.tables import MEDIA_SCHEMA
from faceproof.workflows.prepare import SETTINGS, PrepareConfig
from tests.jobs import CONF


def write_prepared(folder, paths=("faces/a.png", "faces/b.png"), **changed):
    """Write a prepared folder without crops."""
    folder.mkdir()
    rows = [
        {"path": path, "label": label, "split": "train", "source": "mine", "track": 0}
        for path, label in zip(paths, ("real", "fake"), strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, IMAGE_SCHEMA), folder / IMAGES)
    pq.write_table(MEDIA_SCHEMA.empty_table(), folder / MEDIA)
    about = About(
        FORMAT, "deepfake", asdict(PrepareSettings()), "retinaface 1", {"numpy": "2"}, "x",
        {"crops": 2}, digest_of(folder / IMAGES), digest_of(folder / MEDIA),
    )  # fmt: skip
    (folder / ABOUT).write_text(json.dumps(asdict(about) | changed))
    return folder


def listed(folder, task="deepfake"):
    return PreparedData("mine", task, str(folder)).list()


def test_the_images_and_how_they_were_cut_out_are_read(tmp_path):
    data = listed(write_prepared(tmp_path / "out"))
    assert data.table["path"].to_pylist() == [
        f"{(tmp_path / 'out').as_posix()}/faces/{name}.png" for name in "ab"
    ]
    assert data.crop == {"config": asdict(CropConfig()), "detector": "retinaface 1"}


@pytest.mark.parametrize("path", ["../secret.png", "faces/../../secret.png", "/etc/passwd.png"])
def test_a_table_that_leads_elsewhere_is_refused(tmp_path, path):
    with pytest.raises(FaceproofError, match="which is no crop below faces/"):
        listed(write_prepared(tmp_path / "out", ("faces/a.png", path)))


def test_a_folder_that_is_not_finished_is_refused(tmp_path):
    with pytest.raises(FaceproofError, match=r"has no prepared.json; give the folder of its --out"):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "other"}, "its format is 'other'"),
        ({"counts": {"crops": "many"}}, "counts.crops = 'many' must be a whole number"),
        ({"images": "0"}, r"images.parquet is not the table that was written with the folder"),
        ({"results": "0"}, r"media.parquet is not the table"),
        ({"extra": 1}, "lacks or should not have extra"),
    ],
)
def test_a_folder_that_was_changed_is_refused(tmp_path, changed, message):
    with pytest.raises(FaceproofError, match=message):
        listed(write_prepared(tmp_path / "out", **changed))


def test_crops_of_another_task_are_refused(tmp_path):
    with pytest.raises(FaceproofError, match=r"task deepfake; set data\.task=deepfake"):
        listed(write_prepared(tmp_path / "out"), "face")


def test_the_defaults_of_the_command_and_of_the_file_are_those_of_the_settings():
    settings = prepare_settings({})
    wanted = {**asdict(settings.crop), **asdict(settings)}
    del wanted["crop"]
    typed = {one.name: one.default for one in fields(PrepareConfig) if one.name in SETTINGS}
    assert typed == wanted
    assert yaml.safe_load((CONF / "data/videos.yaml").read_text("utf-8"))["prepare"] == wanted


def test_sets_that_are_not_cut_out_alike_are_combined_with_a_warning(tmp_path, caplog):
    one = listed(write_prepared(tmp_path / "one"))
    other = replace(
        listed(write_prepared(tmp_path / "other")), name="other",
        crop={**one.crop, "config": {**one.crop["config"], "min_score": 0.5}},
    )  # fmt: skip
    assert combined(one, other).crop == one.crop
    assert not caplog.records
    wide = {**one.crop, "config": {**one.crop["config"], "margin": 0.5}}
    assert combined(one, replace(other, crop=wide)).crop is None
    assert "mine: crops (margin 0.17, by retinaface 1); other: crops (margin 0.5" in caplog.text
    caplog.clear()
    assert combined(one, replace(other, crop=None)).crop is None
    assert "other: images as they are" in caplog.text


def combined(one, other):
    return CombinedData("both", "deepfake", {"one": one, "other": other}).list()
