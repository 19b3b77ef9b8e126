import json
import sys

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def images(tmp_path):
    """An array file of 1,000 random training images and 100 test images."""
    rng = np.random.default_rng(0)
    parts = {"train": 1000, "test": 100}
    arrays = {f"x_{n}": rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8) for n, count in parts.items()}
    arrays |= {f"y_{n}": np.arange(count) % 10 for n, count in parts.items()}
    np.savez(tmp_path / "images.npz", **arrays)
    return tmp_path / "images.npz"


def test_presets_are_trained_for_equal_compute_and_compared(benchmark, images, tmp_path, monkeypatch, capsys):
    recipes = benchmark("recipes")
    out = tmp_path / "out"
    arguments = ["recipes.py", "presets", "--pflop", "1e-5", "--seeds", "1", "--data", str(images), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(recipes, "ProcessPoolExecutor", InThisProcess)
    recipes.main()
    table = pd.read_csv(out / "presets.csv")
    assert list(table.arm) == ["classic", "fast"]
    assert (table.pflop >= 1e-5).all() and (table.pflop < 1.2e-4).all()
    assert {"exit1", "exit2", "exit3", "at_16M"} <= set(table.columns)
    assert "classic" in capsys.readouterr().out
    (one,) = out.glob("checkpoints/*classic*/result.json")
    one.write_text(json.dumps(json.loads(one.read_text()) | {"exit1": 99.0}))
    recipes.main()  # finished trainings aren't repeated
    assert pd.read_csv(out / "presets.csv").exit1[0] == 99.0


class InThisProcess:
    """Stands for a pool of processes."""

    def __init__(self, *arguments, **settings):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def submit(self, act, *arguments):
        act(*arguments)
        return self

    def result(self):
        pass


def test_every_arm_is_a_valid_spec_under_a_name_of_its_own(benchmark):
    recipes = benchmark("recipes")
    arms = (recipes.CLASSIC, recipes.FAST, *recipes.LEFT_OUT, *recipes.JOINT)
    assert len({arm.name for arm in arms}) == len(arms)
    for arm in arms:
        recipes.TrainSpec.model_validate({"recipe": "fast", "max_pflop": 0.1} | arm.settings)
        recipes.AugmentSpec.model_validate(arm.augment)
