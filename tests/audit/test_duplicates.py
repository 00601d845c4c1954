import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceproof.audit import duplicates
from faceproof.audit.duplicates import MAX_DISTANCE, equal_groups, hamming, near_pairs


def random_hashes(rng, num):
    return rng.integers(0, 1 << 16, (num, 16), dtype=np.uint16)


def flipped(rng, row, num_bits):
    bits = np.unpackbits(row.view(np.uint8))
    bits[rng.choice(256, num_bits, replace=False)] ^= 1
    return np.packbits(bits).view(np.uint16)


def all_pairs(hashes, limit):
    one, other = np.triu_indices(len(hashes), 1)
    near = hamming(hashes[one], hashes[other]) <= limit
    return np.stack([one[near], other[near]], axis=1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, MAX_DISTANCE))
def test_no_near_pair_is_missed_and_none_invented(seed, limit):
    rng = np.random.default_rng(seed)
    hashes = random_hashes(rng, 120)
    for row in range(0, 60, 2):
        hashes[row + 1] = flipped(rng, hashes[row], rng.integers(0, MAX_DISTANCE + 4))
    pairs, distance = near_pairs(hashes, limit)
    assert np.array_equal(pairs, all_pairs(hashes, limit))
    assert np.array_equal(distance, hamming(hashes[pairs[:, 0]], hashes[pairs[:, 1]]))


@pytest.mark.parametrize("shared_words", [1, 2, 5])
def test_words_that_many_share_hide_nothing(monkeypatch, shared_words):
    monkeypatch.setattr(duplicates, "WINDOW", 32)
    rng = np.random.default_rng(shared_words)
    hashes = random_hashes(rng, 300)
    hashes[:, :shared_words] = 7  # as flat backgrounds do
    for row in range(0, 100, 2):
        hashes[row + 1] = flipped(rng, hashes[row], MAX_DISTANCE)
    assert np.array_equal(near_pairs(hashes)[0], all_pairs(hashes, MAX_DISTANCE))


def test_thousands_that_look_alike_cost_no_square():
    rng = np.random.default_rng(0)
    same = np.tile(random_hashes(rng, 1), (2500, 1))
    pairs, distance = near_pairs(same)
    assert len(pairs) == 2499
    assert not distance.any()
    alike = np.stack([flipped(rng, same[0], 3) for _ in range(600)])
    pairs, _ = near_pairs(alike)
    assert len(np.unique(pairs)) > 590  # all but those that no other is close to
    assert len(pairs) <= 600 * duplicates.WINDOW * duplicates.NUM_BANDS


def test_distance_is_the_number_of_differing_bits():
    rng = np.random.default_rng(0)
    row = random_hashes(rng, 1)[0]
    found = [hamming(row[None], flipped(rng, row, n)[None])[0] for n in range(20)]
    assert found == list(range(20))


def test_a_distance_beyond_what_is_guaranteed_is_refused():
    with pytest.raises(ValueError, match="within 0 and 13"):
        near_pairs(np.zeros((2, 16), np.uint16), 14)


def test_work_grows_with_the_rows_and_not_with_their_square(monkeypatch):
    compared = []
    original = duplicates.hamming
    monkeypatch.setattr(
        duplicates, "hamming", lambda a, b: compared.append(len(a)) or original(a, b)
    )
    near_pairs(random_hashes(np.random.default_rng(0), 20_000))
    assert sum(compared) < 20_000**2 / 2 / 100


def test_equal_digests_are_gathered():
    digests = np.array([b"a", b"b", b"a", b"c", b"b", b"a"])
    assert [run.tolist() for run in equal_groups(digests)] == [[0, 2, 5], [1, 4]]
    assert not list(equal_groups(np.array([b"a", b"b"])))
