import pytest
from tiny_darts import SPACE
from tiny_run import EXPERIMENT, write_spec

from aebnas.core.errors import SpecError
from aebnas.run.run_config import RunConfig
from aebnas.search.loop import run_search
from aebnas.search.plan import make_plan
from aebnas.training.exits.exit_weights import exit_weights

STACKS = SPACE | {
    "dag": SPACE["dag"] | {"stacks": [{"width": 4, "cells": 2}, {"width": 6}]},
    "exits": {"at": ["stage1"], "optional": False},
}
"""Two stacks, the first of two cells, so that the end of stage1 is cell2."""

WEIGHTS = {"stage1": 1, "last": 3}


def write(folder, weights):
    """A spec whose supernet and retraining have these weights."""
    changes = {name: EXPERIMENT[name] | {"exit_weights": weights} for name in ("supernet", "retrain")}
    return write_spec(folder, STACKS, **changes)


def test_exit_weights_may_name_a_site_by_its_other_name(tmp_path):
    plan = make_plan(write(tmp_path, WEIGHTS))
    largest = plan.space.extreme(largest=True)
    for training in (plan.experiment.supernet, plan.experiment.retrain):
        assert training.exit_weights == {"cell2": 1, "last": 3}
        assert exit_weights(training.exit_weights, largest) == [0.25, 0.75]
    own = make_plan(write(tmp_path / "own", {"cell2": 1, "last": 3}))
    assert own.experiment == plan.experiment


def test_the_weights_of_separately_trained_candidates_may_too(tmp_path):
    evaluate = {"weights": "scratch(1)", "training": {"batch_size": 64, "recipe": "classic", "exit_weights": WEIGHTS}}
    retrain = EXPERIMENT["retrain"] | {"weights": "scratch"}
    plan = make_plan(write_spec(tmp_path, STACKS, evaluate=evaluate, retrain=retrain))
    assert plan.experiment.candidate_training.exit_weights == {"cell2": 1, "last": 3}


def test_a_search_with_such_weights_runs_and_resumes(tmp_path):
    spec = write(tmp_path / "spec", WEIGHTS)
    run_search(spec, tmp_path / "run")
    session = run_search(spec, tmp_path / "run")
    assert session.front() and RunConfig.read(session.run).experiment.retrain.exit_weights == {"cell2": 1, "last": 3}


@pytest.mark.parametrize(
    "weights, expected",
    [
        ({"stage1": 1, "cell2": 1, "last": 1}, "must be distinct, but got ['cell2', 'last', 'stage1']"),
        ({"stage2": 1, "last": 1}, "must be one of cell2, last, but got 'stage2'"),
        ({"stage1": 1}, "must name every exit site, but last is missing"),
    ],
)
def test_a_site_is_named_once(tmp_path, weights, expected):
    with pytest.raises(SpecError) as refused:
        make_plan(write(tmp_path, weights))
    assert expected in str(refused.value) and "supernet.exit_weights: " in str(refused.value)
