"""Exit-aware retraining from the spec to the loaded network: two stages, L_policy and stop heads."""

import numpy as np
import pytest
from tiny_run import EXPERIMENT, SPACE, write_spec

from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.exit_table.tabulate import tabulate
from aebnas.run.session import RunSession
from aebnas.runtime.exit_criteria import LEARNED
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.search.loop import run_search
from aebnas.selected.retrain import retrain
from aebnas.selected.selected_model import load_selected_model

EXITS = {"frozen_backbone": 0.5, "stop_heads": True, "policy_loss": 0.05}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of networks with exits whose picks are retrained in two stages, with stop heads."""
    folder = tmp_path_factory.mktemp("exits")
    space = SPACE | {"exits": {"optional": False}}
    spec = write_spec(folder, space, retrain=EXPERIMENT["retrain"] | {"epochs": 2, "exits": EXITS})
    run_search(spec, folder / "run")
    return folder / "run"


def test_a_pick_is_retrained_with_stop_heads_and_loads_with_them(run):
    picked = RunSession.open(run).front()[0][1]
    point_id, point = retrain(run, picked.id)
    session = RunSession.open(run)
    chosen = load_selected_model(session, point_id)
    assert [bool(graph_exit.stop) for graph_exit in chosen.network.graph.exits] == [True, False]
    assert chosen.policy == point.policy and point.policy.criterion in ("confidence", "margin", LEARNED)
    assert point.metrics["avg_macs"] > 0
    left = {path.name for path in (run / "models" / point_id).iterdir()}
    assert not left & {"checkpoint.pt", "backbone.pt", "unfinished.json"}
    table = tabulate(
        chosen.network, session.images.splits.calibrate, session.images.preprocessing, ["confidence", LEARNED]
    )
    learned = ExitPolicy(LEARNED, (float(np.median(table.scores[LEARNED][:, 0])),))
    assert 0 < score_policy(table, learned).exit_shares[0] < 1
