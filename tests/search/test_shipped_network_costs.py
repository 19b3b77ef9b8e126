"""Candidates are charged as the networks that ship, with the stop heads that a training of the experiment adds."""

import dataclasses
import importlib.util
import sys

import pytest
from made_up_device import made_up
from tiny_darts import DARTS
from tiny_darts import SPACE as DARTS_SPACE
from tiny_run import EXPERIMENT, SPACE, TRAIN, write_spec

from aebnas.core.errors import UserError
from aebnas.core.metrics import Constraint
from aebnas.cost.counts import count_graph
from aebnas.cost.latency.space_layers import space_keys
from aebnas.evaluation.operating_points import provably_infeasible
from aebnas.report.payload import digest_of, payload
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.search.loop import run_search
from aebnas.search.plan import make_plan
from aebnas.selected.evaluate import export
from aebnas.selected.selected_model import load_selected_model
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec
from aebnas.strategies.strategy import Job

HEADS = {"exits": {"stop_heads": True}}
ONE = SPACE | {
    "stages": [{"width": 4, "depth": 1, "op": "basic"}, {"width": 8, "depth": 1, "stride": 2, "op": "basic"}],
    "exits": {"optional": False},
    "policy": {"criterion": "confidence", "thresholds": {"genes": [0.2, 0.6]}},
}
"""One architecture with one early exit, on maps of 4 channels: its stop head has 5 parameters and 4 MACs."""
PARAMS, MACS = 5, 4
OWN_TRAINING = {"batch_size": 64, "precision": "fp32"} | HEADS
SEARCHED = {"strategy": {"name": "random", "population": 4, "generations": 1}}
BY_ITSELF = SEARCHED | {
    "supernet": None,
    "evaluate": EXPERIMENT["evaluate"] | {"weights": "scratch(1)", "training": OWN_TRAINING},
    "retrain": TRAIN | {"epochs": 1, "weights": "scratch"},
}
STATIC = DARTS["strategy"] | {"forms": ["static"]}
INHERITED = SEARCHED | {"retrain": EXPERIMENT["retrain"] | HEADS}
"""Scored with the supernet's weights; the retraining adds the heads."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    base = tmp_path_factory.mktemp("headed")
    run_search(write_spec(base / "spec", ONE, **BY_ITSELF), base / "run")
    return base / "run"


def plain_counts(folder):
    """Parameters and MACs of the architecture without heads."""
    counts = count_graph(lower(RunSession.open(folder).run.trials()[0].architecture))
    return counts.params.total, counts.macs.total


def test_a_search_reports_the_counts_of_the_exported_network(run, tmp_path):
    session = RunSession.open(run)
    params, macs = plain_counts(run)
    points = [point for trial in session.run.trials() for point in trial.points]
    assert {(p.metrics["params"], p.metrics["macs"]) for p in points} == {(params + PARAMS, macs + MACS)}

    point_id = export(run, points[0].id, tmp_path / "out")
    shipped = load_selected_model(session, point_id).network
    assert points[0].metrics["params"] == sum(parameter.numel() for parameter in shipped.parameters())
    floats = [value for name, value in shipped.state_dict().items() if not name.endswith("num_batches_tracked")]
    assert points[0].metrics["weight_bytes"] == 4 * sum(value.numel() for value in floats)
    module = importlib.util.spec_from_file_location("exported_model", tmp_path / "out" / "model.py")
    sys.modules[module.name] = loaded = importlib.util.module_from_spec(module)
    module.loader.exec_module(loaded)
    model = loaded.Model.load(tmp_path / "out")
    assert points[0].metrics["params"] == sum(parameter.numel() for parameter in model.network.parameters())
    assert points[0].metrics["macs"] == model.full_macs


def test_the_report_draws_the_network_that_is_counted(run):
    session = RunSession.open(run)
    (drawn,) = payload(session.facts, digest_of(session.facts))["architectures"]
    params, macs = plain_counts(run)
    boxes = drawn["drawing"]["boxes"]
    assert (sum(box["params"] for box in boxes), sum(box["macs"] for box in boxes)) == (params + PARAMS, macs + MACS)


@pytest.mark.parametrize("changes", [BY_ITSELF, INHERITED], ids=["by itself", "inherited"])
@pytest.mark.parametrize("metric, head", [("params", PARAMS), ("macs", MACS)])
def test_a_budget_between_the_two_is_refused(run, tmp_path, changes, metric, head):
    plain = dict(zip(("params", "macs"), plain_counts(run), strict=True))[metric]
    enough = write_spec(tmp_path / "enough", ONE, **changes, constraints=[f"{metric} <= {plain + head}"])
    assert make_plan(enough).experiment.ships_stop_heads
    between = write_spec(tmp_path / "between", ONE, **changes, constraints=[f"{metric} <= {plain + head - 1}"])
    with pytest.raises(UserError, match=rf"constraints.0: .*{plain + head:,}"):
        make_plan(between)
    assert make_plan(write_spec(tmp_path / "plain", ONE, **SEARCHED, constraints=[f"{metric} <= {plain}"]))


def test_candidates_are_pruned_with_their_heads(run):
    session = RunSession.open(run)
    trial, (params, macs) = session.run.trials()[0], plain_counts(run)
    job = Job(trial.architecture, trial.policy, "")
    for metric, value in [("params", params + PARAMS), ("macs", macs + MACS)]:
        kept, refused = (Constraint(metric, "<=", bound) for bound in (value, value - 1))
        assert provably_infeasible([job], [kept], session.candidate_cost_model) == [None]
        assert provably_infeasible([job], [refused], session.candidate_cost_model) != [None]


def profile_without_heads(space):
    """A profile as it was written before profiles contained stop heads."""
    known, heads = made_up(space), space_keys(space, stop_heads=True) - space_keys(space, stop_heads=False)
    assert heads
    return dataclasses.replace(known, layers={key: time for key, time in known.layers.items() if key not in heads})


@pytest.mark.parametrize(
    "space, changes",
    [
        (ONE, BY_ITSELF),
        (DARTS_SPACE, DARTS | {"relaxed": DARTS["relaxed"] | {"controller": 0}} | {"strategy": STATIC}),
    ],
    ids=["trained heads", "relaxed heads"],
)
def test_a_device_profile_must_contain_the_heads(tmp_path, space, changes):
    spec = write_spec(tmp_path, space, **changes, device={"profile": "chip.json"})
    made_up(SpaceSpec.model_validate(space)).save(tmp_path / "chip.json")
    assert make_plan(spec).profile is not None
    profile_without_heads(SpaceSpec.model_validate(space)).save(tmp_path / "chip.json")
    with pytest.raises(UserError, match=r"must hold exit\.\w+\.?\w*\.stop \(classes 1\) on a map"):
        make_plan(spec)


def test_bounds_that_input_adaptive_networks_can_leave_refuse_nothing(tmp_path):
    """They hold several ops an edge and a controller, and a sample of theirs may be given `zero` everywhere."""
    static = DARTS | {"strategy": STATIC}
    for number, limit in enumerate(["params >= 1e6", "avg_macs <= 1"]):
        make_plan(write_spec(tmp_path / f"adaptive{number}", DARTS_SPACE, **DARTS, constraints=[limit]))
        with pytest.raises(UserError, match=r"constraints.0"):
            make_plan(write_spec(tmp_path / f"static{number}", DARTS_SPACE, **static, constraints=[limit]))
    with pytest.raises(UserError, match=r"constraints.0"):
        make_plan(write_spec(tmp_path / "params", DARTS_SPACE, **DARTS, constraints=["params <= 10"]))


def test_inherited_candidates_are_charged_as_retraining_ships_them(run, tmp_path):
    run_search(write_spec(tmp_path / "spec", ONE, **INHERITED), tmp_path / "run")
    params, macs = plain_counts(run)
    for trial in Run.open(tmp_path / "run").trials():
        for point in trial.points:
            assert (point.metrics["params"], point.metrics["macs"]) == (params + PARAMS, macs + MACS)
            assert point.metrics["avg_macs"] <= macs + MACS
    everyone_stays = [0.0, 1.0]
    stays = [p for t in Run.open(tmp_path / "run").trials() for p in t.points if list(p.exit_shares) == everyone_stays]
    assert all(point.metrics["avg_macs"] == macs + MACS for point in stays)
