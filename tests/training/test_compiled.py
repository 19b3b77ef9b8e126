import pytest
import torch

from aebnas.training import compiled
from aebnas.training.compiled import with_compiling_decided
from aebnas.training.training_spec import TrainSpec


@pytest.mark.parametrize(
    "setting, epochs, compiler, expected",
    [
        ("auto", 30, "g++", True),
        ("auto", 29, "g++", False),  # 2,900 steps
        ("auto", 30, None, False),
        (True, 1, None, True),
        (False, 99, "g++", False),
    ],
)
def test_whether_a_training_is_compiled(setting, epochs, compiler, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: compiler)
    assert with_compiling_decided(TrainSpec(epochs=epochs, compile=setting), 100).compile is expected


def test_trainings_of_unknown_length_are_long_and_deterministic_ones_are_not_compiled(monkeypatch):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: "g++")
    spec = TrainSpec(max_pflop=1.0, compile="auto")
    assert with_compiling_decided(spec, 10).compile is True
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert with_compiling_decided(spec, 10).compile is False


def test_steps_run_what_was_compiled(make_single, batches, monkeypatch):
    """Once for every set of exits that take part; the compiler itself takes too long for a test."""
    calls = []

    def compile_(function, dynamic):
        def run(x_nchw, active):
            calls.append(active)
            return function(x_nchw, active)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    task = make_single(compile=True, exits={"backbone_first": 0.5})
    x_nchw, labels_n = next(batches.epoch(torch.Generator().manual_seed(0)))
    for progress in (0.0, 0.5):
        task.begin_step(progress)
        next(task.losses(x_nchw, labels_n, None)).backward()
    assert calls == [(False, False, True), (True, True, True)]
