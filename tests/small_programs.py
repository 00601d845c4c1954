"""Runs that end at once, in processes of their own: what sweeps and searches are tested with."""

import sys
from pathlib import Path

from faceproof.workflows.sweep import Program

# Trains `x=NUMBER num=EPOCHS`: its loss falls to x. Waits in the first epoch while the file `hold`
# lies in the working folder, and fails while the file `fail` does.
RUN = """
import sys, time
from pathlib import Path
from faceproof.io.run_folder import RunFolder, write_epochs

run = RunFolder(sys.argv[1])
words = dict(word.split("=", 1) for word in sys.argv[2:])
x, rows = float(words["x"]), []
(run.path / "begun").touch()
run.config.write_text("model: {}\\ndata: {}\\n")
if Path("fail").exists():
    sys.exit("error: it broke")
for epoch in range(int(words.get("num", 1))):
    while epoch == 0 and Path("hold").exists():
        time.sleep(0.02)
    rows.append({"epoch": epoch, "val/loss": x + 1 / (epoch + 1)})
    write_epochs(run.metrics, rows)
    if x > 1:  # so that there is time to prune it
        time.sleep(0.3)
best = {"val/loss": rows[-1]["val/loss"]}
run.update_record(
    status="finished", monitor="val/loss", best_epoch=len(rows) - 1, epochs=len(rows), best=best,
    data="d",
)
run.write_operating_point({})
"""


def small_program(**changes) -> Program:
    """Return a program whose runs take a moment."""

    def train(overrides, folder):
        return [sys.executable, "-c", RUN, str(folder), *overrides]

    def evaluate(folder, split):
        made = Path(folder, "evaluations", f"d-{split}")
        code = (
            "from pathlib import Path; import json\n"
            "from faceproof.io.run_folder import RunFolder\n"
            "from faceproof.io.stamps import digest_of\n"
            f"made = Path({str(made)!r}); made.mkdir(parents=True)\n"
            "(made / 'predictions.parquet').touch()\n"
            f"of = {{'detector': RunFolder({str(folder)!r}).detector_digest,\n"
            "      'predictions': digest_of(made / 'predictions.parquet')}\n"
            "(made / 'report.json').write_text(json.dumps(of))"
        )
        return [sys.executable, "-c", code]

    parts = {
        "train": train,
        "evaluate": evaluate,
        "compare": lambda runs, folder: folder / "page.html",
    }
    return Program(**parts | changes)
