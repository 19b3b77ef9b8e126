"""The ablation benchmark on the tiny run: one supernet, its slices lent to the parts of the space."""

import importlib.util
import sys

import pandas as pd
import pytest
import torch
from tiny_run import own_copy, searched, write_spec

from aebnas.evaluation.evaluator import inherit
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.run.training_setup import trained_supernet
from aebnas.space.ablation import ABLATIONS, ablate


@pytest.fixture(scope="module")
def ablations(root):
    spec = importlib.util.spec_from_file_location("ablations", root / "benchmarks" / "ablations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(ABLATIONS))
def test_lent_weights_give_the_networks_of_the_whole_space(
    ablations, tmp_path_factory, tmp_path, architectures, pixels, name
):
    full = RunSession.open(own_copy(searched(tmp_path_factory), tmp_path))
    folder = tmp_path / "part"
    ablations.copy_weights(full, folder, name)
    part = RunSession(Run(folder), full.experiment, ablate(full.space, name), full.base)
    assert trained_supernet(part).state_dict().keys() <= trained_supernet(full).state_dict().keys()
    for architecture in architectures(part.space, 3):
        x_nchw, calibration = pixels(architecture, 8), full.images.calibration(128)
        answers = [
            torch.stack(inherit(trained_supernet(owner), architecture, calibration)(x_nchw)) for owner in (full, part)
        ]
        assert torch.equal(*answers)


def test_one_command_gives_the_table(ablations, tmp_path, monkeypatch, capsys):
    arguments = ["--spec", write_spec(tmp_path / "spec"), "--out", tmp_path / "out", "--seeds", 11, 22]
    arguments += ["--supernet-epochs", 1, "--generations", 1, "--budgets", 1, 1e9]
    monkeypatch.setattr(sys, "argv", ["ablations.py", *map(str, arguments)])
    ablations.main()
    table = pd.read_csv(tmp_path / "out" / "ablations.csv")
    assert list(table.variant) == [*2 * ["full", *ABLATIONS]] and set(table.seed) == {11, 22}
    assert table["search@1"].isna().all() and table["test@1e+09"].between(0, 1).all()
    assert table.hypervolume.between(0, 1).all()
    # the supernet is trained once a seed
    assert [p.parent.name for p in sorted((tmp_path / "out").glob("*/train_epoch_metrics.csv"))] == [
        "seed11-full",
        "seed22-full",
    ]
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line for line in printed.splitlines() if line}
    for name in ("full", *ABLATIONS):
        mean = 100 * table[table.variant == name]["test@1e+09"].mean()
        assert f"{mean:.2f} +- " in lines[name]
