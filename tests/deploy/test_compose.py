"""compose.yaml: the format of Compose, and the Dockerfile's port, folder and user."""

import re
from pathlib import Path

import pytest
import yaml

from faceproof.server.limits import Limits
from tests.deploy.dockerfile import entry_point, only
from tests.jobs import REPOSITORY

PATH = REPOSITORY / "deploy" / "compose.yaml"
TEXT = PATH.read_text()
# The reader does not put in variables; Compose does so first.
FILLED = re.sub(r"\$\{DETECTOR:\?[^}]+\}", "/srv/detector", TEXT)


def server():
    (found,) = yaml.safe_load(TEXT)["services"].values()
    return found


def read(text):
    """Read a file as Compose would.

    Raises:
        ValueError: the format has no such thing.
    """
    compose_spec = pytest.importorskip("compose_spec", reason="it has no wheel for this machine")
    compose = compose_spec.PyCompose.from_yaml(text)
    compose.validate()
    return compose


def test_it_is_of_the_format():
    assert read(FILLED).service_names() == ["server"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("mem_limit: 4g", "mem_limits: 4g"), ("7860:7860", "7860:x"), ("init: true", "init: 3")],
)
def test_what_the_format_lacks_is_noticed(right, wrong):
    assert right in FILLED
    with pytest.raises(ValueError, match="server"):
        read(FILLED.replace(right, wrong))


def test_it_is_reached_from_this_machine_alone_at_the_servers_port():
    port = only("EXPOSE").text
    assert server()["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_image_is_built_from_the_checkout():
    assert (PATH.parent / Path(server()["build"])).resolve() == REPOSITORY.resolve()


def test_the_detector_is_where_the_command_reads_it_and_cannot_be_written_to():
    (volume,) = server()["volumes"]
    assert volume["target"] in entry_point()
    assert volume["read_only"] is True


def test_it_has_no_rights():
    assert server()["read_only"] is True
    assert server()["cap_drop"] == ["ALL"]
    assert server()["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in server()  # the Dockerfile's
    assert "privileged" not in server()
    (temporary,) = server()["tmpfs"]
    assert temporary.startswith("/tmp:")


def test_all_uploads_that_the_server_takes_have_room():
    limits = Limits()
    megabytes = int(re.search(r"size=(\d+)m", server()["tmpfs"][0])[1])
    assert megabytes >= limits.places * limits.max_megabytes
    assert 4 * megabytes < 4000 * int(server()["mem_limit"].removesuffix("g"))


def test_pytorch_starts_as_many_threads_as_it_has_processors():
    assert float(server()["environment"]["OMP_NUM_THREADS"]) == server()["cpus"]
