"""The long form of tests/workflows/test_predict_on_ray.py: a node and the command are killed."""

import pytest

from tests.small_clusters import needs_ray
from tests.stress.cluster import judge


@needs_ray
@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray[.]")
def test_a_node_and_the_command_die_and_no_row_is_lost_or_twice(tmp_path):
    found = judge(tmp_path, 100_000)
    assert found["exit code"] == 0
    assert found["rows"] == found["files"] == 100_000
    assert found["errors"] == 0
    assert found["most logits of an image"] == 1
    assert found["node killed at part"] < found["command killed at part"] < found["parts"]
