"""Listing: how long until a command knows the paths of many images, none of which is opened."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.measuring import apart, peak_memory
from faceproof.inference.inputs import list_images
from faceproof.inference.output import unseen
from faceproof.inference.output_parts import Seen

PER_FOLDER = 1000  # objects, as many as a store names in one answer
BUCKET, FOLDER = "bucket", "photos"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "made", "AWS_SECRET_ACCESS_KEY": "up"}


def measure_listing(folder: Path, sizes: list[int]) -> list[dict[str, Any]]:
    """Return two rows a size, of a table and of a store on this machine: seconds and memory."""
    rows = []
    for size in sizes:
        file = str(folder / f"{size}.parquet")
        apart("benchmarks.scale:write_made", size, file)
        rows.append({"images": size, "of": "a Parquet table", **_listed(file, size)})
        with made_store(size) as url:
            found = _listed(f"s3://{BUCKET}/{FOLDER}", size, AWS_ENDPOINT_URL=url, **CREDENTIALS)
            rows.append({"images": size, "of": "a store on this machine", **found})
    return rows


def _listed(word: str, size: int, **settings: str) -> dict[str, Any]:
    told: dict[str, Any] = apart("benchmarks.listing:listed", word, settings=settings)
    assert told.pop("listed") == size
    return told


def listed(word: str) -> dict[str, Any]:
    """List as `predict` does, which knows a path that is named twice."""
    before, began = peak_memory(), time.perf_counter()
    number = sum(1 for _ in unseen(list_images([word], stores_and_shards=True), Seen()))
    seconds = time.perf_counter() - began
    return {
        "listed": number, "list, s": seconds, "paths/s": number / seconds,
        "peak before, MB": before, "peak, MB": peak_memory(),
    }  # fmt: skip


@contextmanager
def made_store(size: int) -> Iterator[str]:
    """Run a server that lists objects as Amazon's store does, and holds none; yield its URL."""
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    server = spawn.Process(target=_serve, args=(size, there), daemon=True)
    server.start()
    there.close()  # so that a server that dies is no endless wait
    try:
        yield here.recv()
    finally:
        server.terminate()
        server.join()


def _serve(size: int, told: Connection) -> None:
    num_folders = -(-size // PER_FOLDER)
    folders = [f"{FOLDER}/{number:06}/" for number in range(num_folders)]
    last = size - PER_FOLDER * (num_folders - 1)

    class Answers(BaseHTTPRequestHandler):
        """Answers requests for lists; `HEAD` finds no object."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_HEAD(self) -> None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            prefix = asked.get("prefix", [""])[0]
            start = int(asked.get("continuation-token", ["0"])[0])
            most = min(int(asked.get("max-keys", [PER_FOLDER])[0]), PER_FOLDER)
            if prefix in folders:
                count = last if prefix == folders[-1] else PER_FOLDER
                names = [f"{prefix}{number:09}.jpg" for number in range(count)]
            else:
                names = folders if f"{FOLDER}/".startswith(prefix) else []
            body = _answer(prefix, names[start : start + most], start, len(names)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        told.send(f"http://127.0.0.1:{server.server_port}")
        server.serve_forever()


def _answer(prefix: str, names: list[str], start: int, total: int) -> str:
    """Return an answer to ListObjectsV2."""
    entries = "".join(
        f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"
        if name.endswith("/")
        else f"<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        '<ETag>"0"</ETag><Size>11400</Size></Contents>'
        for name in names
    )
    end = start + len(names)
    more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < total else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><KeyCount>{len(names)}</KeyCount>"
        f"<IsTruncated>{str(end < total).lower()}</IsTruncated>{more}{entries}</ListBucketResult>"
    )
