"""The story of `faceproof explain`: maps of what a detector looks at, and how far to trust them."""

import importlib.util
from collections import Counter
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from faceproof.errors import FaceproofError
from faceproof.explain.config import (
    EFFORTS,
    METHODS,
    EffortName,
    MapConfig,
    Removal,
    check_choice,
)
from faceproof.io.folders import refuse_file, refuse_foreign_folder
from faceproof.io.plain_files import printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from torch.utils.tensorboard import SummaryWriter

    from faceproof.explain.explanation_results import Explained, Explanation, Trust
    from faceproof.explain.loaded_detector import Subject
    from faceproof.task import Task

# What the output folder consists of; the first file marks it as an explanation.
FILES = ("explanation.json", "explanation.html", "plots/*.png", "events.out.tfevents.*")
MAX_IMAGES = 200  # on a page; their pixels and maps are in memory until it is written


@dataclass(frozen=True)
class ExplainConfig:
    """Show what in an image speaks for the answer, and how far that can be trusted.

    Draws maps of what in each image speaks for fake and what for real. Without an IMAGE: of a
    run's most confident mistakes in an evaluation, with measures of how far such maps can be
    trusted: deletion and insertion curves compared with random orders, the maps of the network with
    shuffled weights, and, on data=demo, whether they find the planted forgeries. Writes
    explanation.html, explanation.json, plots and a TensorBoard gallery, and prints the measures as
    a Markdown table.

    Attributes:
        subject: a run folder that faceproof train has written, latest for the newest, or a detector
            artifact.
        images: image files, folders, patterns, or lists of images, as faceproof predict takes them.
        methods: of cam, occlusion and integrated_gradients, separated by commas (default: all).
        sanity: measure how far the maps can be trusted, on the images named, or without any on a
            sample of the run's validation images (default: only without images).
        effort: how fine the maps are and how much is measured; auto takes less the more an image
            costs the network, so that a CPU needs about two minutes at most.
        sample: validation images to measure on (default: 24, 16, 8 or 4, by effort).
        mistakes: mistakes of each direction to show; 0 for none (default: 6, 6, 3 or 2, by effort).
        evaluation: the folder below RUN/evaluations whose mistakes are shown (default: the only
            one, or of several the test split of the data set the run was trained on).
        removal: what a removed pixel becomes, blurred, or the image's mean colour.
        layer: the module whose output is the feature map of cam (default: the backbone's last).
        out: folder to write to (default: RUN/explanation, or explanation for an artifact).
        seed: of everything random.
        device: cpu, cuda or auto.
        allow: a module with code of your own that the network may use; can be repeated.
    """

    subject: Path
    images: tuple[str, ...] = ()
    _: KW_ONLY
    methods: tuple[str, ...] = ()
    sanity: bool | None = None
    effort: EffortName = "auto"
    sample: int | None = None
    mistakes: int | None = None
    evaluation: str | None = None
    removal: Removal = "blur"
    layer: str | None = None
    out: Path | None = None
    seed: int = 0
    device: str = "auto"
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._refuse_unread()
        check_choice(self.effort, ("auto", *EFFORTS))
        for name, number in (("--sample", self.sample), ("--mistakes", self.mistakes)):
            if number is not None and number < 0:
                raise FaceproofError(f"{name} is {number}; it is a number of images")
        if self.out is not None:
            refuse_file(self.out)

    def _refuse_unread(self) -> None:
        """Refuse options that the others leave nothing to do."""
        named = bool(self.images)
        unread = (
            ("--layer", self.layer, "cam" not in self.maps().methods, "--methods has no cam"),
            ("--evaluation", self.evaluation, named, "the images are named"),
            ("--evaluation", self.evaluation, self.mistakes == 0, "--mistakes 0 shows none of it"),
            ("--mistakes", self.mistakes, named, "the images are named"),
            ("--sample", self.sample, named, "the images are named"),
            ("--sample", self.sample, self.sanity is False, "--no-sanity measures nothing"),
        )
        for option, value, is_unread, reason in unread:
            if value is not None and is_unread:
                raise FaceproofError(f"{option} {value} changes nothing: {reason}; leave it out")

    def maps(self) -> MapConfig:
        """Return the settings of the maps, with the largest effort."""
        methods = tuple(word for given in self.methods for word in given.split(","))
        return MapConfig(methods or METHODS, self.layer, self.removal, self.seed)


