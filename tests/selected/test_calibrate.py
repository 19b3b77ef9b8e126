"""`calibrate` and `sweep` of a run, from recorded outputs; `evaluate` and `export` use the calibrated policy."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_run import certified, own_copy, searched

from aebnas.core.errors import UserError
from aebnas.export.model import Model
from aebnas.export.read_folder import read_export
from aebnas.export.recalibrate import retune
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.exit_table.tabulate import tabulate_for
from aebnas.policies.threshold_search.goal import Goal
from aebnas.report.html import write_html
from aebnas.report.payload import digest_of
from aebnas.report.run_report import RunReport
from aebnas.run.session import RunSession
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.normalise import normalise
from aebnas.selected import recorded_outputs
from aebnas.selected.calibrate import calibrate
from aebnas.selected.evaluate import evaluate, export
from aebnas.selected.retrain import retrain
from aebnas.selected.selected_model import load_selected_model
from aebnas.selected.sweep import sweep


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return certified(tmp_path_factory)


@pytest.fixture
def own(run, tmp_path):
    return own_copy(run, tmp_path)


@pytest.fixture
def no_network(monkeypatch):
    """After its call, running a network fails the test."""

    def forbid():
        def refused(*arguments, **options):
            raise AssertionError("the network was run again")

        monkeypatch.setattr(recorded_outputs, "record_logits", refused)
        monkeypatch.setattr(recorded_outputs, "load_network", refused)

    return forbid


def test_a_goal_is_met_without_running_the_network_again(own, no_network):
    calibrate(own, "knee", Goal.read(beta=0.5))
    no_network()
    for goal in (Goal.read(beta=1.0), Goal.read(accuracy_target=0.3), Goal.read(budget="avg_macs=1.2e5")):
        found = calibrate(own, "knee", goal)
        assert found.policy in [point.policy for point in found.tuned.found.points]
        record = json.loads((own / "picks" / f"{found.id}.json").read_text())["calibrated"]
        assert record["policy"] == found.policy.to_json() and record["goal"] == str(goal)
        assert len(record["exits"]) == 3 and record["exits"][0]["temperature"] == found.policy.temperatures[0]
    swept = sweep(own, "knee", ("auto", "fixed", "greedy", "value_iteration"), listen=RunReport)
    table = pd.read_csv(swept.csv)
    assert set(table["method"]) == {"auto", "fixed", "greedy", "value_iteration"}
    assert swept.csv.with_suffix(".png").stat().st_size > 9000
    assert ExitPolicy.from_json(json.loads(table["policy"][0])).temperatures


def test_temperatures_lower_the_loss_they_are_fitted_for(own):
    found = calibrate(own, "knee", Goal.read(beta=0.5))
    plain = calibrate(own, "knee", Goal.read(beta=0.5), temperatures=False)
    assert all(each.temperature > 0 for each in found.exits) and plain.policy.temperatures == ()
    assert [each.temperature for each in plain.exits] == [1.0] * 3


@pytest.mark.parametrize("method", ["joint", "lagrangian", "value_iteration", "greedy", "fixed", "dart"])
def test_every_method_ends_in_a_policy_that_runs_as_it_was_scored(own, method):
    found = calibrate(own, "knee", Goal.read(beta=0.3), method, per_exit=8)
    session = RunSession.open(own)
    chosen = load_selected_model(session, "knee")
    assert chosen.policy == found.policy and (found.policy.difficulty is not None) == (method == "dart")
    search = session.images.splits.search
    pixels = search.pixels()
    alpha = None if found.policy.difficulty is None else found.policy.difficulty.alpha(pixels)
    answer = chosen.network.infer(normalise(pixels, session.images.preprocessing), found.policy, alpha)
    shares = np.bincount(answer.exit_index, minlength=3) / len(search)
    assert shares == pytest.approx(found.point.exit_shares)
    assert (found.difficulty_ms is not None) == (method == "dart")


def test_the_policy_is_evaluated_and_exported_until_the_weights_change(own, tmp_path):
    found = calibrate(own, "knee", Goal.read(risk="0.3,0.1"))
    promise = found.tuned.promise
    assert promise is not None and promise.samples == len(RunSession.open(own).images.splits.certify)
    tested = evaluate(own, "knee")
    assert tested.point.policy == found.policy and "thresholds for risk" in tested.source
    export(own, "knee", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert str(promise) in card and f"| {promise.samples:,} | 0.3 | 0.1 |" in card
    assert json.loads((tmp_path / "out" / "policy.json").read_text()) == found.policy.to_json()
    again = calibrate(own, "knee", Goal.read(risk="0.2,0.1"))
    assert again.certify_uses == 2 and "tested on certify 2 times" in again.notes[0]
    _, point = retrain(own, "knee")
    chosen = load_selected_model(RunSession.open(own), "knee")
    assert chosen.policy == point.policy and "thresholds for" not in chosen.source


def test_a_difficulty_with_the_earlier_gradient_term_is_refused_until_calibrated_again(own, tmp_path, no_network):
    found = calibrate(own, "knee", Goal.read(beta=0.5), "dart", per_exit=8)
    export(own, "knee", tmp_path / "out")
    record, policy = own / "picks" / f"{found.id}.json", tmp_path / "out" / "policy.json"
    for file in (record, policy):
        text = file.read_text()
        assert '"terms_version": 2' in text
        # as version 0.1 wrote it
        file.write_text(re.sub(r',\s*"terms_version": 2', "", text))
    problem = "the difficulty was fitted with the earlier gradient term; calibrate the run again"
    for use in (lambda: evaluate(own, "knee"), lambda: export(own, "knee", tmp_path / "other")):
        with pytest.raises(UserError, match=f"{found.id}.json: calibrated.policy: {problem}"):
            use()
    with pytest.raises(UserError, match=f"policy.json: cannot be read: {problem}"):
        read_export(tmp_path / "out")
    session = RunSession.open(own)
    write_html(session.facts, digest_of(session.facts))  # the report doesn't depend on it
    no_network()
    assert calibrate(own, "knee", Goal.read(beta=0.5), "dart", per_exit=8).policy == found.policy
    assert load_selected_point(own).policy == found.policy


def load_selected_point(folder):
    session = RunSession.open(folder)
    return session.selected_state(session.pick("knee")).point


def test_an_export_is_re_tuned_without_the_run(own, tmp_path):
    calibrate(own, "knee", Goal.read(beta=0.2))
    export(own, "knee", tmp_path / "out")
    session = RunSession.open(own)
    train = session.images.splits.train
    pixels = train.pixels().permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "new.npz", x=pixels, y=train.labels.numpy())
    network = load_selected_model(session, "knee").network
    (own / "config.json").unlink()
    found = retune(tmp_path / "out", tmp_path / "new.npz", Goal.read(budget="avg_macs=1.2e5"))
    assert (found.samples, found.found_on) == (len(train) - round(0.7 * len(train)), round(0.7 * len(train)))
    model = Model.load(tmp_path / "out")
    assert model.check().problems == () and model.policy.to_json() == found.policy.to_json()
    assert model.monitor.expected.shares == found.after.exit_shares
    x = normalise(train.pixels(), session.images.preprocessing)
    answer = network.infer(x, found.policy)
    assert torch.equal(model.infer(train.pixels()).exit_index, answer.exit_index)
    assert model.monitor.report()["exit_counts"] == np.bincount(answer.exit_index, minlength=3).tolist()
    risky = retune(tmp_path / "out", tmp_path / "new.npz", Goal.read(risk="0.3,0.1"))
    assert risky.promise is not None and str(risky.promise) in (tmp_path / "out" / "README.md").read_text()


def test_figures_of_a_re_tuned_export_are_those_of_images_without_a_part_in_it(own, tmp_path):
    export(own, "knee", tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "card.json").read_text())
    assert facts["split"] == "search" and facts["promise"] is None
    search = RunSession.open(own).images.splits.search
    np.savez(tmp_path / "few.npz", x=search.pixels()[:60].permute(0, 2, 3, 1).numpy(), y=search.labels[:60].numpy())
    with pytest.raises(UserError, match="must hold enough images that each part of them has 50, but got 60"):
        retune(tmp_path / "out", tmp_path / "few.npz", Goal.read(beta=0.5))
    assert json.loads((tmp_path / "out" / "card.json").read_text()) == facts


def test_invalid_requests_are_refused(own):
    with pytest.raises(UserError, match="--method must be one of auto, joint"):
        calibrate(own, "knee", Goal.read(beta=0.5), "magic")
    with pytest.raises(UserError, match="--budget must bound the mean of macs, but got 'joules'"):
        calibrate(own, "knee", Goal.read(budget="joules=3"))
    for kept in (own / "answers").rglob("calibrate.npz"):
        kept.write_bytes(b"PK\x03\x04 not whole")
    with pytest.raises(UserError, match="delete it, and the next command makes it again"):
        calibrate(own, "knee", Goal.read(beta=0.5))


def test_a_promise_needs_a_certify_split(tmp_path_factory, tmp_path):
    run = own_copy(searched(tmp_path_factory), tmp_path)
    with pytest.raises(UserError, match=r"splits.certify: must be above 0 for this command, but the split is empty"):
        calibrate(run, "knee", Goal.read(risk="0.1,0.1"))


def test_recorded_outputs_score_as_a_new_table(own):
    calibrate(own, "knee", Goal.read(beta=0.5))
    kept = recorded_outputs.SelectedModelOutputs.open(own, "knee")
    policy = kept.state.point.policy
    fresh = tabulate_for(policy, kept.network, kept.images("search"), kept.session.images.preprocessing)
    assert score_policy(fresh, policy) == score_policy(kept.table_for(policy, "search"), policy)
