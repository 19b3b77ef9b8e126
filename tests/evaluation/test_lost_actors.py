"""What happens to work whose Ray actor is lost, with Ray replaced by calls that are lost as a test says."""

from types import SimpleNamespace

import pytest

from aebnas.core.errors import UserError
from aebnas.evaluation.worker_pool import MAX_LOSSES, MAX_LOST_STARTS, MAX_MEMORY_LOSSES, Failure, RayActors


class RayError(Exception):
    pass


class OutOfMemoryError(RayError):
    pass


class Call(SimpleNamespace):
    """A call in flight; hashable, as those of Ray are."""

    __hash__ = object.__hash__


class FakeRay:
    """Its actors score a number by returning it; `lost(method, argument, actor)` returns the error of a lost call."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, lost=lambda method, argument, actor: None):
        self.lost, self.started, self.scored = lost, 0, []

    def put(self, value):
        return value

    def remote(self, **needs):
        return lambda worker: SimpleNamespace(remote=self.actor)

    def actor(self):
        self.started += 1
        dead, number = [], self.started

        def call(method):
            def begin(argument):
                error = RayError("dead before") if dead else self.lost(method, argument, number)
                if error is not None:
                    dead.append(error)
                elif method == "score":
                    self.scored.append(argument)
                return Call(result=argument, error=error)

            return SimpleNamespace(remote=begin)

        return SimpleNamespace(prepare=call("prepare"), score=call("score"))

    def wait(self, calls, num_returns):
        return calls[:1], calls[1:]

    def get(self, call):
        if call.error is not None:
            raise call.error
        return call.result


def score(ray, work, workers=2):
    pool = RayActors(ray, SimpleNamespace(threads=1), workers)
    outcomes = list(pool.score(work))
    assert sorted(index for index, _ in outcomes) == list(range(len(work)))
    return dict(outcomes)


def test_every_item_is_scored_once():
    ray = FakeRay()
    assert score(ray, [10, 11, 12]) == {0: 10, 1: 11, 2: 12}
    assert sorted(ray.scored) == [10, 11, 12] and ray.started == 2


def test_an_item_is_repeated_until_its_workers_were_lost_too_often(capsys):
    losses = {10: MAX_LOSSES - 1, 11: MAX_LOSSES}

    def lost(method, argument, actor):
        if method == "score" and losses.get(argument, 0):
            losses[argument] -= 1
            return RayError("It died.\n\tclass_name: _Worker\nexit code 9")
        return None

    outcomes = score(FakeRay(lost), [10, 11, 12])
    assert (outcomes[0], outcomes[2]) == (10, 12)
    assert outcomes[1] == Failure(f"its worker was lost {MAX_LOSSES} times: It died. exit code 9", transient=True)
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 2 * (MAX_LOSSES - 1)
    assert notes[0] == "note: a candidate is scored again: its worker was lost once: It died. exit code 9"


def test_too_little_memory_is_tried_less_often():
    ray = FakeRay(lambda method, argument, actor: OutOfMemoryError("too little") if argument == 11 else None)
    outcomes = score(ray, [10, 11])
    assert outcomes[0] == 10
    assert outcomes[1].reason == f"out of memory, so Ray ended its worker {MAX_MEMORY_LOSSES} times: too little"


def test_workers_lost_while_they_start_or_wait_count_against_no_item(capsys):
    """Nearly as many in a row as end a search, again and again."""

    def lost(method, argument, actor):
        return RayError("killed") if method == "prepare" and actor % (MAX_LOST_STARTS - 1) else None

    assert score(FakeRay(lost), list(range(20)), workers=1) == {index: index for index in range(20)}
    assert capsys.readouterr().err == ""
    pool = RayActors(ray := FakeRay(), SimpleNamespace(threads=1), 1)
    assert dict(pool.score([10])) == {0: 10}
    ray.lost = lambda method, argument, actor: RayError("killed while it waited") if actor == 1 else None
    assert dict(pool.score([11])) == {0: 11} and capsys.readouterr().err == ""


def test_workers_that_never_start_end_the_search():
    ray = FakeRay(lambda method, argument, actor: RayError("no torch") if method == "prepare" else None)
    with pytest.raises(UserError) as refused:
        score(ray, [10])
    reason = f"evaluate.workers: its worker was lost {MAX_LOST_STARTS} times: no torch, always while it started"
    assert str(refused.value) == reason


def test_no_work_is_no_outcome():
    assert score(FakeRay(), []) == {}
