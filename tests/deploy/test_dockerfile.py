"""The Dockerfile: what stands in it, and its commands run as its user with nothing to write to."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib

import httpx
import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from faceproof.workflows.export import export_run
from tests.deploy import dockerfile
from tests.deploy.dockerfile import only, stages
from tests.deploy.read_only import can_isolate, command
from tests.jobs import REPOSITORY
from tests.small_runs import write_run

PORT = "7860"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
IGNORED = (REPOSITORY / ".dockerignore").read_text().split("\n")


def copied():
    """Return what the build copies from the checkout."""
    copies = [one for stage in stages() for one in stage if one.name == "COPY"]
    return [path for one in copies if "from" not in one.options for path in one.text.split()[:-1]]


def test_what_is_copied_is_there_and_the_rest_stays_out_of_the_build():
    assert sorted(copied()) == sorted(line[1:] for line in IGNORED if line.startswith("!"))
    assert "*" in IGNORED
    for path in copied():
        assert (REPOSITORY / path).exists(), path


def test_what_is_copied_is_all_that_the_wheel_is_made_of():
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    wheel = build["targets"]["wheel"]
    made_of = {path.split("/")[0] for path in [*wheel["packages"], *wheel["force-include"]]}
    made_of |= {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml"}
    assert set(copied()) == made_of


def test_the_image_begins_with_a_fixed_version_and_has_nothing_of_the_build_but_its_environment():
    (base,) = [one for one in stages()[0] if one.name == "ARG"]
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", base.text)
    assert [one.text for stage in stages() for one in stage if one.name == "FROM"] == [
        "${BASE} AS build",
        "${BASE}",
    ]
    assert only("COPY").options == {"from": "build"}
    assert only("COPY").text == "/opt/faceproof /opt/faceproof"


def test_the_user_is_a_number_other_than_root():
    user, group = only("USER").text.split(":")
    assert int(user) > 1000
    assert int(group) > 1000
    (run,) = [one for one in stages()[-1] if one.name == "RUN"]
    assert f"--uid {user} --gid {group}" in run.text


def test_pytorch_is_as_new_as_faceproof_wants_and_the_extras_are_its_own():
    build = " ".join(one.text for one in stages()[1] if one.name == "RUN")
    named = {Requirement(one).name: one for one in re.findall(r'"(torch\S*)"', build)}
    assert named == {
        name: one
        for one in PROJECT["dependencies"]
        if (name := Requirement(one).name) in ("torch", "torchvision")
    }
    (extras,) = [one.text for one in stages()[1] if one.text.startswith("EXTRAS=")]
    assert set(extras.removeprefix("EXTRAS=").split(",")) <= set(PROJECT["optional-dependencies"])


def test_one_port_and_a_signal_that_ends_it():
    assert only("EXPOSE").text == PORT
    assert dockerfile.entry_point()[-2:] == ["--port", PORT]
    assert f"127.0.0.1', {PORT}" in dockerfile.health_check()[-1]
    assert only("STOPSIGNAL").text == "SIGTERM"
    assert not [one for one in stages()[-1] if one.name == "CMD"]  # what is added is an option


@pytest.mark.skipif(
    shutil.which("hadolint") is None, reason="hadolint has no wheel for this machine"
)
def test_hadolint_finds_nothing():
    found = subprocess.run(
        ["hadolint", dockerfile.PATH], capture_output=True, text=True, check=False
    )
    assert found.stdout + found.stderr == ""
    assert found.returncode == 0


@pytest.fixture
def served(tmp_path):
    """Return the command for a small detector on a free port, its /tmp, and the port."""
    export_run(write_run(tmp_path / "run"), tmp_path / "detector")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    (tmp_path / "temporary").mkdir()
    here = {"/detector": str(tmp_path / "detector"), PORT: port}
    words = [here.get(word, word) for word in dockerfile.entry_point()]
    return words, tmp_path / "temporary", port


def is_well(temporary, port):
    """Run the container's health check."""
    words = [word.replace(PORT, port) for word in dockerfile.health_check()]
    return (
        subprocess.run(command(words, temporary), capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(sys.platform == "win32", reason="the container is one of Linux")
def test_the_command_serves_a_detector_and_ends_by_its_signal(served, tmp_path):
    words, temporary, port = served
    assert not is_well(temporary, port)  # nothing listens there
    pixels = np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")  # above a megabyte: it takes a file
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command(words, temporary), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not is_well(temporary, port):
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        with (tmp_path / "large.png").open("rb") as file:
            answer = httpx.post(
                f"http://127.0.0.1:{port}/api/predict", files={"file": file}, timeout=60
            )
        assert answer.status_code == 200, answer.text
        assert answer.json()["verdict"] in ("real", "fake", "unsure")
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    finally:
        server.kill()
        server.wait()
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said, said
    assert server.returncode in (0, -signal.SIGTERM), said


@pytest.mark.skipif(not can_isolate(), reason="only root may make a file system read-only")
def test_it_is_run_as_its_user_who_can_write_to_one_folder(served, tmp_path):
    _, temporary, _ = served
    tries = (
        'id -u; for f in / /var/tmp "$1" "$HOME"; do touch "$f/new" 2>/dev/null && echo "$f"; done'
    )
    found = subprocess.run(
        command(["sh", "-c", tries, "sh", str(tmp_path)], temporary),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout.split() == [only("USER").text.split(":")[0], str(temporary)]
    assert not list(temporary.iterdir())  # it was in memory, and is gone
