"""The evaluation of a pick on the test set, compared with the running network."""

import json

import numpy as np
import pytest
import torch
from tiny_run import certified, own_copy

from aebnas.cost.exit_costs import ExitCosts
from aebnas.data.corruptions import corrupt_images
from aebnas.data.ood_images import PATCHES, noise_like, shuffled_patches
from aebnas.policies.calibration.reliability import reliability
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.threshold_search.goal import Goal
from aebnas.report.run_report import RunReport
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.normalise import normalise
from aebnas.selected.calibrate import calibrate
from aebnas.selected.evaluate import evaluate
from aebnas.selected.recorded_outputs import SelectedModelOutputs
from aebnas.selected.test_report import CONFIDENT_SHARE, diagnose_other_images


@pytest.fixture(scope="module")
def assessed(tmp_path_factory):
    """The run, and its pick calibrated and evaluated in full."""
    run = own_copy(certified(tmp_path_factory), tmp_path_factory.mktemp("evaluated"))
    calibrate(run, "knee", Goal.read(beta=0.3), per_exit=10, listen=RunReport)
    return run, evaluate(run, "knee", full=True, budgets=[9e4, 1.5e5], listen=RunReport)


def running(outputs, images):
    x_nchw = normalise(images.pixels(), outputs.session.images.preprocessing)
    answer = outputs.network.infer(x_nchw, outputs.state.point.policy)
    return answer.logits, answer.exit_index.numpy()


def test_figures_are_those_of_the_running_network(assessed):
    run, found = assessed
    outputs = SelectedModelOutputs.open(run, "knee")
    images = outputs.images("test")
    logits, taken = running(outputs, images)
    reported = found.evaluation.description
    for index, each in enumerate(found.evaluation.exits):
        logits_nc, divisor = outputs.logits("test").logits_nec[:, index], found.point.policy.temperatures[index]
        right = logits_nc.argmax(1) == images.labels
        assert each["accuracy_alone"] == pytest.approx(float(right.float().mean()))
        for name, values in (("ece_before", logits_nc), ("ece", logits_nc / divisor)):
            confidence = values.softmax(1).max(1).values.double().numpy()
            assert each[name] == pytest.approx(reliability(confidence, right.numpy()).ece, abs=1e-6)
    assert reported.exit_shares == pytest.approx(np.bincount(taken, minlength=3) / len(images))
    for k in (1, 5):
        right = (logits.topk(k).indices == images.labels[:, None]).any(1).float().mean()
        assert reported.top_accuracy[k] == pytest.approx(float(right))
    for label in range(10):
        assert found.evaluation.classes.classes[label].mean_exit == pytest.approx(taken[images.labels == label].mean())
    to_exit = outputs.costs["macs"].to_exit(np.array([outputs.state.point.policy.runs(index) for index in range(3)]))
    assert reported.costs["macs"].mean == pytest.approx(to_exit[taken].mean())
    assert reported.costs["macs"].worst == to_exit[taken].max()
    assert found.evaluation.saving["macs"] == pytest.approx(1 - to_exit[taken].mean() / outputs.macs_without_exits)


def test_corruptions_are_those_of_the_running_network(assessed):
    run, found = assessed
    outputs = SelectedModelOutputs.open(run, "knee")
    rows = {(row["corruption"], row["severity"]): row for row in found.evaluation.corruptions}
    assert set(rows) == {(kind, s) for kind in ("gaussian_noise", "blur", "contrast") for s in (1, 2, 3)}
    shifted = corrupt_images(outputs.images("test"), "contrast", 2)
    logits, taken = running(outputs, shifted)
    row = rows["contrast", 2]
    assert row["accuracy"] == pytest.approx(float((logits.argmax(1) == shifted.labels).float().mean()))
    assert row["exit_shares"] == pytest.approx(np.bincount(taken, minlength=3) / len(shifted))


def test_budgets_traffic_and_out_of_distribution_images(assessed):
    _, found = assessed
    budgets = found.evaluation.budgets
    assert [row["budget_avg_macs"] for row in budgets] == [9e4, 1.5e5]
    assert all(row["top_5"] >= row["top_1"] == row["accuracy"] for row in budgets)
    queue = found.evaluation.traffic["queue"]
    early, alone = queue[0], queue[1]
    assert early["load"] == pytest.approx(0.5 * (1 - found.evaluation.saving["macs"]), rel=1e-6)
    assert alone["load"] == pytest.approx(0.5) and alone["p50"] >= 1 - 1e-9 and early["worst"] >= early["p99"]
    skewed = found.evaluation.traffic["skewed"]
    assert skewed["accuracy_least"] <= skewed["accuracy"] <= skewed["accuracy_most"]
    assert [row["images"] for row in found.evaluation.ood] == ["noise", "shuffled_patches"]
    assert all(0 <= row["auroc"] <= 1 for row in found.evaluation.ood)
    assert any(name.startswith("adapted, UCB1") for name in found.evaluation.adaptation)


