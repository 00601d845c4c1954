"""`faceproof export --web`: a folder of static files that judges pictures in the visitor's browser.

    index.html      the page, the same as the server's
    detector.json   what it needs of the card: inputs, calibration, threshold, unsure band
    NAME-SHA.onnx   the networks, run by ONNX Runtime for the web
    static/         scripts, style, and ONNX Runtime
    offline.js      stores all of this in the browser, so that the page works without a network
    README.md       how to put it up

Nothing a visitor chooses leaves their machine, and the page's content policy lets nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from faceproof.artifact.artifact import read_card, read_file
from faceproof.artifact.card import Card, DetectorEntry, NetworkEntry, StoredFile
from faceproof.artifact.model_card import model_card
from faceproof.artifact.onnx import MAX_BYTES
from faceproof.artifact.onnx_check import check_model
from faceproof.artifact.web_runtime import VERSION, read_runtime
from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_folder, restore_folder
from faceproof.io.folders import refuse_foreign_files
from faceproof.io.plain_files import read_object
from faceproof.reports.card_html import card_html
from faceproof.reports.html import render
from faceproof.task import get_task

MAX_MEGABYTES, MAX_PIXELS = 100.0, 50_000_000  # of a picture
DESCRIPTION = "detector.json"
FORMAT = "faceproof page 1"
OF_SERVER = ("page.js", "answer.js", "page.css")
OF_PAGE = ("ask.js", "pixels.js", "verdict.js")
FILES = (
    *("index.html", DESCRIPTION, "offline.js", "README.md", "*.onnx"),
    *("static/*.js", "static/*.css", "static/ort/*"),
)
NO_MAP = "the page works without a server, and draws none"


def write_site(
    artifact: Path, to: Path, runtime: Path | None = None, overwrite: bool = False
) -> None:
    """Write the static page of a detector artifact that was exported with ONNX.

    Args:
        artifact: its folder.
        to: the page's folder, which is made.
        runtime: the archive of the npm package onnxruntime-web; None fetches it by npm, once.
        overwrite: replace a page that is there.

    Raises:
        FaceproofError: the artifact has no ONNX, cuts faces out, which the page cannot, or `to`
            holds something else; ONNX Runtime for the web cannot be had.
    """
    refuse_occupied_site(to, overwrite)
    card = read_card(artifact)
    refuse_unfit(card)
    content = _content(artifact, card, read_runtime(runtime))
    with atomic_folder(to) as partial:
        for name, data in content.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(data)


def refuse_unfit(card: Card) -> None:
    """Refuse a detector that the page cannot run as Python does."""
    if card.detector.crop is not None:
        raise FaceproofError(
            f"{card.name} judges faces that are cut out of a picture, and a page without a server "
            "finds no faces; serve it by faceproof serve, or export a detector of whole pictures"
        )
    for network in card.networks:
        if network.onnx is None:
            raise FaceproofError(
                f"{card.name} was exported without ONNX, which the page runs; export the run again "
                "by faceproof export RUN --to FOLDER --web"
            )


def refuse_occupied_site(to: Path, overwrite: bool) -> None:
    """Refuse to write where something else than a page lies, or over one without `overwrite`."""
    restore_folder(to)
    if not to.exists() and not to.is_symlink():
        return
    if to.is_symlink() or not _is_site(to):
        raise FaceproofError(f"{to} is there and is no page of a detector; name another folder")
    refuse_foreign_files(to, FILES)
    if not overwrite:
        raise FaceproofError(
            f"{to} holds the page of a detector; name another folder, or replace it by --overwrite"
        )


def _is_site(folder: Path) -> bool:
    try:
        return read_object(folder / DESCRIPTION, "").get("format") == FORMAT
    except FaceproofError:
        return False


def _content(artifact: Path, card: Card, runtime: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return every file of the page, by its path in the folder."""
    own = files("faceproof.server")
    content = {f"static/{name}": own.joinpath("static", name).read_bytes() for name in OF_SERVER}
    for name in OF_PAGE:
        content[f"static/{name}"] = own.joinpath("in_browser", name).read_bytes()
    content |= {f"static/ort/{name}": data for name, data in runtime.items()}
    for network in card.networks:
        assert network.onnx is not None
        model = read_file(artifact, network.onnx, MAX_BYTES)
        knows_novelty = network.novelty is not None
        check_model(model, network.input.size, knows_novelty, network.input.num_passes)
        content[_file_of(network.onnx)] = model
    content[DESCRIPTION] = _json(describe(card)).encode()
    content["index.html"] = _page(card).encode()
    content["offline.js"] = _offline(own.joinpath("in_browser", "offline.js"), content).encode()
    content["README.md"] = _readme(card).encode()
    return content


