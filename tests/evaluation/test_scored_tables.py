"""Tables of scores in a comparison, alone and beside runs."""

import json
from pathlib import Path

import numpy as np
import pytest

from faceproof.cli.main import main
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation.comparison import Comparison, Cost, compare_runs
from faceproof.evaluation.predictions import predictions_table, sigmoid
from faceproof.evaluation.score_table import ScoreFormat
from faceproof.evaluation.scored_runs import read_runs, same_images, with_subgroups
from faceproof.evaluation.scored_tables import beside_runs, read_scored_tables
from faceproof.io.run_folder import RunFolder
from faceproof.reports.comparison_page import write_comparison
from faceproof.reports.comparison_text import cautions, markdown
from faceproof.workflows.compare_config import CompareConfig
from tests.small_runs import write_evaluation

NUM = 120
LABELS = np.arange(NUM) % 2
FORMAT = ScoreFormat(score="logit", subgroups=("tone",))


def logits(seed: int, gap: float = 2.0) -> np.ndarray:
    return gap * (LABELS - 0.5) + np.random.default_rng(seed).normal(0, 1, NUM)


def table(
    file: Path, scores: np.ndarray, columns: str = "path,label,score,tone", folder: str = "/data"
) -> Path:
    values = {
        "path": [f"{folder}/{n:04}.jpg" for n in range(NUM)],
        "label": [("real", "fake")[one] for one in LABELS], "score": [f"{s:.9g}" for s in scores],
        "tone": ["dark" if n % 3 else "light" for n in range(NUM)],
        "group": [f"v{n // 4}" for n in range(NUM)],
    }  # fmt: skip
    order = np.random.default_rng(len(file.name)).permutation(NUM)
    lines = [",".join(values[name][row] for name in columns.split(",")) for row in order]
    file.write_text("\n".join([columns, *lines]) + "\n")
    return file


def a_run(folder: Path, scores: np.ndarray, **columns: list[str]) -> RunFolder:
    run = RunFolder(folder)
    run.path.mkdir(parents=True)
    run.config.write_text("seed: 0\nmodel: {name: m}\ndata: {}\n")
    run.update_record(model="m", data="demo", best_epoch=1, choices={"model": "m"})
    run.operating_point.write_text("{}")
    rows = table_from_columns(
        {
            "path": [f"/data/{n:04}.jpg" for n in range(NUM)],
            "label": [("real", "fake")[one] for one in LABELS], "source": ["demo"] * NUM, **columns,
        }
    )  # fmt: skip
    facts = {
        "task": {"name": "deepfake", "negative": "real", "positive": "fake"}, "model": "m",
        "data": "demo", "split": "test", "threshold": 0.5, "threshold_origin": "given",
        "operating_point": {"criterion": "youden"}, "test_scorings": 1,
    }  # fmt: skip
    write_evaluation(run, "demo-test", predictions_table(rows, scores, sigmoid(scores)), facts)
    return run


def compared(runs: list[RunFolder], files: list[Path], how: ScoreFormat = FORMAT) -> Comparison:
    read = list(read_runs(runs, "demo-test", [{"seed": 0}] * len(runs)))
    scored = with_subgroups(same_images(beside_runs(read, read_scored_tables(files, how))), ())
    return compare_runs(scored, [Cost()] * len(scored), None, 100)


def test_tables_are_tested_as_the_runs_of_the_same_scores_are(tmp_path: Path) -> None:
    first, second = logits(1), logits(2, 1.0)
    runs = [a_run(tmp_path / "a", first), a_run(tmp_path / "b", second)]
    read = read_runs(runs, "demo-test", [{"model": "a"}, {"model": "b"}])
    of_runs = compare_runs(same_images(read), [Cost()] * 2, None, 100)
    files = [table(tmp_path / "a.csv", first), table(tmp_path / "b.csv", second)]
    of_tables = compared([], files)
    mixed = compared(runs[:1], files[1:])
    for found in (of_tables, mixed):
        assert [one.name for one in found.runs] == ["a", "b"]
        assert found.pairs == of_runs.pairs
        for one, other in zip(found.runs, of_runs.runs, strict=True):
            assert one.metrics == other.metrics
            assert one.intervals == other.intervals
    assert "no threshold was fixed on validation" in " ".join(cautions(of_tables))


