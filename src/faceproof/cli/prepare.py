"""`faceproof prepare`."""

from faceproof.cli.shell import shell
from faceproof.errors import FaceproofError
from faceproof.words import counted, for_shell
from faceproof.workflows.prepare import PrepareConfig, prepare
from faceproof.workflows.prepare_sources import listed_data, listed_paths, videos_alone


@shell(example="faceproof prepare videos photos --out faces")
def command(config: PrepareConfig) -> int:
    """Prepare photographs and videos, and say what to do next; 1 if no face was found."""
    from faceproof import app

    settings = [
        word for word in config.paths if "=" in word and word.startswith(("data=", "data."))
    ]
    if settings and len(settings) < len(config.paths):
        raise FaceproofError(
            f"{' '.join(config.paths)}: give either data=NAME with its settings, or files and "
            "folders"
        )
    config.wanted()  # refused before anything is listed
    if prepared := [word for word in settings if word.startswith("data.prepare.")]:
        option = prepared[0].removeprefix("data.prepare.").replace("_", "-")
        raise FaceproofError(f"{prepared[0]} is for training on data=videos; here it is --{option}")
    if settings:
        values = videos_alone(app.compose_data_settings(settings))
        about = prepare(config, listed_data(app.list_data(values)))
    else:
        about = prepare(config, listed_paths(config.paths))
    counts = dict(about.counts)
    crops, files, several = (counts.pop(name) for name in ("crops", "files", "several faces"))
    parts = [f"{count:,} {status}" for status, count in counts.items()]
    parts += [f"{several:,} with several faces"] if several else []
    print(
        f"{counted(crops, 'crop')} of {counted(files, 'file')} ({', '.join(parts)}): {config.out}"
    )
    print(f"page: {config.out / 'prepared.html'}")
    if not crops:
        print("no face was found; the page and media.parquet say of each file why")
        return 1
    if settings:  # else nothing is labelled
        words = [for_shell(f"data.root={config.out}")]
        words += [f"data.task={about.task}"] if about.task != "deepfake" else []
        print(f"next:\n  faceproof train data=prepared {' '.join(words)}")
    return 0
