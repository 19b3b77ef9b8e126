"""The strategy whose jobs are relaxed trainings."""

import numpy as np
import pytest
from synthetic import OBJECTIVES, FakeArchitecture, FakeSpace, make_point

from aebnas.strategies.build import make_strategy
from aebnas.strategies.strategy import RelaxedJob
from aebnas.strategies.strategy_spec import StrategySpec
from aebnas.strategies.trial import Trial


def make(**settings):
    spec = StrategySpec(name="adaptive_darts", **({"lambdas": (0.1, 0.5)} | settings))
    return make_strategy(spec, FakeSpace(), OBJECTIVES, (), None, np.random.default_rng(1))


def trial(number, job, status="ok"):
    architecture = FakeArchitecture((number,))
    points = (make_point(architecture, 0.5, 1.0, 0.5),) if status == "ok" else ()
    return Trial(number, architecture, None, status, points, "" if points else "NaN", job.origin, 0.0)


def test_all_lambdas_and_forms_are_in_the_first_generation():
    strategy = make()
    jobs = strategy.ask()
    assert jobs == [RelaxedJob(w, form) for w in (0.1, 0.5) for form in ("static", "adaptive")]
    assert len({job.key for job in jobs}) == len({job.origin for job in jobs}) == 4 == strategy.spec.evaluations
    strategy.tell([trial(number, job) for number, job in enumerate(jobs)])
    assert strategy.ask() == strategy.ask() == []


def test_only_the_forms_of_the_spec_are_asked():
    assert make(forms=("static",), lambdas=(0.0,)).ask() == [RelaxedJob(0.0, "static")]


def test_trials_must_match_the_jobs_in_order_whatever_their_architecture():
    strategy = make()
    jobs = strategy.ask()
    trials = [trial(number, job, "failed" if number == 1 else "ok") for number, job in enumerate(jobs)]
    with pytest.raises(ValueError, match="ask must follow tell"):
        strategy.ask()
    for wrong in (trials[::-1], trials[:-1], []):
        with pytest.raises(ValueError, match="must match the 4 jobs asked, in order"):
            strategy.tell(wrong)
    strategy.tell(trials)
    assert strategy.ask() == []


def test_jobs_depend_on_the_spec_not_on_the_generator():
    asked = [
        make_strategy(make().spec, FakeSpace(), OBJECTIVES, (), None, np.random.default_rng(s)).ask() for s in (1, 2)
    ]
    assert asked[0] == asked[1]
