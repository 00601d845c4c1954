"""What a record says of machine and packages."""

import pytorch_lightning as pl
import torch

from faceproof.workflows.computed_on import device_words, versions


def test_device_and_versions_are_in_words() -> None:
    words = device_words(pl.Trainer(accelerator="cpu", devices=1, logger=False))
    assert words.startswith("1 x CPU (")
    assert versions()["torch"] == torch.__version__
    assert all(versions().values())
