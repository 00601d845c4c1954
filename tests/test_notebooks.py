"""The notebooks run from top to bottom, on tiny images, and show what they promise."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import write_faces
from tests.jobs import REPOSITORY

NOTEBOOKS = REPOSITORY / "notebooks"
SMALL = "model.input.size=16 trainer=cpu loader.num_workers=0 loader.batch_size=8 logger=csv"


def read(name):
    nbformat = pytest.importorskip("nbformat", reason="takes nbclient")
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def execute(notebook, folder, monkeypatch):
    """Run a notebook's cells in a folder, with this Python and the faceproof of this checkout."""
    nbclient = pytest.importorskip("nbclient", reason="takes nbclient")
    pytest.importorskip("ipykernel", reason="takes ipykernel")
    bin = folder / "bin"
    bin.mkdir()
    command = bin / "faceproof"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m faceproof "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "src"))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("FACEPROOF_CACHE", str(folder / "cache"))
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()


def outputs(notebook):
    """Return the texts and the HTML that the cells have shown, each as one string."""
    texts, pages = [], []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            texts.append(output.get("text", ""))
            texts.append(output.get("data", {}).get("text/plain", ""))
            pages.append(output.get("data", {}).get("text/html", ""))
    return "\n".join(texts), "\n".join(pages)


def replace_parameters(notebook, text):
    (cell,) = (one for one in notebook.cells if "parameters" in one.metadata.get("tags", ()))
    cell.source = text


@pytest.mark.parametrize("file", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda file: file.name)
def test_a_notebook_is_stored_without_outputs_and_says_what_it_does(file: Path) -> None:
    found = json.loads(file.read_text("utf-8"))
    code = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    assert len(code) <= 10
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert found["cells"][0]["source"][0].startswith("# ")
    assert file.stat().st_size < 20_000


def test_the_first_notebook_goes_from_a_folder_to_a_verdict(tmp_path, monkeypatch):
    write_faces(tmp_path / "mine", train=8, val=8, test=8)
    notebook = read("start.ipynb")
    replace_parameters(notebook, f'IMAGES, MODEL, EPOCHS, MORE = "mine", "face_cnn", 1, "{SMALL}"')
    began = time.monotonic()
    execute(notebook, tmp_path, monkeypatch)
    texts, pages = outputs(notebook)
    print(f"{time.monotonic() - began:.1f} s")
    assert "DataSet('mine', " in texts
    assert "epoch 1 of 1" in texts
    assert "detector artifact: detector" in texts
    assert "Verdict(" in texts
    assert "<iframe srcdoc=" in pages
    assert "By class" in pages
    assert (tmp_path / "detector/card.json").is_file()


def test_the_second_notebook_reads_the_tables_of_a_report(tmp_path, monkeypatch):
    pytest.importorskip("pandas", reason="comes with notebooks")
    notebook = read("report_tables.ipynb")
    (cell,) = (one for one in notebook.cells if "parameters" in one.metadata.get("tags", ()))
    replace_parameters(notebook, cell.source.replace("NUM = 600", "NUM = 200"))
    execute(notebook, tmp_path, monkeypatch)
    texts, pages = outputs(notebook)
    assert "as in the report" in texts
    assert "<iframe srcdoc=" in pages
    assert "diffusion" in pages  # the table by generator
    assert "called fake" in pages
