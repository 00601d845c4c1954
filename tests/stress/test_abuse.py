"""The short form of `python -m tests.stress.abuse`."""

import pytest

from faceproof.workflows.export import export_run
from tests.small_runs import write_run
from tests.stress import abuse

pytest.importorskip("uvicorn", reason="the server takes faceproof[serve]")


def test_a_server_survives_abuse(tmp_path):
    export_run(write_run(tmp_path / "run", gain=40.0), tmp_path / "artifact")
    found = abuse.check(tmp_path / "artifact", 150)
    assert found["faults"] == []
    assert found["answers"]["200"] > 0
    assert found["answers"]["404"] > 0
    assert {"200", "500"} & set(found["answers"]) == {"200"}
