"""Searches that have fewer trials than their spec asks for say why."""

import json

import numpy as np
import pytest
import tiny_darts
from tiny_run import FEW_GENES, GENES, SPACE, front_of, write_spec

import aebnas.strategies.strategy
from aebnas.cli.main import main
from aebnas.core.metrics import Objective, SoftTarget
from aebnas.report.run_list import listed
from aebnas.search import loop as search_loop
from aebnas.search.loop import run_search
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec
from aebnas.strategies.build import make_strategy
from aebnas.strategies.job_count import size_note
from aebnas.strategies.strategy_spec import StrategySpec
from aebnas.strategies.trial import Trial

LARGE = {"population": 50, "generations": 3}


def summary(run):
    return json.loads((run / "summary.json").read_text())


@pytest.mark.parametrize("name", ["random", "nsga2"])
def test_a_population_larger_than_the_space_is_explained(name, tmp_path, capsys, monkeypatch):
    totals, progress_bar = [], search_loop.progress_bar

    def seen(label, total, *others):
        totals.append((label, total))
        return progress_bar(label, total, *others)

    monkeypatch.setattr(search_loop, "progress_bar", seen)
    spec, run = write_spec(tmp_path / "spec", FEW_GENES, strategy={"name": name} | LARGE), tmp_path / "runs" / "run"
    main(["search", str(spec), "--out", str(run)])
    printed = capsys.readouterr()
    before, after = [line for line in printed.err.splitlines() if line.startswith("note: ")]
    assert before.startswith(
        "note: the space has only 6 different candidates, so the search ends after at most 6 of 150 "
    )
    assert after == "note: 6 of 150 planned trials: all 6 different candidates of the space are evaluated"
    assert totals == [("search", 6)]
    found = summary(run)
    assert (found["trials"], found["max_trials"], found["ended_early"]) == (6, 6, "space exhausted")
    assert found["ended_early_because"] == "all 6 different candidates of the space are evaluated"
    assert "finished, space exhausted, 6 of 6 trials" in printed.out and found["ended_early_because"] in printed.out
    main(["list", str(run.parent)])
    assert "finished, space exhausted" in (line := capsys.readouterr().out) and "6 of 6" in line
    front = front_of(run)
    main(["resume", str(run)])  # the reason is the same when trials are replayed
    assert after in capsys.readouterr().err and front_of(run) == front and summary(run)["trials"] == 6


def test_a_search_that_has_all_of_its_trials_says_nothing(tmp_path, capsys):
    session = run_search(write_spec(tmp_path / "spec"), tmp_path / "run")
    found = summary(session.run.folder)
    assert (found["max_trials"], found["ended_early"], found["ended_early_because"]) == (8, None, None)
    assert listed(tmp_path / "run").state == "finished" and "note: " not in capsys.readouterr().err


def asked(spec, space=FEW_GENES, target=None):
    """A strategy after its whole search, in which every candidate failed."""
    search_space = SearchSpace(SpaceSpec.model_validate(space))
    objectives = [Objective("accuracy"), Objective("avg_macs")]
    strategy = make_strategy(spec, search_space, objectives, [], target, np.random.default_rng(11))
    number = 0
    while jobs := strategy.ask():
        numbered = enumerate(jobs, start=number)
        strategy.tell([Trial(n, j.architecture, j.policy, "failed", (), "why", j.origin, 0.0) for n, j in numbered])
        number += len(jobs)
    return strategy


@pytest.mark.parametrize("name", ["random", "nsga2"])
def test_a_strategy_that_gives_up_is_told_from_a_space_that_is_exhausted(name, monkeypatch):
    assert asked(StrategySpec(name=name, **LARGE)).shortfall().state == "space exhausted"
    assert asked(StrategySpec(name=name, population=4, generations=1)).shortfall() is None
    monkeypatch.setattr(aebnas.strategies.strategy, "MAX_MISSES", 1)  # of the first population of each strategy
    shortfall = asked(StrategySpec(name=name, population=400, generations=1), GENES).shortfall()
    assert shortfall.state == "no new candidates" and "of the space's " in shortfall.sentence
    expected = "random candidates in a row were known already" if name == "random" else "too few new candidates"
    assert expected in shortfall.sentence


def test_architectures_are_counted_where_thresholds_are_found_for_each():
    target = SoftTarget("avg_macs", 1e4, tunes_thresholds=True)
    strategy = asked(StrategySpec(**LARGE), target=target)
    assert (len(strategy.asked), strategy.jobs_in_space, strategy.max_jobs) == (2, 2, 2)
    assert "all 2 different candidates" in strategy.shortfall().sentence


def test_trainings_of_adaptive_darts_do_not_depend_on_the_size_of_the_space():
    spec = StrategySpec(name="adaptive_darts", lambdas=(0.1, 1.0))
    space = SpaceSpec.model_validate(tiny_darts.SPACE)
    assert size_note(spec, space, None) is None and asked_jobs(spec, space) == (4, None)


def asked_jobs(spec, space):
    strategy = make_strategy(spec, SearchSpace(space), [Objective("accuracy")], [], None, np.random.default_rng(11))
    jobs = strategy.ask()
    return len(jobs), strategy.shortfall()


def test_a_space_of_one_candidate():
    block = {"width": 4, "depth": 1, "op": "basic"}
    one = SPACE | {"stages": [block, block | {"stride": 2}], "exits": {"at": []}}
    assert asked(StrategySpec(**LARGE), one).shortfall().sentence == "the only candidate of the space is evaluated"
    assert size_note(StrategySpec(**LARGE), SpaceSpec.model_validate(one), None).startswith(
        "the space has only 1 different candidate, so the search ends after at most 1 of 150 trials"
    )
