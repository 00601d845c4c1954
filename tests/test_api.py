import doctest
import importlib
import subprocess
import sys

import pyarrow as pa
import pytest

import faceproof as fp
from faceproof import api
from tests.jobs import REPOSITORY

# The examples that need a detector artifact stand where artifacts are tested.
WITH_EXAMPLE = [
    "audit_data", "build_model", "compare_scores", "list_data", "make_datamodule", "make_module",
    "score_data",
]  # fmt: skip


@pytest.mark.parametrize("name", fp.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(fp, name).__doc__
    assert name in dir(fp)


def test_what_is_no_public_name_is_refused():
    with pytest.raises(AttributeError, match="nothing_of_this"):
        fp.nothing_of_this  # noqa: B018


@pytest.mark.filterwarnings("ignore:.*(LeafSpec|does not have many workers)")
@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_the_examples_are_right(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(
        getattr(api, name), name, globs=dict(vars(api))
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
        fp.make_module(fp.build_model("face_cnn"), optimizer="adamv").configure_optimizers()
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


def test_the_stub_names_what_the_modules_have():
    for name in fp.__all__:
        value = getattr(fp, name)
        if hasattr(value, "__module__") and isinstance(value, type):
            assert getattr(importlib.import_module(value.__module__), name) is value


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
