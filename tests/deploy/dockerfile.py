"""What the Dockerfile says, instruction by instruction."""

import json
import re
from dataclasses import dataclass

from tests.jobs import REPOSITORY

PATH = REPOSITORY / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction: `COPY --from=build a b` has the name COPY, one option and the text `a b`."""

    name: str
    options: dict[str, str]
    text: str


def stages() -> list[list[Instruction]]:
    """Return the instructions of each stage, from its FROM on; before the first are arguments."""
    joined = re.sub(r"^\s*#.*\n", "", PATH.read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\s*\\\n\s*", " ", joined)
    found: list[list[Instruction]] = [[]]
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, rest = line.split(maxsplit=1)
        options = re.match(r"(--\S+\s+)*", rest)[0]
        named = dict(one.removeprefix("--").split("=", 1) for one in options.split())
        if name == "FROM":
            found.append([])
        found[-1].append(Instruction(name, named, rest[len(options) :]))
    return found


def only(name: str) -> Instruction:
    """Return the one instruction of this name in the last stage, which is the image."""
    (found,) = [one for one in stages()[-1] if one.name == name]
    return found


def entry_point() -> list[str]:
    """Return the command of the container."""
    return json.loads(only("ENTRYPOINT").text)


def health_check() -> list[str]:
    """Return the command that says whether the server is well."""
    return json.loads(only("HEALTHCHECK").text.removeprefix("CMD "))


def environment() -> dict[str, str]:
    """Return the variables of the image."""
    return dict(one.split("=", 1) for one in only("ENV").text.split())
