"""What the name of a fake says of the video that it was made from, in data sets that are known."""

import re

# The first group, or both together, are the original; a name without the second one is an original.
_FORENSICS = re.compile(r"(\d{3})(?:_(\d{3}|[mw]\d{3}))?", re.IGNORECASE)
_CELEBS = re.compile(r"(id\d+)(?:_id\d+)?_(\d+)")
_ACTORS = re.compile(r"(\d\d)(?:_\d\d)?__(.+?)(?:__[A-Z0-9]{8})?")


def original_of(name: str) -> str | None:
    """Return the name of the video that a video was made from, or its own if it is an original.

    None for a name of no known form: FaceForensics++ and DeeperForensics (`000_003`, `000_M101`),
    Celeb-DF and DeepFakeDetection.

    Examples:
        >>> original_of("000_003"), original_of("id0_id16_0003"), original_of("id0_0003")
        ('000', 'id0_0003', 'id0_0003')
        >>> original_of("01_02__kitchen_pan__8DTEGQ54")
        '01__kitchen_pan'
    """
    if match := _FORENSICS.fullmatch(name):
        return match[1]
    if match := _CELEBS.fullmatch(name):
        return f"{match[1]}_{match[2]}"
    if match := _ACTORS.fullmatch(name):
        return f"{match[1]}__{match[2]}"
    return None
