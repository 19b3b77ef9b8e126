"""Flags and arguments with values that cannot be: one line, exit code 2, nothing changed."""

import json
from pathlib import Path

import pytest
from tiny_run import own_copy, searched

import aebnas


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run, whose `retrain` has two stages, that no test may change."""
    copy = own_copy(searched(tmp_path_factory), tmp_path_factory.mktemp("flags"))
    config = json.loads((copy / "config.json").read_text())
    config["experiment"]["retrain"] |= {"epochs": 4}
    config["experiment"]["retrain"]["exits"]["frozen_backbone"] = 0.5
    (copy / "config.json").write_text(json.dumps(config))
    return copy


EPOCHS = "retrain.epochs: must be "
PER_EXIT = "policy.thresholds.optimise.per_exit: must be "
FLAGS = [
    ("retrain RUN --pick knee --epochs 0", EPOCHS + "greater than or equal to 1, but got 0"),
    ("retrain RUN --pick knee --epochs -3", EPOCHS + "greater than or equal to 1, but got -3"),
    ("retrain RUN --pick knee --epochs 99999999", EPOCHS + "less than or equal to 1000000, but got 99999999"),
    ("retrain RUN --pick knee --epochs 1.5", "Invalid value for '--epochs': "),
    ("retrain RUN --pick knee --weights best", "--weights must be supernet, scratch or kept, but got 'best'"),
    ("retrain RUN", "Missing option '--pick'"),
    ("sweep RUN --pick knee --per-exit 1", PER_EXIT + "greater than or equal to 2, but got 1"),
    ("sweep RUN --pick knee --per-exit 5000", PER_EXIT + "less than or equal to 1000, but got 5000"),
    ("calibrate RUN --pick knee --beta 1 --per-exit 0", PER_EXIT + "greater than or equal to 2, but got 0"),
    ("calibrate RUN --pick knee --beta nan", "--beta must be a finite number of at least 0, but got nan"),
    ("calibrate RUN --pick knee --beta much", "Invalid value for '--beta': "),
    ("evaluate RUN --pick knee --budgets few", "--budgets must be numbers such as 8e6,12e6, but got 'few'"),
    ("evaluate RUN --pick knee --budgets nan", "--budgets must be finite numbers above 0, but got nan"),
    ("evaluate RUN --pick knee --budgets 1e5,-1", "--budgets must be finite numbers above 0, but got -1"),
    ("measure RUN --pick knee --threads 0", "Invalid value for '--threads': "),
    ("measure RUN --pick knee --rounds 0", "Invalid value for '--rounds': "),
    ("measure RUN --pick knee --samples 0", "Invalid value for '--samples': "),
    ("measure RUN --pick knee --dtype fp8", "--dtype must be one of fp32, bf16, fp16, but got 'fp8'"),
    ("measure RUN --pick knee --device tpu", "--device must be one of cpu, cuda, but got 'tpu'"),
    (
        "measure RUN --pick knee --memory-format tiled",
        "--memory-format must be one of contiguous, channels_last, but got 'tiled'",
    ),
    ("profile SPACE --threads 0", "Invalid value for '--threads': "),
    ("profile SPACE --batch 0", "Invalid value for '--batch': "),
    ("profile SPACE --dtype fp8", "--dtype must be one of fp32, bf16, fp16, but got 'fp8'"),
    ("profile SPACE --device tpu", "--device must be one of cpu, cuda, but got 'tpu'"),
    (
        "profile SPACE --memory-format tiled",
        "--memory-format must be one of contiguous, channels_last, but got 'tiled'",
    ),
    ("profile SPACE --rounds 0", "Invalid value for '--rounds': "),
    ("profile SPACE --networks -1", "Invalid value for '--networks': "),
    ("profile SPACE --max-layers 1", "Invalid value for '--max-layers': "),
    ("search SPEC --seeds 1,x", "--seeds must be whole numbers such as 11,22,33, but got '1,x'"),
    ("search SPEC --seeds 1,-2", "seed: must be greater than or equal to 0, but got -2"),
    (
        "search SPEC --seeds 1,99999999999999999999",
        "seed: must be less than 9223372036854775808, but got 9999999999999",
    ),
    ("search SPEC --seeds 3,3", "seeds must be two or more different whole numbers, but got 3, 3"),
    ("space SPACE --samples -1", "Invalid value for '--samples': "),
    ("space SPACE --seed -1", "Invalid value for '--seed': "),
    ("schema everything", "schema must be one of space, experiment, but got 'everything'"),
    ("compare RUN", "compare: must be given two or more runs"),
    ("show", "Missing argument "),
    ("serach SPEC", "No such command 'serach'"),
    ("show RUN --colour", "No such option"),
    ("export RUN --pick knee", "Missing option '--out'"),
]


@pytest.mark.parametrize("words, expected", FLAGS, ids=[words for words, _ in FLAGS])
def test_a_flag_that_cannot_be(refused, run, tmp_path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    spec = run.parent / "spec"
    known = {"RUN": run, "SPEC": spec / "tiny.yaml", "SPACE": spec / "space.yaml"}
    assert refused(run.parent, *(known.get(word, word) for word in words.split())).startswith(expected)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (0, EPOCHS + "greater than or equal to 1, but got 0"),
        (2.5, EPOCHS + "a whole number, but got 2.5"),
        ("3", EPOCHS + "a whole number, but got '3'"),
    ],
)
def test_settings_from_python_are_held_to_the_rules_of_a_spec(run, epochs, expected):
    with pytest.raises(aebnas.UserError) as refused:
        aebnas.open(run).pick("knee").retrain(epochs=epochs)
    assert str(refused.value) == expected


def test_weights_from_python_are_held_to_the_rules_of_a_spec(run):
    with pytest.raises(aebnas.UserError, match=r"^retrain.weights: must be 'supernet', 'scratch' or 'kept', but got"):
        aebnas.open(run).pick("knee").retrain(weights="scratchy")


@pytest.mark.parametrize("seeds", [(1, 2.5), (1, "2"), (1, -1)])
def test_seeds_from_python_are_held_to_the_rules_of_a_spec(run, tmp_path, seeds):
    with pytest.raises(aebnas.UserError, match=r"^seed: must be "):
        aebnas.search_seeds(run.parent / "spec" / "tiny.yaml", seeds, tmp_path / "run")
    assert not list(tmp_path.iterdir())
