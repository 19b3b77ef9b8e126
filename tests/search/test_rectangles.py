"""From space to export with images that are neither square nor grey or RGB."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from made_up_device import write_made_up
from PIL import Image
from tiny_darts import DARTS
from tiny_darts import SPACE as DARTS_SPACE
from tiny_run import SPACE, TRAIN, write_spec

from aebnas.export.model import Model
from aebnas.policies.threshold_search.goal import Goal
from aebnas.run.session import RunSession
from aebnas.search.loop import run_search
from aebnas.selected.calibrate import calibrate
from aebnas.selected.evaluate import evaluate, export
from aebnas.selected.retrain import retrain

SHAPE = (12, 20, 4)
"""Height, width, channels."""
SPLITS = {"search": 0.2, "calibrate": 0.2, "certify": 0}


def images(count: int, shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with rows (class 0) or columns (class 1) of another brightness; a batch has both."""
    rng, labels = np.random.default_rng(seed), np.arange(count) % 2
    pixels = rng.integers(0, 90, (count, *shape))
    pixels[labels == 0, ::3] += 120
    pixels[labels == 1, :, ::3] += 120
    return pixels.astype(np.uint8), labels


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`set.npz` of arrays of `SHAPE`, and `files` of JPEGs of many sizes."""
    base = tmp_path_factory.mktemp("rectangles")
    arrays = {}
    for part, count in (("train", 160), ("test", 40)):
        arrays[f"x_{part}"], arrays[f"y_{part}"] = images(count, SHAPE, count)
        for number in range(count // 4):
            [[_, pixels], _] = images(2, (18 + number, 50 - number, 3), number)
            for name, one in (("columns", pixels), ("rows", np.rot90(pixels))):
                place = base / "files" / part / name
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(one).save(place / f"{number}.jpg")
    np.savez(base / "set.npz", **arrays)
    return base


def checked_export(run: Path, folder: Path, pick: str) -> Model:
    export(run, pick, folder)
    model = Model.load(folder)
    assert not model.check().problems
    return model


def test_a_staged_search_on_arrays_of_four_channels(data: Path, tmp_path: Path) -> None:
    size = {"channels": 4, "resolution": ["12x20", "7x15"], "image_size": "12x20"}
    exits = {"depth": [0, 1], "layer": ["conv", "resize+conv"], "side": ["4x7", 6]}
    space: dict[str, Any] = SPACE | {"classes": 2, "input": size, "exits": exits}
    spec = write_spec(
        tmp_path / "spec",
        space,
        data={"name": "npz", "path": str(data / "set.npz"), "splits": SPLITS}
        | {"augment": {"crop": 2, "flip": True, "cutout": 5, "mixup": 0.2}},
        objectives=["accuracy", "latency_ms"],
        constraints=["peak_memory_bytes <= 1e6"],
        device={"profile": "chip.json", "threads": 1},
        strategy={"name": "random", "population": 4, "generations": 1},
    )
    write_made_up(space, spec.parent / "chip.json")
    run = tmp_path / "run"
    run_search(spec, run)
    session = RunSession.open(run)
    assert session.space.spec.input.shape == (4, 12, 20)
    assert all(trial.points for trial in session.run.trials())
    assert "4 x 12 x 20" in session.facts.input_text
    retrain(run, "best-accuracy")
    calibrate(run, "best-accuracy", Goal(accuracy_target=0.5), method="dart")
    assessed = evaluate(run, "best-accuracy", full=True)
    assert assessed.samples == 40
    assert {row["corruption"] for row in assessed.evaluation.corruptions} == {"gaussian_noise", "blur", "contrast"}
    model = checked_export(run, tmp_path / "out", "best-accuracy")
    pixels, labels = images(40, SHAPE, 40)
    found = [prediction.label for prediction in model.predict(pixels)]
    assert np.mean(found == labels) == pytest.approx(assessed.point.metrics["accuracy"])


def test_a_search_over_cells_on_files(data: Path, tmp_path: Path) -> None:
    space = DARTS_SPACE | {"classes": 2, "input": {"channels": 3, "resolution": "16x24"}}
    spec = write_spec(
        tmp_path / "spec",
        space,
        data={"name": "folder", "path": str(data / "files"), "resolution": "16x24", "splits": SPLITS}
        | {"augment": "trivial_augment", "memory": "never"},
    )
    run = tmp_path / "run"
    run_search(spec, run)
    assessed = evaluate(run, "knee")
    model = checked_export(run, tmp_path / "out", "knee")
    assert model.shape == (3, 16, 24)
    right = [
        prediction.class_name == name
        for name in ("columns", "rows")
        for prediction in model.predict(sorted((data / "files" / "test" / name).iterdir()))
    ]
    assert np.mean(right) == pytest.approx(assessed.point.metrics["accuracy"])


def test_input_adaptive_darts_on_arrays_of_four_channels(data: Path, tmp_path: Path) -> None:
    spec = write_spec(
        tmp_path / "spec",
        DARTS_SPACE | {"classes": 2, "input": {"channels": 4, "resolution": "9x13", "image_size": "12x20"}},
        **DARTS
        | {"data": {"name": "npz", "path": str(data / "set.npz"), "splits": SPLITS | {"arch": 0.2}}}
        | {"relaxed": DARTS["relaxed"] | {"epochs": 1, "batch_size": 16}}
        | {"strategy": {"name": "adaptive_darts", "lambdas": [0.05]}}
        | {"evaluate": {"weights": "finetune(1)", "calibration_images": 32}}
        | {"retrain": TRAIN | {"weights": "kept", "epochs": 1, "batch_size": 16}},
    )
    run = tmp_path / "run"
    run_search(spec, run)
    trials = RunSession.open(run).run.trials()
    assert trials and all(trial.points for trial in trials)
    checked_export(run, tmp_path / "out", "knee").predict(images(3, SHAPE, 0)[0])
    config = yaml.safe_load((run / "config.json").read_text(encoding="utf-8"))
    assert config["space"]["input"] == {"channels": 4, "resolution": ["9x13"], "image_size": "12x20"}
