"""Lists a data set of `conf/data/` and looks at its rows."""

from pathlib import Path

from hydra import compose, initialize_config_dir

from faceproof import app
from faceproof.data.listing import DataSet

CONF = Path(__file__).parents[3] / "conf"
Row = dict[str, str | None]


def listed(name: str, *words: str) -> DataSet:
    """Return a data set as `faceproof train data=NAME WORDS` lists it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", app.command_line([f"data={name}", *words]))
    data = app.list_data(app.plain(config.data))
    assert isinstance(data, DataSet)
    return data


def rows_of(data: DataSet, root: Path) -> dict[str, Row]:
    """Return the rows of a data set by their paths relative to its root."""
    rows: list[Row] = data.table.to_pylist()
    return {str(row["path"]).removeprefix(f"{root}/"): row for row in rows}
