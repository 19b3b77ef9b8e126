import numpy as np
import pytest
from tiny_run import searched

from aebnas.cost.bounds.space_bounds import space_bounds
from aebnas.run.hypervolume import CURVE_PLACES, Growth, GrowthCurve, normalised_hypervolume
from aebnas.run.run_facts import max_cost
from aebnas.run.session import RunSession
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.strategies.trial import OperatingPoint, Trial


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return RunSession.open(searched(tmp_path_factory))


@pytest.fixture
def made(session):
    """The function that makes a trial with one point, of given accuracy, and cost as a share of the maximum."""
    architecture = session.run.trials()[0].architecture
    most = session.facts.max_costs["avg_macs"]

    def make(number, accuracy, cost):
        metrics = {"accuracy": accuracy, "avg_macs": cost * most}
        point = OperatingPoint(architecture.id, ExitPolicy("margin", ()), metrics, (1.0,), (accuracy,))
        return Trial(number, architecture, None, "ok", (point,), "", "test", 1.0)

    return make


def test_hypervolume_of_two_points_by_hand(session, made):
    """Error 0.2 at half of the maximum cost, error 0.6 at a tenth of it; reference (1, 1)."""
    trials = [made(0, 0.8, 0.5), made(1, 0.4, 0.1)]
    points = [(trial, trial.points[0]) for trial in trials]
    assert normalised_hypervolume(session.facts, points) == pytest.approx(0.8 * 0.5 + 0.4 * (0.5 - 0.1))
    assert normalised_hypervolume(session.facts, points[:1]) == pytest.approx(0.4)
    assert normalised_hypervolume(session.facts, []) == 0.0


def test_an_updated_front_is_that_of_all_trials(session):
    growth = Growth(session.facts)
    for trial in session.run.trials():
        growth.add(trial)
    assert growth.size == len(session.front())
    assert growth.hypervolume == pytest.approx(normalised_hypervolume(session.facts, session.front()))


def test_what_is_dominated_changes_nothing(session, made):
    growth = Growth(session.facts)
    assert growth.hypervolume == 0.0
    assert growth.add(made(0, 0.8, 0.5)) and not growth.add(made(1, 0.7, 0.6))
    assert (growth.size, growth.hypervolume) == (1, pytest.approx(0.4))
    assert growth.add(made(2, 0.9, 0.4))
    assert (growth.size, growth.hypervolume) == (1, pytest.approx(0.9 * 0.6))


def test_failed_trials_add_nothing(session, made):
    architecture = made(0, 0.5, 0.5).architecture
    assert not Growth(session.facts).add(Trial(1, architecture, None, "failed", (), "worker lost", "test", 1.0))


def growth_curve(facts, trials):
    curve = GrowthCurve(facts, len(trials))
    for trial in trials:
        curve.add(trial)
    return curve.columns


def test_the_curve_never_falls_and_ends_with_all_trials(session, made, rng):
    trials = [made(number, *rng.random(2)) for number in range(2 * CURVE_PLACES)]
    curve = growth_curve(session.facts, trials)
    assert len(curve["trials"]) == CURVE_PLACES and curve["trials"][-1] == len(trials)
    assert np.all(np.diff(curve["hypervolume"]) >= 0) and curve["hypervolume"][0] < curve["hypervolume"][-1]
    points = [(trial, trial.points[0]) for trial in trials]
    assert curve["hypervolume"][-1] == pytest.approx(normalised_hypervolume(session.facts, points))
    assert growth_curve(session.facts, []) == {"trials": [], "front_points": [], "hypervolume": []}


def test_the_maximum_cost_is_that_of_the_space(session):
    for metric, name in (("avg_macs", "macs"), ("macs", "macs"), ("params", "params")):
        upper = space_bounds(session.space.spec, lambda counts, name=name: getattr(counts, name)).upper
        assert max_cost(session.space, metric, None, session.cost_model) == upper