def test_auroc_is_the_probability_of_higher_confidence_on_images_of_the_classes(assessed):
    run, found = assessed
    outputs = SelectedModelOutputs.open(run, "knee")

    def confidence(images):
        logits, taken = running(outputs, images)
        temperatures = torch.tensor(outputs.state.point.policy.temperatures or (1.0, 1.0, 1.0))[taken]
        return (logits / temperatures[:, None]).softmax(1).amax(1).double().numpy()

    images = outputs.images("test")
    known_n, noise_n = confidence(images), confidence(noise_like(images, 2000))
    more, equal = known_n[:, None] - noise_n > 1e-6, np.abs(known_n[:, None] - noise_n) <= 1e-6
    row = next(row for row in found.evaluation.ood if row["images"] == "noise")
    assert row["auroc"] == pytest.approx(more.mean() + equal.mean() / 2, abs=1e-3)
    assert row["auroc"] != pytest.approx(0.5, abs=0.02)  # swapped arguments would give 1 - AUROC


def test_the_evaluation_is_recorded_with_the_pick(assessed):
    run, found = assessed
    record = json.loads((run / "picks" / f"{found.id}.json").read_text())
    assert record["test"]["evaluation"]["corruptions"] == found.evaluation.corruptions
    assert (run / "picks" / f"{found.id}-adaptation.png").stat().st_size > 9000
    assert (run / "picks" / f"{found.id}-reliability.png").stat().st_size > 9000


def test_a_second_policy_is_evaluated_without_the_network(assessed, monkeypatch, tmp_path):
    run, _ = assessed
    copy = own_copy(run, tmp_path)
    calibrate(copy, "knee", Goal.read(beta=1.0), per_exit=10)
    monkeypatch.setattr(
        "aebnas.selected.recorded_outputs.load_network", lambda *arguments: pytest.fail("the network was loaded")
    )
    assert evaluate(copy, "knee", full=True).point.policy == SelectedModelOutputs.open(copy, "knee").state.point.policy


def test_out_of_distribution_images_are_of_none_of_the_classes(assessed):
    images = SelectedModelOutputs.open(assessed[0], "knee").images("test")
    noise, tiles = noise_like(images, 50, 1), shuffled_patches(images, 40, 1)
    assert (len(noise), len(tiles)) == (50, 40) and noise.shape == tiles.shape == images.shape
    assert torch.equal(noise.pixels(), noise_like(images, 50, 1).pixels())
    before, after = images.pixels()[:40], tiles.pixels()
    assert torch.equal(before.flatten(1).sort().values, after.flatten(1).sort().values)  # the same pixels
    assert (before != after).flatten(1).any(1).float().mean() > 0.9 and PATCHES > 1


def test_faults_on_other_images_are_reported_once_of_each_kind():
    scores = {"confidence": np.array([[0.9, 0.9], [0.2, 0.9]], np.float32)}
    table = ExitTable(scores, np.ones((2, 2), bool), {"macs": ExitCosts((10, 100), (0, 0))})
    policy = ExitPolicy("confidence", (0.5,))
    row = {"corruption": "gaussian_noise", "accuracy": 0.6, "avg_macs": 40.0, "last_exit_accuracy": 0.7, "ece": 0.3}
    harmless = {
        "corruption": "blur",
        "severity": 1,
        "accuracy": 1.0,
        "avg_macs": 55.0,
        "last_exit_accuracy": 1.0,
        "ece": 0.02,
    }
    corruptions = [harmless, row | {"severity": 2}, row | {"severity": 3}]
    ood = [{"images": "noise", CONFIDENT_SHARE: 0.5}, {"images": "shuffled_patches", CONFIDENT_SHARE: 0.05}]
    early, uncalibrated, noise = diagnose_other_images(table, policy, corruptions, ood)
    assert early.startswith("Under gaussian noise 2 samples leave earlier (mean MACs 27 % lower): accuracy falls")
    assert uncalibrated == "Under gaussian noise 2 confidence is not calibrated: its ECE is 30 points."
    assert noise == "50 % of out-of-distribution images (noise) get a confidence above 0.9."
