"""The token of a server, as it is read from a file or the environment."""

import time
import urllib.error
import urllib.request

import pytest

from faceproof.errors import FaceproofError
from faceproof.server import guesses
from faceproof.server.limits import Limits
from faceproof.server.middleware import respond
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


def test_wrong_tokens_wait_and_the_right_one_is_let_in(monkeypatch):
    """By both ways that a token is sent."""
    bare = {"lifespan": "off", "log_level": "critical"}
    monkeypatch.setattr(guesses, "RATE", 20.0)

    async def inside(scope, receive, send):
        await respond(send, 200, b"inside", [])

    def status(port, path, token):
        data = f"token={token}".encode() if path == "/login" else None
        headers = {} if path == "/login" else {"Authorization": f"Bearer {token}"}
        asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    with listening(TokenGate(inside, TOKEN), Limits(), **bare) as (port, _):
        for path in ("/login", "/api/card"):
            for number in range(guesses.FREE):
                assert status(port, path, f"wrong-{number}") == 401
        began = time.monotonic()
        for number in range(20):
            assert status(port, "/api/card", f"wrong-{number}") == 401
        assert time.monotonic() - began > 20 / guesses.RATE * 0.8
        began = time.monotonic()
        assert status(port, "/api/card", TOKEN) == 200
        assert time.monotonic() - began < guesses.LONGEST


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
