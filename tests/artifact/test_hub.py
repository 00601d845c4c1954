"""Detectors go to a hub of our own making and come back, and what is not one is refused."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import faceproof
from faceproof.artifact.hub import HubPlace, pull, push, read_place
from faceproof.cli.main import main
from faceproof.errors import FaceproofError
from faceproof.io.names import is_hub_place
from tests.jobs import REPOSITORY
from tests.small_hub import TOKEN, small_hub, use_hub
from tests.small_runs import change_card, network_of

PLACE = HubPlace("somebody", "detector")
NAME = PLACE.repository


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    with small_hub() as found:
        use_hub(monkeypatch, found.address)
        yield found


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def put(hub, artifact, **more):
    """Put an artifact on the hub as it is, whatever it holds."""
    return hub.make(NAME, contents(artifact) | more)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("hf://a/b", HubPlace("a", "b")),
        (Path("hf://a-1/b.c@main"), HubPlace("a-1", "b.c", "main")),
        ("hf://a/b@refs/pr/1", HubPlace("a", "b", "refs/pr/1")),
    ],
)
def test_a_place_is_an_owner_and_a_name_and_maybe_a_revision(text, place):
    assert is_hub_place(text)
    assert read_place(text) == place


@pytest.mark.parametrize(
    "text",
    ["hf://a", "hf://a/b/c", "hf://a/b@", "hf://../b", "hf://a/b@../c", "hf://a/b c", "hf://a/é"],
)
def test_what_names_no_repository_is_refused(text):
    with pytest.raises(FaceproofError, match="names no repository of the hub; write hf://OWNER"):
        read_place(text)


def test_a_detector_goes_to_the_hub_and_gives_the_same_answers_from_there(hub, artifact, tmp_path):
    commit = push(artifact, PLACE, "apache-2.0")
    assert hub.repositories[NAME].private
    assert hub.files(NAME).keys() == {".gitattributes", *contents(artifact)}
    assert pull(PLACE, tmp_path / "pulled") == commit
    pulled, own = contents(tmp_path / "pulled"), contents(artifact)
    assert pulled.keys() == own.keys()
    assert pulled.pop("README.md") != own.pop("README.md")  # it has the metadata
    assert pulled == own
    image = Image.effect_noise((40, 40), 80).convert("RGB")
    verdicts = [faceproof.load(p)(image) for p in (artifact, f"hf://{NAME}", tmp_path / "pulled")]
    assert verdicts[0] == verdicts[1] == verdicts[2]


def test_a_public_repository_is_made_where_that_is_asked_for(hub, artifact):
    push(artifact, PLACE, public=True)
    assert not hub.repositories[NAME].private


@pytest.mark.parametrize("public", [True, False])
def test_a_repository_that_is_otherwise_visible_is_not_pushed_to(hub, artifact, public):
    hub.make(NAME, contents(artifact), private=public)
    before = hub.files(NAME)
    there = "private: leave out" if public else "public: say"
    with pytest.raises(FaceproofError, match=f"is {there} --public to push there"):
        push(artifact, PLACE, public=public)
    assert hub.files(NAME) == before


def test_another_commit_than_the_one_that_is_named_is_refused(hub, artifact, tmp_path):
    repository = put(hub, artifact)
    repository.branches["f" * 40] = repository.branches["main"]  # a branch that looks like one
    with pytest.raises(FaceproofError, match="names a commit, and the hub answers with another"):
        pull(HubPlace(*NAME.split("/"), "f" * 40), tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


def test_an_earlier_detector_is_replaced_and_its_revision_still_loads(hub, artifact, tmp_path):
    hub.make(NAME, contents(artifact) | {"gone.onnx": b"old"}, private=True)
    first = hub.repositories[NAME].branches["main"]
    hub.change(NAME, gone_onnx=None)
    old = hub.repositories[NAME].branches["main"]
    change_card(artifact, lambda card: card.update(name="newer"))
    push(artifact, PLACE, replace_page=True)
    assert faceproof.load(f"hf://{NAME}").card.name == "newer"
    assert faceproof.load(f"hf://{NAME}@{old}").card.name == "face_cnn"
    with pytest.raises(FaceproofError, match=r"gone\.onnx, which its card does not name"):
        faceproof.load(f"hf://{NAME}@{first}")


def test_what_a_push_no_longer_has_is_removed(hub, artifact):
    hub.make(NAME, contents(artifact) | {"gone.onnx": b"old"}, private=True)
    push(artifact, PLACE, replace_page=True)
    assert "gone.onnx" not in hub.files(NAME)


def test_a_page_that_was_edited_on_the_hub_is_not_replaced(hub, artifact, tmp_path):
    push(artifact, PLACE)
    push(artifact, PLACE)  # as it was put there
    page = hub.files(NAME)["README.md"]
    hub.change(NAME, README_md=page.replace(b"# ", b"# Our ", 1))
    before = hub.files(NAME)
    with pytest.raises(FaceproofError, match=r"not as a push has put .* with --replace-page"):
        push(artifact, PLACE)
    assert hub.files(NAME) == before
    pull(PLACE, tmp_path / "pulled")
    words = ["push", str(tmp_path / "pulled"), f"hf://{NAME}", "--replace-page"]
    assert main(words) == 0  # with the edit, signed anew
    assert hub.files(NAME)["README.md"].count(b"put here by faceproof push") == 1
    assert b"# Our " in hub.files(NAME)["README.md"]
    push(tmp_path / "pulled", PLACE)


def test_an_error_of_huggingface_hub_itself_is_not_one_of_the_network(hub, artifact, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise TypeError("unexpected argument")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", broken)
    with pytest.raises(FaceproofError, match=r"has failed at hf://.* \(TypeError: unexpected"):
        faceproof.load(f"hf://{NAME}")


def test_a_commit_is_fetched_once_and_then_needs_no_hub(hub, artifact):
    commit = push(artifact, PLACE)
    assert faceproof.load(f"hf://{NAME}@main")
    fetched = [asked for asked in hub.asked if "resolve" in asked]
    hub.asked.clear()
    assert faceproof.load(f"hf://{NAME}")
    assert hub.asked == [f"GET /api/models/{NAME}"]
    hub.status = 500
    assert faceproof.load(f"hf://{NAME}@{commit}")
    assert len(fetched) == 2 * 3  # each file's headers, and the file


def flip(data):
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_safetensors": flip}, r"model\.safetensors is not the file that the card was writ"),
        ({"model_safetensors": None}, r"is not whole: model\.safetensors is not there"),
        ({"README_md": None}, r"is not whole: README\.md is not there"),
        ({"card_json": None}, "holds no detector artifact: there is no card.json in it"),
        ({"card_json": lambda _: b"{"}, "no whole JSON"),
        ({"more_safetensors": lambda _: b"x"}, r"more\.safetensors, which its card does not name"),
        ({"model_py": lambda _: b"print()"}, r"model\.py, which is no part of a detector artifact"),
        ({"model_pkl": lambda _: b"x"}, r"model\.pkl, which is no part of a detector artifact"),
        ({"a/b_json": lambda _: b"{}"}, r"a/b\.json, which is no part of a detector artifact"),
        ({"README_md": lambda _: b"\xff"}, "is no text in UTF-8"),
        ({"README_md": lambda _: b" " * 1_000_001}, r"README\.md has 1,000,001.*nothing was fet"),
    ],
)
@pytest.mark.parametrize("how", ["pull", "load"])
def test_an_artifact_that_was_tampered_with_is_refused_whole(
    hub, artifact, tmp_path, change, message, how
):
    put(hub, artifact)
    files = hub.files(NAME)
    made = {key: way and way(files.get(key.replace("_", "."))) for key, way in change.items()}
    hub.change(NAME, **made)
    with pytest.raises(FaceproofError, match=message) as caught:
        pull(PLACE, tmp_path / "pulled") if how == "pull" else faceproof.load(f"hf://{NAME}")
    assert "partial" not in str(caught.value)
    assert not (tmp_path / "pulled").exists()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix != ".lock"
                and path.is_file()]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("onnx", r"its ONNX model is 'model\.py', which is no name of one"),
        ("reference", r"names model\.py; files of a detector end with"),
    ],
)
def test_a_card_that_names_a_file_of_code_is_refused(hub, artifact, tmp_path, place, message):
    stored = {place: {"file": "model.py", "sha256": "0" * 64}}

    def change(card):
        (network_of(card) if place == "onnx" else card["detector"]).update(stored)

    change_card(artifact, change)
    put(hub, artifact)
    with pytest.raises(FaceproofError, match=message):
        pull(PLACE, tmp_path / "pulled")


def test_a_folder_that_is_occupied_is_not_pulled_into(hub, artifact, tmp_path):
    put(hub, artifact)
    with pytest.raises(FaceproofError, match="name another folder, or replace it by --overwrite"):
        pull(PLACE, artifact)
    assert pull(PLACE, artifact, overwrite=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "not the file that the"),
        (
            lambda folder: (folder / "notes.txt").write_text("x"),
            r"holds notes\.txt, which its",
        ),
        (lambda folder: (folder / "README.md").unlink(), r"not whole: README\.md is not there"),
    ],
)
def test_what_is_no_whole_artifact_is_not_pushed(hub, artifact, change, message):
    change(artifact)
    with pytest.raises(FaceproofError, match=message):
        push(artifact, PLACE)
    assert hub.asked == []


def test_a_repository_of_something_else_is_left_alone(hub, artifact):
    hub.make(NAME, {"model.safetensors": b"x", "README.md": b"x"})
    with pytest.raises(FaceproofError, match=r"something else than a detector: model\.safetensors"):
        push(artifact, PLACE)
    hub.make(NAME, {"train.py": b"x"})
    with pytest.raises(FaceproofError, match=r"train\.py, which is no part of a detector"):
        push(artifact, PLACE)
    with pytest.raises(FaceproofError, match=r"names a revision; push to hf://somebody/detector"):
        push(artifact, HubPlace("somebody", "detector", "main"))


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "none of this name, or it is private: log in by hf auth login, or set HF_TOKEN"),
        ("hf_of_another", "none of this name, or your token has no access to it"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_repository_that_is_not_shown(
    hub, artifact, tmp_path, monkeypatch, token, message, there
):
    if there:
        put(hub, artifact).private = True
    use_hub(monkeypatch, hub.address, token)
    with pytest.raises(FaceproofError, match=message) as caught:
        pull(PLACE, tmp_path / "pulled")
    assert "hf_of" not in str(caught.value)


def test_other_refusals_say_what_to_do(hub, artifact, tmp_path, monkeypatch):
    put(hub, artifact)
    with pytest.raises(FaceproofError, match="has no such branch, tag or commit"):
        pull(HubPlace("somebody", "detector", "v9"), tmp_path / "pulled")
    hub.status = 503
    with pytest.raises(FaceproofError, match=r"answers 503 for .*: something is wrong here; try"):
        pull(PLACE, tmp_path / "pulled")
    hub.status = None
    hub.repositories[NAME].gated = True
    use_hub(monkeypatch, hub.address, None)
    with pytest.raises(FaceproofError, match="given out on request: ask for access on its page, "):
        pull(PLACE, tmp_path / "pulled")


@pytest.mark.parametrize(
    ("token", "message"),
    [(None, r"401.*asks for a token: log in by"), ("hf_of_another", "403.*your token may not do")],
)
@pytest.mark.parametrize("there", [True, False])
def test_who_may_not_write_is_told(hub, artifact, monkeypatch, token, message, there):
    if there:
        put(hub, artifact)
    use_hub(monkeypatch, hub.address, token)
    with pytest.raises(FaceproofError, match=message) as caught:
        push(artifact, PLACE, public=there, replace_page=True)
    assert "hf_of" not in str(caught.value)


def test_a_hub_that_is_away_or_forbidden(hub, artifact, tmp_path, monkeypatch):
    from huggingface_hub import constants

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        use_hub(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(FaceproofError, match=r"cannot be reached, or broke off \(.*refused"):
            pull(PLACE, tmp_path / "pulled")
        with pytest.raises(FaceproofError, match=r"cannot be reached, or broke off \(.*refused"):
            push(artifact, PLACE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FaceproofError, match="HF_HUB_OFFLINE forbids to ask it; unset that"):
        faceproof.load(f"hf://{NAME}")


def test_without_huggingface_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("faceproof.artifact.hub_answers.find_spec", lambda name: None)
    with pytest.raises(FaceproofError, match=r"pip install 'faceproof\[hub\]'"):
        faceproof.load("hf://a/b")


def test_the_commands(hub, artifact, tmp_path, capsys):
    assert main(["push", str(artifact), f"hf://{NAME}", "--license", "mit"]) == 0
    commit = hub.repositories[NAME].branches["main"]
    assert capsys.readouterr().out.startswith(f"detector artifact: hf://{NAME}@{commit}\n")
    to = tmp_path / "pulled"
    assert main(["pull", f"hf://{NAME}@{commit}", "--to", str(to)]) == 0
    assert f"detector artifact: {to}, of hf://{NAME}@{commit}" in capsys.readouterr().out
    assert hub.tokens == {TOKEN, None}  # an address that the hub signs gets none
    assert main(["push", str(artifact), f"hf://{NAME}", "--license", "Apache 2"]) == 2
    assert "is not the hub's name for a licence" in capsys.readouterr().err
    Image.effect_noise((40, 40), 80).convert("RGB").save(tmp_path / "noise.png")
    out = tmp_path / "verdicts.csv"
    words = [
        "predict",
        str(tmp_path / "noise.png"),
        "--detector",
        f"hf://{NAME}",
        "--out",
        str(out),
    ]
    assert main(words) == 0
    assert "noise.png" in out.read_text()
    assert main(["predict", str(tmp_path), "--detector", "hf://somebody/nothing"]) == 2
    assert "the hub shows no repository hf://somebody/nothing" in capsys.readouterr().err


def test_a_server_is_given_the_folder_that_was_fetched(hub, artifact, monkeypatch):
    commit = push(artifact, PLACE)
    served = []
    monkeypatch.setattr("faceproof.cli.serve.serve", lambda config: served.append(config) or 0)
    assert main(["serve", f"hf://{NAME}", "--port", "7999"]) == 0
    assert served[0].detector.parts[-4:] == ("hub", *NAME.split("/"), commit)
    assert served[0].port == 7999
    assert faceproof.load(served[0].detector).card.name == "face_cnn"


def test_a_process_of_its_own_asks_the_hub_of_HF_ENDPOINT(hub, artifact, tmp_path):  # noqa: N802
    put(hub, artifact)
    code = f"import faceproof; print(faceproof.load('hf://{NAME}', 'cpu').card.name)"
    environment = {
        **os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HOME": str(tmp_path),
        "FACEPROOF_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(REPOSITORY / "src"),
    }  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert found.stdout == "face_cnn\n", found.stderr
    assert json.loads(hub.files(NAME)["card.json"])["name"] == "face_cnn"
