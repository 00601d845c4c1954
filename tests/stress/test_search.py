"""The long form of the searches on PostgreSQL in tests/workflows/test_search.py: real trainings."""

import pytest

from tests.small_postgres import needs_postgres
from tests.stress.search import is_right, search


@needs_postgres
@pytest.mark.long
def test_a_command_of_a_search_dies_and_no_trial_is_lost_or_twice(tmp_path):
    found = search(tmp_path, 12)
    assert is_right(found), found
