"""The peak finder: planted frequencies are found, and nothing in what has none."""

import math

import numpy as np
import pytest
from scipy import stats

from faceproof.explain.peaks import LOWEST, Peak, find_peaks, num_cells, threshold
from faceproof.explain.spectra import RunningStatistics, image_spectrum, whole

SIZE = 64
Y, X = np.mgrid[:SIZE, :SIZE]


def searched(make_image, num=20, size=SIZE):
    """Return the peaks in the mean spectrum of `num` images."""
    run = RunningStatistics()
    for number in range(num):
        run.add(image_spectrum(make_image(number).astype(np.float32)).power)
    assert run.mean.shape == (size, size // 2 + 1)
    return find_peaks(whole(run.mean), whole(run.error))


def white(seed, size=SIZE):
    return lambda number: np.random.default_rng((seed, number)).normal(128, 20, (size, size))


def falling(seed, power=1.0):
    """Noise whose magnitude falls with frequency, as that of photographs does."""
    radius = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE))
    radius[0, 0] = 1 / SIZE

    def make(number):
        noise = np.random.default_rng((seed, number)).normal(0, 1, (SIZE, SIZE))
        image = np.fft.irfft2(np.fft.rfft2(noise) / radius**power, (SIZE, SIZE))
        return 128 + 30 * image / image.std()

    return make


def wave(horizontal, vertical, height=4.0, size=SIZE):
    return height * np.cos(2 * np.pi * (horizontal * X + vertical * Y)[:size, :size] + 0.3)


@pytest.mark.parametrize("size", [SIZE, 40, 32])
@pytest.mark.parametrize("seed", range(12))
def test_white_noise_has_no_peaks(seed, size):
    assert searched(white(seed, size), size=size) == []


@pytest.mark.parametrize("power", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_noise_that_falls_smoothly_has_no_peaks(seed, power):
    assert searched(falling(seed, power)) == []


def test_a_smooth_spectrum_without_any_uncertainty_has_no_peaks():
    radius = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE))
    smooth = -20 * np.log10(radius + 1 / SIZE)
    noise = np.random.default_rng(0).normal(0, 1e-3, smooth.shape)
    mirrored = noise + noise[-np.arange(SIZE) % SIZE][:, -np.arange(SIZE) % SIZE]
    assert find_peaks(smooth + mirrored, np.full_like(smooth, 1e-3)) == []


def test_the_ridge_of_an_edge_is_no_peak():
    def make(number):
        rng = np.random.default_rng(number)
        return falling(5)(number) + 60 * (rng.integers(20, 44) > X)

    assert searched(make) == []


@pytest.mark.parametrize(
    "planted",
    [(0.25, 0.0), (0.0, 0.25), (0.125, -0.375), (0.5, 0.0), (0.0, 0.5), (0.5, 0.25), (0.5, 0.5)],
)
@pytest.mark.parametrize("ground", [white, falling])
def test_a_planted_wave_is_found_where_it_is_and_alone(planted, ground):
    (peak,) = searched(lambda number: ground(1)(number) + wave(*planted, height=8))
    assert (peak.horizontal, peak.vertical) == planted
    assert peak.sigmas > threshold(SIZE)


@pytest.mark.parametrize("size", [SIZE, 40, 32])
def test_height_is_that_of_the_wave_over_the_noise(size):
    make = white(2, size)
    (peak,) = searched(lambda number: make(number) + wave(0.25, 0.125, 30, size), 60, size)
    window = np.outer(*[np.hanning(size + 1)[:size]] * 2)
    line = (30 / 2 * window.sum()) ** 2 / (window**2).sum()
    # The logarithm of noise power is on average 2.51 dB below that of its mean.
    noise = 10 * math.log10(20**2) - 10 / math.log(10) * np.euler_gamma
    assert peak.height == pytest.approx(10 * math.log10(line) - noise, abs=1)


def test_waves_of_one_grid_are_told_apart_and_sorted_by_height():
    def make(number):
        return white(3)(number) + wave(0.25, 0, 20) + wave(0, 0.25, 12) + wave(0.25, 0.25, 7)

    found = [(peak.horizontal, peak.vertical) for peak in searched(make)]
    assert found == [(0.25, 0.0), (0.0, 0.25), (0.25, 0.25)]


def test_nothing_is_searched_for_below_the_lowest_frequency():
    assert searched(lambda number: white(4)(number) + wave(2 / SIZE, 0, 30)) == []
    assert LOWEST > 2 / SIZE


def test_cells_are_counted_once_with_their_mirror_image():
    frequencies = np.fft.fftfreq(SIZE)
    pairs = {
        frozenset({(row, column), (-row % SIZE, -column % SIZE)})
        for row in range(SIZE)
        for column in range(SIZE)
        if math.hypot(frequencies[row], frequencies[column]) >= LOWEST
    }
    assert num_cells(SIZE) == len(pairs)


def test_the_threshold_is_the_quantile_for_all_cells():
    assert threshold(SIZE, 0.05) == pytest.approx(stats.norm.isf(0.05 / num_cells(SIZE)))
    assert threshold(128) > threshold(64)


def test_a_peak_is_drawn_at_both_mirror_images_and_at_every_edge_it_touches():
    assert Peak(0.25, -0.125, 1, 5).images == [(-0.25, 0.125), (0.25, -0.125)]
    assert Peak(0.5, 0.0, 1, 5).images == [(-0.5, 0.0), (0.5, 0.0)]
    assert len(Peak(0.5, 0.5, 1, 5).images) == 4
    assert Peak(0.5, 0.0, 1, 5).period == 2
