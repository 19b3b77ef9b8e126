"""A stopped search resumes and ends with the same result; trials of another search are refused."""

import json

import pytest
import torch
from tiny_run import SPACE, Stopped, StoppedInTraining, front_of, own_copy, searched, write_spec

from aebnas.core.errors import UserError
from aebnas.evaluation.evaluator import Evaluator
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.run.training_setup import with_pinned_precision
from aebnas.search import supernet_training
from aebnas.search.loop import run_search


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched(tmp_path_factory)


def cut_after(folder, lines, torn=b'{"number": 5, "arch'):
    trials = folder / "trials.jsonl"
    kept = trials.read_bytes().split(b"\n")[:lines]
    trials.write_bytes(b"".join(line + b"\n" for line in kept) + torn)
    for name in ("pareto.csv", "pareto.json", "summary.json"):
        (folder / name).unlink()


@pytest.mark.parametrize("lines", [0, 3, 6])
def test_a_search_cut_short_ends_as_if_it_had_not_been(run, tmp_path, scored, lines):
    copy = own_copy(run, tmp_path)
    cut_after(copy, lines)
    run_search(copy.parent / "spec" / "tiny.yaml", copy)
    assert len(scored) == 8 - lines
    assert front_of(copy) == front_of(run)
    without_times = [
        [trial.to_json() | {"seconds": 0} for trial in Run.open(folder).trials()] for folder in (run, copy)
    ]
    assert without_times[0] == without_times[1]


def test_a_kill_in_the_middle_of_a_generation_loses_what_was_in_flight_only(run, tmp_path, scored, monkeypatch):
    copy = own_copy(run, tmp_path)
    cut_after(copy, 0, b"")
    score, spec = Evaluator.score, copy.parent / "spec" / "tiny.yaml"

    def killed(self, architecture, *more):
        if len(scored) == 6:
            raise Stopped
        return score(self, architecture, *more)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Evaluator, "score", killed)
        run_search(spec, copy)
    assert len(Run.open(copy).trials()) == 6
    run_search(spec, copy)
    assert len(scored) == 8
    assert front_of(copy) == front_of(run)


def test_trials_may_be_out_of_order_and_have_gaps(run, tmp_path, scored):
    """Workers finish trials in any order."""
    copy = own_copy(run, tmp_path)
    lines = (copy / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "trials.jsonl").write_bytes(b"".join(lines[i] for i in (3, 0, 1, 5)))
    run_search(copy.parent / "spec" / "tiny.yaml", copy)
    assert len(scored) == 4
    assert front_of(copy) == front_of(run)


def test_a_finished_search_is_not_repeated(run, tmp_path, scored, monkeypatch):
    copy = own_copy(run, tmp_path)
    monkeypatch.setattr(supernet_training, "fit", lambda *args, **more: pytest.fail("trained again"))
    run_search(copy.parent / "spec" / "tiny.yaml", copy)
    assert scored == [] and front_of(copy) == front_of(run)
    assert (copy / "trials.jsonl").read_bytes() == (run / "trials.jsonl").read_bytes()


def test_trials_of_another_search_are_refused(run, tmp_path):
    copy = own_copy(run, tmp_path)
    lines = [json.loads(line) for line in (copy / "trials.jsonl").read_text().splitlines()]
    lines[0]["number"], lines[1]["number"] = 1, 0
    (copy / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UserError, match="must be the one that the strategy proposes"):
        run_search(copy.parent / "spec" / "tiny.yaml", copy)


def test_a_changed_spec_is_refused(run, tmp_path):
    copy = own_copy(run, tmp_path)
    spec = write_spec(copy.parent / "spec", SPACE | {"stem": {"width": 6}}, seed=12)
    with pytest.raises(UserError, match=r"these keys differ: experiment\.seed \(.*, space\.stem\.width \("):
        run_search(spec, copy)
    assert front_of(copy) == front_of(run)


def test_a_run_of_a_version_with_fewer_keys_resumes(run, tmp_path, scored):
    copy = own_copy(run, tmp_path)
    config = json.loads((copy / "config.json").read_text())
    del config["experiment"]["deterministic"], config["experiment"]["supernet"]["sync_norms"], config["space"]["policy"]
    config["space"]["policy"] = SPACE["policy"]
    (copy / "config.json").write_text(json.dumps(config))
    run_search(copy.parent / "spec" / "tiny.yaml", copy)
    assert not scored and front_of(copy) == front_of(run)


def test_an_interrupted_training_resumes(run, tmp_path):
    """Killed after the first of two epochs; the same command ends with the same weights and front."""
    spec = write_spec(tmp_path / "spec")
    with pytest.raises(Stopped):
        run_search(spec, tmp_path / "run", listen=StoppedInTraining)
    assert (tmp_path / "run" / "checkpoints" / "supernet.pt").exists()
    run_search(spec, tmp_path / "run")
    weights = "checkpoints/supernet.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (run / weights).read_bytes()
    assert front_of(tmp_path / "run") == front_of(run)


def test_two_searches_in_one_folder_are_refused(run, tmp_path):
    copy = own_copy(run, tmp_path)
    with Run.open(copy).locked(), pytest.raises(UserError, match="another process"):
        run_search(copy.parent / "spec" / "tiny.yaml", copy)


def test_later_sessions_use_the_precision_measured_first(run, tmp_path, monkeypatch):
    """`auto` is measured, and a busy machine may find another format faster than in the session before."""
    copy, cpu = own_copy(run, tmp_path), torch.device("cpu")
    spec = RunSession.open(copy).experiment.retrain
    auto = spec.model_copy(update={"precision": "auto"})
    for measured in (torch.bfloat16, torch.float32):
        monkeypatch.setattr("aebnas.run.training_setup.computing_dtype", lambda *args, measured=measured: measured)
        opened = Run.open(copy)
        assert with_pinned_precision(opened, auto, cpu).precision == "bf16"
        assert with_pinned_precision(opened, spec, cpu).precision == "fp32"
        assert with_pinned_precision(opened, auto, torch.device("cuda")).precision == "auto"
