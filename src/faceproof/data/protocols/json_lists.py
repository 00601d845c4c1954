"""Reads the JSON files of protocols, whose errors say which file it is and what it should hold."""

import json
from pathlib import Path
from typing import Any

from faceproof.data.lists import open_list
from faceproof.errors import FaceproofError


def read_json(file: Path, what: str) -> Any:
    """Return what a JSON file holds; `what` it should hold is for messages.

    Raises:
        FaceproofError: there is no such file, or it is no JSON.
    """
    try:
        with open_list(file) as text:
            return json.load(text)
    except FileNotFoundError as error:
        raise FaceproofError(f"there is no {file}, which should hold {what}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise FaceproofError(
            f"{file} cannot be read as JSON ({error}); it should hold {what}"
        ) from error