def explain(config: ExplainConfig) -> Path:
    """Explain a run's mistakes or the images named, and write and print what was found.

    Raises:
        FaceproofError: captum is not installed, the detector or an image cannot be read or answers
            by a mean, the run has no such evaluation, or the folder holds something else.
    """
    require_captum()
    from faceproof.explain.attribution import find_layer
    from faceproof.explain.explanation import explain_rows
    from faceproof.explain.explanation_results import Explanation
    from faceproof.explain.loaded_detector import load_subject, refuse_means

    subject = load_subject(config.subject, config.device, config.allow)
    refuse_means(subject.net.input)
    maps = _with_effort(config, subject)
    out = output_folder(config.out, subject, "explanation")
    refuse_foreign_folder(out, FILES)
    layer = maps.layer or find_layer(subject.net) if "cam" in maps.methods else None
    sections, source = _choose_images(config, subject, maps.effort.shown)
    number = sum(rows.num_rows for rows in sections.values())
    if number > MAX_IMAGES:
        raise FaceproofError(
            f"{number:,} images with their maps are more than one page can show, which is "
            f"{MAX_IMAGES}; name fewer, or set --mistakes lower; faceproof predict answers for "
            "any number, without maps"
        )
    explained = [
        one for name, rows in sections.items() for one in explain_rows(subject, rows, maps, name)
    ]
    wanted = not config.images if config.sanity is None else config.sanity
    trust = _measure(config, subject, sections, maps) if wanted else None
    found = Explanation(
        subject.name, subject.task, subject.point.threshold, maps, layer, explained, trust, source,
        effort_chosen=config.effort != "auto", detector=subject.digest,
    )  # fmt: skip
    # The epoch whose weights are explained.
    step = subject.run.read_record().get("best_epoch") or 0 if subject.run else 0
    page = write(out, found, step)
    _print(found, page)
    return page


def require_captum() -> None:
    """Refuse to continue without the library that computes the maps."""
    if importlib.util.find_spec("captum") is None:
        raise FaceproofError("maps need the extra explain: pip install 'faceproof[explain]'")


def output_folder(out: Path | None, subject: "Subject", name: str) -> Path:
    """Return the folder to write to: the one named, or one in the run."""
    if out is not None:
        return out
    return Path(name) if subject.run is None else subject.run.path / name


def _with_effort(config: ExplainConfig, subject: "Subject") -> MapConfig:
    """Return the settings of the maps, with the effort and numbers of images for this network."""
    effort = subject.effort(config.effort)
    sample = effort.sample if config.sample is None else config.sample
    shown = effort.shown if config.mistakes is None else config.mistakes
    return replace(config.maps(), effort=replace(effort, sample=sample, shown=shown))


def _choose_images(
    config: ExplainConfig, subject: "Subject", number: int
) -> tuple[dict[str, "pa.Table"], str]:
    """Return the images to explain by section, and where they come from."""
    from faceproof.data.shards.known_stores import refuse_unknown_stores
    from faceproof.data.table import table_from_columns
    from faceproof.evaluation.mistakes import mistake_rows
    from faceproof.evaluation.predictions import read_predictions
    from faceproof.evaluation.stored_evaluations import PREDICTIONS

    if config.images:
        return {"images": table_from_columns({"path": _named_images(config)})}, "those named"
    if subject.run is None:
        raise FaceproofError(
            f"{subject.name} is an artifact and holds no evaluation; name the images to explain"
        )
    if not number:
        return {}, "none, the measures alone"
    name = _evaluation(subject, config.evaluation)
    file = subject.run.evaluations / name / PREDICTIONS
    predictions = read_predictions(file)
    refuse_unknown_stores(predictions["path"], file)
    found = mistake_rows(predictions, subject.task, subject.point.threshold)
    first = {name: rows.slice(0, number) for name, rows in found.items()}
    return first, f"the most confident mistakes of the evaluation {name}"


