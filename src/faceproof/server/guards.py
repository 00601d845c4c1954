"""What stands before the routes: who may come in, how much they may bring, and where they may go.

Plain ASGI, because the page below is an application of its own, which these must hold for too.
"""

import asyncio
import hmac
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from faceproof.reports.html import render
from faceproof.server.limits import Desk, RefusedError, too_large
from faceproof.server.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PREDICT = "/api/predict"
PAGE_UPLOAD = "/gradio_api/upload"
UPLOADS = (PREDICT, PAGE_UPLOAD)
GONE = 499  # as nginx calls it; nobody is there to read it
OVERHEAD = 10_000  # bytes of a form around its file
MAX_OTHER = 100_000  # bytes of any other request
MAX_PATH = 200  # bytes; a name of more than 255 is an error to a file system
LOGIN_SECONDS = 10.0
COOKIE = "faceproof_session"
# Everything comes from the server itself, so that the page works without any network, and no
# page of a stranger can frame it. Gradio's scripts are partly inline.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


class SecurityHeaders:
    """Adds headers that tell a browser what this server never does."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = str(scope.get("path", ""))
        extra = {**HEADERS, "Cache-Control": "no-store"}
        if path.startswith(("/assets/", "/static/")):
            extra.pop("Cache-Control")  # the page's own scripts

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = [(k.lower().encode(), v.encode()) for k, v in extra.items()]
                names = {name for name, _ in ours}
                kept = [h for h in message.get("headers", ()) if h[0].lower() not in names]
                message = {**message, "headers": [*kept, *ours]}
            await send(message)

        await self.app(scope, receive, send_more)


class KnownPaths:
    """Lets through what the page and the API need, and nothing else of Gradio's many routes."""

    def __init__(self, app: App, paths: Iterable[str]) -> None:
        self.app = app
        self.known = re.compile("|".join(paths))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = str(scope.get("path", ""))
        length = len(path.encode("utf-8", "replace"))
        if scope["type"] == "http" and (
            ".." in path or length > MAX_PATH or not self.known.fullmatch(path)
        ):
            await refuse(send, RefusedError(404, "there is nothing here; see /docs"))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self.app(scope, receive, send)


class TokenGate:
    """Asks for a token: as a bearer, or once by a form, which a cookie remembers.

    The cookie is a random word of this process, so that the token is not stored in a browser.
    """

    def __init__(self, app: App, token: str) -> None:
        self.app = app
        self.token = token.encode()
        self.session = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] == "/health" or self._knows(scope):
            await self.app(scope, receive, send)
        elif scope["path"] == "/login":
            await self._login(scope, receive, send)
        elif scope["method"] == "GET" and b"text/html" in header(scope, b"accept"):
            await respond(send, 303, b"", [(b"location", b"/login")])
        else:
            words = "a token is needed: send the header Authorization: Bearer TOKEN"
            await refuse(send, RefusedError(401, words, {"WWW-Authenticate": "Bearer"}))

    def _knows(self, scope: Scope) -> bool:
        kind, _, word = header(scope, b"authorization").partition(b" ")
        if kind.lower() == b"bearer" and hmac.compare_digest(word.strip(), self.token):
            return True
        cookie: SimpleCookie = SimpleCookie()
        try:
            cookie.load(header(scope, b"cookie").decode("latin-1"))
        except CookieError:
            return False
        found = cookie[COOKIE].value if COOKIE in cookie else ""
        return hmac.compare_digest(found.encode(), self.session.encode())

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show the form, or take what it sends."""
        if scope["method"] in ("GET", "HEAD"):
            await self._form(send, 200, failed=False)
            return
        if scope["method"] != "POST":
            words = "send the token by POST, or ask for its form by GET"
            await refuse(send, RefusedError(405, words, {"Allow": "GET, HEAD, POST"}))
            return
        body, more = b"", True
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                while more and len(body) <= OVERHEAD:
                    message = await receive()
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
        except TimeoutError:
            await refuse(send, late(LOGIN_SECONDS))
            return
        (word,) = parse_qs(body.decode("latin-1"), encoding="utf-8").get("token", [""])[:1]
        if not hmac.compare_digest(word.encode("utf-8", "replace"), self.token):
            await self._form(send, 401, failed=True)
            return
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{COOKIE}={self.session}; Path=/; HttpOnly; SameSite=Strict{secure}"
        await respond(send, 303, b"", [(b"location", b"/"), (b"set-cookie", cookie.encode())])

    async def _form(self, send: Send, status: int, failed: bool) -> None:
        page = render("login.html.j2", {}, failed=failed).encode()
        await respond(send, status, page, [(b"content-type", b"text/html; charset=utf-8")])


class UploadGuard:
    """Counts what is uploaded while it arrives: how many at once, how large, and how slowly."""

    def __init__(self, app: App, desk: Desk, metrics: Metrics) -> None:
        self.app = app
        self.desk = desk
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] in UPLOADS and scope["method"] == "POST":
            start = time.perf_counter()
            status = 500  # should the application break
            most = self.desk.limits.max_bytes + OVERHEAD
            try:
                with self.desk.place():
                    if scope["path"] == PAGE_UPLOAD:
                        self.desk.look_for_room()
                    status = await self._pass(scope, receive, send, most)
            except RefusedError as refusal:
                status = refusal.status
                await refuse(send, refusal)
            finally:
                if scope["path"] == PREDICT:
                    outcome = "answered" if status == 200 else f"{status}"
                    self.metrics.add(outcome, time.perf_counter() - start)
        else:
            await self._pass(scope, receive, send, MAX_OTHER)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, most: int) -> int:
        """Pass a request on, and return the status of its answer.

        What is refused while it is read is answered here, whatever the application makes of it.
        """
        limits = self.desk.limits
        refusal: RefusedError | None = None
        status = 0
        arrived, more = 0, True
        end = time.monotonic() + limits.timeout

        async def counted() -> Message:
            nonlocal refusal, arrived, more
            if not more:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(end - time.monotonic(), 0.001))
            except TimeoutError:
                refusal = late(limits.timeout)
                raise refusal from None
            if message["type"] == "http.disconnect":  # no mistake of ours, and none to be logged
                refusal = RefusedError(GONE, "the client went away")
                raise refusal
            arrived += len(message.get("body", b""))
            more = message.get("more_body", False)
            if arrived > most:
                refusal = too_large(limits)
                raise refusal
            return message

        async def watched(message: Message) -> None:
            nonlocal status
            if refusal is None:
                status = message.get("status", status)
                await send(message)

        declared = header(scope, b"content-length")
        if declared.isdigit() and int(declared) > most:
            refusal = too_large(limits)
        else:
            try:
                await self.app(scope, counted, watched)
            except Exception:
                if refusal is None:
                    raise
        if refusal is not None and not status:
            await refuse(send, refusal)
            status = refusal.status
        return status


def header(scope: Scope, name: bytes) -> bytes:
    """Return the first header of a name, in lower case; empty if there is none."""
    return next((bytes(value) for key, value in scope["headers"] if key == name), b"")


def late(seconds: float) -> RefusedError:
    """Return the refusal of a request that arrives too slowly."""
    words = f"the request did not arrive within {seconds:g} seconds"
    return RefusedError(408, words, {"Connection": "close"})


async def refuse(send: Send, refusal: RefusedError) -> None:
    """Answer with an error as JSON."""
    body = json.dumps({"error": refusal.message}).encode()
    headers = [(k.lower().encode(), v.encode()) for k, v in refusal.headers.items()]
    await respond(send, refusal.status, body, [(b"content-type", b"application/json"), *headers])


async def respond(
    send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> None:
    """Answer at once."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
