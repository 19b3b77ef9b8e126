"""The experiment of each public image set runs on files as the set's own, unchanged but for its length."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from image_files import write_image
from official_files import WRITERS, random_images, use_made_up

from aebnas.core.yaml_reader import read_yaml
from aebnas.run.session import RunSession
from aebnas.search.loop import run_search
from aebnas.selected.evaluate import evaluate
from aebnas.selected.retrain import retrain

SHORT: dict[str, dict[str, Any]] = {
    "supernet": {"steps": 1, "validate_every": 1},
    "evaluate": {"workers": 0, "calibration_images": 32},
    "strategy": {"population": 4, "generations": 1},
    "retrain": {"steps": 1, "validate_every": 1},
}
TINY = {"n01443537": "goldfish", "n01629819": "salamander"}
"""Classes of Tiny-ImageNet; 2 of the 200."""


def shortened(root: Path, name: str, base: Path) -> Path:
    """A copy of an experiment, at the place in `base` that it has in the repository, with another length."""
    value = read_yaml(root / "experiments" / f"{name}.yaml")
    for part, changes in SHORT.items():
        value[part] = {key: old for key, old in value[part].items() if key != "epochs"} | changes
    (base / "search_spaces").symlink_to(root / "search_spaces")
    (base / "experiments").mkdir()
    file = base / "experiments" / f"{name}.yaml"
    file.write_text(yaml.safe_dump(value), encoding="utf-8")
    return file


def write_tiny_imagenet(folder: Path) -> None:
    """Two classes in the form of Tiny-ImageNet's archive, some images of which are grey."""
    lines = []
    for place, wnid in enumerate(TINY):
        for number in range(24):
            mode = "L" if number == 3 else "RGB"
            write_image(folder / f"train/{wnid}/images/{wnid}_{number}.JPEG", (64, 64), mode)
        (folder / f"train/{wnid}/{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
        for number in range(place, 8, 2):
            write_image(folder / f"val/images/val_{number}.JPEG", (64, 64))
            lines.append(f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n")
        write_image(folder / f"test/images/test_{place}.JPEG", (64, 64))
    (folder / "val/val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in TINY))
    (folder / "words.txt").write_text("".join(f"{wnid}\t{words}\n" for wnid, words in TINY.items()))


@pytest.mark.parametrize("name", ["cifar100", "svhn", "mnist", "fashion_mnist", "tiny_imagenet"])
def test_it_runs_on_the_files_of_its_set(
    name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "tiny_imagenet":
        write_tiny_imagenet(tmp_path / "data/tiny-imagenet-200")
        classes, tested = 2, 8
    else:
        classes = tested = 100 if name == "cifar100" else 10
        train = [number % classes for number in range(20 * classes)]  # one of each class in a split of 5 %
        use_made_up(monkeypatch)
        WRITERS[name](tmp_path / "data", random_images(name, len(train)), {"train": train, "test": train[:tested]})
    run_search(shortened(root, name, tmp_path), tmp_path / "run")
    session = RunSession.open(tmp_path / "run")
    assert session.space.spec.classes == classes
    assert "failed" not in {trial.status for trial in session.run.trials()}
    id_, _ = retrain(tmp_path / "run", "cheapest")
    assert evaluate(tmp_path / "run", id_).samples == tested
