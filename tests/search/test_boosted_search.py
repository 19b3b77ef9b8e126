"""A search over boosted networks and others, to an exported pick."""

import numpy as np
import pytest
import torch
from tiny_run import EXPERIMENT, SPACE, write_spec

from aebnas.cost.counts import count_graph
from aebnas.export.model import Model
from aebnas.report.payload import digest_of, payload
from aebnas.run.session import RunSession
from aebnas.search.loop import run_search
from aebnas.selected.evaluate import evaluate, export
from aebnas.selected.retrain import retrain
from aebnas.space.lowering import lower

STAGES = [{"width": 4, "depth": 1, "op": "basic"}, {"width": [4, 8], "depth": 1, "stride": 2, "op": "basic"}]
BOTH = SPACE | {
    "stages": [*STAGES, {"width": 8, "depth": 1, "op": "basic"}],
    "exits": {"boosted": [False, True], "depth": [0, 1]},
    "policy": {"criterion": "margin", "thresholds": {"genes": [0.05, "never"]}},
}


ALWAYS = BOTH | {"exits": {"boosted": True, "optional": False}}


def searched(base, space, count):
    strategy = {"name": "random", "population": count, "generations": 1}
    spec = write_spec(base / "spec", space, strategy=strategy, supernet=EXPERIMENT["supernet"] | {"epochs": 1})
    run_search(spec, base / "run")
    return base / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("boosted"), BOTH, 16)


def test_both_kinds_are_found_and_charged_as_they_run(run):
    trials = RunSession.open(run).run.trials()
    kinds = {trial.architecture.boosted for trial in trials if trial.architecture.exits}
    assert kinds == {True, False} and all(trial.status == "ok" for trial in trials)
    assert not any(trial.architecture.boosted for trial in trials if not trial.architecture.exits)
    never = 0
    for trial in trials:
        macs = count_graph(lower(trial.architecture)).macs
        for point in trial.points:
            runs_e = np.array([point.policy.runs(index) for index in range(macs.exits)])
            expected = float(macs.to_exit(runs_e) @ np.array(point.exit_shares))
            assert point.metrics["avg_macs"] == pytest.approx(expected)
            if trial.architecture.boosted:
                assert point.metrics["avg_macs_taken_only"] == point.metrics["avg_macs"]
                never += not runs_e.all()
                assert point.metrics["macs"] == macs.to_exit(runs_e)[-1]
    assert never


def test_a_boosted_pick_is_retrained_evaluated_and_exported(tmp_path):
    run = searched(tmp_path, ALWAYS, 4)
    trial, point = RunSession.open(run).front()[0]
    assert trial.architecture.boosted and len(trial.architecture.exits) == 2
    point_id, _ = retrain(run, point.id)
    saving = evaluate(run, point_id).evaluation.saving["macs"]
    macs = count_graph(lower(trial.architecture)).macs
    assert 1 - macs.full / macs.without_exits <= saving <= 1 - macs.backbone_e[0] / macs.without_exits
    export(run, point_id, tmp_path / "out")
    model = Model.load(tmp_path / "out")
    assert model.check().problems == () and model.network.graph.boosted
    x = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        everything = model.network(x)
        last = model.network.infer(x, type(model.policy)("margin", (None,) * len(trial.architecture.exits)))
    assert torch.equal(last.logits, everything[-1])


def test_the_report_draws_the_sums(run):
    session = RunSession.open(run)
    drawn = payload(session.facts, digest_of(session.facts))["architectures"]
    boosted = [each for each in drawn if each["text"].endswith("boosted")]
    assert boosted and all(any(box["label"] == "boost" for box in each["drawing"]["boxes"]) for each in boosted)
    assert all(not any(box["label"] == "boost" for box in e["drawing"]["boxes"]) for e in drawn if e not in boosted)
