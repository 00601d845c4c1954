"""The token of a server, as it is read from a file or the environment."""

import pytest

from faceproof.errors import FaceproofError
from faceproof.server.tokens import read_token

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
