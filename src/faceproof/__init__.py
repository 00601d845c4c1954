"""faceproof: train, compare, judge and serve detectors for face images.

The public names are imported on first use, so that `import faceproof` takes no time. `__init__.pyi`
lists them.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
