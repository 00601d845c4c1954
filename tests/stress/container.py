"""python -m tests.stress.container: build the image, and use it as compose.yaml says.

Takes podman or Docker, and a Debian package, debootstrap, with --stand-in. Builds the image of the
checkout, starts it without a network and with the options of deploy/compose.yaml, waits until its
health check succeeds, has an image judged, tries to write where it may not, and ends it by SIGTERM.
Prints what was found as JSON; ends with 1 where that is not as it should be.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from faceproof.workflows.export import export_run
from tests.conftest import write_images
from tests.jobs import REPOSITORY
from tests.small_runs import write_run

IMAGE = "faceproof-stress"
STAND_IN = "localhost/faceproof-stand-in:1"
# Posts the file on standard input, as the container has no curl.
JUDGE = """
import sys, urllib.request
body = b"--b\\r\\nContent-Disposition: form-data; name=file; filename=a\\r\\n\\r\\n"
body += sys.stdin.buffer.read() + b"\\r\\n--b--\\r\\n"
kind = {"Content-Type": "multipart/form-data; boundary=b"}
address = "http://127.0.0.1:7860/api/predict"
print(urllib.request.urlopen(urllib.request.Request(address, body, kind)).read().decode())
"""
TRIES = (
    "id -u; for f in / /detector /opt/faceproof /tmp; do touch $f/new 2>/dev/null && echo $f; done"
)


@dataclass(frozen=True)
class Engine:
    """A program that builds and runs images, `podman` or `docker`."""

    program: str

    def __call__(self, *words: str, given: bytes | None = None) -> str:
        """Run one of its commands, and return what it printed.

        Raises:
            SystemExit: it failed.
        """
        done = subprocess.run(
            [self.program, *words], input=given, capture_output=True, check=False
        )  # fmt: skip
        if done.returncode:
            said = (done.stdout[-1500:] + done.stderr[-1500:]).decode()
            raise SystemExit(f"{self.program} {words[0]} ended with {done.returncode}: {said}")
        return done.stdout.decode().strip()


def make_stand_in(engine: Engine, release: str) -> None:
    """Make a base image with Debian's Python, where images cannot be pulled."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        packages = "--include=python3,python3-venv,ca-certificates"
        command = ["debootstrap", "--variant=minbase", packages, release, str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        archive = Path(folder) / "root.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        engine("import", str(archive), STAND_IN)


def run_options(service: dict, detector: Path) -> list[str]:
    """Return the options of `run` that do what compose.yaml says; the port is left out."""
    environment = {name: value for name, value in service["environment"].items() if value}
    (volume,) = service["volumes"]
    options = [
        "--read-only", "--init", f"--volume={detector}:{volume['target']}:ro",
        f"--cpus={service['cpus']}", f"--memory={service['mem_limit']}",
        f"--pids-limit={service['pids_limit']}", "--network=none",
    ]  # fmt: skip
    assert service["read_only"]
    assert service["init"]
    assert volume["read_only"]
    options += [f"--tmpfs={one}" for one in service["tmpfs"]]
    options += [f"--cap-drop={one}" for one in service["cap_drop"]]
    # Podman knows this one without its value.
    options += [f"--security-opt={one.removesuffix(':true')}" for one in service["security_opt"]]
    return options + [f"--env={name}={value}" for name, value in environment.items()]


def wait_until_healthy(engine: Engine, name: str) -> float:
    """Run the image's health check until it succeeds, and return the seconds.

    Raises:
        SystemExit: it did not in two minutes, or the container has ended.
    """
    check = json.loads(engine("inspect", "--format", "{{json .Config.Healthcheck.Test}}", name))
    began = time.monotonic()
    while time.monotonic() < began + 120:
        command = [engine.program, "exec", name, *check[1:]]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return time.monotonic() - began
        if engine("inspect", "--format", "{{.State.Running}}", name) != "true":
            break
        time.sleep(0.5)
    log = subprocess.run([engine.program, "logs", name], capture_output=True, check=False)
    raise SystemExit(f"the server is not well: {(log.stdout + log.stderr).decode()[-3000:]}")


def use(engine: Engine, options: list[str], image: bytes) -> dict[str, object]:
    """Start a container, use it, end it, and return what was found."""
    name = engine("run", "--detach", *options, IMAGE)
    try:
        found: dict[str, object] = {"seconds to start": round(wait_until_healthy(engine, name), 1)}
        judge = ["exec", "--interactive", name, "python", "-c", JUDGE]
        found["answer"] = json.loads(engine(*judge, given=image))
        user, *written = engine("exec", name, "sh", "-c", f"{TRIES}; true").split()
        found |= {"user": user, "could write to": written}
        usage = engine("exec", name, "sh", "-c", "grep VmHWM /proc/[0-9]*/status")
        peak = max(int(line.split()[1]) for line in usage.splitlines())
        found["peak memory, MB"] = peak // 1000
        began = time.monotonic()
        engine("stop", "--time", "30", name)
        found["seconds to end"] = round(time.monotonic() - began, 1)
        found["exit code"] = int(engine("inspect", "--format", "{{.State.ExitCode}}", name))
        log = subprocess.run([engine.program, "logs", name], capture_output=True, check=True)
        found["log"] = (log.stdout + log.stderr).decode().splitlines()
    finally:
        engine("rm", "--force", name)
    return found


def is_right(found: dict) -> bool:
    """Say whether a container did what it should."""
    return (
        found["answer"]["verdict"] in ("real", "fake", "unsure")
        and found["user"] == "10001"
        and found["could write to"] == ["/tmp"]
        and found["seconds to end"] < 10
        and not any("Traceback" in line for line in found["log"])
    )


def build(engine: Engine, options: list[str]) -> dict[str, object]:
    """Build the image, and return how long that took and how large it is."""
    began = time.monotonic()
    kind = ["--format", "docker"] if engine.program == "podman" else []  # the other has no check
    engine("build", *kind, *options, "--tag", IMAGE, str(REPOSITORY))
    size = int(engine("image", "inspect", "--format", "{{.Size}}", IMAGE))
    return {"seconds to build": round(time.monotonic() - began), "image, MB": size // 10**6}


def main() -> int:
    """Build, use, and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.container", description=__doc__)
    parser.add_argument("--engine", choices=["podman", "docker"], help="that which is there")
    parser.add_argument(
        "--stand-in", metavar="RELEASE",
        help="no image is pulled; the base is made of this release of Debian, such as trixie",
    )  # fmt: skip
    parser.add_argument("--build", nargs=argparse.REMAINDER, default=[], help="options of build")
    given = parser.parse_args()
    program = given.engine or next(filter(shutil.which, ("podman", "docker")), None)
    if program is None:
        raise SystemExit("there is neither podman nor docker")
    engine, options = Engine(program), list(given.build)
    if given.stand_in:
        make_stand_in(engine, given.stand_in)
        options += ["--build-arg", f"BASE={STAND_IN}"]
    found = build(engine, options)
    service = yaml.safe_load((REPOSITORY / "deploy/compose.yaml").read_text())["services"]["server"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        export_run(write_run(folder / "run"), folder / "detector")
        (image,) = write_images(folder / "images", ["a.jpg"], (200, 200), face=True)
        found |= use(engine, run_options(service, folder / "detector"), image.read_bytes())
    print(json.dumps(found, indent=2))
    return 0 if is_right(found) else 1


if __name__ == "__main__":
    sys.exit(main())
