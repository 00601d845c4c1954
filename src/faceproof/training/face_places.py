"""Where the faces of a training's real images are, as `synthesis.faces` says."""

import logging

import numpy as np
import pyarrow as pa

from faceproof.augment.donors import Ovals
from faceproof.augment.synthesis_config import SynthesisConfig
from faceproof.io.run_folder import is_first_process
from faceproof.prepare.ovals import found_ovals, stored_ovals
from faceproof.training.caching import with_content
from faceproof.training.face_checks import no_landmarks

log = logging.getLogger(__name__)


def place_faces(real: pa.Table, config: SynthesisConfig, max_bytes: int) -> Ovals | None:
    """Return the ovals around the faces of real images, (R, 6); NaN where none is known.

    None is for where they are in portraits. `max_bytes` is what the cache may take.

    Raises:
        FaceproofError: they shall be those stored, and none is; or the face detector is missing.
    """
    if config.faces == "portrait" or not config.needs_faces:
        return None
    if config.faces == "found":
        ovals = found_ovals(with_content(real), max_bytes)
    else:
        ovals = stored_ovals(real["path"].to_pylist())
    known = int((~np.isnan(ovals).any(1)).sum())
    if not known and config.faces == "stored":
        raise no_landmarks()
    if not is_first_process() or known == len(ovals):
        return ovals if known else None
    if not known and config.faces == "auto":
        log.info(
            "no image says where its face is: pseudo-fakes change where it is in a portrait; "
            "synthesis.faces=found finds the faces first"
        )
    else:
        log.warning(
            "of %d of %d real training images it is not known where the face is; their "
            "self-blended ones change where it is in a portrait", len(ovals) - known, len(ovals),
        )  # fmt: skip
    return ovals if known else None
