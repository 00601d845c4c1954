"""The token of a server, as it is read from a file or the environment."""

import urllib.request

import pytest

from faceproof.errors import FaceproofError
from faceproof.server.limits import Limits
from faceproof.server.tokens import TokenGate, read_token

pytest.importorskip("uvicorn", reason="the server takes faceproof[serve]")

from tests.small_servers import listening

TOKEN = "a-token-of-the-tests"


def test_a_token_that_could_be_guessed_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("FACEPROOF_TOKEN", raising=False)
    assert read_token(None) is None
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "token") == TOKEN
    monkeypatch.setenv("FACEPROOF_TOKEN", "short")
    with pytest.raises(FaceproofError, match="FACEPROOF_TOKEN holds 5 characters"):
        read_token(None)
    with pytest.raises(FaceproofError, match="cannot be read"):
        read_token(tmp_path / "gone")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_behind_tls_the_session_is_for_tls_alone(scheme):
    """As a proxy on the same machine says."""
    bare = {"lifespan": "off", "log_level": "critical"}

    class Stay(urllib.request.HTTPRedirectHandler):
        def http_error_303(self, request, answer, code, message, headers):
            return answer

    with listening(TokenGate(None, TOKEN), Limits(), **bare) as (port, _):
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/login",
            f"token={TOKEN}".encode(),
            {"X-Forwarded-Proto": scheme},
        )
        with urllib.request.build_opener(Stay).open(asked, timeout=20) as answer:
            cookie = answer.headers["set-cookie"]
    assert ("Secure" in cookie) == (scheme == "https")
