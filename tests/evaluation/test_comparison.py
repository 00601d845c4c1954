"""Comparisons: that they say what the predictions say, and refuse what cannot be compared."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from sklearn import metrics as sk

from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation.comparison import Comparison, Cost, compare_runs
from faceproof.evaluation.metrics import metrics_shown
from faceproof.evaluation.predictions import SCHEMA, predictions_table
from faceproof.evaluation.run_names import find_families, name_runs
from faceproof.evaluation.scored_runs import (
    ScoredRun,
    choose_evaluation,
    find_runs,
    read_runs,
    same_images,
)
from faceproof.evaluation.stored_evaluations import evaluations_of
from faceproof.io.run_folder import RunFolder, write_epochs
from faceproof.reports import comparison_page
from faceproof.reports.comparison_page import draw, write_comparison
from faceproof.reports.comparison_terminal import distinct_names, show
from faceproof.reports.comparison_text import cautions, markdown, verdict
from faceproof.reports.numbers import span
from faceproof.reports.paper_tables import models_csv
from faceproof.reports.plots import Look
from faceproof.task import TASKS
from tests.small_runs import write_evaluation

TASK = TASKS["deepfake"]
HOSTILE = "<img src=x onerror=alert(1)>"
Setting = Mapping[str, Any]


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Return `make_run(name, gap=2.0, seed=0, ...)`, which writes a run with an evaluation.

    The images are the same for every run, and so is what is hard about them; `gap` says how well
    a run tells the classes apart.
    """

    def make(
        name: str,
        gap: float = 2.0,
        seed: int = 0,
        model: str = "resnet18",
        evaluation: str | None = "demo-test",
        num_rows: int = 120,
        frames: int = 0,
        task: str = "deepfake",
        report: Setting | None = None,
        columns: Setting | None = None,
    ) -> RunFolder:
        run = RunFolder(tmp_path / name)
        run.path.mkdir(parents=True, exist_ok=True)
        backbone = f"{{model: {model}}}"
        run.config.write_text(
            f"seed: {seed}\nmodel: {{name: {model}, backbone: {backbone}}}\ndata: {{}}\n"
        )
        run.update_record(model=model, data="demo", best_epoch=1, choices={"model": model})
        run.operating_point.write_text("{}")
        epochs = [{"epoch": n, "val/loss": 1 / (n + gap), "val/roc_auc": 0.6} for n in range(3)]
        write_epochs(run.metrics, epochs)
        if evaluation is not None:
            rows = _rows(num_rows, frames, task, columns or {})
            logits = _logits(num_rows, gap, seed, model)
            predicted = predictions_table(rows, logits, 1 / (1 + np.exp(-logits)))
            order = np.random.default_rng(seed).permutation(num_rows)  # each run in its own order
            facts = {
                "task": asdict(TASKS[task]),
                "model": model,
                "data": "demo",
                "split": "test",
                "threshold": 0.5,
                "threshold_origin": "given",
                "operating_point": {"criterion": "youden"},
                "test_scorings": 1,
            }
            table = predicted.take(order)
            write_evaluation(run, evaluation, table, facts | dict(report or {}))
        return run

    return make


