"""Exploring a data set: the draw, the numbers, the drawings and the page."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceproof.data.image_io import read_image
from faceproof.data.listing import DataSet
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.explain.exploration import explore, mean_images
from faceproof.explain.sampling import draw_sample
from faceproof.task import get_task

TASK = get_task("deepfake")


def table(num_real, num_fake, root="/images"):
    paths = [f"{root}/train/real/{n}.jpg" for n in range(num_real)]
    paths += [f"{root}/train/fake/{n}.jpg" for n in range(num_fake)]
    return table_from_columns({"path": paths, "label": ["real"] * num_real + ["fake"] * num_fake})


def names(rows):
    return [path.split("/", 2)[2] for path in rows["path"].to_pylist()]


def numbers_by_class(rows):
    return {label: rows["label"].to_pylist().count(label) for label in ("real", "fake")}


def test_a_sample_keeps_the_share_of_each_class():
    assert numbers_by_class(draw_sample(table(900, 100), 50, 0)) == {"real": 45, "fake": 5}
    assert numbers_by_class(draw_sample(table(999, 1), 10, 0)) == {"real": 9, "fake": 1}
    assert numbers_by_class(draw_sample(table(7, 6), 13, 0)) == {"real": 7, "fake": 6}
    assert numbers_by_class(draw_sample(table(7, 6), 2000, 0)) == {"real": 7, "fake": 6}
    assert draw_sample(table(7, 6), None, 0).num_rows == 13


def test_a_sample_is_a_function_of_seed_and_names():
    rows = table(300, 300)
    drawn = names(draw_sample(rows, 60, 0))
    assert len(set(drawn)) == 60
    assert drawn == names(draw_sample(rows, 60, 0))
    assert drawn == names(draw_sample(rows.take(list(range(600))[::-1]), 60, 0))
    assert drawn == names(draw_sample(table(300, 300, root="/elsewhere"), 60, 0))
    assert drawn != names(draw_sample(rows, 60, 1))


def test_adding_an_image_moves_few_others():
    before = set(names(draw_sample(table(300, 300), 60, 0)))
    after = set(names(draw_sample(table(301, 300), 60, 0)))
    assert len(before & after) >= 58


def test_a_sample_of_fewer_images_than_classes_is_refused():
    with pytest.raises(FaceproofError, match=r"of each class .* --sample to 2 at least$"):
        draw_sample(table(3, 3), 1, 0)


def test_counts_are_of_all_images_and_measures_of_the_readable(portraits):
    found = explore(portraits)
    assert found.counts["generator"] == {
        "camera": {"real": 12},
        "first": {"fake": 6},
        "second": {"fake": 6},
    }
    assert found.counts["source"] == {"portraits": {"real": 12, "fake": 12}}
    assert sum(sum(row.values()) for row in found.counts["split"].values()) == 24
    assert found.rows.num_rows == 23
    assert [Path(one["path"]).name for one in found.unreadable] == ["5.jpg"]
    assert found.formats == {"JPEG": {"real": 12, "fake": 11}}


def test_properties_are_those_of_the_files(portraits):
    found = explore(portraits)
    properties = found.properties
    assert set(properties["width"]["fake"]) == {50, 60}
    assert set(properties["aspect ratio"]["real"]) == {40 / 30}
    assert list(properties["width"]) == ["real", "fake"]
    rows = found.rows.to_pylist()
    real = [row["path"] for row in rows if row["label"] == "real"]
    sizes = [Path(path).stat().st_size / 1000 for path in real]
    assert np.allclose(properties["file size"]["real"], sizes)
    luma = [read_image(path).mean((1, 2)) @ [0.299, 0.587, 0.114] for path in real]
    assert np.allclose(properties["mean intensity"]["real"], luma, rtol=1e-4)
    summary = found.to_json()["properties"]["file size"]["by_class"]["real"]
    assert summary["median"] == pytest.approx(np.median(sizes))
    assert summary["5%"] == pytest.approx(np.percentile(sizes, 5))
    assert (summary["min"], summary["num"]) == (min(sizes), 12)


def test_too_many_unreadable_files_are_refused(portraits):
    strict = DataSet("portraits", TASK, portraits.table, max_unreadable=0.01)
    with pytest.raises(FaceproofError, match="1 of 24 files"):
        explore(strict)


def test_a_mean_image_is_the_mean_of_its_pixels(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
    paths = []
    for number, image in enumerate(pixels):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(image).save(paths[-1])
    columns = {"path": paths, "label": ["real", "fake", "fake", "fake"]}
    rows = table_from_columns(columns | {"generator": [None, "a", "a", "b"]})
    means = {(mean.kind, mean.name): mean for mean in mean_images(rows, TASK)}
    assert list(means) == [
        ("class", "real"), ("class", "fake"), ("generator", "a"), ("generator", "b"),
    ]  # fmt: skip
    assert np.array_equal(means["class", "real"].pixels, pixels[0])
    expected = pixels[1:].astype(float).mean(0)
    assert np.abs(means["class", "fake"].pixels - expected).max() <= 0.5
    assert means["generator", "a"].num == 2
