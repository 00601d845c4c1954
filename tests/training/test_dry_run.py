"""A network that cannot be trained is refused before an image is looked at."""

import pytest

from faceproof.errors import FaceproofError
from faceproof.models.backbones import timm_backbone
from faceproof.models.heads import LinearHead
from faceproof.training.dry_run import check_single_images
from faceproof.training.freezing import FreezeSchedule
from tests.jobs import train
from tests.small_networks import join, same, small

ALL, HEAD = ([{"from_epoch": 0, "train": what}] for what in ("all", "head"))
# Networks of timm's with batch norms of pooled maps.
POOLED = ("skresnet18", "resnest14d", "mobilenetv4_conv_small")


@pytest.mark.parametrize("name", POOLED)
def test_a_network_that_normalises_pooled_maps_is_refused_a_batch_of_one(name):
    net = join(timm_backbone(name), LinearHead, size=64)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(FaceproofError, match=r"batches of one image.*loader\.batch_size=2 or more"):
        check_single_images(net, FreezeSchedule(ALL))
    thawed_later = [*HEAD, {"from_epoch": 3, "train": "all"}]
    with pytest.raises(FaceproofError, match="batches of one image"):
        check_single_images(net, FreezeSchedule(thawed_later))
    check_single_images(net, FreezeSchedule(HEAD))  # frozen batch norms use no batch's statistics
    assert same(net, before)


def test_a_network_without_batch_norm_takes_a_batch_of_one():
    check_single_images(small(0), FreezeSchedule(ALL))


@pytest.mark.parametrize("name", ["skresnet18", "mobilenetv4_conv_small"])
@pytest.mark.parametrize("freeze", ["all", "head"])
def test_a_last_batch_of_one_image_trains_every_network(small_faces, tmp_path, name, freeze):
    """16 images in batches of 15; a frozen network trains from cached features."""
    words = [
        "data=face_or_not", f"data.root={small_faces}", "model=timm", f"model.name={name}",
        "model.input.size=64", "trainer=cpu", "trainer.max_epochs=1", "loader.num_workers=0",
        "model.weights=none", "augment=none", "logger=csv", "loader.batch_size=15",
        f"freeze.stages=[{{from_epoch: 0, train: {freeze}}}]",
    ]  # fmt: skip
    run = train(tmp_path / "run", *words)
    assert run.read_record()["status"] == "finished"


def test_batches_of_one_image_are_refused_before_training(small_faces, tmp_path):
    words = [
        "data=face_or_not", f"data.root={small_faces}", "model=timm", "model.name=skresnet18",
        "model.input.size=64", "trainer=cpu", "model.weights=none", "logger=csv",
        "loader.batch_size=1",
    ]  # fmt: skip
    with pytest.raises(FaceproofError, match="batches of one image"):
        train(tmp_path / "run", *words)
