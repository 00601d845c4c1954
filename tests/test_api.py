import doctest
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hydra import compose, initialize_config_dir

import faceproof as fp
from faceproof import api
from faceproof.workflows.export import export_run
from tests.jobs import REPOSITORY
from tests.small_runs import images_of, write_run


@pytest.mark.parametrize("name", fp.__all__)
def test_every_public_name_is_there_and_documented(name):
    found = getattr(fp, name)
    assert isinstance(found, dict) or (found.__doc__ and not found.__doc__.startswith(f"{name}("))
    assert name in dir(fp)


def test_what_is_no_public_name_is_refused():
    with pytest.raises(AttributeError, match="nothing_of_this"):
        fp.nothing_of_this  # noqa: B018


@pytest.mark.filterwarnings("ignore:.*(LeafSpec|does not have many workers)")
@pytest.mark.parametrize("name", sorted({*fp.__all__} - {"METRICS"}))  # a dict has no docstring
def test_every_public_name_has_an_example_that_is_right(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if '"detector"' in getattr(fp, name).__doc__:
        export_run(write_run(Path("run"), gain=40.0), Path("detector"))
        shutil.copy(images_of(Path("run"))[0], "image.jpg")
    # Elsewhere the site would take the prompts for quotations.
    assert "\nExamples:\n    >>> " in inspect.getdoc(getattr(fp, name))
    (example,) = doctest.DocTestFinder(recurse=False).find(
        getattr(fp, name), name, globs=dict(vars(api))
    )
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_importing_it_imports_nothing_heavy():
    code = (
        "import sys, faceproof\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'scipy', 'hydra', 'timm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert 'load' in dir(faceproof)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return fp.list_data("demo_faces", num_per_class=10)


def test_settings_are_checked_and_merged(data):
    assert data.table.num_rows == 20
    with pytest.raises(fp.FaceproofError, match=r"did you mean data\.num_per_class"):
        fp.list_data("demo_faces", num_per_clas=10)
    with pytest.raises(fp.FaceproofError, match="demo_facs"):
        fp.list_data("demo_facs")
    assert fp.build_model("face_cnn", input={"size": 32}).input.size == 32
    with pytest.raises(fp.FaceproofError, match="adamv"):
        fp.make_module(fp.build_model("face_cnn"), optimizer="adamv")
    with pytest.raises(fp.FaceproofError, match="no image in split tset; it has train, val"):
        fp.score_data(fp.build_model("face_cnn"), data, "tset")


def test_other_images_are_not_compared(data):
    net = fp.build_model("face_cnn")
    first, second = (fp.score_data(net, data, split) for split in ("train", "val"))
    with pytest.raises(fp.FaceproofError, match="of which they share 0; score the same images"):
        fp.compare_scores(first, second, data.task)
    turned = first.take(pa.array(range(first.num_rows - 1, -1, -1)))
    same = fp.compare_scores(first, turned, data.task)
    assert same["roc_auc"].value == 0
    assert same["accuracy"].p_value == 1


def test_each_name_is_what_its_module_has():
    stub = (REPOSITORY / "src/faceproof/__init__.pyi").read_text()
    named = re.findall(r"^from (\.[\w.]+) import (\w+) as", stub, re.MULTILINE)
    assert sorted(name for _, name in named) == sorted(fp.__all__)
    for module, name in named:
        assert getattr(importlib.import_module(module, "faceproof"), name) is getattr(fp, name)


def test_settings_that_a_file_leaves_open_are_given(tmp_path, monkeypatch, make_images):
    monkeypatch.chdir(tmp_path)
    for label in ("real", "fake"):
        make_images(tmp_path / "mine" / label, [f"{number}.jpg" for number in range(4)])
    assert fp.list_data("folder", root="mine").table.num_rows == 8
    labels = {"real": "fake", "fake": "real"}
    swapped = fp.list_data("real_fake_folders", root="mine", labels=labels).table
    pairs = zip(swapped["path"].to_pylist(), swapped["label"].to_pylist(), strict=True)
    assert {label for path, label in pairs if "/mine/real/" in path} == {"fake"}
    (tmp_path / "table.csv").write_text("path,label\nmine/real/0.jpg,real\nmine/fake/0.jpg,fake\n")
    assert fp.list_data("table", file="table.csv").table.num_rows == 2
    net = fp.build_model("timm", name="test_efficientnet", weights="none", input={"size": 64})
    assert net.input.size == 64
    with pytest.raises(fp.FaceproofError, match="root"):
        fp.list_data("folder")


def test_it_works_within_another_program_of_hydras(data):
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        assert fp.build_model("face_cnn").input.size == 48
        assert compose("train").seed == 0  # the outer one goes on


@pytest.mark.filterwarnings("ignore:.*(LeafSpec|does not have many workers)")
def test_the_notebook_in_the_readme(tmp_path, monkeypatch, capsys):
    text = (REPOSITORY / "README.md").read_text()
    block = text.partition("### In a notebook\n\n```python\n")[2].partition("```")[0]
    for long, short in (('"demo"', '"demo", num_per_class=20'), ("effnet_lite_se", "face_cnn"),
                        ("max_epochs=2", "max_epochs=1, logger=False, enable_progress_bar=False, "
                         "enable_model_summary=False, enable_checkpointing=False")):  # fmt: skip
        assert long in block
        block = block.replace(long, short)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    assert "'roc_auc': " in capsys.readouterr().out
