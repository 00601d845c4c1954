"""What stands before Gradio's routes: requests on which they would break are refused in words."""

import contextlib
import ipaddress
import json
import re
from collections.abc import Container
from typing import Any
from urllib.parse import parse_qs

from faceproof.server.guards import (
    PAGE_UPLOAD,
    App,
    Message,
    Receive,
    Scope,
    Send,
    header,
    refuse,
)
from faceproof.server.limits import RefusedError

QUESTIONS = "/gradio_api/queue/join"
ANSWERS = "/gradio_api/queue/data"
INFO = "/gradio_api/info"
SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)
MOST_UNREAD = 30  # messages of a session, among which are answers with images
# What Gradio takes for its own address, and how a host is written, with or without a port.
HOSTS = (b"x-forwarded-host", b"x-gradio-server")
HOST = re.compile(r"(?:\[(?P<six>[\dA-Fa-f:.]+)\]|(?P<four>[\d.]+)|[\w.-]+)(?::\d{1,5})?", re.ASCII)
# RFC 2046, 5.1.1, says what a boundary may be.
FORM = re.compile(rb"multipart/form-data\s*;.*boundary=\"?[\w'()+,./:=? -]{1,70}\"?", re.I)


class PageGuard:
    """Lets through uploads that are forms, questions that there are, and answers to them.

    Args:
        app: the application with the page.
        questions: the numbers of what the page may ask.
        queue: Gradio's, in which the messages of each session lie.
    """

    def __init__(self, app: App, questions: Container[object], queue: Any) -> None:
        self.app = app
        self.questions = questions
        self.messages = queue.pending_messages_per_session
        self.events: dict[str, set[str]] = queue.pending_event_ids_session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"].rstrip("/")
        plain = {**scope, "query_string": b""}
        if not all(_is_host(header(scope, name)) for name in HOSTS):
            await refuse(send, RefusedError(400, "X-Forwarded-Host names no host"))
        elif path == PAGE_UPLOAD:
            await self._upload(plain, receive, send)
        elif path == ANSWERS:
            await self._answer(scope, receive, send)
        elif path == QUESTIONS and scope["method"] == "POST":
            await self._ask(scope, receive, send)
        else:
            await self.app(plain if path in ("", INFO) else scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a form on; Gradio breaks where one of its files is none."""
        if not FORM.fullmatch(header(scope, b"content-type")):
            await refuse(send, RefusedError(400, "send the file as multipart/form-data"))
            return
        status = 0

        async def held(message: Message) -> None:
            """Keep Gradio's word on its own failure back; it is raised too."""
            nonlocal status
            status = message.get("status", status)
            if status != 500:
                await send(message)

        try:
            await self.app(scope, receive, held)
        except TypeError:
            if status != 500:
                raise
            await refuse(send, RefusedError(400, "what the form calls files is none"))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on who waits for an answer, and forget what Gradio would remember of it."""
        words = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])
        session = words[-1]
        if not SESSION.fullmatch(session) or session not in self.messages:
            await refuse(send, RefusedError(404, "nothing was asked for by this session"))
            return
        try:
            query = f"session_hash={session}".encode()
            await self.app({**scope, "query_string": query}, receive, send)
        finally:
            unread = self.messages.get(session)
            if not self.events.get(session) and (unread is None or unread.empty()):
                self.events.pop(session, None)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a question on, of which `UploadGuard` bounds size and time, if the page has it."""
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            asked = None
        asked = asked if isinstance(asked, dict) else {}
        number, session = asked.get("fn_index"), asked.get("session_hash")
        if type(number) is not int or number not in self.questions:
            await refuse(send, RefusedError(422, "that is no question of this page"))
            return
        if not isinstance(session, str) or not SESSION.fullmatch(session):
            await refuse(send, RefusedError(422, "that is no session of this page"))
            return
        if session in self.messages and self.messages[session].qsize() >= MOST_UNREAD:
            words = "read the answers that there are before you ask for more"
            await refuse(send, RefusedError(429, words))
            return
        # Gradio forgets the messages of old sessions by itself, but not that there were any.
        for old in [one for one in self.events if one not in self.messages]:
            del self.events[old]
        left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return left.pop() if left else await receive()

        await self.app(scope, again, send)


def _is_host(value: bytes) -> bool:
    """Say whether a header names a host, first of all, or nothing."""
    word = value.decode("latin-1").split(",")[0].strip()
    found = HOST.fullmatch(word)
    if found is None:
        return not word
    with contextlib.suppress(ValueError):
        if found["six"]:
            ipaddress.IPv6Address(found["six"])
        elif found["four"]:
            ipaddress.IPv4Address(found["four"])
        return True
    return False
