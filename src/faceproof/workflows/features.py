"""The story of `faceproof features`: a run's images on a plane, by the features of its backbone."""

from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from faceproof.errors import FaceproofError
from faceproof.explain.config import check_choice, check_seed
from faceproof.io.folders import refuse_file, refuse_foreign_folder
from faceproof.io.plain_files import printable
from faceproof.workflows.explain import output_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from torch import Tensor
    from torch.utils.tensorboard import SummaryWriter

    from faceproof.explain.features import Features
    from faceproof.explain.features_results import FeatureMap
    from faceproof.explain.loaded_detector import Subject

# What the output folder consists of; the first file marks it as ours.
FILES = (
    *("features.json", "features.png", "events.out.tfevents.*", "projector_config.pbtxt"),
    *("*/features/metadata.tsv", "*/features/tensors.tsv", "*/features/sprite.png"),
)


@dataclass(frozen=True)
class FeaturesConfig:
    """Put a run's images on a plane by the features of its backbone.

    Draws the features of a sample of the run's images by PCA and t-SNE, coloured by class, source
    and generator, and writes them for TensorBoard's projector.

    Attributes:
        subject: a run folder that faceproof train has written, or latest for the newest.
        sample: images, at most one of a group (a video, say) (default: 500; on a CPU 200 for a
            network as large as a ViT-B/16).
        split: of which split.
        out: folder to write to (default: RUN/features).
        seed: of everything random.
        device: cpu, cuda or auto.
        allow: a module with code of your own that the network may use; can be repeated.
    """

    subject: Path
    _: KW_ONLY
    sample: int | None = None
    split: Literal["val", "train"] = "val"
    out: Path | None = None
    seed: int = 0
    device: str = "auto"
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_choice(self.split, ("val", "train"))
        if self.out is not None:
            refuse_file(self.out)


def features(config: FeaturesConfig) -> "FeatureMap":
    """Place a sample of a run's images by their features, and write and print what was found.

    Raises:
        FaceproofError: the run or an image cannot be read, the split is empty, or the folder holds
            something else.
    """
    from faceproof.explain.features import map_features, sample_features
    from faceproof.explain.loaded_detector import load_subject

    subject = load_subject(config.subject, config.device, config.allow)
    out = output_folder(config.out, subject, "features")
    rows = _choose_images(config, subject)
    refuse_foreign_folder(out, FILES)
    values, thumbnails = sample_features(subject, rows)
    title = f"{rows.num_rows:,} {config.split} images by the backbone's features, {subject.name}"
    found = replace(map_features(values, rows, title, config.seed), detector=subject.digest)
    write(out, found, (values, rows, thumbnails), subject.task.classes)
    print(printable(title))
    for name, (share, chance) in found.nearest.items():
        print(f"  nearest neighbour of the same {name}: {share:.3f} (by chance {chance:.3f})")
    print(f"plot: {out / 'features.png'}; projector: tensorboard --logdir {out}")
    return found


def _choose_images(config: FeaturesConfig, subject: "Subject") -> "pa.Table":
    from faceproof.data.run_tables import read_samples
    from faceproof.explain.sampling import sample_rows

    if subject.run is None:
        raise FaceproofError(f"{subject.name} is an artifact and names no images; give a run")
    rows = read_samples(subject.run, config.split)
    if not rows.num_rows:
        what = f"{subject.name} has no images in the split {config.split} to take features of"
        raise FaceproofError(f"{what}; choose the other --split")
    number = subject.effort("auto").num_placed if config.sample is None else config.sample
    return sample_rows(rows, number, config.seed)


def write(
    out: Path,
    found: "FeatureMap",
    projected: tuple["Features", "pa.Table", "Tensor"],
    classes: "Sequence[str]",
) -> None:
    """Write plot, numbers and projector files (see `log_projector`), atomically.

    `classes` take the first colours of the plot.
    """
    from torch.utils.tensorboard import SummaryWriter

    from faceproof.io.atomic import atomic_folder, write_json
    from faceproof.reports.map_plots import draw_features
    from faceproof.reports.plots import save_png

    refuse_foreign_folder(out, FILES)
    figure = draw_features(found, classes)
    with atomic_folder(out) as partial:
        save_png(figure, partial / "features.png")
        with SummaryWriter(partial) as writer:
            log_projector(writer, *projected, seed=found.seed)
        write_json(partial / "features.json", found.to_json())


def log_projector(
    writer: "SummaryWriter", values: "Features", rows: "pa.Table", thumbnails: "Tensor", seed: int
) -> None:
    """Add features to TensorBoard's projector, with images, class, source and generator.

    Wide features, (N, C), are projected to a few directions first, because the projector reads them
    as text. The thumbnails are (N, 3, s, s) in [0, 1].
    """
    import torch

    from faceproof.explain.features import NONE, narrowed
    from faceproof.explain.features_results import TITLES

    columns = [[value or NONE for value in rows[name].to_pylist()] for name in TITLES]
    files = [Path(path).name for path in rows["path"].to_pylist()]
    # A tab or line feed in a name would be read as the next column or image.
    metadata = [
        [" ".join(word.split()) or NONE for word in line]
        for line in zip(*columns, files, strict=True)
    ]
    writer.add_embedding(
        torch.from_numpy(narrowed(values, seed)).float(),
        metadata=metadata,
        label_img=thumbnails,
        tag="features",
        metadata_header=[*TITLES.values(), "file"],
    )
    writer.flush()