def _named_images(config: ExplainConfig) -> list[str | None]:
    """Return the images that the command names; what else it names is counted and told."""
    from faceproof.data.kinds import VIDEO, LeftOut
    from faceproof.inference.inputs import is_video, list_images

    left_out, images = LeftOut(), list[str | None]()
    for path in list_images(config.images, left_out):
        if is_video(path):
            left_out.add(VIDEO, path)
        else:
            images.append(path)
    if not images:
        raise FaceproofError(f"there are no images in {', '.join(config.images)}; {left_out}")
    if left_out:
        print(left_out)
    return images


def _evaluation(subject: "Subject", name: str | None) -> str:
    """Return the name of the evaluation whose mistakes are shown."""
    from faceproof.evaluation.stored_evaluations import evaluations_of, read_report

    run = subject.run
    assert run is not None
    names = evaluations_of(run)
    if name is None and len(names) == 1:
        return names[0]
    chosen = name or f"{run.read_record().get('data')}-test"
    if chosen in names:
        return chosen
    if (run.evaluations / chosen).is_dir():
        read_report(run, chosen)  # says why it is not used
    there = f"there are {', '.join(names)}" if names else "there is none"
    raise FaceproofError(
        f"{subject.name} has no evaluation {chosen}; {there}; make one by faceproof evaluate "
        f"{run.argument('run')}, name one by --evaluation, or use --mistakes 0"
    )


def _measure(
    config: ExplainConfig, subject: "Subject", sections: dict[str, "pa.Table"], maps: MapConfig
) -> "Trust":
    """Measure the maps on the images named, or on a sample of the run's validation images."""
    from faceproof.data.run_tables import read_samples
    from faceproof.explain.explanation import measure_trust, planted_rows
    from faceproof.explain.sampling import sample_rows

    if config.images:
        rows = sections["images"]
        return measure_trust(subject, rows, rows, "those named", maps)
    assert subject.run is not None
    validation = read_samples(subject.run, "val")
    rows = sample_rows(validation, maps.effort.sample, config.seed)
    planted = planted_rows(validation, maps.effort.sample, config.seed)
    words = f"a sample of its {validation.num_rows:,} validation images"
    return measure_trust(subject, rows, planted, words, maps)


def write(out: Path, found: "Explanation", step: int = 0) -> Path:
    """Write page, numbers, plots and TensorBoard gallery, atomically; return the page.

    `step` is that of the gallery: the epoch whose weights are explained.
    """
    from torch.utils.tensorboard import SummaryWriter

    from faceproof.io.atomic import atomic_folder
    from faceproof.reports.explain_page import write_explanation

    refuse_foreign_folder(out, FILES)
    with atomic_folder(out) as partial:
        page = write_explanation(partial, found)
        with SummaryWriter(partial) as writer:
            log_gallery(writer, found.images, found.task, step)
    return out / page.name


def log_gallery(
    writer: "SummaryWriter", explained: "Sequence[Explained]", task: "Task", step: int
) -> None:
    """Add each explained image to TensorBoard's images, numbered within its section."""
    from faceproof.reports.gallery import plot_pixels, strip

    counts = Counter[str]()
    for one in explained:
        counts[one.section] += 1
        tag = f"{one.section.replace(' ', '_')}/{counts[one.section]:02d}"
        writer.add_image(tag, plot_pixels(strip(one, task)), step, dataformats="HWC")
    writer.flush()


def _print(found: "Explanation", page: Path) -> None:
    from faceproof.reports.trust_report import trust_markdown, trust_sentences

    if (trust := found.trust) is not None:
        measured = f"{trust.num_images} images, {trust.images}"
        print(printable(f"{found.name}: {measured}; effort {found.config.effort.name}"))
        print(printable_lines(trust_markdown(trust, found.name)))
        print(printable_lines("\n".join(trust_sentences(trust))))
    print(f"page: {printable(str(page))}")