def _rows(num_rows: int, frames: int, task: str, columns: Setting) -> Any:
    classes = TASKS[task].classes
    width = max(frames, 1)
    facts = {
        "path": [f"/data/{n:04}.jpg" for n in range(num_rows)],
        "label": [classes[n // width % 2] for n in range(num_rows)],
        "source": ["demo"] * num_rows,
        "group": [f"video {n // frames}" if frames else None for n in range(num_rows)],
    }
    return table_from_columns(facts | dict(columns))


def _logits(num_rows: int, gap: float, seed: int, model: str) -> Any:
    hard = np.random.default_rng(99).normal(0, 1, num_rows)
    own = np.random.default_rng([seed, *model.encode()]).normal(0, 1, num_rows)
    return gap * (np.arange(num_rows) % 2 - 0.5) + hard + 0.5 * own


def _config(run: RunFolder) -> dict[str, Any]:
    """Return the settings of `make_run`'s config.yaml, on one level."""
    seed, model = re.findall(r"(?:seed|name): ([^,\n]+)", run.config.read_text())
    return {"seed": int(seed), "model.name": model, "model.backbone.model": model}


def _scored(*runs: RunFolder, evaluation: str = "demo-test") -> list[ScoredRun]:
    return same_images(read_runs(runs, evaluation, [_config(run) for run in runs]))


def _compared(*runs: RunFolder, num_resamples: int = 100, **costs: Any) -> Comparison:
    return compare_runs(_scored(*runs), [Cost(**costs)] * len(runs), None, num_resamples)


def test_metrics_are_those_of_scikit_learn_and_the_best_stands_first(make_run) -> None:
    found = _compared(make_run("a", 1.0), make_run("b", 3.0, model="vit"))
    assert [row.name for row in found.runs] == ["b", "a"]
    labels = np.arange(120) % 2
    logits = _logits(120, 3.0, 0, "vit")
    figures = found.runs[0].metrics
    assert figures["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, logits))
    assert figures["average_precision"] == pytest.approx(sk.average_precision_score(labels, logits))
    for name, score in (("accuracy", sk.accuracy_score), ("jaccard", sk.jaccard_score)):
        assert figures[name] == pytest.approx(score(labels, logits >= 0))
    for name in (metric.name for metric in metrics_shown("comparison")):
        low, high = found.runs[0].intervals[name]
        assert low <= figures[name] <= high
        assert low < high


def test_a_pair_says_the_first_less_the_second_and_whether_it_is_real(make_run) -> None:
    runs = [make_run("a", 0.3), make_run("b", 4.0), make_run("c", 3.9, model="vit")]
    found = _compared(*runs)
    pairs = {(pair.first, pair.second): pair for pair in found.pairs}
    figures = {row.name: row.metrics for row in found.runs}
    assert len(pairs) == 3
    for (first, second), pair in pairs.items():
        for name in ("roc_auc", "accuracy"):
            expected = figures[first][name] - figures[second][name]
            assert getattr(pair, name).difference == pytest.approx(expected)
            assert getattr(pair, name).interval[0] < expected < getattr(pair, name).interval[1]
            assert getattr(pair, name).p_value <= getattr(pair, name).p_holm
    best, next_best, worst = (row.name for row in found.runs)
    assert worst == "a"
    assert pairs[best, worst].roc_auc.real
    assert not pairs[best, next_best].roc_auc.real
    assert "may be chance" in " ".join(verdict(found))


def test_frames_of_a_video_count_as_one_unit(make_run) -> None:
    alone = [make_run("a", 0.8), make_run("b", 1.3, model="vit")]
    columns = {"label": [TASK.classes[n % 2] for n in range(120)]}
    videos = [
        make_run(f"video {name}", gap, model=model, frames=10, columns=columns)
        for name, gap, model in (("a", 0.8, "resnet18"), ("b", 1.3, "vit"))
    ]
    apart, together = _compared(*alone), _compared(*videos)
    assert (apart.num_units, together.num_units) == (120, 12)
    assert together.num_groups == 12
    for name in ("roc_auc", "accuracy"):
        first, second = getattr(apart.pairs[0], name), getattr(together.pairs[0], name)
        assert first.difference == pytest.approx(second.difference)
        assert first.interval != second.interval


def test_too_few_units_are_not_tested(make_run) -> None:
    found = _compared(make_run("a", num_rows=8), make_run("b", num_rows=8, model="vit"))
    assert found.pairs[0].roc_auc is None
    assert found.runs[0].intervals["accuracy"] is None
    assert "too few" in " ".join([*verdict(found), *cautions(found)])
    assert "undefined" in markdown(found)


def test_one_class_is_no_comparison_of_ranks(make_run, tmp_path: Path) -> None:
    columns = {"label": ["fake"] * 120}
    runs = [make_run("a", columns=columns), make_run("b", columns=columns, model="vit")]
    found = _compared(*runs)
    assert found.runs[0].metrics["roc_auc"] is None
    assert found.pairs[0].roc_auc is None
    assert found.pairs[0].accuracy is not None
    page = write_comparison(tmp_path / "out", found, _scored(*runs))
    assert "of one class" in page.read_text()


def test_runs_that_differ_in_nothing_but_their_seed_have_a_spread(make_run) -> None:
    runs = [make_run(str(seed), seed=seed) for seed in range(3)] + [make_run("3", model="vit")]
    scored = _scored(*runs)
    names = name_runs(scored)
    # A folder that is but a number is no name.
    assert names == ["resnet18 seed=0", "resnet18 seed=1", "resnet18 seed=2", "vit seed=0"]
    assert find_families(scored, names) == ["resnet18"] * 3 + ["vit seed=0"]
    found = _compared(*runs)
    (family,) = (one for one in found.configurations if len(one.runs) > 1)
    areas = [
        sk.roc_auc_score(np.arange(120) % 2, _logits(120, 2.0, n, "resnet18")) for n in (0, 1, 2)
    ]
    assert family.name == "resnet18"
    assert sorted(family.seeds) == [0, 1, 2]
    assert asdict(family.metrics["roc_auc"]) == pytest.approx(
        {
            "mean": np.mean(areas),
            "standard_deviation": np.std(areas, ddof=1),
            "min": min(areas),
            "max": max(areas),
        }
    )
    (alone,) = (one for one in found.configurations if len(one.runs) == 1)
    assert (alone.name, alone.metrics["roc_auc"].standard_deviation) == ("vit seed=0", None)
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        tuple(one.name for one in found.configurations)
    ]
    copies = _compared(make_run("x"), make_run("y"))
    assert not copies.over_seeds
    assert copies.pairs[0].roc_auc.difference == 0
    assert not copies.pairs[0].roc_auc.real


def test_names_are_short_and_distinct(make_run) -> None:
    runs = [make_run("first of them all"), make_run("second of them all", model="vit")]
    assert name_runs(_scored(*runs)) == ["resnet18", "vit"]
    runs = [make_run("x"), make_run("y", model="vit")]
    assert name_runs(_scored(*runs)) == ["x", "y"]
    runs = [make_run("here/x"), make_run("there/x")]
    assert name_runs(_scored(*runs)) == ["here/x", "there/x"]


def test_a_sweep_folder_stands_for_its_finished_runs(make_run, tmp_path: Path) -> None:
    runs = [make_run("sweep/0"), make_run("sweep/1/deeper", model="vit"), make_run("sweep/2")]
    runs[2].operating_point.unlink()
    found = find_runs([tmp_path / "sweep"])
    assert [run.path for run in found] == [runs[0].path, runs[1].path]
    assert len(find_runs([tmp_path / "sweep", runs[0].path])) == 2  # none twice
    with pytest.raises(FaceproofError, match=r"needs two runs or more; found .*sweep/0"):
        find_runs([runs[0].path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FaceproofError, match="is no run and holds none"):
        find_runs([tmp_path / "empty"])


def test_the_evaluation_is_the_one_that_all_have(make_run) -> None:
    first, second = make_run("a"), make_run("b")
    make_run("a", evaluation="other-test")
    assert evaluations_of(first) == ["demo-test", "other-test"]
    assert choose_evaluation([first, second]) == "demo-test"
    make_run("b", evaluation="other-test")
    assert choose_evaluation([first, second]) == "demo-test"  # their own data set's
    assert choose_evaluation([first, second], "other-test") == "other-test"
    second.update_record(data="another")
    with pytest.raises(FaceproofError, match=r"in common: demo-test, other-test; choose one"):
        choose_evaluation([first, second])


def test_a_run_without_the_evaluation_is_told_the_command(make_run) -> None:
    first, second = make_run("a"), make_run("b", evaluation=None)
    with pytest.raises(FaceproofError, match=rf"faceproof evaluate run={second.path}$"):
        choose_evaluation([first, second])
    with pytest.raises(
        FaceproofError, match=rf"^2 of 2 runs [\s\S]*run={second.path} name=mine$"
    ) as no:
        choose_evaluation([first, second], "mine")
    assert f"{first.path} has demo-test:" in str(no.value)
    make_run("a", evaluation="hard", report={"data": "x+y", "split": "all"})
    with pytest.raises(FaceproofError, match=r"'data=\[x,y\]' split=all name=hard$"):
        choose_evaluation([first, second], "hard")
    second.operating_point.unlink()
    with pytest.raises(FaceproofError, match=rf"faceproof train resume={second.path} \(it has not"):
        choose_evaluation([first, second])
    with pytest.raises(FaceproofError, match="no evaluation; make it"):
        choose_evaluation([second, make_run("c", evaluation=None)])


def test_different_images_are_refused_and_named(make_run) -> None:
    with pytest.raises(FaceproofError, match="different images, 120 and 118: 2 only in") as no:
        _scored(make_run("a"), make_run("b", num_rows=118))
    assert "/data/0118.jpg, /data/0119.jpg" in str(no.value)
    moved = {"path": [f"/elsewhere/{n:04}.jpg" for n in range(120)]}
    with pytest.raises(FaceproofError, match=r"120 only in .*0002.jpg, .* 120 only in"):
        _scored(make_run("c"), make_run("d", columns=moved))


def test_different_labels_groups_and_tasks_are_refused(make_run) -> None:
    first = make_run("a")
    labels = [TASK.classes[n % 2] for n in range(120)]
    labels[7] = "real"
    with pytest.raises(FaceproofError, match=r"1 images are labelled otherwise .*0007.jpg: real"):
        _scored(first, make_run("b", columns={"label": labels}))
    unknown: list[str | None] = list(labels)
    unknown[7] = None
    with pytest.raises(FaceproofError, match=r"labelled otherwise .*0007.jpg: None there, fake"):
        _scored(first, make_run("c", columns={"label": unknown}))
    columns = {"label": [TASK.classes[n % 2] for n in range(120)]}
    grouped = make_run("d", frames=4, columns=columns)
    with pytest.raises(FaceproofError, match="120 images are grouped otherwise"):
        _scored(first, grouped)
    with pytest.raises(FaceproofError, match=r"the task deepfake and .* the task face"):
        _scored(first, make_run("e", task="face"))


def test_images_without_a_label_are_left_out(make_run) -> None:
    labels = [TASK.classes[n % 2] if n < 100 else None for n in range(120)]
    runs = [make_run("a", columns={"label": labels}), make_run("b", columns={"label": labels})]
    assert _compared(*runs).num_images == 100
    none = {"label": [None] * 120}
    with pytest.raises(FaceproofError, match="have no labels"):
        _scored(make_run("c", columns=none), make_run("d", columns=none))


def test_the_folder_holds_the_same_numbers_four_times(make_run, tmp_path: Path) -> None:
    runs = [
        make_run("a", 1.0),
        make_run("b", 3.0, model="vit"),
        make_run("c", 3.0, seed=1, model="vit"),
    ]
    scored = _scored(*runs)
    costs = [
        Cost(11_000_000, 1_800_000_000, 3.0, (2.9, 3.2)),
        *[Cost(86_000_000, 17 * 10**9, 40.0)] * 2,
    ]
    found = compare_runs(scored, costs, "a clock", 100)
    page = write_comparison(tmp_path / "out" / "deep", found, scored)
    folder = page.parent
    assert json.loads((folder / "comparison.json").read_text()) == json.loads(
        json.dumps(found.to_json())
    )
    rows = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))
    assert len(rows) == 3
    for row, known in zip(rows, found.runs, strict=True):
        assert float(row["roc_auc"]) == known.metrics["roc_auc"]
        assert float(row["eer_high"]) == known.intervals["eer"][1]
        assert int(row["parameters"]) == known.cost.parameters
    text, table = page.read_text(), (folder / "comparison.md").read_text()
    for known in found.runs:
        assert f"{known.metrics['roc_auc']:.3f}" in text
        assert f"{known.metrics['roc_auc']:.3f}" in table
    assert "± " in text
    assert "## Over seeds" in table
    assert text.index("Configurations, over seeds") < text.index("Each run")
    assert text.count("data:image/svg+xml") == 4
    assert {file.stem for file in (folder / "plots").iterdir()} == {
        "roc", "time", "work", "training",
    }  # fmt: skip
    write_comparison(folder, found, scored)  # again, over the old one
    assert page.read_text() == text
    (tmp_path / "file").touch()
    with pytest.raises(FaceproofError, match="is a file"):
        write_comparison(tmp_path / "file", found, scored)


def test_no_name_is_broken_inside_of_a_word(make_run, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="takes playwright")
    if (chromium := shutil.which("chromium") or shutil.which("chromium-browser")) is None:
        pytest.skip("there is no chromium on the path")
    runs = [make_run(f"{n}", seed=n, model="effnet_lite_small") for n in (0, 1)]
    runs.append(make_run("2", model="vit"))
    page = write_comparison(tmp_path / "out", _compared(*runs), _scored(*runs))
    script = """name => {
        const text = [...name.childNodes].find((node) => node.data && node.data.trim());
        return [...text.data.matchAll(/\\S+/g)].map((word) => {
            const range = document.createRange();
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            return [word[0], range.getClientRects().length];
        });
    }"""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(page.as_uri())
        names = [one.evaluate(script) for one in tab.query_selector_all(".name")]
        browser.close()
    words = [tuple(word) for name in names for word in name]
    assert ("effnet_lite_small", 1) in words
    assert {lines for _, lines in words} == {1}


def test_the_page_is_complete_in_itself_and_safe(make_run, tmp_path: Path) -> None:
    runs = [make_run("a"), make_run("b", model="vit", report={"threshold_origin": HOSTILE})]
    scored = _scored(*runs)
    scored = [replace(one, report=replace(one.report, data=HOSTILE)) for one in scored]
    found = compare_runs(scored, [Cost()] * 2, None, 100)
    found = replace(
        found,
        runs=[replace(found.runs[0], name=HOSTILE, family=HOSTILE), found.runs[1]],
        configurations=[
            replace(found.configurations[0], name=HOSTILE, runs=[HOSTILE]),
            found.configurations[1],
        ],
        pairs=[replace(found.pairs[0], first=HOSTILE)],
    )
    text = write_comparison(tmp_path / "out", found, scored).read_text()
    assert HOSTILE not in text
    assert "&lt;img src=x" in text
    seen: list[str] = []

    class Watcher(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append(tag)
            assert tag not in ("script", "svg", "link", "iframe")
            for name, value in attrs:
                assert name not in ("onerror", "onload")
                if name == "src":
                    assert (value or "").startswith("data:image/svg+xml;base64,")
                if name.endswith("href"):
                    assert (value or "").startswith("#")

    Watcher().feed(text)
    assert "img" in seen
    assert "<img" not in markdown(found).replace("\\<", "")


def test_verdict_and_cautions_in_words(make_run) -> None:
    runs = [make_run("a", 1.0), make_run("b", 5.0, model="vit"), make_run("c", 5.0, model="cnn")]
    found = _timed(_compared(*runs), 10.0, 2.0, 1.0)
    first, second, third = found.runs
    words = verdict(found)
    assert words[0].startswith(f"{first.name} ranks the images best: ROC-AUC")
    assert words[1] == (f"Its lead over a is real; that over {second.name} may be chance.")
    second = replace(second, criterion="fpr", test_scorings=4)
    text = " ".join(cautions(replace(found, runs=[first, second, third])))
    assert "different criteria (fpr, youden)" in text
    assert "test images 4 times" in text
    assert "leads partly by chance" in text


def _timed(found: Comparison, *times: float) -> Comparison:
    """Return a comparison whose configurations, the best first, take these times an image."""
    pairs = zip(found.configurations, times, strict=True)
    made = [replace(one, cost=Cost(milliseconds=time)) for one, time in pairs]
    return replace(found, configurations=made)


def test_as_good_and_faster_is_said_within_the_margin_alone(make_run) -> None:
    runs = [make_run("a", 1.0), make_run("b", 5.0, model="vit"), make_run("c", 5.0, model="cnn")]
    found = _timed(_compared(*runs), 10.0, 2.0, 1.0)
    second = found.configurations[1].name
    (pair,) = (pair for pair in found.pairs if pair.second == second)
    behind = pair.roc_auc.interval[1]
    assert not pair.roc_auc.real
    wide, narrow = (replace(found, margin=behind + step) for step in (0.001, -0.001))
    assert verdict(wide)[-1] == (
        f"{second} is as good within the margin of {behind + 0.001:g} of ROC-AUC (it is behind by "
        f"{behind:.3f} at most) and is 5.0 times as fast."
    )
    assert "as fast" not in " ".join(verdict(narrow))
    assert "as fast" not in " ".join(verdict(_timed(wide, 10.0, 9.0, 1.0)))


def test_a_guesser_is_never_as_good_and_faster(make_run) -> None:
    found = _compared(make_run("a", 0.6), make_run("b", 0.001, model="vit"))
    found = replace(_timed(found, 10.0, 1.0), margin=0.49)
    assert found.configurations[1].intervals["roc_auc"][0] <= 0.5
    assert "as fast" not in " ".join(verdict(found))
    assert "Not shown to be better than chance: b (" in " ".join(cautions(found))
    guessers = _compared(make_run("c", 0.001), make_run("b", 0.001, model="vit"))
    (best, *_), (said,) = guessers.configurations, verdict(guessers)
    assert said == (
        "None is shown to be better than chance: no 95% interval of ROC-AUC lies above 0.5. That "
        f"of the best, {best.name}, is {span(best.intervals['roc_auc'])}."
    )
    assert "better than chance" not in " ".join(cautions(guessers))


def test_the_best_at_chance_says_nothing_of_the_others(make_run) -> None:
    """With few seeds its interval may be wide, where a lower mean is clearly above chance."""
    found = _compared(make_run("a", 1.0), make_run("b", 0.9, model="vit"))
    wide, *others = found.configurations
    wide = replace(wide, intervals={**wide.intervals, "roc_auc": (0.35, 1.0)})
    found = replace(found, configurations=[wide, *others])
    assert "chance" not in verdict(found)[0]
    assert f"Not shown to be better than chance: {wide.name} (" in " ".join(cautions(found))
    upside_down = replace(wide, intervals={**wide.intervals, "roc_auc": (0.05, 0.15)})
    found = replace(found, configurations=[upside_down, *others])
    assert f"Worse than chance: {wide.name} (" in " ".join(cautions(found))


def test_runs_of_one_seed_are_told_of(make_run) -> None:
    runs = [make_run("a", 1.0, seed=0), make_run("b", 1.1, seed=1), make_run("c", 1.2, seed=0)]
    text = " ".join(cautions(_compared(*runs)))
    assert "differ in nothing but their seed, and some share it" in text
    assert "share it" not in " ".join(cautions(_compared(*runs[:2])))


def test_the_luckiest_seed_is_not_crowned(make_run, tmp_path: Path) -> None:
    """Four configurations of three seeds are six pairs and not 66, and none of runs."""
    gaps = {"resnet18": 2.0, "vit": 2.0, "cnn": 2.1, "b0": 4.0}
    runs = [
        make_run(f"{model} {seed}", gap, seed=seed, model=model)
        for model, gap in gaps.items()
        for seed in range(3)
    ]
    scored = _scored(*runs)
    found = compare_runs(scored, [Cost(1, 1, 1.0)] * 12, "x", 100)
    assert len(found.pairs) == 6
    means = [one.metrics["roc_auc"].mean for one in found.configurations]
    assert means == sorted(means, reverse=True)
    words = " ".join(verdict(found))
    assert words.startswith("b0 ranks the images best: mean ROC-AUC ")
    assert "over 3 seeds, which vary by a standard deviation of" in words
    assert "Its lead over each of the other 3 is real" in words
    assert not any(run.name in words for run in found.runs)
    for pair in found.pairs:
        expected = [
            one.metrics["roc_auc"].mean
            for name in (pair.first, pair.second)
            for one in found.configurations
            if one.name == name
        ]
        assert pair.roc_auc.difference == pytest.approx(expected[0] - expected[1])
    console = Console(width=100, record=True, file=io.StringIO())
    show(console, found, tmp_path)
    printed = console.export_text()
    assert all(one.name in printed for one in found.configurations)
    best = found.configurations[0].metrics["roc_auc"]
    assert "12 runs on demo, over seeds" in printed
    assert f"{best.mean:.3f} ± {best.standard_deviation:.3f}" in printed
    page = write_comparison(tmp_path / "out", found, scored).read_text()
    assert "The dotted line joins the configurations" in page
    assert "difference of the means over seeds" in page
    assert all(run.name in page for run in found.runs)


def test_the_line_of_the_unbeaten_joins_configurations_and_no_runs() -> None:
    fast, slow = Look("fast", 0), Look("slow", 1)
    points = [
        (look, cost, quality, (quality, quality))
        for look, cost, quality in [
            (fast, 1.0, 0.7), (fast, 1.0, 0.9), (slow, 2.0, 0.95), (slow, 4.0, 0.85),
            (Look("worse", 2), 9.0, 0.88),
        ]
    ]  # fmt: skip
    figure = comparison_page._cost_quality(points, "ms", "Quality against time")
    (line,) = (one for one in figure.axes[0].lines if one.get_linestyle() == ":")
    costs, qualities = line.get_data()
    assert [*costs] == pytest.approx([1.0, 3.0])
    assert [*qualities] == pytest.approx([0.8, 0.9])


def test_seeds_of_one_configuration_have_nothing_to_choose(make_run) -> None:
    found = _compared(*(make_run(str(seed), seed=seed) for seed in range(3)))
    assert found.pairs == []
    assert "nothing to choose between" in verdict(found)[-1]
    assert markdown(found)


def test_random_initial_weights_are_marked(make_run, tmp_path: Path) -> None:
    runs = [make_run("a"), make_run("b", model="vit")]
    runs[0].update_record(weights="ImageNet weights of resnet18 from timm's hub")
    runs[1].update_record(weights="random initial weights (no network)")
    scored = _scored(*runs)
    found = compare_runs(scored, [Cost()] * 2, None, 100)
    assert {one.name: one.random_weights for one in found.configurations} == {"a": False, "b": True}
    assert "b began with random weights: the comparison is also" in " ".join(cautions(found))
    page = write_comparison(tmp_path / "out", found, scored)
    assert page.read_text().count('class="mark">random initial weights') == 1
    rows = list(csv.DictReader((page.parent / "comparison.csv").read_text().splitlines()))
    assert {row["name"]: row["initial_weights"] for row in rows}["b"].startswith("random initial")
    runs[0].update_record(weights="random initial weights")
    assert "began with random" not in " ".join(cautions(_compared(*runs)))


def test_a_long_comparison_is_drawn_and_shown(make_run, tmp_path: Path) -> None:
    runs = [make_run(f"r{n}", 1 + n / 5, model=f"model {n}") for n in range(12)]
    scored = _scored(*runs)
    found = compare_runs(scored, [Cost(1, 10 ** (6 + n % 3), 2.0**n) for n in range(12)], "x", 100)
    assert len(found.pairs) == 66
    assert set(draw(found, scored)) == {"roc", "time", "work", "training"}
    looks = comparison_page._looks(found.runs).values()
    assert len({(look.colour, look.line["linestyle"]) for look in looks}) == 12
    assert len({(look.colour, look.marker) for look in looks}) == 12
    text = write_comparison(tmp_path / "out", found, scored).read_text()
    assert "56 more pairs" in text
    console = Console(width=160, record=True, file=io.StringIO())
    show(console, found, tmp_path)
    printed = console.export_text()
    assert all(row.name in printed for row in found.runs)
    assert f"{found.runs[0].metrics['roc_auc']:.3f}" in printed


def test_names_can_be_told_apart_in_a_narrow_terminal(make_run, tmp_path: Path) -> None:
    names = [f"sweep/model=efficientnet_b0 pretrained lr=0.00{n}" for n in (1, 2)]
    assert distinct_names(names, 30) == ["…lr=0.001", "…lr=0.002"]
    middle = [f"{n}-a long name that goes on and on until its end" for n in (1, 2)]
    assert distinct_names(middle, 20) == ["1-a long …il its end", "2-a long …il its end"]
    alike = ["begins alike 1 ends alike, and so on", "begins alike 2 ends alike, and so on"]
    assert distinct_names(alike, 12) == ["…1 en… so on", "…2 en… so on"]
    runs = [make_run(f"a_long_name_of_a_run_{n}", float(n), model=f"m{n}") for n in (1, 2, 3)]
    scored = _scored(*runs)
    found = compare_runs(scored, [Cost(86_000_000, 17 * 10**9, 40.0)] * 3, "a clock", 100)
    console = Console(width=100, record=True, file=io.StringIO())
    show(console, found, tmp_path)
    lines = console.export_text().splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert "3 runs on demo" in lines[0]
    heading = next(line for line in lines if "ROC-AUC" in line)
    assert "Accuracy" in heading
    assert "ms" in heading


def test_the_csv_leaves_what_is_undefined_empty(make_run) -> None:
    found = _compared(make_run("a", num_rows=8), make_run("b", num_rows=8, model="vit"))
    row = next(csv.DictReader(models_csv(found).splitlines()))
    assert row["accuracy_low"] == row["parameters"] == ""


def test_images_that_changed_between_two_evaluations_are_refused(make_run) -> None:
    runs = [make_run(name, report={"images": name}) for name in ("a", "b")]
    with pytest.raises(FaceproofError, match="same names and other content"):
        same_images(read_runs(runs, "demo-test", [{}, {}]))


def test_each_run_keeps_the_novelty_that_it_found(make_run) -> None:
    read = read_runs([make_run("a"), make_run("b")], "demo-test", [{}, {}])
    place = SCHEMA.get_field_index("novelty")
    knowing = [
        replace(one, predictions=one.predictions.set_column(
            place, SCHEMA.field(place),
            pa.array([number] * one.predictions.num_rows, pa.float32()),
        ))
        for number, one in enumerate(read)
    ]  # fmt: skip
    found = [one.predictions["novelty"].unique().to_pylist() for one in same_images(knowing)]
    assert found == [[0], [1]]


def test_an_evaluation_of_weights_that_a_run_no_longer_has_is_not_compared(make_run) -> None:
    runs = [make_run(name) for name in ("a", "b")]
    runs[1].best.write_bytes(b"of more epochs")
    with pytest.raises(FaceproofError, match=r"demo-test \(it is of other weights") as refusal:
        choose_evaluation(runs)
    assert f"faceproof evaluate {runs[1].argument('run')}" in str(refusal.value)
    with pytest.raises(FaceproofError, match="of other weights"):
        same_images(read_runs(runs, "demo-test", [{}, {}]))
