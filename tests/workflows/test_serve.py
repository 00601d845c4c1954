"""What `faceproof serve` refuses before it starts, and how it tells the server what to do."""

import sys

import pytest

from faceproof.cli.main import main
from faceproof.errors import FaceproofError
from faceproof.server.limits import Limits
from faceproof.workflows.export import export_run
from faceproof.workflows.serve import ServeConfig, serve
from tests.small_runs import write_run

uvicorn = pytest.importorskip("uvicorn", reason="the server takes faceproof[serve]")


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "markdown_it", "prometheus_client"])
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setitem(sys.modules, name, None)
    assert main(["serve", str(tmp_path)]) == 2
    assert "pip install 'faceproof[serve]'" in capsys.readouterr().err


def test_settings_that_do_not_fit_each_other_are_refused(tmp_path):
    with pytest.raises(FaceproofError, match="--whole-if-none"):
        ServeConfig(tmp_path, whole_if_none=True)


def test_the_settings_reach_the_server(tmp_path, monkeypatch, capsys):
    export_run(write_run(tmp_path / "run"), tmp_path / "artifact")
    monkeypatch.delenv("FACEPROOF_TOKEN", raising=False)
    ran = []

    def run(server):
        ran.append(server.config)
        server.started = True

    monkeypatch.setattr(uvicorn.Server, "run", run)
    limits = Limits(connections=7)
    config = ServeConfig(tmp_path / "artifact", host="0.0.0.0", port=8000, limits=limits)
    assert serve(config) == 0
    (found,) = ran
    assert (found.host, found.port, found.limit_concurrency) == ("0.0.0.0", 8000, 8)
    assert found.access_log is False
    assert "everybody who reaches 0.0.0.0 can use this server" in capsys.readouterr().err
    words = ["serve", str(tmp_path / "artifact"), "--max-pixels", "50e6", "--no-page"]
    assert main(words) == 0
    paths = {route.path for route in ran[1].app.routes}
    assert "/api/predict" in paths
    assert "/" not in paths
