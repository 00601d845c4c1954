"""The drawings and the page of an exploration: what they say."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceproof.cli.main import main, run
from faceproof.data.listing import DataSet
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.explain.exploration import explore
from faceproof.reports import explore_page
from faceproof.reports.explore_page import (
    bin_edges,
    captions,
    describe,
    draw_counts,
    draw_images,
    draw_means,
    draw_properties,
    shown_images,
    write_exploration,
)
from faceproof.task import get_task
from tests.known_networks import drawn_words

TASK = get_task("deepfake")


def test_counts_are_drawn_as_bars_with_their_numbers(portraits):
    figure = draw_counts(explore(portraits))
    split, generator = figure.axes  # there is one source only
    assert split.get_title(loc="left") == "Images by split"
    assert split.get_xlabel() == "images"
    assert [label.get_text() for label in generator.get_yticklabels()] == [
        "camera", "first", "second",
    ]  # fmt: skip
    assert [bar.get_width() for bar in generator.patches] == [12, 0, 0, 0, 6, 6]
    assert [text.get_text() for text in generator.texts] == ["12", "", "", "", "6", "6"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["real", "fake"]
    assert generator.patches[0].get_hatch() != generator.patches[-1].get_hatch()


def with_generators(data, names):
    """Return the data set with the fakes of these makers."""
    columns = {name: data.table[name].to_pylist() for name in data.table.column_names}
    makers = iter(names)
    columns["generator"] = [None if label == "real" else next(makers) for label in columns["label"]]
    return replace(data, table=table_from_columns(columns))


def test_many_words_make_a_higher_drawing_and_the_rarest_are_counted_together(
    portraits, monkeypatch
):
    found = explore(with_generators(portraits, [f"maker {n}" for n in range(12)]))
    figure = draw_counts(found)
    assert figure.get_size_inches()[1] > draw_counts(explore(portraits)).get_size_inches()[1]
    split, generator = figure.axes
    assert split.get_ylim() == generator.get_ylim()  # bars of one thickness
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in generator.get_yticklabels()]
    assert all(one.y0 > other.y1 for one, other in itertools.pairwise(boxes))
    monkeypatch.setattr(explore_page, "MAX_VALUES", 5)
    counts = explore_page.largest(found.counts["generator"])
    assert [*counts][-1] == "9 others"
    assert counts["none"] == {"real": 12}
    assert counts["9 others"] == {"fake": 9}


@pytest.mark.parametrize("name", ["a$b^$c", "_hidden"])
def test_a_name_is_drawn_as_it_is(portraits, name):
    found = explore(with_generators(portraits, [name, *["other"] * 11]))
    assert name in drawn_words(draw_counts(found))
    assert name in drawn_words(draw_means(found))


def test_properties_are_drawn_as_shares_of_each_class(portraits):
    figure = draw_properties(explore(portraits))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Width", "Height", "Aspect ratio", "File size", "Mean intensity", "Sharpness",
    ]  # fmt: skip
    assert [axes.get_xlabel() for axes in figure.axes][3] == "kB"
    for axes in figure.axes:
        assert axes.get_ylabel() == "% of the class per bin"
        assert [patch.get_label() for patch in axes.patches] == ["real (12)", "fake (11)"]
        assert [patch.get_data().values.sum() for patch in axes.patches] == pytest.approx([100] * 2)
    first, second = figure.axes[0].patches
    assert first.get_linestyle() != second.get_linestyle()  # told apart without colour


def test_bins_hold_every_value_and_one_value_has_a_bin():
    values = np.random.default_rng(0).standard_cauchy(500)
    edges = bin_edges(values)
    assert np.histogram(values, edges)[0].sum() == 500
    assert np.all(np.diff(edges) > 0)
    assert np.histogram([256.0] * 3, bin_edges(np.full(3, 256.0)))[0].sum() == 3
    assert np.histogram([0.0], bin_edges(np.zeros(1)))[0].sum() == 1


def test_images_and_means_are_labelled(portraits):
    found = explore(portraits)
    figure = draw_images(found, "fake", shown_images(found, "fake"))
    assert len(figure.axes) == 11
    assert {axes.get_xlabel() for axes in figure.axes} == {"first", "second"}
    assert figure.get_suptitle() == "fake: 11 of 12 images of portraits, drawn at random"
    means = draw_means(found)
    assert [axes.get_xlabel() for axes in means.axes] == [
        "real (12)", "fake (11)", "first (6)", "second (5)",
    ]  # fmt: skip
    assert means.axes[0].images[0].get_array().shape == (128, 128, 3)


def test_images_without_a_generator_are_labelled_by_file_cut_to_fit():
    rows = table_from_columns({"path": ["/a/short.jpg", "/a/a_name_that_is_much_too_long.jpg"]})
    assert captions(rows) == ["short.jpg", "a_name_…long.jpg"]


def test_the_page_stands_alone_and_names_what_cannot_be_read(portraits, tmp_path):
    found = explore(portraits)
    page = write_exploration(found, tmp_path / "out").read_text()
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        "counts.png", "properties.png", "images-real.png", "images-fake.png", "means.png",
        "explore.json", "explore.html",
    }  # fmt: skip
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("<img src=") == 23
    assert "second/5.jpg" in page
    numbers = json.loads((tmp_path / "out/explore.json").read_text())
    assert numbers["num_images"] == 24
    assert numbers["num_measured"] == 23
    assert any("1 cannot be read" in line for line in describe(found))


def test_images_without_a_label_are_a_class_of_their_own(portraits):
    columns = {name: portraits.table[name].to_pylist() for name in portraits.table.column_names}
    columns["label"] = [label if label == "real" else None for label in columns["label"]]
    columns["split"] = ["train" if label else "unlabelled" for label in columns["label"]]
    found = explore(DataSet("part", TASK, table_from_columns(columns), max_unreadable=0.1))
    assert found.classes == ["real", "unlabelled"]
    assert [mean.name for mean in found.means[:2]] == ["real", "unlabelled"]
    assert len(draw_properties(found).axes[0].patches) == 2


def test_the_command_writes_a_page(portraits, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("faceproof.app.compose_data", lambda settings: portraits)
    out = tmp_path / "out"
    assert run(["explore", "data=portraits", "--all", "--out", str(out)]) == 0
    assert "portraits: 24 images, 23 measured" in capsys.readouterr().out
    assert (out / "explore.html").is_file()


@pytest.mark.parametrize("name", ["explore", "spectra"])
def test_what_is_no_folder_or_no_seed_is_refused_first(name, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FaceproofError, match="file is a file; give --out a folder"):
            run([name, "data=none", "--out", str(out)])
    assert main([name, "data=none", "--seed=-1"]) == 2
    assert "'-1' is no seed" in capsys.readouterr().err


def test_a_file_that_vanishes_meanwhile_is_named_and_left_out(portraits, tmp_path, caplog):
    found = explore(portraits)
    label = found.classes_drawn[0]
    paths = [path for path, _, _ in shown_images(found, label)]
    moved = tmp_path / "moved"
    Path(paths[0]).rename(moved)
    try:
        assert [path for path, _, _ in shown_images(found, label)] == paths[1:]
        assert f"{paths[0]} cannot be shown any more: the file is not there" in caplog.text
    finally:
        moved.rename(paths[0])
