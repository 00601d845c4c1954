"""The short form of `python -m tests.stress.load`."""

import pytest

from faceproof.workflows.export import export_run
from tests.conftest import write_images
from tests.small_runs import write_run

pytest.importorskip("uvicorn", reason="the server takes faceproof[serve]")
pytest.importorskip("httpx", reason="takes httpx")

from tests.stress import load


def test_more_clients_than_places_are_answered_or_told_to_come_back(tmp_path):
    export_run(write_run(tmp_path / "run"), tmp_path / "artifact")
    images = write_images(tmp_path, ["a.jpg", "b.jpg"], face=True)
    options = ["--concurrency", "1", "--queue", "1"]
    found = load.check(tmp_path / "artifact", images, clients=6, seconds=3, serve=options)
    assert set(found["outcomes"]) == {"200", "503"}
    assert found["still in work"] == "faceproof_in_work 0.0"
