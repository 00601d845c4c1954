"""What uvicorn's protocol lacks: it ends slow connections, and says what is no HTTP as JSON."""

import asyncio
import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0  # for the head of a request to arrive whole, the first byte included
CONNECTIONS = "faceproof.connections"  # in the state of a scope: those that are open
READ_SECONDS = 30.0  # for a client to read a buffer full of its answer


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with limits on how slowly a head arrives and an answer is read.

    How slowly a body arrives is bounded by `middleware`, which can answer why.
    """

    _head: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self.app_state[CONNECTIONS] = self.connections
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_head()
        self._forget_reading()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for a client to read."""
        super().pause_writing()
        self._reading = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop to wait for a client to read."""
        self._forget_reading()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every other error is answered, and end the connection."""
        body = json.dumps({"error": msg}).encode()
        headers = [
            ("content-type", "application/json"), ("content-length", f"{len(body)}"),
            ("connection", "close"),
        ]  # fmt: skip
        answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait_for_head(self) -> None:
        """Let the time run while the next request has no whole head, from its first byte on."""
        if self.conn.their_state is not h11.IDLE:
            self._forget_head()
        elif self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _forget_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
