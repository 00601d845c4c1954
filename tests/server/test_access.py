"""Which names a server answers to, and which web sites may call it."""

import socket

import pytest

from faceproof.errors import FaceproofError
from faceproof.server.access import Access

OWN = socket.gethostname()
LOCAL = ["localhost", "localhost:7860", "LOCALHOST", "localhost.", "127.0.0.1:7860", "127.8.9.1",
         "[::1]", "[::1]:7860"]  # fmt: skip
ADDRESSES = ["192.168.1.5:7860", "10.0.0.1", "[fe80::1]:7860", "8.8.8.8"]
NAMES = ["evil.example", "evil.example:7860", "localhost.evil.example", "127.0.0.1.evil.example",
         "evillocalhost", "evil.example:localhost", "localhost@evil.example", "", ":7860", " ",
         "localhost evil.example", "[::1", "2130706433", "0x7f000001", "127.1"]  # fmt: skip


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_on_this_machine_alone_only_its_own_names_are_answered(host):
    access = Access(host)
    assert access.is_local
    assert all(map(access.allows, LOCAL))
    assert not any(map(access.allows, [*NAMES, *ADDRESSES, "0.0.0.0", OWN]))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_elsewhere_addresses_and_the_name_of_the_machine_are_answered_too(host):
    access = Access(host)
    assert not access.is_local
    assert all(map(access.allows, [*LOCAL, *ADDRESSES, OWN, f"{OWN}.local:7860"]))
    assert not any(map(access.allows, NAMES))


def test_further_names_are_answered_where_they_are_allowed():
    access = Access("127.0.0.1", ("detector.example.org", "*.lab.example", "192.168.1.5"))
    allowed = [
        "detector.example.org",
        "Detector.Example.Org:443",
        "a.lab.example",
        "192.168.1.5:80",
    ]
    assert all(map(access.allows, allowed))
    assert not any(map(access.allows, ["example.org", "lab.example", "xlab.example", "10.0.0.1"]))
    assert Access("127.0.0.1", ("*",)).allows("any.example")


@pytest.mark.parametrize(
    "name", ["https://a.example", "a.example:80", "a.example/b", "", "a b", "**"]
)
def test_what_is_no_host_is_refused(name):
    with pytest.raises(FaceproofError, match="--allowed-hosts"):
        Access(allowed_hosts=(name,))


@pytest.mark.parametrize(
    "origin", ["a.example", "https://a.example/", "HTTPS://a.example", "null", ""]
)
def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(FaceproofError, match="--cors-origins"):
        Access(origins=(origin,))


testclient = pytest.importorskip("starlette.testclient", reason="the server takes faceproof[serve]")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import faceproof
    from faceproof.workflows.export import export_run
    from tests.small_runs import write_run

    folder = tmp_path_factory.mktemp("detector")
    export_run(write_run(folder / "run"), folder / "artifact")
    return faceproof.load(folder / "artifact", "cpu")


def client_of(model, access, token=None):
    from faceproof.server.application import make_server
    from faceproof.server.limits import Limits

    return testclient.TestClient(
        make_server(model, Limits(), token, access=access), base_url="http://localhost"
    )


@pytest.mark.parametrize("path", ["/", "/api/card", "/health", "/metrics", "/docs", "/login"])
def test_a_name_that_was_pointed_to_this_machine_gets_nothing(model, path):
    with client_of(model, Access()) as client:
        refused = client.get(path, headers={"host": "evil.example"})
    assert refused.status_code == 421
    assert refused.json()["error"].endswith("'evil.example'; --allowed-hosts adds it")


PREFLIGHT = {"origin": "https://a.example", "access-control-request-method": "POST",
             "access-control-request-headers": "authorization"}  # fmt: skip
TOKEN = "a-token-of-the-tests"


def test_no_web_site_may_call_unless_it_is_named(model):
    with client_of(model, Access()) as client:
        for answer in (
            client.options("/api/predict", headers=PREFLIGHT),
            client.get("/api/card", headers={"origin": "https://a.example"}),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origins", [("https://a.example",), ("*",)])
def test_a_site_that_is_named_may_call_with_a_token_of_its_own(model, origins):
    with client_of(model, Access(origins=origins), TOKEN) as client:
        asked = client.options("/api/predict", headers=PREFLIGHT)
        assert asked.status_code == 200
        sent = {"origin": "https://a.example", "authorization": f"Bearer {TOKEN}"}
        answered = client.get("/api/card", headers=sent)
        assert answered.status_code == 200
        refused = client.get("/api/card", headers={"origin": "https://a.example"})
        assert refused.status_code == 401
        for answer in (asked, answered, refused):
            assert answer.headers["access-control-allow-origin"] == origins[0]
            assert "access-control-allow-credentials" not in answer.headers
        other = client.get("/api/card", headers=sent | {"origin": "https://b.example"})
        assert other.headers.get("access-control-allow-origin") == ("*" if "*" in origins else None)
