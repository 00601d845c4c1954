"""`faceproof protocol`."""

from faceproof.cli.shell import shell
from faceproof.words import for_shell
from faceproof.workflows.protocol import ProtocolConfig, check_protocol, write_protocol

NUM_NAMED = 10  # files missing or changed that are named


@shell(example="faceproof protocol write data=celebdf --to celebdf.csv")
def command(config: ProtocolConfig) -> int:
    """Write a list or check one, and say what to do next; 1 below the coverage."""
    if config.what == "write":
        _write(config)
        return 0
    compared, enough = check_protocol(config)
    print(compared.coverage.told())
    for split, numbers in compared.coverage.splits.items():
        listed, missing, changed = numbers
        print(f"  {split}: {listed:,} listed, {missing:,} missing, {changed:,} changed")
    for word, paths in (("missing", compared.missing), ("changed", compared.changed)):
        for path in paths[:NUM_NAMED]:
            print(f"  {word}: {path}")
        if (more := len(paths) - NUM_NAMED) > 0:
            print(f"  and {more:,} more {word}")
    return 0 if enough else 1


def _write(config: ProtocolConfig) -> None:
    from faceproof import app

    data = app.compose_data(list(config.words))
    written = write_protocol(data, config)
    print(f"{data.name}: {written.num_images:,} images, in {written.file}")
    print(f"digest of the list: {written.digest}; its paths start from {written.root}")
    file, root = for_shell(f"data.file={written.file}"), for_shell(f"data.root={written.root}")
    task = "" if data.task.name == "deepfake" else f" data.task={data.task.name}"
    print(f"next:\n  faceproof train data=protocol {file} {root}{task}")
