"""The story of `faceproof protocol`: publish which images a result is of, and check a list."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from faceproof.errors import FaceproofError

if TYPE_CHECKING:
    from faceproof.data.listing import DataSet
    from faceproof.data.protocols.published import Compared

MIN_COVERAGE = 0.99


@dataclass(frozen=True)
class ProtocolConfig:
    """Publish the list of a data set's images, without the images, or check one.

    write data=NAME --to FILE writes a table: the relative path of each image, the digest of its
    bytes, label, split, source, generator, group, component and pair. check FILE --root DIR counts
    which of a list's images are there, missing and changed, and ends with 1 below the coverage.
    data=protocol trains and evaluates on a list, and every report says how much of it was there.

    Attributes:
        what: write or check.
        words: to write, data=NAME and data.KEY=VALUE; to check, the list.
        to: the list to write, .csv or .parquet.
        root: the folder that paths start from; to write, the deepest that all images are in.
        min_coverage: to check, the share that must be present and unchanged; 0.99 by default.
    """

    what: Literal["write", "check"]
    words: tuple[str, ...]
    _: KW_ONLY
    to: Path | None = None
    root: Path | None = None
    min_coverage: float | None = None

    def __post_init__(self) -> None:
        if self.min_coverage is not None and not 0 <= self.min_coverage <= 1:
            raise FaceproofError(f"--min-coverage {self.min_coverage:g}: a share is from 0 to 1")
        if self.what == "write":
            self._refuse(self.to is None, "write needs --to FILE, a .csv or .parquet")
            self._refuse(self.min_coverage is not None, "--min-coverage is for check")
            return
        self._refuse(len(self.words) != 1, "check takes one list, and the folder by --root DIR")
        self._refuse(self.root is None, "check needs --root DIR, the folder that paths start from")
        self._refuse(self.to is not None, "--to is for write")

    def _refuse(self, wrong: bool, message: str) -> None:
        if wrong:
            raise FaceproofError(message)


@dataclass(frozen=True)
class WrittenProtocol:
    """A list that was written: its file, digest, number of images, and where paths start."""

    file: Path
    digest: str
    num_images: int
    root: Path


def write_protocol(data: "DataSet", config: ProtocolConfig) -> WrittenProtocol:
    """Write the list of a data set's images.

    Raises:
        FaceproofError: the file is there already or has another suffix, or an image cannot be read
            or lies elsewhere than below the root.
    """
    from faceproof.data.listing import absolute
    from faceproof.data.protocols.published import (
        digest_of_list,
        published_columns,
        write_published,
    )

    file = absolute(str(config.to))
    if file.exists():
        raise FaceproofError(f"{file} is there already; name another file, or remove it")
    root = None if config.root is None else absolute(str(config.root))
    columns, folder = published_columns(data.table, root)
    write_published(columns, file)
    return WrittenProtocol(file, digest_of_list(columns), data.table.num_rows, folder)


def check_protocol(config: ProtocolConfig) -> tuple["Compared", bool]:
    """Compare a list with the files below a folder; return that, and whether enough is there.

    Raises:
        FaceproofError: there is no such list or folder, or it is no published protocol.
    """
    from faceproof.data.listing import absolute
    from faceproof.data.own_table import check_table
    from faceproof.data.protocols.published import check_root_of, compare, read_published

    file, root = absolute(config.words[0]), absolute(str(config.root))
    check_table(file)
    check_root_of(root)
    compared = compare(read_published(file), file, root)
    wanted = MIN_COVERAGE if config.min_coverage is None else config.min_coverage
    return compared, compared.coverage.lowest()[0] >= wanted
