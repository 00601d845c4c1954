"""Mean spectra against plain definitions, and on the demonstration set with its planted grid."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceproof.cli.main import run
from faceproof.data.demo.forgeries import UPSAMPLED_FREQUENCY
from faceproof.data.demo.make import make_demo
from faceproof.data.image_io import read_image
from faceproof.data.listing import DataSet, DemoData
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.explain import sampling
from faceproof.explain.peaks import Peak
from faceproof.explain.spectra import (
    FLOOR,
    RunningStatistics,
    _moved_to,
    image_spectrum,
    measure_spectra,
    suitable_size,
    whole,
)
from faceproof.explain.spectra_results import NOISE_IN_MAPS, curve_frequencies
from faceproof.reports.spectra_page import describe, draw_curves, verdict, write_spectra
from faceproof.task import get_task
from faceproof.workflows.spectra import SpectraConfig

TASK = get_task("deepfake")
SIZE = 32


def noise_image(path, rng, size, wave=0.0):
    """Write grey noise, with a wave of a quarter cycle a pixel across if asked for."""
    width, height = size
    grey = rng.normal(128, 15, (height, width)) + wave * np.cos(np.pi / 2 * np.arange(width))
    Image.fromarray(grey.clip(0, 255).round().astype(np.uint8)).save(path)
    return str(path)


@pytest.fixture
def noisy(tmp_path):
    """A data set of two sources: in `b` every image has a wave, in `a` the fakes of one maker."""
    rng = np.random.default_rng(0)
    columns = {name: [] for name in ("path", "label", "split", "source", "generator")}
    for number in range(144):
        source = "ab"[number % 2]
        label = ("real", "fake")[number // 2 % 2]
        generator = None if label == "real" else ("plain", "waves")[number // 4 % 2]
        wave = 12.0 if source == "b" or generator == "waves" else 0.0
        path = noise_image(tmp_path / f"{number}.png", rng, (40, 36), wave)
        for name, value in zip(columns, (path, label, "train", source, generator), strict=True):
            columns[name].append(value)
    return DataSet("noisy", TASK, table_from_columns(columns), max_unreadable=0.1)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Small demonstration spectra: 20 images of each forgery."""
    root = tmp_path_factory.mktemp("spectra") / "demo"
    make_demo(root, TASK, seed=1, num_per_class=80)
    data = DemoData("demo", "deepfake", str(root), seed=1, num_per_class=80).list()
    return measure_spectra(data)


def test_a_cell_is_the_power_of_its_frequency():
    grey = np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE))
    rise = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)
    window = rise[:, None] * rise
    y, x = np.mgrid[:SIZE, :SIZE]
    row, column = 5, 11
    turn = np.exp(-2j * np.pi * (row * y + column * x) / SIZE)
    power = abs(((grey - grey.mean()) * window * turn).sum()) ** 2 / (window**2).sum()
    found = image_spectrum(grey.astype(np.float32)).power[row, column]
    assert found == pytest.approx(10 * math.log10(power + FLOOR), abs=1e-3)


def test_the_whole_of_a_half_is_the_full_transform():
    values = np.random.default_rng(1).normal(size=(SIZE, SIZE))
    full = np.abs(np.fft.fft2(values))
    assert np.allclose(whole(np.abs(np.fft.rfft2(values))), full)


