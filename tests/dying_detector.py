"""A face detector whose process dies, for a test."""

import os


class Dying:
    """It cannot be caught."""

    name, version = "dying", "1"

    def __call__(self, images):
        os._exit(9)
