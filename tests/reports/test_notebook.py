"""A report inside a notebook."""

import html
import os
import re

import pytest

from faceproof.errors import FaceproofError
from faceproof.reports.notebook import Page, show_report


def write(file, text, age=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (1e9 - age, 1e9 - age))
    return file


def test_a_page_is_shown_in_a_frame_of_its_own_that_runs_nothing(tmp_path):
    page = '<h1 class="a">Mine & "yours"</h1><script>alert(1)</script>'
    shown = Page(write(tmp_path / "report.html", page), 321)._repr_html_()
    frame = re.fullmatch(r'<iframe srcdoc="([^"]*)" sandbox="([^"]*)" style="([^"]*)".*', shown)
    assert html.unescape(frame[1]) == page
    assert "allow-scripts" not in frame[2]
    assert "allow-same-origin" not in frame[2]
    assert "height: 321px" in frame[3]


def test_of_a_run_the_newest_evaluation_is_shown(tmp_path):
    write(tmp_path / "evaluations/old-test/report.html", "old", age=9)
    newest = write(tmp_path / "evaluations/new-test/report.html", "new")
    write(tmp_path / "audit.html", "the audit before training")
    assert show_report(tmp_path).file == newest
    assert show_report(str(newest.parent)).file == newest


def test_of_a_folder_its_report_comes_before_other_pages(tmp_path):
    page = write(tmp_path / "comparison.html", "c")
    assert show_report(tmp_path).file == page
    report = write(tmp_path / "report.html", "r", age=9)
    assert show_report(tmp_path).file == report


def test_a_folder_without_a_page_is_refused(tmp_path):
    with pytest.raises(FaceproofError, match=r"has no report: write one by faceproof evaluate run"):
        show_report(tmp_path)
