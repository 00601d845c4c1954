"""The drawings and the page of spectra: what they say, not only that they are there."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from faceproof.data.demo.make import make_demo
from faceproof.data.listing import DemoData
from faceproof.explain.spectra import measure_spectra, whole
from faceproof.explain.spectra_results import curve_frequencies
from faceproof.reports.spectra_page import (
    centred,
    draw_curves,
    draw_differences,
    draw_means,
    draw_spectra,
    spectra_page,
    write_spectra,
)
from faceproof.task import get_task
from tests.known_networks import drawn_words

TASK = get_task("deepfake")
SIZE = 32


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Small demonstration spectra: 20 images of each forgery."""
    root = tmp_path_factory.mktemp("spectra") / "demo"
    make_demo(root, TASK, seed=1, num_per_class=80)
    data = DemoData("demo", "deepfake", str(root), seed=1, num_per_class=80).list()
    return measure_spectra(data)


def test_means_are_drawn_over_frequency_with_their_peaks_ringed(demo):
    figure = draw_means(demo)
    *maps, bar = figure.axes
    names = [group.name for group in demo.distinct()]
    assert names[:3] == ["real", "fake", "all images"]
    assert not {"camera", "demo"} & set(names)  # these are `real` and all images once more
    assert [axes.get_title(loc="left").split(" (")[0] for axes in maps] == names
    assert bar.get_ylabel() == "mean log power (dB re 1 grey level)"
    assert "128 x 128 pixels, Hann window" in figure.get_suptitle()
    for axes, group in zip(maps, demo.distinct(), strict=True):
        (drawn,) = axes.images
        assert drawn.get_array().shape == (129, 129)
        assert list(axes.get_xticks()) == [-0.5, 0, 0.5]
        assert drawn.get_extent()[0] == pytest.approx(-0.5 - 0.5 / 128)
        marked = sum(len(peak.images) for peak in group.peaks)
        assert len(axes.collections) == (2 if marked else 0)  # the ring and its halo
        assert all(len(ring.get_offsets()) == marked for ring in axes.collections)
    assert maps[0].get_ylabel() == "vertical (cycles/pixel)"
    assert maps[-1].get_xlabel() == "horizontal (cycles/pixel)"


def test_differences_are_drawn_on_one_scale_even_about_zero(demo):
    *maps, bar = draw_differences(demo).axes
    limits = {axes.images[0].get_clim() for axes in maps}
    ((low, high),) = limits
    assert low == -high
    assert bar.get_ylabel() == "difference from real (dB)"
    rings = {tuple(place) for place in maps[-1].collections[0].get_offsets().tolist()}
    assert rings == {(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)}


def test_curves_have_a_line_and_a_band_each_and_name_their_units(demo):
    left, right = draw_curves(demo).axes
    assert [line.get_label() for line in left.lines] == ["real (80)", "fake (80)"]
    assert len(left.collections) == 2
    assert left.lines[0].get_linestyle() != left.lines[1].get_linestyle()  # without colour too
    assert np.array_equal(left.lines[0].get_xdata(), curve_frequencies(128))
    assert left.get_xlabel() == "spatial frequency (cycles/pixel)"
    assert left.get_ylabel() == "mean power (dB re 1 grey level)"
    assert len(right.lines) == 1 + 5  # zero, fake and four generators
    assert right.get_ylabel() == "difference (dB)"


def test_of_many_groups_the_largest_are_drawn_beside_a_legend_that_covers_nothing(demo):
    fake = demo.of("class")[1]
    many = [replace(fake, kind="generator", name=f"g{n}", num=n, power=fake.power + n)
            for n in range(1, 17)]  # fmt: skip
    spectra = replace(demo, groups=[*demo.of("class"), *many])
    figure = draw_curves(spectra)
    _, right = figure.axes
    assert right.get_title(loc="left").endswith("(12 of 17)")
    assert len(right.lines) == 1 + 12
    assert right.get_legend() is None
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["fake", *(f"g{n}" for n in range(16, 5, -1))]
    figure.draw_without_rendering()
    assert legend.get_window_extent().y1 <= min(a.get_tightbbox().y0 for a in figure.axes) + 1
    looks = {(line.get_color(), line.get_linestyle()) for line in right.lines[1:]}
    assert len(looks) == 12
    page = " ".join(spectra_page(spectra, draw_spectra(spectra)).split())
    assert "the 12 of most images; spectra.json has all 17." in page


def test_names_are_drawn_as_they_are(demo):
    groups = [replace(group, name=name) for group, name in zip(
        demo.of("generator"), ("a$b^$c", "_hidden", "$x$", "plain"), strict=False)]  # fmt: skip
    spectra = replace(demo, data="x$_$", groups=[*demo.of("class"), *groups])
    for draw in (draw_means, draw_differences, draw_curves):
        words = drawn_words(draw(spectra))
        assert all(group.name in words for group, _ in spectra.compared())
        assert "x$_$: " in words


def test_a_centred_map_has_frequency_0_in_the_middle_and_is_symmetric():
    power = whole(np.abs(np.fft.rfft2(np.random.default_rng(5).normal(size=(SIZE, SIZE)))))
    drawn = centred(power)
    assert drawn[SIZE // 2, SIZE // 2] == power[0, 0]
    assert np.allclose(drawn, drawn[::-1, ::-1])


def test_what_is_written_holds_the_numbers_and_stands_alone(demo, tmp_path):
    page = write_spectra(demo, tmp_path / "spectra").read_text()
    names = {path.name for path in (tmp_path / "spectra").iterdir()}
    assert names == {"means.png", "differences.png", "curves.png", "spectra.json", "spectra.npz",
                     "spectra.html"}  # fmt: skip
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "Frequencies that real lacks stand out in" in page
    assert page.count("data:image/svg+xml") == 3
    assert "in the maps, being means of logarithms, at -2.5 dB" in page
    numbers = json.loads((tmp_path / "spectra/spectra.json").read_text())
    assert numbers["search"]["false_alarm"] == 0.01
    (upsampled,) = (group for group in numbers["groups"] if group["name"] == "upsampled")
    assert {
        (peak["horizontal"], peak["vertical"]) for peak in upsampled["difference"]["peaks"]
    } == {(0.5, 0.0), (0.0, 0.5)}
    with np.load(tmp_path / "spectra/spectra.npz") as arrays:
        assert set(arrays) == set(demo.arrays())
        assert arrays["mean:class:real"].shape == (128, 128)
        real, fake = arrays["mean:class:real"], arrays["mean:class:fake"]
        assert np.allclose(arrays["difference:class:fake"], fake - real, atol=1e-4)
