"""`faceproof export`."""

from dataclasses import replace

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import named_folder, refuse_missing
from faceproof.words import for_shell
from faceproof.workflows.export import ExportConfig, export


@shell(example="faceproof export runs/NAME --to detector")
def command(config: ExportConfig) -> None:
    """Make a detector artifact."""
    refuse_missing(config.gate, config.detector)
    export(config if config.run is None else replace(config, run=named_folder(config.run)))
    folder = for_shell(str(config.to))
    if config.web:
        print(f"page: {config.to}")
        print(
            f"next:\n  python -m http.server --directory {folder}\n  and open http://localhost:8000"
        )
        return
    if config.triton:
        print(f"Triton model repository: {config.to}")
        print(f"next:\n  tritonserver --model-repository={for_shell(str(config.to.absolute()))}")
        return
    allow = "".join(f" --allow {module}" for module in config.allow)
    print(f"detector artifact: {config.to}")
    print(f"next:\n  faceproof predict IMAGES --detector {folder} --out verdicts.csv{allow}")
    print(f"  faceproof serve {folder}{allow}")
