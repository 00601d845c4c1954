"""Turn a run into a report: python evaluate.py run=latest, or run=FOLDER data=ciplab split=test."""

import hydra
from omegaconf import DictConfig

from faceproof import app


@app.as_typed
@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@app.clear_errors
def main(config: DictConfig) -> None:
    """Score the run's best epoch and write the report."""
    app.evaluate(config)


if __name__ == "__main__":
    app.start(main)
