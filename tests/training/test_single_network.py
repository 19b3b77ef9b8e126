import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aebnas.training.single_network import with_norm_stats


def test_the_last_exit_teaches_the_others(make_single, batches):
    task = make_single(distillation=0.4, label_smoothing=0.1, exit_weights="linear")
    x_nchw, labels_n = next(batches.epoch(torch.Generator().manual_seed(0)))
    (loss,) = task.losses(x_nchw, labels_n, np.random.default_rng(0))
    logits = task.module(x_nchw)
    teacher_nc = logits[-1].detach().softmax(-1)
    hard = [F.cross_entropy(exit_nc, labels_n, label_smoothing=0.1) for exit_nc in logits]
    soft = [F.cross_entropy(exit_nc, teacher_nc) for exit_nc in logits]
    expected = (0.6 * hard[0] + 0.4 * soft[0]) / 6 + (0.6 * hard[1] + 0.4 * soft[1]) / 3 + hard[2] / 2
    torch.testing.assert_close(loss, expected)


def test_norm_statistics_are_those_of_the_images(make_single, calibration):
    module = make_single().module
    with torch.no_grad():
        for buffer in module.buffers():
            buffer.fill_(7)
    network = with_norm_stats(module, calibration)
    assert not network.training
    assert all(bool((buffer == 7).all()) for buffer in module.buffers())  # a copy
    stem = next(layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d))
    first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
    with torch.no_grad():
        means = [first(x_nchw).mean((0, 2, 3)) for x_nchw in calibration]
    torch.testing.assert_close(stem.running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)


def test_validation_is_one_row(make_single):
    (row,) = make_single().validate(make_single().module)
    assert row["subnet"] == "chosen"
    assert {"exit1_accuracy", "exit2_accuracy", "exit3_accuracy", "accuracy_at_0.9", "avg_macs_at_0.9"} < set(row)
    assert row["accuracy_at_0.9"] == pytest.approx(row["exit3_accuracy"])  # no sample is that confident before training
