"""The page of a detector on the hub: its card for people, after the metadata that the hub reads."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import timm

from faceproof.artifact.card import Card, NetworkEntry
from faceproof.artifact.model_card import model_card
from faceproof.data.fetch import ORIGINS
from faceproof.errors import FaceproofError
from faceproof.evaluation.metrics import METRICS, metrics_shown

TAGS = {"deepfake": "deepfake-detection", "face": "face-or-not"}
UNKNOWN = "unknown"  # the hub's word for a licence that nobody has stated
BLOCK = re.compile(r"\A---\r?\n.*?\r?\n---\r?\n+", re.DOTALL)
LICENCES = "## Licences"
SIGNED = re.compile(r"\n<!-- put here by faceproof push: ([0-9a-f]{64}) -->\n\Z")


def hub_card(card: Card, readme: str, repository: str, license: str | None = None) -> str:
    """Return the page of an artifact's repository.

    A README that its owner has edited stays as it is, and so does a metadata block that it has.

    Args:
        card: the artifact's.
        readme: the artifact's README.md.
        repository: OWNER/NAME.
        license: of the weights, by the hub's name for it; None where nobody has stated it.

    Raises:
        FaceproofError: the README has a metadata block that the hub cannot read, or that states
            another licence.
    """
    block = BLOCK.match(readme)
    body = readme[block.end() :] if block else readme
    stated = license
    if block is not None:
        stated = _stated(readme, license)
    if _is_ours(card, body):
        body = model_card(card, f"hf://{repository}")
        body += "\n".join(["", LICENCES, "", *_licences(card, stated), ""])
    return (block[0] if block else f"---\n{_metadata(card, stated)}---\n\n") + body


def sign_page(page: str) -> str:
    """Return a page with a digest of it at its end, by which a later push sees an edit."""
    text = SIGNED.sub("", page)
    return f"{text}\n<!-- put here by faceproof push: {_digest(text)} -->\n"


def is_signed_page(page: str) -> bool:
    """Say whether a page is as `sign_page` returned it."""
    found = SIGNED.search(page)
    return found is not None and found[1] == _digest(page[: found.start()])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _stated(readme: str, license: str | None) -> str | None:
    """Return the licence in the metadata block of a README, after it is checked."""
    from huggingface_hub import ModelCard

    try:
        found = ModelCard(readme).data.get("license")
    except Exception as error:  # of yaml, or a ValueError or TypeError of a part of it
        reason, *_ = [*str(error).splitlines(), ""]
        raise FaceproofError(
            f"the metadata block of README.md cannot be read ({reason}); mend it, or remove it and "
            "it is written anew"
        ) from error
    if license is not None and found != license:
        raise FaceproofError(
            f"README.md states the licence {found!r}, and --license says {license!r}; change one "
            "of them"
        )
    return None if found == UNKNOWN else found


def _is_ours(card: Card, body: str) -> bool:
    """Say whether a README is as it was written, for whatever folder or repository."""
    place = re.search(r'faceproof\.load\("([^"\n]*)"', body)
    return place is not None and body.partition(f"\n{LICENCES}\n")[0] == model_card(card, place[1])


def _metadata(card: Card, license: str | None) -> str:
    """Return the metadata as YAML, by the hub's own words."""
    from huggingface_hub import ModelCardData

    results = list(_results(card))
    data = ModelCardData(
        license=license or UNKNOWN,
        library_name="faceproof",
        pipeline_tag="image-classification",
        tags=["faceproof", "image-forensics", TAGS[card.task.name]],
        metrics=sorted({one.metric_type for one in results}) or None,
        model_name=card.name if results else None,
        eval_results=results or None,
    )
    return data.to_yaml() + "\n"


def _results(card: Card) -> Iterator[Any]:
    """Yield the metrics that were measured of the detector, with their intervals."""
    from huggingface_hub import EvalResult

    for found in card.detector.evaluations:
        for metric in metrics_shown("card"):
            value, interval = found.metrics.get(metric.name), found.intervals.get(metric.name)
            if value is None:
                continue
            ranged = {"interval_95": list(interval)} if interval else {}
            yield EvalResult(
                task_type="image-classification",
                dataset_type=re.sub(r"[^\w-]+", "-", found.data) or "images",
                dataset_name=found.data,
                dataset_split=found.split,
                metric_type=metric.name,
                metric_name=METRICS[metric.name].label,
                metric_value=value,
                metric_args={"images": found.num_images, "threshold": found.threshold, **ranged},
            )


def _licences(card: Card, license: str | None) -> Iterator[str]:
    """Say what is known of the licences of the weights and of what they were made from."""
    yield (
        "- Weights of this detector: not stated. Ask whoever published it before you use it."
        if license is None
        else f"- Weights of this detector: `{license}`, as stated by whoever published it."
    )
    for role, part in card.parts.items():
        names = (part.trained_on.name or "").split("+")
        yield from (f"- Images that trained the {role}: {_terms(name)}." for name in names)
        for network in part.networks:
            if network.initial_weights is not None:
                yield f"- Initial weights of {network.name}: {_initial(network)}."
    yield "- Terms of images and of initial weights may limit what the weights may be used for."


def _terms(name: str) -> str:
    if not name:
        return "of a data set without a name, whose terms are not known"
    if name in ORIGINS:
        return f"{name}, {ORIGINS[name].terms} ({ORIGINS[name].page})"
    if name in ("demo", "demo_faces"):
        return f"{name}, drawn by faceproof itself"
    return f"{name}, whose terms are not known to faceproof"


def _initial(network: NetworkEntry) -> str:
    """Say what is known of the licence of a network's initial weights."""
    said = network.initial_weights or ""
    if said.startswith("random"):
        return said
    known = None
    if said.startswith("ImageNet weights"):
        config = timm.get_pretrained_cfg(str(network.backbone.get("model", "")))
        known = None if config is None else config.license
    return f"{said}; " + (f"licence {known}" if known else "their licence is not known")
