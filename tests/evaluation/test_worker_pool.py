import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import ray
import torch
from tiny_run import searched
from torch.nn.modules.module import register_module_forward_hook

from aebnas.evaluation.evaluator import Evaluator
from aebnas.evaluation.worker_pool import Failure, InProcess, _lost_reason, score_one
from aebnas.run.candidate_scoring import candidate_evaluator
from aebnas.run.session import RunSession
from aebnas.run.training_setup import trained_supernet
from aebnas.space.architecture import Architecture


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> RunSession:
    return RunSession.open(searched(tmp_path_factory))


@pytest.fixture(scope="module")
def evaluator(session) -> Evaluator:
    return candidate_evaluator(session, trained_supernet(session))


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[split].correct_ne, b[split].correct_ne)
        and all(np.array_equal(a[split].scores[name], b[split].scores[name]) for name in a[split].scores)
        and a[split].costs == b[split].costs
        and a[split].temperatures == b[split].temperatures != ()
        for split in a
    )


def test_tables_are_the_same_each_time_and_after_pickling(session, evaluator, architectures):
    copy = pickle.loads(pickle.dumps(evaluator))
    for architecture in architectures(session.space, 3):
        first = evaluator.score(architecture).tables
        assert same(first, evaluator.score(architecture).tables) and same(first, copy.score(architecture).tables)
        assert {name: table.samples for name, table in first.items()} == {"calibrate": 287, "search": 287}
        assert set(first["search"].scores) == {"confidence", "margin"}
    a, b = architectures(session.space, 2)
    assert not same(evaluator.score(a).tables, evaluator.score(b).tables)


def test_scores_do_not_depend_on_their_order(session, evaluator, architectures):
    work = architectures(session.space, 4)
    forward = dict(InProcess(evaluator).score(work))
    backward = dict(InProcess(evaluator).score(work[::-1]))
    assert sorted(forward) == sorted(backward) == [0, 1, 2, 3]
    assert all(same(forward[index].tables, backward[3 - index].tables) for index in range(4))


def test_the_thread_count_is_pinned_and_restored(session, evaluator):
    seen = set()
    hook = register_module_forward_hook(lambda *_: seen.add(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        evaluator.score(session.space.extreme(largest=False))
        assert (seen, torch.get_num_threads()) == ({1}, 2)
    finally:
        hook.remove()
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Failing(Evaluator):
    """An evaluator that fails for one architecture."""

    bad: Architecture | None = None
    error: type[Exception] = ValueError

    def network(self, architecture, compute=None):
        if architecture == self.bad:
            raise self.error("made\nup")
        return super().network(architecture, compute)


@pytest.mark.parametrize("error", [ValueError, RuntimeError, MemoryError, ZeroDivisionError])
def test_a_candidate_that_raises_is_a_failure_and_the_others_are_scored(session, evaluator, architectures, error):
    bad, good = architectures(session.space, 2)
    outcomes = dict(InProcess(Failing(**vars(evaluator), bad=bad, error=error)).score([bad, good]))
    kind = "out of memory" if error is MemoryError else error.__name__
    assert outcomes[0] == Failure(f"{kind}: made up", transient=error is MemoryError)
    assert set(outcomes[1].tables) == {"calibrate", "search"}


class TooLarge(Evaluator):
    """An evaluator whose networks need more memory than there is."""

    def network(self, architecture, compute=None):
        return torch.empty(2**60)


def test_a_tensor_that_torch_cannot_allocate_is_out_of_memory(session, evaluator):
    outcome = score_one(TooLarge(**vars(evaluator)), session.space.extreme(largest=False))
    assert isinstance(outcome, Failure) and outcome.reason.startswith("out of memory: ")


def test_the_reason_why_a_worker_was_lost_is_one_line():
    died = ray.exceptions.ActorDiedError()
    died.error_msg = "The actor died unexpectedly.\n\tclass_name: _Worker\n\tpid: 17\nWorker exits: (1) OOM killer"
    why = "The actor died unexpectedly. Worker exits: (1) OOM killer"
    assert _lost_reason(died, 1) == f"its worker was lost once: {why}"
    assert _lost_reason(died, 3) == f"its worker was lost 3 times: {why}"
    memory = ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on memory.\nMemory: ...")
    reason = _lost_reason(memory, 2)
    assert reason.startswith("out of memory, so Ray ended its worker 2 times: Task was killed due to")
    assert "\n" not in reason


def test_weights_that_are_nan_are_a_failure(session):
    supernet = trained_supernet(session)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.fill_(float("nan"))
    outcome = score_one(candidate_evaluator(session, supernet), session.space.extreme(largest=True))
    assert isinstance(outcome, Failure) and "NaN" in outcome.reason
