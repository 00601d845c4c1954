"""Connections that last no longer, and are no more, than a server can bear.

Uvicorn waits for ever for a request that never comes, and for a client that never reads; and it
answers twice, which is an error, where the end of a request turns out to be no HTTP.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from faceproof.server.limits import Limits, busy

FULL = busy()


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with a time for what a client must do, and a bound on how many there are.

    Attributes:
        limits: whose `timeout` is the time for the head of a request to arrive, and for a client to
            read some of an answer; and whose `connections` are open at the same time.
    """

    limits = Limits()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._waiting: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it at once."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.limits.connections:
            retry = FULL.headers["Retry-After"].encode()
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n"
                b"Retry-After: " + retry + b"\r\n\r\n"
            )
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves it where a connection broke
        for clock in (self._waiting, self._unread):
            if clock is not None:
                clock.cancel()

    def data_received(self, data: bytes) -> None:
        """Stop the clock when a whole head has come; more than that has limits of its own."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request; what still comes of this one is not waited for any longer."""
        self._wait()
        super().on_response_complete()
        self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer has begun; who is at work on one may stop."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def pause_writing(self) -> None:
        """Give the client time to read."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """Note that it has."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _watch_reading(self) -> None:
        """Look after a while whether the client has read anything."""
        self._unread = self._unless_read(self._watch_reading)

    def _wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = self._unless_read(self._wait)

    def _unless_read(self, again: Callable[[], None]) -> asyncio.TimerHandle:
        """Start a clock that ends the connection, but begins again if less is left to be read."""
        before = self.transport.get_write_buffer_size()

        def look() -> None:
            if self.transport.get_write_buffer_size() < before:
                again()
            else:
                self.transport.abort()

        return self.loop.call_later(self.limits.timeout, look)

    def _stop_waiting(self) -> None:
        """Stop the clock if a request is at work."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def bounded(limits: Limits) -> type[BoundedProtocol]:
    """Return the protocol with some limits, which uvicorn makes one of for each connection."""
    return type("Bounded", (BoundedProtocol,), {"limits": limits})
