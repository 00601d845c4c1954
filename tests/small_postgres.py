"""A PostgreSQL server of a test's own on this machine, by the programs that Debian installs."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.small_clusters import free_port

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

USER = "postgres"  # whom the server runs as where the tests run as root, which it refuses
WAIT = 60.0  # seconds for the server to answer


def find_program(name: str) -> str | None:
    """Return a program of PostgreSQL's, which Debian leaves out of the PATH."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(installed[-1]) if installed else None)


def why_not() -> str:
    """Return why there can be no server here, or an empty text."""
    if os.name != "posix":
        return "kills processes as POSIX does"
    if find_program("initdb") is None:
        return "takes PostgreSQL, as from apt-get install postgresql"
    if find_spec("psycopg") is None or find_spec("optuna") is None:
        return "takes faceproof[sweep] and psycopg[binary]"
    if os.geteuid() == 0:
        import pwd

        if USER not in {entry.pw_name for entry in pwd.getpwall()}:
            return f"PostgreSQL does not run as root, and there is no user {USER}"
    return ""


needs_postgres = pytest.mark.skipif(bool(why_not()), reason=why_not() or "can be run")


@contextmanager
def small_postgres() -> Iterator[str]:
    """Start a server on 127.0.0.1, and yield the address of its database as Optuna takes it.

    Its folder is not below that of the test, which another user may not enter.
    """
    initdb, postgres = find_program("initdb"), find_program("postgres")
    assert initdb
    assert postgres
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_user = {"user": USER, "group": USER, "extra_groups": []}
    with tempfile.TemporaryDirectory() as folder:
        if as_user:
            shutil.chown(folder, USER, USER)
        data, port = f"{folder}/data", free_port()
        made = [initdb, "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(
            [*made, "--locale=C"], cwd=folder, check=True, stdout=subprocess.DEVNULL, **as_user
        )
        options = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        with Path(folder, "log").open("wb") as log:
            server = subprocess.Popen(
                [postgres, "-D", data, "-p", str(port), *(f"-c{one}" for one in options)],
                cwd=folder, stdout=log, stderr=log, **as_user,
            )  # fmt: skip
        try:
            _wait_for(server, port, Path(folder, "log"))
            yield f"postgresql+psycopg://{USER}@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # which waits for no client
            server.wait()


def _wait_for(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    import psycopg

    until = time.monotonic() + WAIT
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user=USER, dbname="postgres").close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)


def trials_of(address: str, study_name: str) -> "list[FrozenTrial]":
    """Return the trials of a study, and leave no connection open."""
    from optuna import load_study
    from optuna.storages import RDBStorage

    storage = RDBStorage(address)
    try:
        return load_study(study_name=study_name, storage=storage).trials
    finally:
        storage.remove_session()
        storage.engine.dispose()