def test_a_table_takes_what_it_does_not_know_from_the_others(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", logits(1), group=[f"v{n // 4}" for n in range(NUM)])
    bare = table(tmp_path / "bare.csv", logits(2), "path,score")
    assert compared([run], [bare]).num_units == NUM // 4
    full = table(tmp_path / "full.csv", logits(1), "path,label,score,group,tone")
    found = compared([], [bare, full])
    assert (found.num_units, found.num_groups) == (NUM // 4, NUM // 4)
    assert set(found.subgroups) == {"bare", "full"}
    beside = compared([run], [full])  # the run says nothing of skin tones
    assert [part.column for part in beside.subgroups["run"]] == ["tone"]
    assert beside.subgroups["run"][0].rows[0].value in ("dark", "light")
    with_labels = table(tmp_path / "labels.csv", logits(1), "path,label,score")
    knows_more = table(tmp_path / "more.csv", logits(2), "path,score,tone")
    assert len(compared([], [knows_more, with_labels]).runs) == 2
    with pytest.raises(FaceproofError, match="no table has labels"):
        compared([], [bare, table(tmp_path / "bare2.csv", logits(3), "path,score")])


def test_other_images_and_other_labels_are_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", logits(1))
    elsewhere = table(tmp_path / "else.csv", logits(2), folder="/other")
    with pytest.raises(FaceproofError, match="scored different images, 120 and 120"):
        compared([run], [elsewhere])
    text = table(tmp_path / "a.csv", logits(2)).read_text()
    swapped = tmp_path / "swapped.csv"
    swapped.write_text(text.replace("0003.jpg,fake", "0003.jpg,real"))
    with pytest.raises(FaceproofError, match=r"1 images are labelled otherwise.*0003.jpg"):
        compared([run], [swapped])


def test_paths_of_two_folders_lead_to_the_same_images(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    files = [
        table(tmp_path / "x/a.csv", logits(1), folder="../img"),
        table(tmp_path / "y/b.csv", logits(2), folder=f"{tmp_path}/img"),
    ]
    assert compared([], files).num_images == NUM


def test_validation_in_a_table_fixes_its_threshold(tmp_path: Path) -> None:
    rows = ["path,label,logit,split"]
    for split, seed in (("test", 1), ("val", 2)):
        for n, score in enumerate(logits(seed)):
            rows.append(f"{split}/{n},{('real', 'fake')[LABELS[n]]},{score},{split}")
    files = []
    for name in ("a.csv", "b.csv"):
        files.append(tmp_path / name)
        files[-1].write_text("\n".join(rows))
    found = compared([], files, ScoreFormat())
    assert found.num_images == NUM
    assert {one.criterion for one in found.runs} == {"youden"}
    assert found.runs[0].threshold != 0.5
    assert found.pairs[0].roc_auc is not None
    assert found.pairs[0].roc_auc.difference == 0


def test_subgroups_stand_in_the_page_and_the_tables(tmp_path: Path) -> None:
    files = [table(tmp_path / f"{n}.csv", logits(n)) for n in (1, 2)]
    scored = with_subgroups(same_images(beside_runs([], read_scored_tables(files, FORMAT))), ())
    found = compare_runs(scored, [Cost()] * 2, None, 100)
    page = write_comparison(tmp_path / "out", found, scored)
    assert '<section id="subgroups">' in page.read_text()
    assert "largest gap" in markdown(found)
    (part,) = json.loads((tmp_path / "out/comparison.json").read_text())["subgroups"]["1"]
    assert {row["value"] for row in part["rows"]} == {"dark", "light"}
    with pytest.raises(FaceproofError, match=r"no column age.*tone"):
        with_subgroups(scored, ["age"])
    without = compare_runs(with_subgroups(scored, ["tone"]), [Cost()] * 2, None, 100)
    assert without.subgroups == found.subgroups


def test_equal_scores_have_no_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, scores in (("a", logits(1)), ("b", logits(1)), ("c", -logits(1))):
        table(tmp_path / f"{name}.csv", scores)
    words = ["compare", "--score", "logit", "a.csv", "b.csv"]
    assert main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "a and b rank the images equally well: ROC-AUC" in said
    assert "best" not in said.partition("equally well")[0]
    assert "lead" not in said
    assert main([*words, "c.csv", "--out", "three"]) == 0
    assert "Their lead over the other is real" in " ".join(capsys.readouterr().out.split())


def test_of_one_class_no_metric_is_advised_that_is_not_defined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, seed in (("a", 1), ("b", 2)):
        text = table(tmp_path / f"{name}.csv", logits(seed)).read_text()
        (tmp_path / f"{name}.csv").write_text(text.replace("fake", "real"))
    assert main(["compare", "a.csv", "b.csv", "--score", "logit"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "measured at 0.5. Give rows of the split val." in said
    (tmp_path / "one.csv").write_text("path,label,score\n/a.jpg,real,0.5\n")
    assert main(["report", "one.csv", "--score", "logit", "--out", "page"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 image is too few for intervals" in said
    assert "Give scores of validation images by --validation" in said
    assert "Go by ROC-AUC" not in said


def test_tables_whose_labels_have_their_own_words_say_what_each_may_mean(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = table(tmp_path / "a.csv", logits(1)).read_text()
    (tmp_path / "b.csv").write_text(text.replace("real", "genuine").replace("fake", "deepfake"))
    words = ["compare", "a.csv", "b.csv", "--score", "logit"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "'deepfake', 'genuine' in the column label" in said
    assert "say what each means by '--labels.deepfake=real' or =fake" in said
    assert main([*words, "--labels.deepfake=fake", "--labels.genuine=real"]) == 0
    said = "a.csv: --labels gives a meaning to 'deepfake', 'genuine', found in no row"
    assert said in caplog.text


def test_the_command_compares_tables_of_different_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "a.csv", logits(1))
    text = table(tmp_path / "b.csv", 100 * sigmoid(logits(2)), "path,label,score").read_text()
    (tmp_path / "b.csv").write_text(text.replace("score", "p_fake").replace("path", "file"))
    words = ["compare", "a.csv", "b.csv", "--columns.file=path", "--columns.p_fake=percent"]
    assert main([*words, "--columns.score=logit"]) == 0
    assert "a ranks the images best" in " ".join(capsys.readouterr().out.split())
    for again in ([], ["./a.csv"]):
        assert main(["compare", "a.csv", *again, "--score", "logit"]) == 2
        assert "a.csv alone" in capsys.readouterr().err
    with pytest.raises(FaceproofError, match="--score-of says how tables of scores are read"):
        CompareConfig((Path("runs/a"), Path("runs/b")), score_of="real")
