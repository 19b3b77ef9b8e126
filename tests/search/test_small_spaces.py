"""Whole searches of spaces with one or two architectures."""

import pandas as pd
import pytest
import tiny_darts
from tiny_run import SPACE, write_spec

from aebnas.report.run_report import RunReport
from aebnas.search.loop import run_search
from aebnas.space.genome import SearchSpace

BLOCK = {"width": 4, "depth": 1, "op": "basic"}
STAGES = {"stages": [BLOCK, BLOCK | {"stride": 2}], "exits": {"optional": False}}
ONE = SPACE | STAGES
SPACES = {
    "one architecture without exits": ONE | {"exits": {"at": []}},
    "one architecture, one threshold": ONE | {"policy": {"thresholds": {"genes": [0.5]}}},
    "two architectures": ONE | {"exits": {"optional": True}},
}
ONE_CELL = tiny_darts.SPACE | {
    "dag": {"nodes": 2, "ops": ["conv"], "stacks": [{"width": 4}]},
    "exits": {"at": "every_node", "optional": False},
}


def searched(folder, space, trials, **changes):
    """Search a space; the run holds so many ok trials, a front to pick from, and a report."""
    session = run_search(write_spec(folder / "spec", space, **changes), folder / "run", listen=RunReport)
    assert [trial.status for trial in session.run.trials()] == ["ok"] * trials
    assert len(pd.read_csv(folder / "run" / "pareto.csv")) == len(session.front()) >= 1
    for rule in ("knee", "best-accuracy", "cheapest", "avg_macs<=1e9"):
        assert session.pick(rule) in session.front()
    assert (folder / "run" / "report.html").exists()


@pytest.mark.parametrize("name", SPACES)
def test_nsga2_searches_a_space_of_one_or_two_architectures(name, tmp_path):
    searched(tmp_path, SPACES[name], 2 if name == "two architectures" else 1)


def test_nsga2_begins_with_the_front_of_a_run_of_the_same_single_architecture(tmp_path):
    searched(tmp_path / "first", ONE, 1)
    strategy = {"name": "nsga2", "population": 4, "generations": 2, "init": "from ../../first/run"}
    searched(tmp_path / "second", ONE, 1, strategy=strategy)


def test_adaptive_darts_searches_a_space_of_one_architecture(tmp_path):
    session = run_search(write_spec(tmp_path / "spec", ONE_CELL, **tiny_darts.DARTS), tmp_path / "run")
    trials = session.run.trials()
    assert len(trials) == 4 and all(trial.status == "ok" for trial in trials)
    only = SearchSpace(session.space.spec).decode(()).architecture
    assert {trial.architecture.cells for trial in trials} == {only.cells}
