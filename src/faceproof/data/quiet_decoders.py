"""Keeps what decoders say of damaged files off standard error, where it would be a line a file.

What is wrong with a file is said once, by the error that reading it raises.
"""

import contextlib
import ctypes
import functools
import logging
import warnings
from pathlib import Path

import PIL

# Beside Pillow, where its wheels for Linux, Windows and macOS carry libtiff.
PLACES = ("pillow.libs/libtiff*.so*", "pillow.libs/*tiff*.dll", "PIL/.dylibs/libtiff*.dylib")


@functools.cache
def quieten_decoders() -> int:
    """Silence Pillow's warnings and libtiff's lines; return how many libraries were silenced.

    Where libtiff is the system's, its lines stay.
    """
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\b")
    found = 0
    for place in PLACES:
        for library in Path(PIL.__file__).parent.resolve().parent.glob(place):
            with contextlib.suppress(OSError, AttributeError):  # of another system, or stripped
                tiff = ctypes.CDLL(str(library))
                tiff.TIFFSetErrorHandler(None)
                tiff.TIFFSetWarningHandler(None)
                found += 1
    return found
