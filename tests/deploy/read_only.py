"""Commands of the container on this machine: as its user, with nothing but one folder to write to.

That takes root. Without it a command runs as whoever runs the tests, which is no root either.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.deploy.dockerfile import environment, only
from tests.jobs import REPOSITORY

# The root of the file system, read-only, with a small one in memory at $1; then the command.
VIEW = (
    'mount -t tmpfs -o size=64m,mode=1777 tmpfs "$1" '
    '&& mount -o remount,bind,ro / && shift && exec "$@"'
)
# Files of the tests lie in folders of root alone: it may read all, and write where its number may.
READS = "-all,+dac_read_search"


def can_isolate() -> bool:
    """Say whether this process may give another one its own view of the file system."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


def command(words: list[str], temporary: Path) -> list[str]:
    """Return a command of the container as one of this machine, `temporary` being its /tmp."""
    variables = {
        name: str(temporary) + value.removeprefix("/tmp") if value.startswith("/tmp") else value
        for name, value in environment().items()
    }
    here = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables["PATH"] = variables["PATH"].replace("/opt/faceproof/bin:$PATH", here)
    variables |= {"PYTHONPATH": str(REPOSITORY / "src"), "OMP_NUM_THREADS": "1"}
    words = ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *words]
    if not can_isolate():
        return words
    user, group = only("USER").text.split(":")
    return [
        "unshare", "--mount", "--propagation", "private", "sh", "-c", VIEW, "sh", str(temporary),
        "setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs",
        f"--inh-caps={READS}", f"--ambient-caps={READS}", f"--bounding-set={READS}", *words,
    ]  # fmt: skip
