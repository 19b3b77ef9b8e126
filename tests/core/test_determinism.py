import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny_run import EXPERIMENT, front_of, searched, write_spec
from torch.nn.modules.module import register_module_forward_hook

from aebnas.core.determinism import CUBLAS, pinned
from aebnas.run.candidate_scoring import candidate_evaluator
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.run.training_setup import trained_supernet
from aebnas.training.precision import computing_dtype


def state():
    cudnn = torch.backends.cudnn
    modes = torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.deterministic
    return torch.get_num_threads(), *modes


def test_settings_are_restored_even_after_an_error(monkeypatch):
    monkeypatch.delenv(CUBLAS[0], raising=False)
    before = state()
    with pytest.raises(RuntimeError), pinned(3, deterministic=True):
        assert state() == (3, True, False, True)
        assert os.environ[CUBLAS[0]] == CUBLAS[1]
        raise RuntimeError
    assert state() == before


def test_without_deterministic_only_threads_are_pinned():
    before = state()
    with pinned(3, deterministic=False):
        assert state() == (3, *before[1:])
    assert state() == before


def test_precision_is_not_measured_in_deterministic_mode(monkeypatch):
    monkeypatch.setattr("aebnas.training.precision._faster_on_this_cpu", lambda: torch.bfloat16)
    assert computing_dtype("auto", torch.device("cpu")) == torch.bfloat16
    with pinned(1, deterministic=True):
        assert computing_dtype("auto", torch.device("cpu")) == torch.float32


def test_candidates_are_scored_with_pinned_settings(tmp_path_factory):
    session, seen = RunSession.open(searched(tmp_path_factory)), set()
    experiment = session.experiment.model_copy(update={"deterministic": True})
    evaluator = candidate_evaluator(replace(session, experiment=experiment), trained_supernet(session))
    hook = register_module_forward_hook(lambda *_: seen.add(state()))
    try:
        evaluator.score(session.front()[0][0].architecture)
    finally:
        hook.remove()
    assert seen == {(1, True, False, True)}


@pytest.mark.filterwarnings("ignore")  # Ray's own warnings
def test_processes_give_the_same_bytes_with_other_threads_and_workers(tmp_path):
    outcomes = []
    for threads, workers in (("1", 0), ("2", 2)):
        supernet, evaluate = EXPERIMENT["supernet"] | {"precision": "auto"}, EXPERIMENT["evaluate"]
        spec = write_spec(tmp_path / "spec", supernet=supernet, evaluate=evaluate | {"workers": workers})
        out = tmp_path / f"run{workers}"
        code = "from aebnas.cli.main import main; main()"
        command = [sys.executable, "-c", code, "search", str(spec), "--deterministic", "--out", str(out)]
        environment = os.environ | {"OMP_NUM_THREADS": threads}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert Run.open(out).read_json("protocol.json")["deterministic"] is True
        assert Run.open(out).config()["experiment"]["deterministic"] is True
        outcomes.append((front_of(out), (out / "checkpoints" / "supernet.safetensors").read_bytes()))
    assert outcomes[0] == outcomes[1]
