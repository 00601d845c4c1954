"""A small Hugging Face hub on this machine: as much of its API as huggingface_hub asks for.

It stores commits whole, in memory. Large files come by the Git LFS protocol, as the hub takes them
from clients without its own storage protocol.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

LARGE = (".safetensors", ".onnx", ".parquet")  # which the hub takes by Git LFS
TOKEN = "hf_of_the_tests"
START = {".gitattributes": b"*.safetensors filter=lfs\n"}


@dataclass
class Repository:
    """The commits of a repository, by their hashes, and its branches."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        digest = hashlib.sha1(str(len(self.commits)).encode())
        for name, data in sorted(files.items()):
            digest.update(name.encode() + data)
        self.commits[digest.hexdigest()] = files
        self.branches[branch] = digest.hexdigest()
        return digest.hexdigest()

    def find(self, revision: str) -> str | None:
        found = self.branches.get(revision, revision)
        return found if found in self.commits else None


class SmallHub:
    """What the hub holds, and what it was asked; `status` makes it answer that to all."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.status: int | None = None
        self.address = ""

    def make(self, name: str, files: dict[str, bytes], private: bool = False) -> Repository:
        made = self.repositories[name] = Repository(private)
        made.commit(START | files)
        return made

    def files(self, name: str) -> dict[str, bytes]:
        found = self.repositories[name]
        return found.commits[found.branches["main"]]

    def change(self, name: str, **files: bytes | None) -> None:
        """Change files as their owner would; `_` in a name is a dot, None removes it."""
        changed = {one.replace("_", "."): data for one, data in files.items()}
        whole = self.files(name) | changed
        kept = {one: data for one, data in whole.items() if data is not None}
        self.repositories[name].commit(kept)


class Answers(BaseHTTPRequestHandler):
    hub: SmallHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        place = urlsplit(self.path)
        path, self.query = unquote(place.path), parse_qs(place.query)
        self.hub.asked.append(f"{self.command} {path}")
        said = self.headers.get("Authorization")
        self.token = said.removeprefix("Bearer ") if said else None
        self.hub.tokens.add(self.token)
        if self.hub.status is not None:
            return self.error(self.hub.status, "", "something is wrong here")
        for pattern, method in ROUTES:
            command, _, rest = pattern.partition(" ")
            if command == self.command and (found := re.fullmatch(rest, path)):
                return method(self, body, *found.groups())
        return self.error(404, "", f"no {path} here")

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: object, status: int = 200) -> None:
        self.send(status, json.dumps(value).encode(), Content_Type="application/json")

    def error(self, status: int, code: str, message: str) -> None:
        named = {"X_Error_Code": code} if code else {}
        self.send(status, b"{}", X_Error_Message=message, **named)

    def may_read(self, name: str) -> Repository | None:
        """Return a repository, or answer that there is none for this token."""
        found = self.hub.repositories.get(name)
        if found is None or (found.private and self.token != TOKEN):
            self.error(404 if self.token else 401, "RepoNotFound", "Repository not found")
            return None
        if found.gated and self.token != TOKEN:
            self.error(403, "GatedRepo", "Access to this model is restricted")
            return None
        return found

    def may_write(self, name: str) -> Repository | None:
        if self.token != TOKEN:
            self.error(403 if self.token else 401, "", "You cannot write here")
            return None
        return self.may_read(name)

    def create(self, body: bytes) -> None:
        wanted = json.loads(body)
        name = f"{wanted['organization']}/{wanted['name']}"
        if self.token != TOKEN:
            return self.error(403 if self.token else 401, "", "You cannot create this repository")
        if name in self.hub.repositories:
            return self.json({"url": f"{self.hub.address}/{name}"}, 409)
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.make(name, {}, private)
        return self.json({"url": f"{self.hub.address}/{name}"})

    def info(self, _: bytes, name: str, revision: str | None = None) -> None:
        if (found := self.may_read(name)) is None:
            return None
        if (commit := found.find(revision or "main")) is None:
            return self.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        siblings = [
            {"rfilename": one, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
            for one, data in found.commits[commit].items()
        ]
        return self.json(
            {"id": name, "private": found.private, "sha": commit, "siblings": siblings, "tags": []}
        )

    def preupload(self, body: bytes, name: str, _: str) -> None:
        if self.may_write(name) is None:
            return
        modes = [
            {
                "path": one["path"], "shouldIgnore": False,
                "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
            }
            for one in json.loads(body)["files"]
        ]  # fmt: skip
        self.json({"files": modes})

    def batch(self, body: bytes, name: str) -> None:
        if self.may_write(name) is None:
            return
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.address}/large/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        self.json({"objects": objects, "transfer": "basic"})

    def put(self, body: bytes, digest: str) -> None:
        assert hashlib.sha256(body).hexdigest() == digest
        self.hub.large[digest] = body
        self.send(200, b"")

    def commit(self, body: bytes, name: str, branch: str) -> None:
        if (found := self.may_write(name)) is None:
            return None
        files = dict(found.commits[found.branches[branch]])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                if value.get("parentCommit") not in (None, found.branches[branch]):
                    return self.error(412, "", "A commit has happened since")
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        made = found.commit(files, branch)
        page = f"{self.hub.address}/{name}/commit/{made}"
        return self.json({"commitUrl": page, "commitOid": made})

    def validate(self, body: bytes) -> None:
        block = re.match(r"---\n(.*?)\n---\n", json.loads(body)["content"], re.DOTALL)
        try:
            values = yaml.safe_load(block[1]) if block else None
        except yaml.YAMLError:
            values = None
        errors = [] if isinstance(values, dict) else [{"message": "no metadata"}]
        self.json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def resolve(self, _: bytes, name: str, revision: str, file: str) -> None:
        if (found := self.may_read(name)) is None:
            return None
        commit = found.find(revision)
        if commit is None or file not in found.commits[commit]:
            return self.error(404, "EntryNotFound", "Entry not found")
        data = found.commits[commit][file]
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        return self.send(200, data, ETag=etag, X_Repo_Commit=commit)


NAMED = r"([^/]+/[^/]+)"
ROUTES = (
    (r"POST /api/repos/create", Answers.create),
    (r"POST /api/validate-yaml", Answers.validate),
    (rf"GET /api/models/{NAMED}/revision/(.+)", Answers.info),
    (rf"GET /api/models/{NAMED}", Answers.info),
    (rf"POST /api/models/{NAMED}/preupload/(.+)", Answers.preupload),
    (rf"POST /api/models/{NAMED}/commit/(.+)", Answers.commit),
    (rf"POST /{NAMED}\.git/info/lfs/objects/batch", Answers.batch),
    (r"PUT /large/(\w+)", Answers.put),
    (rf"HEAD /{NAMED}/resolve/([^/]+)/(.+)", Answers.resolve),
    (rf"GET /{NAMED}/resolve/([^/]+)/(.+)", Answers.resolve),
)


@contextlib.contextmanager
def small_hub() -> Iterator[SmallHub]:
    """Serve an empty hub on a free port of this machine, in a thread."""
    hub = SmallHub()
    handler = type("AnswersOfOneHub", (Answers,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def use_hub(monkeypatch: pytest.MonkeyPatch, address: str, token: str | None = TOKEN) -> None:
    """Have huggingface_hub ask this hub, by HTTP alone, as HF_ENDPOINT does before its import."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    files = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "no such file")
    monkeypatch.setenv("HF_TOKEN", token or "")
