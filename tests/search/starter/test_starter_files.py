"""`aebnas init`, and the search of what it writes."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aebnas.cli.main import main
from aebnas.core.yaml_reader import read_yaml


def write_images(folder: Path, train: int = 12, test: int = 4, side: int = 10) -> Path:
    """Two classes of stripes across or along, `train` and `test` images of each."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        for name in ("across", "along"):
            place = folder / part / name
            place.mkdir(parents=True)
            for number in range(count):
                stripes = np.zeros((side, side), np.uint8)
                stripes[(slice(None, None, 2), ...) if name == "across" else (..., slice(None, None, 2))] = 200
                noise = rng.integers(0, 50, stripes.shape, dtype=np.uint8)
                Image.fromarray(stripes + noise).save(place / f"{number}.png")
    return folder


def shorten(spec: Path) -> None:
    """Two epochs and one generation, for the sake of the test."""
    text = re.sub(r"epochs: \d+", "epochs: 2", spec.read_text(encoding="utf-8"))
    spec.write_text(re.sub(r"generations: \d+", "generations: 1", text), encoding="utf-8")


@pytest.mark.filterwarnings("ignore")  # matplotlib's own
def test_it_runs_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_images(Path("my images"))
    main(["init", "my spec", "--data", "my images"])
    printed = capsys.readouterr().out
    assert "my images: 24 training and 8 test images of 2 classes" in printed
    assert "across         12          4" in printed and "median of the shorter side 10; grey" in printed
    search, space = (line.strip() for line in printed.splitlines()[-2:])
    assert search == "aebnas search 'my spec/spec.yaml' --out 'results/my spec'"
    main(shlex.split(space)[1:])
    assert "1 x 8 x 8, 2 classes" in capsys.readouterr().out
    shorten(Path("my spec/spec.yaml"))
    main(shlex.split(search)[1:])
    summary = json.loads(Path("results/my spec/summary.json").read_text())
    assert summary["trials"] == 12 and not summary["failed"]
    front = Path("results/my spec/pareto.csv").read_text().splitlines()
    assert len(front) > 1


@pytest.mark.filterwarnings("ignore")
def test_arrays_within_a_budget(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x, y = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8), np.arange(60) % 3
    np.savez("set.npz", x_train=x[:45], y_train=y[:45], x_test=x[45:], y_test=y[45:])
    main(["init", "small", "--data", "set.npz", "--budget", "avg_macs=4e4", "--budget", "params=5000"])
    spec = read_yaml(Path("small/spec.yaml"))
    assert spec["constraints"] == ["avg_macs <= 40000", "params <= 5000"]
    assert spec["data"]["path"] == "../set.npz"
    capsys.readouterr()
    main(["space", "small/space.yaml", "--spec", "small/spec.yaml", "--samples", "0"])
    assert "1 x 8 x 8, 3 classes" in capsys.readouterr().out


def test_force_replaces_these_files_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_images(Path("images"))
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "notes.txt").write_text("kept")
    (tmp_path / "my" / "space.yaml").write_text("mine")
    with pytest.raises(SystemExit):
        main(["init", "my", "--data", "images"])
    assert sorted(file.name for file in Path("my").iterdir()) == ["notes.txt", "space.yaml"]
    assert capsys.readouterr().err.startswith("error: my/space.yaml: must not exist yet")
    main(["init", "my", "--data", "images", "--force"])
    assert (tmp_path / "my" / "notes.txt").read_text() == "kept"
    assert "stages" in read_yaml(tmp_path / "my" / "space.yaml")