def test_the_curve_is_the_mean_power_of_whole_rings():
    grey = np.random.default_rng(2).uniform(0, 255, (SIZE, SIZE))
    rise = np.hanning(SIZE + 1)[:SIZE]
    window = np.outer(rise, rise)
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2 / (window**2).sum()
    radius = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE))
    expected = [
        10 * math.log10(power[(radius >= low) & (radius < low + 1 / SIZE)].mean() + FLOOR)
        for low in np.arange(SIZE // 2) / SIZE
    ]
    assert np.allclose(image_spectrum(grey.astype(np.float32)).curve, expected, atol=1e-3)
    assert curve_frequencies(SIZE)[0] == 0.5 / SIZE


def test_white_noise_of_one_grey_level_is_0_db_but_for_the_logarithm():
    rng = np.random.default_rng(3)
    spectra = [image_spectrum(rng.normal(9, 1, (64, 64)).astype(np.float32)) for _ in range(60)]
    cells = np.mean([one.power for one in spectra], axis=0)[4:28, 4:28]
    assert cells.mean() == pytest.approx(-10 / math.log(10) * np.euler_gamma, abs=0.1)
    assert cells.mean() == pytest.approx(NOISE_IN_MAPS, abs=0.1)
    assert np.mean([one.curve for one in spectra], axis=0)[8:].mean() == pytest.approx(0, abs=0.15)


def test_a_flat_image_has_a_spectrum():
    assert np.isfinite(image_spectrum(np.full((SIZE, SIZE), 7, np.float32)).power).all()


def test_running_sums_are_mean_and_deviation_whichever_way_they_are_joined():
    values = np.random.default_rng(4).normal(1e4, 1, (50, 3))
    parts = [RunningStatistics(), RunningStatistics(), RunningStatistics()]
    for number, value in enumerate(values):
        parts[number**2 % 3].add(value)
    together = parts[0].joined(parts[2]).joined(parts[1])
    assert together.num == 50
    assert np.allclose(together.mean, values.mean(0), rtol=1e-12)
    assert np.allclose(together.deviation, values.std(0, ddof=1), rtol=1e-9)
    assert np.allclose(together.error, values.std(0, ddof=1) / math.sqrt(50), rtol=1e-9)
    assert RunningStatistics().joined(RunningStatistics()).num == 0


def test_groups_are_the_images_of_each_name(noisy):
    spectra = measure_spectra(noisy, SIZE)
    numbers = {(group.kind, group.name): group.num for group in spectra.groups}
    assert numbers == {
        ("overall", "all images"): 144,
        ("class", "real"): 72,
        ("class", "fake"): 72,
        ("source", "a"): 72,
        ("source", "b"): 72,
        ("generator", "plain"): 36,
        ("generator", "waves"): 36,
    }
    rows = [row for row in noisy.table.to_pylist() if row["generator"] == "waves"]
    images = []
    for row in rows:
        grey = read_image(row["path"])[0].astype(np.float32)
        images.append(whole(image_spectrum(grey[2:34, 4:36]).power))
    (group,) = (group for group in spectra.groups if group.name == "waves")
    assert np.allclose(group.power, np.mean(images, axis=0), atol=1e-3)
    assert np.allclose(group.deviation, np.std(images, axis=0, ddof=1), atol=1e-3)


def test_a_difference_is_from_the_real_images_of_the_same_sources(noisy):
    absent = ("b", "plain")
    keep = [row for row in noisy.table.to_pylist() if (row["source"], row["generator"]) != absent]
    columns = {name: [row[name] for row in keep] for name in noisy.table.column_names}
    data = DataSet("part", TASK, table_from_columns(columns))
    spectra = measure_spectra(data, SIZE)
    plain, waves = spectra.of("generator")
    assert (plain.name, plain.difference.num_reference) == ("plain", 36)
    assert waves.difference.num_reference == 72
    # Beside the real images of `b`, all of which have the wave, these would lack it.
    assert abs(plain.difference.power[0, SIZE // 4]) < 5
    assert (plain.power - spectra.of("class")[0].power)[0, SIZE // 4] < -5


def test_the_wave_of_a_source_is_found_there_and_is_no_difference_from_real(noisy):
    spectra = measure_spectra(noisy, SIZE)
    _, second = spectra.of("source")
    assert [(peak.horizontal, peak.vertical) for peak in second.peaks] == [(0.25, 0.0)]
    rows = [row for row in noisy.table.to_pylist() if row["source"] == "b"]
    columns = {name: [row[name] for row in rows] for name in noisy.table.column_names}
    alone = measure_spectra(DataSet("b", TASK, table_from_columns(columns)), SIZE)
    fake = alone.of("class")[1]
    assert [(peak.horizontal, peak.vertical) for peak in fake.peaks] == [(0.25, 0.0)]
    assert fake.difference.peaks == []
    assert verdict(alone) == "no frequency stands out beside real"


def test_a_line_that_real_has_too_is_not_said_to_be_lacking(tmp_path):
    rng = np.random.default_rng(5)
    columns = {name: [] for name in ("path", "label", "split", "source", "generator")}
    for number in range(600):
        label = ("real", "fake")[number % 2]
        path = noise_image(tmp_path / f"{number}.png", rng, (32, 32), 24 if number % 2 else 16)
        generator = "waves" if number % 2 else None
        for name, value in zip(columns, (path, label, "train", "a", generator), strict=True):
            columns[name].append(value)
    both = measure_spectra(DataSet("both", TASK, table_from_columns(columns)), SIZE)
    fake = both.of("class")[1]
    (peak,) = fake.difference.peaks
    assert (peak.horizontal, peak.vertical) == (0.25, 0)  # and no other cell of the lobe
    assert peak.height == pytest.approx(20 * math.log10(24 / 16), abs=1)
    assert not fake.difference.is_new(peak)
    assert verdict(both) == "some that real has too are stronger in fake"
    assert all("dB over real, which has it too" in line for line in describe(both))
    write_spectra(both, tmp_path / "out")
    assert "minus real, which has it too" in (tmp_path / "out/spectra.html").read_text()


def test_a_peak_of_a_difference_stands_where_that_of_the_group_does():
    own = [Peak(0.25, 0.125, 9, 30), Peak(0.5, 0.25, 8, 20)]
    one, far = Peak(0.25 + 1 / SIZE, 0.125, 3, 6), Peak(0.125, -0.25, 2, 6)
    edge, twice = Peak(0.5 - 1 / SIZE, -0.25, 2.5, 6), Peak(0.25, 0.125 - 1 / SIZE, 1, 5)
    assert _moved_to(own, [one, edge, far, twice], SIZE) == [
        Peak(0.25, 0.125, 3, 6), Peak(0.5, 0.25, 2.5, 6), far,
    ]  # fmt: skip


def test_the_grid_planted_in_the_demonstration_set_is_found_and_nothing_else(demo):
    found = {
        group.name: {(peak.horizontal, peak.vertical) for peak in group.difference.peaks}
        for group in demo.of("generator")
        if group.difference is not None
    }
    half = UPSAMPLED_FREQUENCY
    assert found == {
        "face_swap": set(),
        "recoloured": set(),
        "retouched": set(),
        "upsampled": {(half, 0.0), (0.0, half)},
    }
    assert "upsampled" in verdict(demo)
    assert sum(line.startswith("upsampled: ") for line in describe(demo)) == 2


def test_small_images_are_left_out_by_name(noisy, tmp_path):
    rng = np.random.default_rng(1)
    small = noise_image(tmp_path / "small.png", rng, (40, 30))
    columns = {name: noisy.table[name].to_pylist() for name in noisy.table.column_names}
    for name, value in {"path": small, "label": "real", "split": "train", "source": "a"}.items():
        columns[name].append(value)
    for values in columns.values():
        values.extend([None] * (145 - len(values)))
    spectra = measure_spectra(DataSet("x", TASK, table_from_columns(columns)), SIZE)
    (left_out,) = spectra.too_small
    assert (left_out.path, left_out.width, left_out.height) == (small, 40, 30)
    assert spectra.of("overall")[0].num == 144
    write_spectra(spectra, tmp_path / "out")
    assert small in (tmp_path / "out/spectra.html").read_text()


def test_images_that_are_all_too_small_are_refused_with_the_size_that_fits(noisy):
    with pytest.raises(FaceproofError, match=r"smaller than 64 x 64.*set --size to 36 or less"):
        measure_spectra(noisy, 64)


def test_the_size_that_is_advised_is_one_that_is_taken(tmp_path):
    path = noise_image(tmp_path / "small.png", np.random.default_rng(0), (24, 30))
    data = DataSet("x", TASK, table_from_columns({"path": [path], "label": ["real"]}))
    with pytest.raises(FaceproofError, match=r"\(24 x 30\); a spectrum needs 32 x 32 at least"):
        measure_spectra(data)


def test_the_size_suits_the_images_where_none_is_given(tmp_path):
    def data(*sides):
        rng, paths = np.random.default_rng(0), []
        for number, side in enumerate(sides):
            paths.append(noise_image(tmp_path / f"{side}-{number}.png", rng, (side, side + 20)))
        return DataSet(
            "x", TASK, table_from_columns({"path": paths, "label": ["real"] * len(paths)})
        )

    assert suitable_size(data(200, 300).table) == 128
    assert suitable_size(data(97, 300).table) == 96
    assert suitable_size(data(*[40], *[97] * 30).table) == 96  # one of 31 is left out instead
    assert suitable_size(data(20, 300).table) == 32
    found = measure_spectra(data(*[40], *[97] * 30), None)
    assert (found.size, len(found.too_small)) == (96, 1)
    (tmp_path / "no.png").write_text("no image")
    assert suitable_size(table_from_columns({"path": [str(tmp_path / "no.png")]})) == 128


@pytest.mark.parametrize("size", [33, 16, 0, -128])
def test_odd_and_tiny_sizes_are_refused(size):
    with pytest.raises(FaceproofError, match="even and at least 32"):
        SpectraConfig(("data=x",), size=size)


def test_unreadable_files_are_named_and_too_many_are_refused(noisy):
    paths = noisy.table["path"].to_pylist()
    Path(paths[0]).write_bytes(b"no image")
    spectra = measure_spectra(noisy, SIZE)
    assert [one.path for one in spectra.unreadable] == [paths[0]]
    assert spectra.of("overall")[0].num == 143
    for path in paths[:20]:
        Path(path).write_bytes(b"no image")
    with pytest.raises(FaceproofError, match="20 of 144 files"):
        measure_spectra(noisy, SIZE)


def test_frames_of_a_video_are_no_images_of_their_own(tmp_path):
    """Forty videos of one pattern each, ten frames: a frame more says nothing more."""
    rng, columns = np.random.default_rng(0), {"path": [], "label": [], "group": []}
    for video in range(40):
        label, pattern = ("real", "fake")[video % 2], rng.normal(128, 15, (SIZE, SIZE))
        for frame in range(10):
            grey = pattern + rng.normal(0, 1, pattern.shape)
            path = tmp_path / f"{video}-{frame}.png"
            Image.fromarray(grey.clip(0, 255).round().astype(np.uint8)).save(path)
            columns["path"].append(str(path))
            columns["label"].append(label)
            columns["group"].append(f"v{video}")
    split = {"split": ["train"] * 400, "source": ["x"] * 400}
    grouped = measure_spectra(DataSet("x", TASK, table_from_columns(columns | split)), SIZE)
    alone = measure_spectra(
        DataSet("x", TASK, table_from_columns(columns | split | {"group": [None] * 400})), SIZE
    )
    for apart, together in zip(alone.of("class"), grouped.of("class"), strict=True):
        assert (together.num, together.num_units, apart.num_units) == (200, 20, 200)
        assert together.power == pytest.approx(apart.power, abs=1e-4)
    (wide,) = [found.curve_error for _, found in grouped.compared()]
    (narrow,) = [found.curve_error for _, found in alone.compared()]
    assert np.median(wide / narrow) == pytest.approx(math.sqrt(10), rel=0.1)


def test_too_few_images_leave_peaks_and_one_class_leaves_differences_undefined(noisy):
    rows = noisy.table.to_pylist()[:6]
    columns = {name: [row[name] for row in rows] for name in noisy.table.column_names}
    few = measure_spectra(DataSet("few", TASK, table_from_columns(columns)), SIZE)
    assert all(group.peaks is None for group in few.groups)
    assert verdict(few).startswith("undefined: fewer than")
    columns = {name: values[:1] for name, values in columns.items()}
    one = measure_spectra(DataSet("one", TASK, table_from_columns(columns)), SIZE)
    assert verdict(one).startswith("undefined: no images")
    text = json.dumps(one.to_json(), allow_nan=False)
    assert json.loads(text)["groups"][0]["curve_deviation"] == [None] * (SIZE // 2)
    assert draw_curves(one).axes


def test_results_are_held_a_chunk_at_a_time(monkeypatch):
    monkeypatch.setattr(sampling, "CHUNK", 4)
    read = []
    results = sampling.read_each([str(n) for n in range(20)], lambda path: read.append(path), "x")
    next(results)
    assert len(read) <= 4
    assert len(list(results)) == 19


def test_the_command_writes_a_page(noisy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("faceproof.app.compose_data", lambda settings: noisy)
    out = tmp_path / "out"
    words = ["spectra", "data=noisy", "--size", "32", "--sample", "40", "--out", str(out)]
    assert run(words) == 0
    assert (out / "spectra.html").is_file()
    assert "noisy: 40 images" in capsys.readouterr().out
    assert json.loads((out / "spectra.json").read_text())["num_drawn"] == 40
