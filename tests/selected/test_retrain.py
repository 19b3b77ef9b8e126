import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_run import EXPERIMENT, Stopped, StoppedInTraining, own_copy, searched, searched_genes, write_spec

from aebnas.core.errors import UserError
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_train
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.exit_table.tabulate import tabulate, tabulate_for
from aebnas.policies.threshold_search.find import find
from aebnas.run.session import RunSession
from aebnas.run.weight_files import model_weights
from aebnas.search.loop import run_search
from aebnas.selected.retrain import retrain
from aebnas.selected.selected_model import load_selected_model


@pytest.fixture(scope="module")
def retrained(tmp_path_factory):
    """(run, id, operating point) of a pick with an early exit, retrained from the supernet's weights."""
    run = own_copy(searched(tmp_path_factory), tmp_path_factory.mktemp("retrained"))
    picked = next(p for _, p in RunSession.open(run).front() if len(p.exit_shares) > 1 and min(p.exit_shares) > 0)
    return run, *retrain(run, picked.id)


@pytest.fixture
def own(tmp_path_factory, tmp_path):
    return own_copy(searched(tmp_path_factory), tmp_path)


def test_what_is_written(retrained):
    run, point_id, point = retrained
    record = json.loads((run / "picks" / f"{point_id}.json").read_text())["retrained"]
    assert record["metrics"] == point.metrics
    assert record["source"] == "retrained for 1 epochs from the supernet's weights"
    assert record["samples"] == 287
    folder = run / "models" / point_id
    assert {path.name for path in folder.iterdir()} >= {"weights.safetensors", "train_epoch_metrics.csv"}
    assert not (folder / "checkpoint.pt").exists()
    assert f"retrain {point_id}" in RunSession.open(run).run.seconds()


def test_the_retrained_network_is_the_one_that_was_measured(retrained):
    run, point_id, point = retrained
    session = RunSession.open(run)
    chosen = load_selected_model(session, point_id)
    assert (chosen.id, chosen.policy) == (point_id, point.policy)
    assert chosen.source == "retrained for 1 epochs from the supernet's weights"
    table = tabulate_for(point.policy, chosen.network, session.images.splits.search, session.images.preprocessing)
    scored = score_policy(table, point.policy)
    assert scored.accuracy == pytest.approx(point.metrics["accuracy"], abs=2 / 287)
    assert scored.avg_macs == pytest.approx(point.metrics["avg_macs"], rel=0.02)


def test_thresholds_are_found_again_within_the_cost_of_the_pick(retrained):
    """On `calibrate`, under the new weights: none that costs no more is more accurate there."""
    run, point_id, point = retrained
    session = RunSession.open(run)
    _, picked = session.pick(point_id)
    network = load_selected_model(session, point_id).network
    policy = session.space.spec.policy
    temperatures, images = point.policy.temperatures, session.images
    table = tabulate(network, images.splits.calibrate, images.preprocessing, policy.scores, temperatures=temperatures)
    scored, budget = score_policy(table, point.policy), picked.metrics["avg_macs"]
    assert point.policy != picked.policy
    assert scored.avg_macs <= budget * 1.001
    assert scored.accuracy >= find(table, policy, policy.thresholds.optimise).within(budget).accuracy - 1e-9


def test_threshold_genes_stay_and_temperatures_are_fitted_again(tmp_path_factory, tmp_path):
    run = own_copy(searched_genes(tmp_path_factory), tmp_path)
    _, picked = RunSession.open(run).pick("best-accuracy")
    policy = retrain(run, "best-accuracy")[1].policy
    assert policy == replace(picked.policy, temperatures=policy.temperatures)
    assert len(policy.temperatures) == len(picked.policy.temperatures)
    assert policy.temperatures != picked.policy.temperatures


def test_from_scratch_is_another_network_and_forgets_the_supernet(own):
    point_id, _ = retrain(own, "knee", "supernet")
    inherited = model_weights(RunSession.open(own).run, point_id).read_bytes()
    (own / "checkpoints" / "supernet.safetensors").unlink()
    assert retrain(own, "knee", "scratch", epochs=2)[0] == point_id
    record = json.loads((own / "picks" / f"{point_id}.json").read_text())["retrained"]
    assert record["source"] == "retrained for 2 epochs from scratch"
    assert model_weights(RunSession.open(own).run, point_id).read_bytes() != inherited


@pytest.mark.parametrize("weights_of_the_second", ["scratch", "supernet"])
def test_an_interrupted_retraining_resumes_unless_the_settings_changed(own, weights_of_the_second):
    whole_id, whole = retrain(own, "knee", weights_of_the_second, 2)
    weights = model_weights(RunSession.open(own).run, whole_id)
    expected = weights.read_bytes()
    weights.unlink()
    with pytest.raises(Stopped):
        retrain(own, "knee", "scratch", 2, listen=StoppedInTraining)
    assert (weights.parent / "checkpoint.pt").exists()
    assert retrain(own, "knee", weights_of_the_second, 2)[1].metrics == whole.metrics
    assert weights.read_bytes() == expected


def test_a_kill_before_the_record_was_written_leaves_the_inherited_network(own):
    point_id, _ = retrain(own, "knee")
    (own / "picks" / f"{point_id}.json").unlink()
    assert load_selected_model(RunSession.open(own), "knee").source == "inherited from the supernet"


def test_an_unknown_pick_is_reported(own):
    with pytest.raises(UserError, match="pick"):
        retrain(own, "nonesuch")
    assert not (own / "models").exists()


def test_neither_search_nor_retraining_reads_the_test_set(tmp_path):
    """An array file whose test images are damaged serves them both."""
    train = load_train(DataSpec(name="digits"), tmp_path)
    x_train = train.pixels()[:, 0].numpy()
    for name, value in (("spec", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "arrays.npz"
        x_test = np.full((300, 8, 8), 77, dtype=np.uint8)
        np.savez(file, x_train=x_train, y_train=train.labels.numpy(), x_test=x_test, y_test=np.arange(300) % 10)
        damaged = file.read_bytes().replace(x_test.tobytes(), bytes([value]) * x_test.size)  # no longer of its checksum
        file.write_bytes(damaged)
    fronts = []
    for name in ("spec", "other"):
        data = EXPERIMENT["data"] | {"name": "npz", "path": "arrays.npz"}
        run = tmp_path / f"run of {name}"
        run_search(write_spec(tmp_path / name, data=data), run)
        fronts.append((run / "pareto.csv").read_bytes())
    assert fronts[0] == fronts[1]
    retrain(run, "knee")
    from aebnas.selected.evaluate import evaluate

    with pytest.raises(UserError, match="x_test: must be a readable array"):
        evaluate(run, "knee")


def test_the_weights_are_plain_tensors(retrained):
    from safetensors.torch import load_file

    run, point_id, _ = retrained
    state = load_file(run / "models" / point_id / "weights.safetensors")
    assert all(torch.isfinite(tensor).all() and tensor.dtype == torch.float32 for tensor in state.values())
