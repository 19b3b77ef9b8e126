"""Goals, picks and data that `calibrate` and `sweep` can't work with: one line, exit code 2, nothing changed."""

from pathlib import Path

import numpy as np
import pytest
from tiny_run import own_copy, searched

from aebnas.selected.evaluate import export


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run without a certify split, that no test may change."""
    return own_copy(searched(tmp_path_factory), tmp_path_factory.mktemp("policies"))


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> Path:
    """An export of it, likewise."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    export(run, "knee", folder)
    return folder


BAD = [
    ("calibrate --pick knee", "exactly one of --accuracy-target, --budget, --beta, --risk must be given, but got none"),
    (
        "calibrate --pick knee --beta 1 --risk 0.1,0.1",
        "exactly one of --accuracy-target, --budget, --beta, --risk must",
    ),
    ("calibrate --pick knee --accuracy-target 85", "--accuracy-target must be a fraction in (0, 1], but got 85"),
    ("calibrate --pick knee --budget 8e6", "--budget must read METRIC=NUMBER, such as avg_macs=8e6, but got '8e6'"),
    ("calibrate --pick knee --risk 0.1", "--risk must read EPSILON,DELTA, such as 0.01,0.05, but got '0.1'"),
    ("calibrate --beta 1", "--pick is required with a run, or --data with an exported folder, but got neither"),
    ("calibrate --pick cleverest --beta 1", "pick: must be the id of a point on the front, "),
    ("calibrate --pick knee --beta 1 --method magic", "--method must be one of auto, joint, lagrangian, "),
    ("sweep --pick knee --method magic", "--method must be one of auto, joint, lagrangian, "),
    ("sweep --pick cleverest", "pick: must be the id of a point on the front, "),
]


@pytest.mark.parametrize("words, expected", BAD, ids=[words for words, _ in BAD])
def test_a_command_that_cannot_be(refused, run, words, expected):
    command, *rest = words.split()
    assert refused(run, command, run, *rest).startswith(expected)


def test_a_promise_without_images_to_certify(refused, run):
    output = refused(run, "calibrate", run, "--pick", "knee", "--risk", "0.1,0.1")
    assert output == "data.splits.certify: must be above 0 for this command, but the split is empty in this run"


def test_a_folder_that_is_neither(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "is not a run folder" in refused(tmp_path, "calibrate", tmp_path / "empty", "--pick", "knee", "--beta", "1")
    np.savez(tmp_path / "new.npz", x=np.zeros((1, 8, 8), np.uint8), y=np.zeros(1, int))
    words = ("calibrate", tmp_path / "empty", "--data", tmp_path / "new.npz", "--beta", "1")
    assert "must be a folder that aebnas export wrote, but has no graph.json" in refused(tmp_path, *words)


IMAGES = np.zeros((60, 8, 8, 1), np.uint8)
DATA = [
    ({"x": IMAGES}, "y: must be in the file, but got only ['x']"),
    (
        {"x": IMAGES.astype(float), "y": np.zeros(60, int)},
        "x: must be uint8 [N, 8, 8, 1], but got float64 (60, 8, 8, 1)",
    ),
    ({"x": IMAGES[:, :7], "y": np.zeros(60, int)}, "x: must be uint8 [N, 8, 8, 1], but got uint8 (60, 7, 8, 1)"),
    ({"x": IMAGES, "y": np.zeros(59, int)}, "y: must have 60 labels, one for each image, but got 59"),
    ({"x": IMAGES, "y": np.full(60, 10)}, "y: must be in 0..9, but got 10..10"),
    ({"x": IMAGES, "y": np.arange(60) % 10 + 1}, "y: must count classes from 0, but got 1..10 (subtract 1)"),
    ({"x": IMAGES, "y": np.eye(9)[np.arange(60) % 9]}, "y: must have 10 columns, one for each class, but got 9"),
    ({"x": IMAGES, "y": np.full((60, 10), 0.1)}, "y: must be one-hot (a single 1 in each row), but got probabilities"),
    ({"x": IMAGES, "y": np.array(["0", "ten"] * 30)}, "y: must be classes of the training images ('0, 1, 2, 3, 4, 5, "),
    ({"x": IMAGES, "y": np.zeros(60, int)}, "x: must hold enough images that each part of them has 50, but got 60"),
    (None, "must be a .npz archive of plain arrays (numpy.savez), but got: "),
]


@pytest.mark.parametrize("arrays, expected", DATA, ids=[expected[:30] for _, expected in DATA])
def test_data_that_cannot_be(refused, exported, tmp_path, arrays, expected):
    data = tmp_path / "new.npz"
    if arrays is None:
        data.write_bytes(b"no archive")
    else:
        np.savez(data, **arrays)
    assert refused(exported, "calibrate", exported, "--data", data, "--beta", "1").startswith(f"{data}: {expected}")


def test_data_go_without_what_belongs_to_runs(refused, exported, tmp_path):
    output = refused(exported, "calibrate", exported, "--data", tmp_path / "a.npz", "--pick", "knee", "--beta", "1")
    assert output.startswith("--data cannot be combined with --pick or --method")
    assert refused(exported, "calibrate", exported, "--data", tmp_path / "a.npz", "--beta", "1") == (
        f"{tmp_path / 'a.npz'}: must be a .npz file with x and y, but got no such file"
    )
