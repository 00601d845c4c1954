"""Asks clients of the server for a token: where it is read from, and how it is checked."""

import asyncio
import hmac
import os
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs

from faceproof.errors import FaceproofError
from faceproof.reports.html import render
from faceproof.server.guesses import Guesses
from faceproof.server.judging_queue import RefusedError
from faceproof.server.middleware import App, Receive, Scope, Send, header, refuse, respond, too_slow
from faceproof.server.share import Share

TOKEN = "FACEPROOF_TOKEN"
MIN_TOKEN = 16  # characters
OPEN_PATHS = ("/health", "/static/page.css")  # the login form needs the second
LOGIN_SECONDS = 10.0
MAX_LOGIN = 10_000  # bytes
COOKIE = "faceproof_session"


def read_token(file: Path | None) -> str | None:
    """Return the token of a file or of the environment; None if there is neither.

    Raises:
        FaceproofError: it cannot be read, or could be guessed.
    """
    if file is not None:
        try:
            token = file.read_text("utf-8").strip()
        except OSError as error:
            raise FaceproofError(f"--token-file {file} cannot be read: {error.strerror}") from error
        origin = f"--token-file {file}"
    else:
        if TOKEN not in os.environ:
            return None
        token, origin = os.environ[TOKEN].strip(), TOKEN
    if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise FaceproofError(
            f"{origin} holds {len(token)} characters; a token is {MIN_TOKEN} or more plain ones, "
            "such as openssl rand -hex 16 makes"
        )
    return token


class TokenGate:
    """Asks for a token: as a bearer, or once by a form, after which a cookie stands for it.

    The cookie is a random word of this server, so that the token is not stored in a browser.

    Args:
        app: what answers to those who have the token.
        token: that they must send.
        root_path: below which the server is reached; see `middleware.Mounted`.
        share: what this process has in common with others that serve.
    """

    def __init__(
        self, app: App, token: str, root_path: str = "", share: Share | None = None
    ) -> None:
        share = share or Share()
        self.app = app
        self.root = f"{root_path}/"
        self.token = token.encode()
        self.session = share.session
        self.guesses = Guesses(workers=share.workers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            known = scope["type"] != "http" or scope["path"] in OPEN_PATHS
            known = known or self._has_session(scope) or await self._has_token(scope)
        except RefusedError as refusal:
            return await refuse(send, refusal)
        if known:
            await self.app(scope, receive, send)
        elif scope["path"] == "/login":
            await self._login(scope, receive, send)
        elif scope["method"] == "GET" and b"text/html" in header(scope, b"accept"):
            await respond(send, 303, b"", [(b"location", f"{self.root}login".encode())])
        else:
            words = "a token is needed: send the header Authorization: Bearer TOKEN"
            await refuse(send, RefusedError(401, words, {"WWW-Authenticate": "Bearer"}))
        return None

    async def _has_token(self, scope: Scope) -> bool:
        kind, _, word = header(scope, b"authorization").partition(b" ")
        return kind.lower() == b"bearer" and await self._is_token(scope, word.strip())

    async def _is_token(self, scope: Scope, word: bytes) -> bool:
        """Compare a word with the token, later if too many were wrong; see `Guesses`."""
        client = (scope.get("client") or ("",))[0]
        return await self.guesses.admit(client, lambda: hmac.compare_digest(word, self.token))

    def _has_session(self, scope: Scope) -> bool:
        cookie: SimpleCookie = SimpleCookie()
        try:
            cookie.load(header(scope, b"cookie").decode("latin-1"))
        except CookieError:
            return False
        found = cookie[COOKIE].value if COOKIE in cookie else ""
        return hmac.compare_digest(found.encode(), self.session.encode())

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show the form, or check the token that it sends."""
        if scope["method"] in ("GET", "HEAD"):
            return await _send_form(send, 200, failed=False)
        if scope["method"] != "POST":
            words = "send the token by POST, or ask for its form by GET"
            return await refuse(send, RefusedError(405, words, {"Allow": "GET, HEAD, POST"}))
        body, more = b"", True
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                while more and len(body) <= MAX_LOGIN:
                    message = await receive()
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
        except TimeoutError:
            return await refuse(send, too_slow(LOGIN_SECONDS))
        (word,) = parse_qs(body.decode("latin-1"), encoding="utf-8").get("token", [""])[:1]
        try:
            right = await self._is_token(scope, word.encode("utf-8", "replace"))
        except RefusedError as refusal:
            return await refuse(send, refusal)
        if not right:
            return await _send_form(send, 401, failed=True)
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{COOKIE}={self.session}; Path={self.root}; HttpOnly; SameSite=Strict{secure}"
        await respond(
            send, 303, b"", [(b"location", self.root.encode()), (b"set-cookie", cookie.encode())]
        )
        return None


async def _send_form(send: Send, status: int, failed: bool) -> None:
    page = render("login.html.j2", failed=failed).encode()
    await respond(send, status, page, [(b"content-type", b"text/html; charset=utf-8")])
