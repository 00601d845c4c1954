"""Which names a server answers to, and which web sites may use it from a browser."""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from faceproof.errors import FaceproofError
from faceproof.server.judging_queue import RefusedError
from faceproof.server.middleware import App, Receive, Scope, Send, header, refuse

ANY = "*"
LOCALHOST = "localhost"
_NAME = re.compile(r"(\*\.)?[\w-]+(\.[\w-]+)*|\*", re.ASCII)
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/@?#\s]+)(:\d*)?")


@dataclass(frozen=True)
class Access:
    """Who may use a server by which name.

    Attributes:
        host: the address at which it listens.
        allowed_hosts: names that it answers to besides its own; `*.example.org` stands for all
            below, and `*` for any.
        origins: web sites whose pages may call it, such as `https://example.org`, or `*` for all.
    """

    host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.allowed_hosts:
            if not _NAME.fullmatch(name) and _address(name) is None:
                raise FaceproofError(
                    f"--allowed-hosts {name!r} is no host; give a name or an address without "
                    "scheme, port and path, such as detector.example.org"
                )
        for origin in self.origins:
            parts = urlsplit(origin)
            if origin != ANY and origin != f"{parts.scheme}://{parts.netloc}".lower():
                raise FaceproofError(
                    f"--cors-origins {origin!r} is no origin; give scheme and host in lower case "
                    "without a path, such as https://example.org"
                )

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach the server."""
        address = _address(self.host)
        return self.host == LOCALHOST if address is None else address.is_loopback

    def allows(self, host: str) -> bool:
        """Say whether the server answers to a `Host` header.

        A web site can have its own name point to this machine, and use the server through a
        visitor's browser; it cannot do so with an address, or with a name that is not its own.
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower().removesuffix(".")
        if name == LOCALHOST or any(_matches(name, one.lower()) for one in self.allowed_hosts):
            return True
        address = _address(name)
        if self.is_local:
            return address is not None and address.is_loopback
        own = socket.gethostname().lower()
        return address is not None or name in (self.host.lower(), own, f"{own}.local")


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    return pattern in (ANY, name, f"[{name}]") or name == f"[{pattern}]"


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


class HostGuard:
    """Refuses requests that were meant for another name."""

    def __init__(self, app: App, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        host = header(scope, b"host").decode("latin-1") if scope["type"] == "http" else LOCALHOST
        if self.access.allows(host):
            await self.app(scope, receive, send)
            return
        words = f"this server does not answer to the name {host[:100]!r}; --allowed-hosts adds it"
        await refuse(send, RefusedError(421, words))
