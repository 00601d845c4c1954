"""Requests that no honest client sends, one function a kind; see `abuse`.

Each sends one and returns what came back: a status, `closed` without any, or `open` where the
server still waits long after the time that it may.
"""

import asyncio
import contextlib
import io
import json
import random
import struct
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from PIL import Image

from tests.stress import hostile_files

CLOSED, OPEN = "closed", "open"
PREDICT = "/api/predict"
PATIENCE = 60  # seconds; far more than the server may take, on a machine that has much else to do
FORM = "multipart/form-data; boundary=x"
ROUTES = (
    "/", "/health", "/metrics", "/docs", "/openapi.json", "/login", "/api/card", "/api/predict",
    "/static/page.js", "/static/page.css",
)  # fmt: skip
METHODS = (
    "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "OPTIONS", "HEAD", "GET", "POST", "PROPFIND",
    "get",
)  # fmt: skip
TRICKS = (
    "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/../../../etc/passwd",
    "/static/%2e%2e%2f%2e%2e%2fetc/passwd", "/static/..%5c..%5cetc%5cpasswd", "//etc/passwd",
    "/static//etc/passwd", "/static/....//....//etc/passwd", "/%00", "/static/%00/etc/passwd",
    "/%c0%ae%c0%ae/etc/passwd", "/api/predict/../../etc", "/health/", "/HEALTH", "/health%20",
    "/health;x=1", "/file:///etc/passwd", "/static/%ff%fe", "http://127.0.0.1/health", "*", "",
    "health", "/api/predict?frames=1&frames=2", "/api/../../etc",
    "/?page=x", "/static/" + 150 * "%c3%a9",
)  # fmt: skip
STRANGE = (
    "file=/etc/passwd", "file/etc/passwd", "proxy=http://127.0.0.1/", "upload", "queue/join",
    "run/predict", "predict/", "card/", "card?path=/etc/passwd", "openapi.json", "admin", ".env",
)  # fmt: skip
HEADERS = (
    "X: " + "a" * 20_000, "\r\n".join(f"X-{n}: {n}" for n in range(400)), "X: a\x00b",
    "Content-Length: 5\r\nContent-Length: 6", "Content-Length: -1", "Content-Length: 9" + "9" * 30,
    "Content-Length: 1e3", "Content-Length: 0x10", "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 4", "Transfer-Encoding: \x0bchunked",
    "Cookie: faceproof_session=" + "a" * 4000, "Cookie: \xff\xfe=;;;=\"\\", "Cookie: =", "Host: b",
    "Authorization: Bearer \xff\xfe", "Authorization: Basic !!!!", "Authorization:",
    "Expect: 100-continue", "Expect: 200-ok", "Range: bytes=0-18446744073709551615,-1",
    "Range: bytes=a-b", "Range: bytes=0-0,1-1,2-2,3-3", "If-Modified-Since: never",
    "Accept-Encoding: \x80", " folded", "no colon", ": no name", "Bad Name: x",
    "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: a",
    "Connection: upgrade\r\nUpgrade: h2c", "X-Forwarded-For: \r\nX-Forwarded-Proto: file",
    "X-Forwarded-Host: evil\"><script>", "X-Forwarded-Host: a:b",
    "Forwarded: for=\"_x\"", "Accept: text/html;q=x",
)  # fmt: skip
CONTENT_TYPES = (
    "", "application/json", "text/plain", "application/octet-stream", "multipart/form-data",
    "multipart/form-data; boundary=", 'multipart/form-data; boundary="',
    "multipart/mixed; boundary=x", "MULTIPART/FORM-DATA", "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=" + "x" * 5000, "multipart/form-data; boundary=\xff\xfe",
    "multipart/form-data; charset=utf-99; boundary=x", "multipart/form-data;;;=;boundary",
    "multipart/form-data; boundary=a\x01b",
)  # fmt: skip
PARTS = (
    b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\nx',
    b'Content-Disposition: form-data; name="file"\r\n\r\n/etc/passwd',
    b'Content-Disposition: form-data; name="files"\r\n\r\n/etc/passwd',
    b'Content-Disposition: form-data; name="other"; filename="a"\r\n\r\nx',
    b'Content-Disposition: form-data; filename="a"\r\n\r\nx',
    b"Content-Disposition: form-data\r\n\r\nx",
    b"Content-Disposition: attachment; name=file; filename=a\r\n\r\nx",
    b'Content-Disposition: form-data; name="file"; filename="../../../etc/cron.d/x"\r\n\r\nx',
    b'Content-Disposition: form-data; name="files"; filename="../../x\x00.jpg"\r\n\r\nx',
    b'Content-Disposition: form-data; name="files"; filename="' + b"n" * 3000 + b'.jpg"\r\n\r\nx',
    b'Content-Disposition: form-data; name="files"; filename="\xff\xfe\xed\xa0\x80"\r\n\r\nx',
    b"Content-Disposition: form-data; name=\"file\"; filename*=utf-99''%ff%00\r\n\r\nx",
    b'Content-Disposition: form-data; name="\xff"; filename="\xfe"\r\n\r\nx',
    b"Content-Type: image/jpeg\r\n\r\nx",
    b"no header at all",
    b"X: " + b"h" * 9000 + b"\r\n\r\nx",
    b"\r\n" * 500,
    b": \r\n\r\n",
    b"",
)
ODD_JSON = (
    None, True, 1e308, "x", [], {}, [[]] * 3, {"path": "/etc/passwd"}, {"path": None}, {"path": 5},
    {"file": "/etc/passwd"}, {"a": {"b": {"c": []}}}, {"file": "http://127.0.0.1/"}, -1, "\u0000",
    {"url": "file:///etc/passwd"}, "x" * 5000,
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What is abused.

    Attributes:
        port: of this machine.
        seconds: how long the server waits for anything.
        largest: bytes of an upload.
        good: an image that it can judge.
    """

    port: int
    seconds: float
    largest: int
    good: bytes


Kind = Callable[[Target, random.Random], Awaitable[str]]


async def exchange(
    target: Target, data: bytes, then: bytes = b"", every: float = 0.0, patience: int = PATIENCE
) -> str:
    """Send bytes, some more of them one by one, and return what came back."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    except OSError:
        return CLOSED
    answer = asyncio.create_task(reader.readline())
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
            for byte in then:
                done, _ = await asyncio.wait([answer], timeout=every)
                if done:
                    break
                writer.write(bytes([byte]))
                await writer.drain()
        for _ in range(patience):  # one by one: a machine that is stopped meanwhile costs but one
            await asyncio.wait([answer], timeout=1)
            if answer.done() and answer.result().startswith((b"HTTP/1.1 100", b"\r\n")):
                answer = asyncio.create_task(reader.readline())  # it may go on
            if answer.done():
                break
        else:
            return OPEN
        line = answer.result()
    except ConnectionError:
        return CLOSED
    finally:
        answer.cancel()
        writer.transport.abort()
    return line.split()[1].decode("latin-1") if line.startswith(b"HTTP/") else CLOSED


def request(
    method: str, path: str, headers: str = "", body: bytes | None = None, kind: str = ""
) -> bytes:
    """Return a request as bytes, not checked in any way."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [headers] if headers else []
    lines += [f"Content-Type: {kind}"] if kind else []
    lines += [f"Content-Length: {len(body)}"] if body is not None else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + (body or b"")


def form(data: bytes, name: str = "file") -> bytes:
    """Return a form with one file."""
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n\r\n'
    return head.encode() + data + b"\r\n--x--\r\n"


def field_name(draw: random.Random) -> str:
    """Return the name of the field that holds the file, or a wrong one."""
    return draw.choice(["file", "file", "files"])


async def noise(target: Target, draw: random.Random) -> str:
    """Send bytes that are no HTTP."""
    end = draw.choice([b"", b"\r\n\r\n"])
    start = draw.choice([b"", b"GET ", b"POST /api/predict HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00"])
    return await _unheard(target, start + draw.randbytes(draw.choice([1, 50, 5000])) + end)


async def _unheard(target: Target, data: bytes, then: bytes = b"", every: float = 0.0) -> str:
    """Send what may be no whole head, for which uvicorn waits as long as its sender does."""
    said = await exchange(target, data, then, every, patience=2)
    return CLOSED if said == OPEN else said


async def content_type(target: Target, draw: random.Random) -> str:
    """Call a form something else, or something else a form."""
    name = field_name(draw)
    body = draw.choice(
        [form(target.good, name), b"", b"{}", b'{"file": "/etc/passwd"}', b"a=b&c=%zz"]
    )
    return await exchange(target, request("POST", PREDICT, "", body, draw.choice(CONTENT_TYPES)))


async def broken_form(target: Target, draw: random.Random) -> str:
    """Send a form whose parts are none, or too many, or do not end."""
    parts = draw.choices(PARTS, k=draw.choice([0, 1, 1, 2, 6, 1200]))
    start, end = draw.choice([b"--x", b"--x", b"-x", b""]), draw.choice([b"--x--\r\n", b"--x", b""])
    body = b"".join(start + b"\r\n" + part + b"\r\n" for part in parts) + end
    query = draw.choice(["", "?frames=2"])
    return await exchange(target, request("POST", PREDICT + query, "", body, FORM))


async def headers(target: Target, draw: random.Random) -> str:
    """Send headers that are absurd."""
    name = field_name(draw)
    more = "\r\n".join(draw.sample(HEADERS, draw.choice([1, 1, 2])))
    if draw.random() < 0.5:
        return await exchange(target, request("GET", draw.choice(ROUTES), more))
    return await exchange(target, request("POST", PREDICT, more, form(target.good, name), FORM))


async def path(target: Target, draw: random.Random) -> str:
    """Ask for what lies elsewhere, or nowhere, at length."""
    long = draw.choice(["/", "/static/", "/?", "/api/predict?frames="]) + "a" * draw.choice(
        [2000, 60_000]
    )
    return await exchange(target, request("GET", draw.choice([*TRICKS, *TRICKS, long])))


async def method(target: Target, draw: random.Random) -> str:
    """Ask in another way than is meant."""
    body = draw.choice([None, b"", b"x" * 200, b"x" * 200_000])
    word = draw.choice(METHODS)
    return await exchange(target, request(word, draw.choice(ROUTES), "", body))


async def parameters(target: Target, draw: random.Random) -> str:
    """Ask for frames and faces that cannot be."""
    value = draw.choice(
        ["-1", "0", "1e9", "9" * 400, "true", "", "%00", "%ff", "nan", "1;2", "null", "[]", "True"]
    )
    query = f"{draw.choice(['frames', 'faces', 'map', 'thumbnails', 'file'])}={value}"
    body = form(draw.choice([target.good, b"no image", b""]))
    return await exchange(target, request("POST", f"/api/predict?{query}", "", body, FORM))


async def too_large(target: Target, draw: random.Random) -> str:
    """Send more than is taken, with its length or in chunks."""
    name = field_name(draw)
    body = form(bytes(target.largest + draw.choice([1, 50_000, 3_000_000])), name)
    if draw.random() < 0.5:
        return await exchange(target, request("POST", PREDICT, "", body, FORM))
    return await exchange(target, _chunked(body))


def _chunked(body: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = request("POST", PREDICT, "Transfer-Encoding: chunked", None, FORM)
    chunks = [body[start : start + 60_000] for start in range(0, len(body), 60_000)]
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


async def chunks(target: Target, draw: random.Random) -> str:
    """Send chunks that lie about themselves, or never end."""
    name = field_name(draw)
    body = form(target.good, name)
    end = draw.choice([b"", b"zz\r\n", b"-5\r\nx", b"ffffffffffffffffff\r\nx", b"5\r\nx", b"0"])
    return await exchange(target, _chunked(body, end))


async def slow_head(target: Target, draw: random.Random) -> str:
    """Send a head byte by byte, or stop in the middle."""
    head = request("GET", "/health", "X: " + "a" * 1000)
    start = draw.randrange(len(head) - 4)
    return await _unheard(target, head[:start], draw.choice([b"", b"a" * 40]), target.seconds / 20)


async def slow_body(target: Target, draw: random.Random) -> str:
    """Send a body byte by byte, or stop in the middle, or after the answer."""
    path, name = draw.choice([(PREDICT, "file"), ("/login", ""), ("/health", "")])
    body = form(target.good, name)
    data = request(draw.choice(["POST", "POST", "GET"]), path, "", body, FORM)
    rest = b"a" * (len(body) if draw.random() < 0.5 else 0)
    return await exchange(
        target, data[: -len(body) + draw.randrange(100)], rest, target.seconds / 20
    )


async def truncated(target: Target, draw: random.Random) -> str:
    """Go away in the middle of a body."""
    name = field_name(draw)
    data = request("POST", PREDICT, "", form(target.good, name), FORM)
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", target.port)
        writer.write(data[: draw.randrange(50, len(data))])
        await writer.drain()
        await asyncio.sleep(draw.choice([0, 0.02]))
        writer.transport.abort()
    except ConnectionError:
        return CLOSED
    return CLOSED


def _png(width: int, height: int, more: bytes = b"") -> bytes:
    """Return a PNG of few bytes and many pixels, which are there."""
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + 3 * width)) for _ in range(height)) + rows.flush()
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", data))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in (*parts, *([(b"zTXt", b"a\0\0" + more)] if more else []), (b"IEND", b""))
    )


def _gif(frames: int) -> bytes:
    file = io.BytesIO()
    images = [Image.new("P", (300, 300), number % 256) for number in range(frames)]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:])
    return file.getvalue()


BOMBS: tuple[Callable[[random.Random], bytes], ...] = (
    lambda draw: _png(8000, 8000),
    lambda draw: _png(900, 1000),
    lambda draw: _png(10, 90_000),
    lambda draw: _png(90_000, 10),
    lambda draw: _png(1, 1, zlib.compress(bytes(50_000_000))),
    lambda draw: _gif(200),
    lambda draw: zlib.compress(bytes(50_000_000)),
    lambda draw: b"PK\x03\x04" + draw.randbytes(500),
    lambda draw: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    lambda draw: b"ffconcat version 1.0\nfile /etc/passwd\n",
    lambda draw: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
    lambda draw: (
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    ),
    lambda draw: b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + draw.randbytes(2000),
    lambda draw: b"\x1aE\xdf\xa3" + draw.randbytes(2000),
    lambda draw: b"RIFF\xff\xff\xff\xffAVI LIST" + draw.randbytes(2000),
    *(lambda draw, kind=kind: kind(draw, draw.randrange(1000))[1] for kind in hostile_files.KINDS),
)


async def bomb(target: Target, draw: random.Random) -> str:
    """Send what is no image, or a far larger one than it seems."""
    query = draw.choice(["", "?thumbnails=true", "?map=true", "?faces=true", "?frames=4"])
    body = form(draw.choice(BOMBS)(draw))
    return await exchange(target, request("POST", f"/api/predict{query}", "", body, FORM))


async def strange_route(target: Target, draw: random.Random) -> str:
    """Ask for routes that other servers have, or send JSON where there is nothing to send."""
    path = f"/api/{draw.choice([*STRANGE, 'predict', 'predict'])}"
    if draw.random() < 0.3:
        return await exchange(target, request("GET", path))
    body = json.dumps(draw.choice(ODD_JSON)).encode()
    body = draw.choice([body, body, body[:-3], b"[" * 50_000, b"\xff\xfe"])
    return await exchange(target, request("POST", path, "", body, "application/json"))


async def left_open(target: Target, draw: random.Random) -> str:
    """Leave a connection open for a while, or do not read what was asked for."""
    path = draw.choice(["/", "/static/page.js", "/openapi.json", "/metrics"])
    _, writer = await asyncio.open_connection("127.0.0.1", target.port)
    with contextlib.suppress(ConnectionError):
        for _ in range(draw.choice([1, 1, 30])):  # pipelined
            writer.write(request("GET", path))
        await writer.drain()
        await asyncio.sleep(draw.choice([0.1, target.seconds]))
    writer.transport.abort()
    return CLOSED


KINDS: tuple[Kind, ...] = (
    noise, content_type, broken_form, headers, path, method, parameters, too_large, chunks,
    slow_head, slow_body, truncated, bomb, strange_route, left_open,
)  # fmt: skip