def describe(card: Card) -> dict[str, Any]:
    """Return what the page needs of a card, as plain values, with a version of all of it.

    A page that stays open while another detector is put in its place sees that by the version.
    """
    gate = None if card.gate is None else _part(card.gate)
    found = {"format": FORMAT, "gate": gate, "detector": _part(card.detector)}
    return {**found, "version": hashlib.sha256(_json(found).encode()).hexdigest()[:16]}


def _file_of(stored: StoredFile) -> str:
    """Return the name that a network has on the page, another one for other bytes."""
    return f"{Path(stored.file).stem}-{stored.sha256[:16]}.onnx"


def _part(entry: DetectorEntry) -> dict[str, Any]:
    point = entry.operating_point
    return {
        "task": entry.task.name,
        "classes": list(entry.task.classes),
        "threshold": point.threshold,
        "unsure": list(point.unsure),
        "calibration": point.calibration.to_json(),
        "average": entry.average,
        "novelty_limit": None if entry.novelty is None else entry.novelty.limit,
        "networks": [_network(one) for one in entry.networks],
    }


def _network(entry: NetworkEntry) -> dict[str, Any]:
    assert entry.onnx is not None
    names = ("size", "interpolation", "mode", "resize_to", "tiles", "tta")
    return {
        "file": _file_of(entry.onnx),
        "input": {name: getattr(entry.input, name) for name in names},
        "weight": entry.weight,
        "calibration": entry.calibration.to_json(),
    }


def _page(card: Card) -> str:
    task = get_task(card.task.name)
    settings = {
        "positive": task.positive,
        "negative": task.negative,
        "max_megabytes": MAX_MEGABYTES,
        "max_pixels": MAX_PIXELS,
        "map_problem": NO_MAP,
        "version": describe(card)["version"],
    }
    return render(
        "page.html.j2",
        card=card,
        in_use=card.detector.in_use,
        find_faces=False,
        faces_by_default=False,
        in_browser=True,
        settings=settings,
        card_html=card_html(model_card(card, "DIR")),
    )


def _offline(script: Any, content: Mapping[str, bytes]) -> str:
    """Return the service worker, with the list of files and a version that changes with any."""
    digest = hashlib.sha256()
    for name, data in sorted(content.items()):
        digest.update(f"{name}\0{hashlib.sha256(data).hexdigest()}\n".encode())
    listed = {"version": digest.hexdigest()[:16], "files": ["./", *sorted(content)]}
    text: str = script.read_text("utf-8")
    mark = '/* files */ { version: "", files: [] }'
    assert text.count(mark) == 1
    return text.replace(mark, _json(listed))


def _readme(card: Card) -> str:
    return f"""# {card.name}, in the browser

A page that judges pictures on the visitor's own machine: the detector runs in the browser, no
picture leaves it, and after the first visit it works without a network.

Any server of static files will do; opened as a file from the disk, browsers do not run it:

    python -m http.server --directory .

The network is run by ONNX Runtime for the web {VERSION} (MIT licence, static/ort/), one thread.
For working without a network, browsers ask for HTTPS, or for an address of the own machine.
"""


def _json(values: Any) -> str:
    return json.dumps(values, allow_nan=False)
