"""The map over an image, and what says why there is none."""

import sys

import numpy as np
from PIL import Image

import faceproof
from faceproof.server import heat_map
from faceproof.server.heat_map import HeatMaps
from faceproof.workflows.export import export_run
from tests.small_runs import write_run


def test_a_map_is_orange_where_it_speaks_for_fake():
    found = np.full((8, 8), 0.0, np.float32)
    found[:, :4], found[:, 4:] = 1.0, -1.0
    drawn = np.asarray(heat_map._overlay(Image.new("RGB", (80, 80), "gray"), found)).astype(int)
    assert (drawn[:, :30, 0] > drawn[:, :30, 2] + 50).all()
    assert (drawn[:, 50:, 2] > drawn[:, 50:, 0] + 30).all()


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    export_run(write_run(tmp_path / "run"), tmp_path / "artifact")
    model = faceproof.load(tmp_path / "artifact", "cpu")
    monkeypatch.delitem(sys.modules, "faceproof.explain.attribution", raising=False)
    monkeypatch.delattr("faceproof.explain.attribution", raising=False)
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    maps = HeatMaps(model)
    assert maps.problem is not None
    assert "pip install 'faceproof[explain]'" in maps.problem
