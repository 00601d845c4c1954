"""A pipe whose reader has gone stops no command."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceproof.io import streams
from faceproof.io.run_folder import RunFolder
from tests.conftest import write_faces

REPOSITORY = Path(__file__).parents[2]
CODE = """
import logging, sys
from faceproof.io.streams import outlive_closed_pipes
outlive_closed_pipes()
logging.basicConfig(stream=sys.{stream})
logging.warning("first")
for number in range(100_000):
    print("a line", number, file=sys.{stream})
print("at the end", file=sys.{stream}, end="")
with open(sys.argv[1], "w") as mark:
    mark.write("done")
"""


def left_by_its_reader(*command, stream="stdout", **options):
    """Run a command whose reader goes after one line; return exit code and the other stream."""
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes, text=True, **options) as process:
        read, other = process.stdout, process.stderr
        if stream == "stderr":
            read, other = other, read
        read.readline()
        read.close()
        rest = other.read()
    return process.returncode, rest


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_ends_its_work_and_in_silence(tmp_path, stream):
    mark = tmp_path / "mark"
    code = CODE.format(stream=stream)
    assert left_by_its_reader(sys.executable, "-c", code, str(mark), stream=stream) == (0, "")
    assert mark.read_text() == "done"


def test_a_training_whose_reader_has_gone_is_trained_to_the_end(tmp_path):
    root = write_faces(tmp_path, train=4, val=4, test=4)
    run = RunFolder(tmp_path / "run")
    words = [
        "data=face_or_not", f"data.root={root}", "model=face_cnn", "model.input.size=16",
        "trainer=cpu", "trainer.max_epochs=2", "loader.num_workers=0", "logger=csv",
        f"hydra.run.dir={run.path}",
    ]  # fmt: skip
    command = [sys.executable, "train.py", *words]
    code, said = left_by_its_reader(*command, cwd=REPOSITORY)
    assert (code, "Traceback" in said, "Error" in said) == (0, False, False)
    assert run.read_record()["status"] == "finished"


@pytest.mark.parametrize("words", [["train.py", "--help"], ["-m", "faceproof.cli.main"]])
def test_help_that_is_read_in_part_ends_in_silence(words):
    code = "import sys; from faceproof.cli.main import main; sys.exit(main())"
    command = words if words[0] == "train.py" else ["-c", code, "predict", "--help"]
    assert left_by_its_reader(sys.executable, *command, cwd=REPOSITORY) == (0, "")


def test_every_other_error_of_a_pipe_is_told(tmp_path):
    """Into a file that is open for reading nothing can be written, and that is no lost reader."""
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb") as file:
        pipe = streams.OutlivingPipe(os.dup(file.fileno()), "w")
        with pytest.raises(OSError, match="Bad file descriptor"):
            pipe.write(b"x")
        pipe.close()


def test_what_is_no_pipe_stays_as_it_is(tmp_path, monkeypatch):
    with (tmp_path / "log").open("w") as file:
        for stream in (file, io.StringIO(), None):
            monkeypatch.setattr(sys, "stdout", stream)
            streams.outlive_closed_pipes()
            assert sys.stdout is stream
