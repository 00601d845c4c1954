"""The card of a detector for people: what it answers, what was measured, and what was not."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from faceproof.artifact.card import (
    MAX_SUBGROUPS,
    Card,
    DetectorEntry,
    EvaluationEntry,
    NetworkEntry,
    SubgroupsEntry,
)
from faceproof.evaluation.metrics import METRICS, metrics_shown
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.video_point import VideoPoint, in_words
from faceproof.models.detector import RESIZE, ImageInput
from faceproof.prepare.cropping import StoredCrop
from faceproof.task import Task, get_task
from faceproof.words import percent

DASH = "-"
TITLES = {"gate": "The gate", "detector": "The detector"}


def model_card(card: Card, folder: str) -> str:
    """Return the README.md of an artifact; its commands name the folder, or its `hf://` place."""
    made = f'A detector made with faceproof (format "{card.format}"), exported {card.made}.'
    lines = [
        *(f"# {card.name}", "", made, "", "## What it answers", "", *_question(card), ""),
        *(line for role, part in card.parts.items() for line in _describe(TITLES[role], part)),
        *_limits(card),
        *_usage(folder, card),
    ]
    return "\n".join(lines) + "\n"


def _question(card: Card) -> list[str]:
    negative, positive = card.task.classes
    question, no_face = (
        (
            f"Whether an image is {negative} or {positive} (task `{card.task.name}`). The "
            f"probability is that of `{positive}`; it rises with the logit."
        ),
        "",
    )
    if card.gate is not None:
        question, no_face = (
            (
                f"Whether an image shows a face, and if so whether it is {negative} or {positive}. "
                "Only what the gate takes for a face is shown to the detector."
            ),
            "`no face`, ",
        )
    return [question, "", f"Answers: {no_face}`{negative}`, `{positive}`, or `unsure`."]


def _describe(title: str, part: DetectorEntry) -> Iterator[str]:
    yield from (f"## {title}: {part.name}", "")
    if part.average is not None:
        shares = [f"{network.name} ({network.weight:.3g})" for network in part.networks]
        yield (
            f"- An ensemble: the weighted mean of the members' calibrated {part.average}, "
            f"weights in brackets: {', '.join(shares)}."
        )
    for network in part.networks:
        yield _input(network)
    if part.crop is not None:
        yield _crop(part.crop)
    yield from _operating_point(part)
    yield from _training(part)
    yield ""
    for network in part.networks:
        yield from _recipe(network)
    yield from tabulate_evaluations(part.evaluations)


def _input(network: NetworkEntry) -> str:
    given = network.input
    return (
        f"- Input of {network.name}: {_views(given)}, mean {list(given.mean)}, std "
        f"{list(given.std)} of values in [0, 1].{_branch(network.branch)}{_averaged(given)}"
    )


def _views(given: ImageInput) -> str:
    side = f"{given.size} x {given.size} pixels"
    if given.mode == RESIZE:
        return f"the whole image, resized to {side} ({given.interpolation})"
    what = "the middle" if given.tiles is None else f"{given.tiles} crops"
    if given.resize_to is None:
        return f"{what} of the image, {side}, not resized"
    resized = f"resized to {given.resize_to} pixels on its shorter side ({given.interpolation})"
    return f"{what} of the image, {side}, after it is {resized}"


def _averaged(given: ImageInput) -> str:
    if given.num_passes == 1:
        return ""
    views, mirrored = "this", " and its mirror image"
    if given.tiles is not None:
        views, mirrored = "these crops", " and their mirror images"
    over = views + (mirrored if given.tta == "flip" else "")
    return f" Its logit is the mean over {over}."


def _branch(settings: Mapping[str, Any] | None) -> str:
    if settings is None:
        return ""
    place = "beside" if settings.get("mode") == "beside" else "instead of"
    rest = [f", {name} {value}" for name, value in settings.items() if name not in ("name", "mode")]
    return f" {place.capitalize()} the image it sees the branch {settings['name']}{''.join(rest)}."


def _crop(stored: StoredCrop) -> str:
    config = stored.config
    framing = "turned upright by its landmarks, " if config.align else ""
    size = "as large as in the image" if config.size is None else f"{config.size} pixels a side"
    lossy = "" if config.quality is None else f", encoded as JPEG of quality {config.quality}"
    return (
        f"- Judges faces that are cut out: found by {stored.detector}, {framing}with a margin of "
        f"{config.margin:g} times the face's side, {size}{lossy}. `predict` and `serve` do so by "
        "themselves; `--no-find-faces` is for images that are such crops already."
    )


def _operating_point(part: DetectorEntry) -> Iterator[str]:
    point = part.operating_point
    positive = part.task.classes[1]
    calibration = point.calibration
    how = calibration.method
    if how == "temperature":
        how = f"temperature {calibration.temperature:.4g}"
    yield f"- Calibration: {how} ({calibration.reason})."
    logit = calibration.first_logit(point.threshold)
    of_logit = f" (logit {logit:z.4f})" if math.isfinite(logit) else ""
    first = f"probability {point.threshold:.4f}{of_logit}"
    yield f"- Called `{positive}` from {first} on: {point.origin}."
    yield _band(point)
    for warning in point.warnings:
        yield f"- {warning}"
    if part.novelty is not None:
        yield (
            f"- Called `unsure` too if the image is unlike the training images: "
            f"{part.novelty.origin}."
        )
        yield from (f"- {warning}" for warning in part.novelty.warnings)
    if part.in_use is not None:
        yield f"- {part.in_use}"
    if part.video is not None:
        yield from _videos(part.video, get_task(part.task.name))


def _band(point: OperatingPoint) -> str:
    """Say which images are called unsure; where too many answers are wrong, a warning follows."""
    low, high = point.unsure
    if low == high:
        if point.max_risk is None or not point.keeps_risk:
            return "- No unsure band: every image is answered."
        return (
            f"- No unsure band: without one at most {percent(point.max_risk)} of the answers were "
            "wrong on validation."
        )
    band = f"- Called `unsure` from {low:.4f} to {high:.4f}"
    if point.max_risk is None or not point.keeps_risk:
        return f"{band}."
    return (
        f"{band}, so that on validation at most {percent(point.max_risk)} of the other answers "
        "were wrong."
    )


def _videos(video: VideoPoint, task: Task) -> Iterator[str]:
    low, high = video.operating_point.unsure
    band = f"; `unsure` from {low:.4f} to {high:.4f}" if low < high else ""
    yield (
        f"- Videos: by the {in_words(video.rule, task)} ({video.reason}), calibrated on videos and "
        f"called `{task.positive}` from probability {video.operating_point.threshold:.4f} on: "
        f"{video.origin}{band}."
    )
    for warning in video.operating_point.warnings:
        yield f"- Videos: {warning}"


def _training(part: DetectorEntry) -> Iterator[str]:
    trained = part.trained_on
    seen = DASH
    if trained.images is not None:
        seen = "; ".join(
            f"{split} " + ", ".join(f"{count:,} {label}" for label, count in classes.items())
            for split, classes in trained.images.items()
        )
    yield f"- Trained on {trained.name or DASH}: {seen} (fingerprint {trained.fingerprint})."
    weights = [network.initial_weights or DASH for network in part.networks]
    if part.average is not None:
        names = [network.name for network in part.networks]
        weights = [f"{name}: {one}" for name, one in zip(names, weights, strict=True)]
    yield f"- Initial weights: {'; '.join(weights)}."


def _recipe(network: NetworkEntry) -> Iterator[str]:
    """Tabulate what a network was trained with, if the card says so."""
    if not network.recipe:
        return
    yield from (f"How {_cell(network.name)} was trained:", "")
    yield from ("| Setting | Value |", "|---|---|")
    yield from (f"| {_cell(name)} | {_cell(value)} |" for name, value in network.recipe.items())
    yield ""


def tabulate_evaluations(evaluations: Sequence[EvaluationEntry]) -> Iterator[str]:
    """Tabulate the metrics, each with its 95 % interval, or dashes where nothing was measured."""
    yield from ("Metrics, with 95 % intervals:", "")
    shown = metrics_shown("card")
    yield "| Images | " + " | ".join(metric.label for metric in shown) + " |"
    yield "|---|" + "---|" * len(shown)
    for found in evaluations:
        images = f"{found.data}, {found.split}: {found.num_images:,}"
        if not found.same_operating_point:
            images += f" (at another threshold, {found.threshold:.4f})"
        yield f"| {images} | {' | '.join(_metric(found, metric.name) for metric in shown)} |"
    if not evaluations:
        yield f"| none scored | {' | '.join([DASH] * len(shown))} |"
    yield ""
    for found in evaluations:
        for part in found.subgroups:
            yield from _subgroups(found, part)


def _subgroups(found: EvaluationEntry, part: SubgroupsEntry) -> Iterator[str]:
    """Tabulate the metrics of subgroups, worst first, and say the largest gaps."""
    yield from (f"By {_cell(part.column)}, on {found.data}, {found.split}:", "")
    yield from ("| Subgroup | Images | Accuracy | ROC-AUC |", "|---|---|---|---|")
    for row in part.rows[:MAX_SUBGROUPS]:
        pairs = (row.accuracy, row.accuracy_interval), (row.roc_auc, row.roc_auc_interval)
        cells = [DASH if row.few else _ranged(*pair) for pair in pairs]
        yield f"| {_cell(row.value or 'not known')} | {row.num_images:,} | {' | '.join(cells)} |"
    yield ""
    if num_left := part.num_left + max(0, len(part.rows) - MAX_SUBGROUPS):
        yield (
            f"- {num_left:,} more subgroups, which are more accurate or of few images, are in the "
            "report of the evaluation alone."
        )
    for name, gap in part.gaps.items():
        if gap is not None and name in METRICS:
            low, high = gap.interval
            chance = ", which may be chance" if low <= 0 <= high else ""
            yield (
                f"- Largest gap in {METRICS[name].label}: {gap.difference:.3f} ({low:+.3f} to "
                f"{high:+.3f}, for all pairs of subgroups of all columns at once), "
                f"{_cell(gap.worst)} below {_cell(gap.best)}{chance}."
            )
    yield ""


def _cell(text: str) -> str:
    """Keep what a name holds from ending a cell or a line."""
    return " ".join(text.replace("|", "\\|").split())


def _metric(found: EvaluationEntry, name: str) -> str:
    if name not in found.metrics:
        return DASH
    return _ranged(found.metrics[name], found.intervals.get(name))


def _ranged(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "undefined"
    if interval is None:
        return f"{value:.3f} (no interval)"
    # Outwards, so that no end looks too good.
    low, high = math.floor(interval[0] * 1000) / 1000, math.ceil(interval[1] * 1000) / 1000
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _limits(card: Card) -> Iterator[str]:
    yield from ("## Limits", "")
    yield (
        "- The metrics hold for images like those they were measured on. Other generators, "
        "cameras, compressions and crops were not measured unless they stand in a table above."
    )
    yield (
        "- A threshold does not travel between sources: on other images the same threshold may "
        "give far more false alarms or misses, and the probabilities may not mean what they say. "
        "Measure on labelled images of your own first."
    )
    if not all(part.evaluations for part in card.parts.values()):
        yield "- No evaluation was stored with it (or one of its parts): a dash means not measured."
    if card.gate is not None:
        yield "- Gate and detector were measured one by one, not together."
    yield "- An answer is a hint for a person, not a proof."
    yield ""


def _usage(folder: str, card: Card) -> Iterator[str]:
    yield from ("## How to use it", "", "```python", "import faceproof", "")
    yield f'detector = faceproof.load("{folder}")'
    yield 'verdict = detector("image.jpg")'
    yield from ("print(verdict.verdict, verdict.probability)", "```", "", "```bash")
    local = folder
    if folder.startswith("hf://"):
        local = "detector"
        yield f"faceproof pull {folder} --to {local}"
    yield f"faceproof predict IMAGES --detector {local} --out verdicts.csv"
    yield from ("```", "")
    if any(network.onnx for network in card.networks):
        with_novelty = any(network.novelty for network in card.networks)
        novelty = " and `novelty`, (B,), of the networks that know it" if with_novelty else ""
        yield (
            f'With ONNX Runtime: `faceproof.load("{folder}", backend="onnx")` or `--backend onnx`. '
            "An ONNX file takes `images`, (B, 3, S, S) float32 in [0, 1], and gives `logit`, (B,)"
            f"{novelty}; the normalisation is inside, calibration and threshold are in `card.json`."
        )
        if any(network.input.num_passes > 1 for network in card.networks):
            means = (
                "means of their logits and novelties are"
                if with_novelty
                else "mean of their logits is"
            )
            yield f"It takes one crop or mirror image; the {means} taken outside."
