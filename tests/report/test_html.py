import base64
import gzip
import json
import re
from html.parser import HTMLParser

import pytest
from tiny_run import own_copy, searched, write_report

from aebnas.report.run_report import RunReport
from aebnas.run.pick_records import record_pick
from aebnas.run.session import RunSession

MIB = 2**20


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched(tmp_path_factory)


class Loads(HTMLParser):
    """Collects what a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "poster") and value]


def unpacked(page, name):
    """What is packed into an element of the page."""
    (content,) = re.findall(rf'<script id="{name}" type="application/gzip">([^<]*)</script>', page)
    return gzip.decompress(base64.b64decode(content)).decode()


def test_the_report_is_one_small_file_that_needs_no_network(run):
    text = (run / "report.html").read_text(encoding="utf-8")
    page = Loads()
    page.feed(text)
    assert page.found == [] and "@import" not in text and "url(" not in text
    assert len(text) < 6 * MIB
    assert "plotly.js v" in unpacked(text, "plotly")
    assert "[[" not in text.split("<script")[0]


def test_the_report_holds_every_point_of_every_trial(run):
    data = json.loads(unpacked((run / "report.html").read_text(encoding="utf-8"), "payload"))
    trials = RunSession.open(run).run.trials()
    assert set(data["points"]["id"]) == {point.id for trial in trials for point in trial.points}
    assert data["samples"] == 287 and data["training"] and data["protocol"]["split_seed"] == 2026


def test_names_are_escaped(run, tmp_path):
    odd = own_copy(run, tmp_path).rename(tmp_path / "copy" / "<b>&co [[script]]")
    write_report(odd)
    text = (odd / "report.html").read_text(encoding="utf-8")
    assert "<h1>&lt;b&gt;&amp;co [[script]]</h1>" in text
    assert json.loads(unpacked(text, "payload"))["name"] == "<b>&co [[script]]"


def test_the_report_of_one_run_is_repeatable(run, tmp_path):
    copy = own_copy(run, tmp_path)
    write_report(copy)
    before = (copy / "report.html").read_bytes()
    write_report(copy)
    assert (copy / "report.html").read_bytes() == before


def test_records_of_a_pick_are_in_the_report(run, tmp_path):
    session = RunSession.open(own_copy(run, tmp_path))
    picked = session.front()[0]
    point = picked[1]
    record_pick(session.run, picked, "test", point.to_json() | {"source": "from somewhere", "samples": 360})
    RunReport(session.facts).selected_model_changed(point.id)
    data = json.loads(unpacked((session.run.folder / "report.html").read_text(encoding="utf-8"), "payload"))
    assert [pick["id"] for pick in data["picks"]] == [point.id]
