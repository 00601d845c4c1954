import shlex

import pytest
import torch

from faceproof import app
from faceproof.cli.main import main
from faceproof.errors import FaceproofError
from faceproof.models.build import build_network
from faceproof.training.config import make_train_config
from faceproof.training.dry_run import dry_run
from faceproof.workflows.init import PLACES, InitConfig, init
from tests.jobs import compose_job


def test_the_starter_works_as_its_readme_says(tmp_path, monkeypatch, capsys, make_images):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "my project"]) == 0
    said = capsys.readouterr().out
    assert "cd 'my project'\n  faceproof train experiments=first" in said
    monkeypatch.chdir(tmp_path / "my project")
    readme = (tmp_path / "my project/README.md").read_text()
    assert len(readme.splitlines()) <= 12
    commands = [shlex.split(part) for part in readme.split("`") if part.startswith("faceproof ")]
    trains = [words[2:] for words in commands if words[1] == "train" and "--help" not in words]
    assert len(trains) == 2
    for words in (*trains, ["model=my_model", "data=my_images"]):
        compose_job("train", tmp_path / "run", tuple(words))
    for label in ("real", "fake"):
        make_images(tmp_path / "my project/data/my_images" / label, [f"{n}.jpg" for n in range(9)])
    assert main(["audit", "data=my_images"]) in (0, 1)
    assert "my_images: 18 images" in capsys.readouterr().out


def test_the_starter_s_model_takes_an_image(tmp_path, monkeypatch):
    init(InitConfig(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = ("data=demo", "model=my_model", "model.weights=none")
    config = make_train_config(app.training_values(compose_job("train", tmp_path / "run", words)))
    net = build_network(config.model)
    dry_run(config, net)
    assert net(torch.zeros(2, 3, 128, 128)).shape == (2,)


def test_what_it_writes_is_not_ignored(tmp_path):
    init(InitConfig(tmp_path))
    ignored = (tmp_path / ".gitignore").read_text().splitlines()
    assert all(line.startswith("/") and line.endswith("/") for line in ignored)
    assert not [place for place in PLACES.values() if f"/{place.split('/')[0]}/" in ignored]


def test_a_place_that_cannot_be_a_folder_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "conf").write_text("mine")
    with pytest.raises(FaceproofError, match="cannot be made a folder"):
        init(InitConfig(tmp_path))
    with pytest.raises(FaceproofError, match="cannot be made a folder"):
        init(InitConfig(tmp_path / "conf"))
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    init(InitConfig(tmp_path / "a"))
    mine = tmp_path / "a/conf/data/my_images.yaml"
    mine.write_text("mine")
    with pytest.raises(FaceproofError, match=r"README\.md is there already"):
        init(InitConfig(tmp_path / "a"))
    assert mine.read_text() == "mine"
    lonely = tmp_path / "b/conf/data/my_images.yaml"
    lonely.parent.mkdir(parents=True)
    lonely.write_text("mine")
    with pytest.raises(FaceproofError, match=r"my_images\.yaml is there already"):
        init(InitConfig(tmp_path / "b"))
    assert [path for path in (tmp_path / "b").rglob("*") if path.is_file()] == [lonely]
    assert len(PLACES) == len([path for path in (tmp_path / "a").rglob("*") if path.is_file()])
