"""The benchmark of training speed at a tiny size, and that it compares equal trainings."""

import re
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from aebnas.runtime.network import Network
from aebnas.space.genome import SearchSpace
from aebnas.training.losses import self_distillation_loss
from aebnas.training.single_network import fresh_network


@pytest.fixture
def benchmarks(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return root / "benchmarks"


def test_one_command_gives_the_tables(
    benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["training_speed.py", "--quick", "--out", str(tmp_path)])
    before = torch.get_num_threads()
    runpy.run_path(str(benchmarks / "training_speed.py"), run_name="__main__")
    torch.set_num_threads(before)
    loops, parts, streamed = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("loops", "parts", "streamed"))
    printed = capsys.readouterr().out
    [ratio] = re.findall(r"ratio ([\d.]+)", printed)
    assert float(ratio) == pytest.approx(loops.ratio[0], abs=1e-3) and list(loops.loop) == ["aebnas", "plain loop"]
    assert parts.groupby("of").share.sum().tolist() == pytest.approx([1, 1], abs=1e-3)
    supernet = parts[parts.of == "supernet of cifar10_cpu.yaml"]
    passes = [f"{path}, {way}" for path in ("largest", "smallest", "random 1") for way in ("forward", "backward")]
    expected = ["data", "other", *passes, "clipping and optimiser", "schedule and weight averaging"]
    assert list(supernet.part) == expected
    assert printed.count("waiting for data") == 2
    assert list(streamed.loaders.astype(str)) == ["0", "1", "2", "auto"] and streamed.waiting_share.between(0, 1).all()


def test_both_loops_train_the_same(benchmarks: Path) -> None:
    """Outputs, loss and gradients of the hand-written network and loss are those of aebnas."""
    plain_training = runpy.run_path(str(benchmarks / "plain_training.py"))
    architecture = SearchSpace.load(benchmarks / "hand_made_resnet.yaml").extreme(largest=True)
    ours, plain = fresh_network(architecture, 0).train(), plain_training["ThreeExitResNet"]().train()
    assert isinstance(ours, Network)
    with torch.no_grad():
        for weights, same in zip(plain.parameters(), ours.parameters(), strict=True):
            weights.copy_(same)
    x_nchw, labels_n = torch.randn(6, 3, 32, 32), torch.arange(6)
    recipe = plain_training["Recipe"](6, torch.float32)
    outputs, plain_outputs = ours(x_nchw), plain(x_nchw)
    for exit_nk, plain_nk in zip(outputs, plain_outputs, strict=True):
        torch.testing.assert_close(exit_nk, plain_nk)
    loss = self_distillation_loss(outputs, labels_n, [1 / 3] * 3, recipe.label_smoothing, recipe.distillation)
    plain_loss = plain_training["joint_loss"](plain_outputs, labels_n, recipe)
    torch.testing.assert_close(loss, plain_loss)
    loss.backward()
    plain_loss.backward()
    for weights, same in zip(plain.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(weights.grad, same.grad, rtol=1e-3, atol=1e-5)
