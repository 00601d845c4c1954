"""Train a detector: python train.py model=effnet_se data=deepfake_and_real freeze=head_only."""

import hydra
from omegaconf import DictConfig

from faceproof import app


@app.as_typed
@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@app.clear_errors
def main(config: DictConfig) -> float:
    """Train, and return the best value of the monitored metric, for sweeps."""
    return app.train(config)


if __name__ == "__main__":
    app.start(main)
