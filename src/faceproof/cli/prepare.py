"""`faceproof prepare`."""

from faceproof.cli.shell import shell
from faceproof.errors import FaceproofError
from faceproof.words import for_shell
from faceproof.workflows.prepare import (
    PrepareConfig,
    listed_data,
    listed_paths,
    prepare,
    videos_alone,
)


@shell(example="faceproof prepare videos photos --out faces")
def command(config: PrepareConfig) -> int:
    """Prepare photographs and videos, and say what to do next; 1 if no face was found."""
    from faceproof import app

    settings = [word for word in config.sources if word.startswith(("data=", "data."))]
    if settings and len(settings) < len(config.sources):
        raise FaceproofError(
            f"{' '.join(config.sources)}: give either data=NAME with its settings, or files and "
            "folders"
        )
    config.wanted()  # refused before anything is listed
    if settings:
        values = videos_alone(app.compose_data_settings(settings))
        about = prepare(config, listed_data(app.list_data(values)))
    else:
        about = prepare(config, listed_paths(config.sources))
    counts = dict(about.counts)
    crops, files, several = (counts.pop(name) for name in ("crops", "sources", "several faces"))
    parts = [f"{count:,} {status}" for status, count in counts.items()]
    parts += [f"{several:,} with several faces"] if several else []
    print(
        f"{_number(crops, 'crop')} of {_number(files, 'file')} ({', '.join(parts)}): {config.out}"
    )
    print(f"page: {config.out / 'prepared.html'}")
    if not crops:
        print("no face was found; the page and sources.parquet say of each file why")
        return 1
    if settings:  # else nothing is labelled
        words = [for_shell(f"data.root={config.out}")]
        words += [f"data.task={about.task}"] if about.task != "deepfake" else []
        print(f"next:\n  faceproof train data=prepared {' '.join(words)}")
    return 0


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
