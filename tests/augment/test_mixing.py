"""Mixed images: what is in them is what the shares say, and what is drawn is the seed's alone."""

import pytest
import torch

from faceproof.augment.mixing import cutmix, mixup


def images(number=5, side=20):
    """Return images of one colour each, by which one sees what is in a mixed one."""
    return torch.arange(number).float()[:, None, None, None].expand(number, 3, side, side) / number


def seeded(mix, of, alpha=1.0, seed=0):
    torch.manual_seed(seed)
    return mix(of, alpha)


@pytest.mark.parametrize("mix", [mixup, cutmix])
@pytest.mark.parametrize("number", [1, 4, 5])
def test_the_mean_of_a_mixed_image_is_that_of_both_by_their_shares(mix, number):
    for seed in range(20):
        whole = images(number)
        found = seeded(mix, whole, seed=seed)
        means, own = found.images.mean((1, 2, 3)), whole.mean((1, 2, 3))
        assert 0.5 <= found.share <= 1
        assert sorted(found.partner.tolist()) == list(range(number))
        expected = found.share * own + (1 - found.share) * own[found.partner]
        torch.testing.assert_close(means, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(whole, images(number))  # the batch itself stays


def test_cutmix_lays_one_rectangle_in_one_place_over_all_images():
    for seed in range(20):
        whole = images()
        found = seeded(cutmix, whole, seed=seed)
        moved = [one for one, other in enumerate(found.partner.tolist()) if one != other]
        changed = (found.images != whole)[:, 0]
        places = changed[moved[0]].nonzero()
        if len(places):
            (top, left), (bottom, right) = places.min(0).values, places.max(0).values + 1
            assert (bottom - top) * (right - left) == len(places)  # it is a rectangle
        assert all(torch.equal(changed[one], changed[moved[0]]) for one in moved)
        assert len(places) == pytest.approx((1 - found.share) * 400)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_what_is_drawn_is_a_function_of_torch_s_seed(mix):
    first, again, other = (seeded(mix, images(), seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.images, again.images)
    assert first.share == again.share != other.share


def test_a_small_alpha_leaves_most_of_an_image():
    shares = [[seeded(mixup, images(), alpha, seed).share for seed in range(200)]
              for alpha in (0.1, 1.0)]  # fmt: skip
    small, even = (sum(one) / len(one) for one in shares)
    assert small > 0.93  # the mean of max(x, 1 - x) is 0.75 where all shares are alike
    assert even == pytest.approx(0.75, abs=0.03)
