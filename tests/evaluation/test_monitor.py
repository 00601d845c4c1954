import pytest

from faceproof.errors import FaceproofError
from faceproof.evaluation.monitor import better


@pytest.mark.parametrize(
    ("monitor", "mode"), [("val/loss", "min"), ("val/eer", "min"), ("val/roc_auc", "max")]
)
def test_which_way_is_better(monitor, mode):
    assert better(monitor) == mode


@pytest.mark.parametrize("monitor", ["test/loss", "train/loss", "loss"])
def test_only_validation_may_choose(monitor):
    with pytest.raises(FaceproofError, match="figures of validation"):
        better(monitor)
