"""ASGI middleware of the server: its path, security headers, bounds of uploads."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from faceproof.server.judging_queue import JudgingQueue, RefusedError, too_large
from faceproof.server.metrics import Metrics
from faceproof.server.protocol import CONNECTIONS

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PREDICT = "/api/predict"
GONE = 499  # nginx's status for a client that went away; nobody is there to read it
OVERHEAD = 10_000  # bytes of a form around its file
LINGER = 5.0  # seconds for a client to read why its upload was refused
# Scripts, styles and requests come from this server alone; images are part of the API's answers.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}

IS_HEAD = "faceproof.is_head"  # in a scope: the client has asked for the head alone
PAGE_HEADER = b"x-faceproof-page"  # sent by the page, whose uploads are counted apart


class Mounted:
    """Answers below a path, whether a proxy takes it away or not, and HEAD wherever GET is.

    Links on the pages are relative, so that nothing else needs to know the path.

    Args:
        app: what answers.
        root_path: such as /detector; empty for none.
    """

    def __init__(self, app: App, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            path = scope["path"]
            if self.root_path and path == self.root_path:  # relative links need the slash
                await respond(send, 308, b"", [(b"location", f"{path}/".encode())])
                return
            if path.startswith(f"{self.root_path}/"):
                path = path.removeprefix(self.root_path)
            # The server itself drops the body of what it knows to be an answer to HEAD.
            is_head = scope["method"] == "HEAD"
            method = "GET" if is_head else scope["method"]
            scope = {**scope, "path": path, "method": method, IS_HEAD: is_head}
        await self.app(scope, receive, send)


class ConnectionLimit:
    """Refuses requests while too many connections are open; `BoundedProtocol` says which are.

    Args:
        app: what answers otherwise.
        most: how many there may be.
    """

    def __init__(self, app: App, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and len(scope["state"][CONNECTIONS]) > self.most:
            words = f"more than {self.most:,} connections are open; try again later"
            await refuse(
                send, RefusedError(503, words, {"Retry-After": "1", "Connection": "close"})
            )
        else:
            await self.app(scope, receive, send)


class SecurityHeaders:
    """Adds the headers that tell a browser what this server never does."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.headers = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *self.headers]}
            await send(message)

        await self.app(scope, receive, send_more)


class CloseUnread:
    """Ends a connection on which a request was answered before its body was read.

    A client that is still sending could not read the answer if the connection ended at once, so
    what it sends is dropped for a short time first.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        unread = scope["type"] == "http" and (
            header(scope, b"content-length") not in (b"", b"0")
            or bool(header(scope, b"transfer-encoding"))
        )

        async def receive_body() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and bool(message.get("more_body", False))
            return message

        async def send_and_linger(message: Message) -> None:
            if not unread:
                await send(message)
            elif message["type"] == "http.response.start":
                close = (b"connection", b"close")
                await send({**message, "headers": [*message.get("headers", ()), close]})
            elif message.get("more_body", False):
                await send(message)
            else:
                await send({**message, "more_body": True})
                await drop_body(receive)
                await send({"type": "http.response.body", "body": b""})

        await self.app(scope, receive_body, send_and_linger)


async def drop_body(receive: Receive) -> None:
    """Read the rest of a body, for a short time, and forget it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body", False):
                pass


class UploadGuard:
    """Bounds uploads while they arrive: how many at once, how large, and how slowly."""

    def __init__(self, app: App, queue: JudgingQueue, metrics: Metrics) -> None:
        self.app = app
        self.queue = queue
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] != PREDICT:
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500
        # The place is free again as soon as the answer begins: who does not read it holds no place.
        with contextlib.ExitStack() as place:
            try:
                place.enter_context(self.queue.place())
                status = await self._pass(scope, receive, send, place.close)
            except RefusedError as refusal:
                status = refusal.status
                place.close()
                await refuse(send, refusal)
            finally:
                outcome = "answered" if status == 200 else f"{status}"
                client = "page" if header(scope, PAGE_HEADER) else "api"
                self.metrics.add(outcome, client, time.perf_counter() - start)

    async def _pass(
        self, scope: Scope, receive: Receive, send: Send, release: Callable[[], None]
    ) -> int:
        """Pass a request on, and return the status of its answer.

        Raises:
            RefusedError: too much arrives, or too slowly, whatever the application makes of that.
        """
        limits = self.queue.limits
        most = limits.max_bytes + OVERHEAD
        declared = header(scope, b"content-length")
        if declared.isdigit() and int(declared) > most:
            raise too_large(limits)
        refusal: RefusedError | None = None
        arrived, more, status = 0, True, 0
        end = time.monotonic() + limits.timeout

        async def receive_counted() -> Message:
            nonlocal refusal, arrived, more
            if not more:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(end - time.monotonic(), 0.001))
            except TimeoutError:
                refusal = too_slow(limits.timeout)
                raise refusal from None
            if message["type"] == "http.disconnect":  # no mistake of ours, and nothing to log
                refusal = RefusedError(GONE, "the client went away")
                raise refusal
            arrived += len(message.get("body", b""))
            more = message.get("more_body", False)
            if arrived > most:
                refusal = too_large(limits)
                raise refusal
            return message

        async def send_unless_refused(message: Message) -> None:
            nonlocal status
            if refusal is None:
                status = message.get("status", status)
                release()
                await send(message)

        try:
            await self.app(scope, receive_counted, send_unless_refused)
        except Exception:
            if refusal is None:
                raise
        if refusal is not None:
            raise refusal
        return status


def header(scope: Scope, name: bytes) -> bytes:
    """Return the first header of a name, which is in lower case; empty if there is none."""
    return next((bytes(value) for key, value in scope["headers"] if key == name), b"")


def too_slow(seconds: float) -> RefusedError:
    """Return the error for a request that arrives too slowly."""
    return RefusedError(408, f"the request did not arrive within {seconds:g} seconds")


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
