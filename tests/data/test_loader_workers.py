import os
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from aebnas.core.errors import UserError
from aebnas.data.loader_workers import Workers


def square(number: int) -> Tensor:
    if number == 13:
        raise UserError("13: must be lucky")
    return torch.tensor([number**2, os.getpid()])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_results_come_in_the_order_of_the_jobs(count: int) -> None:
    workers = Workers(square, count)
    state = torch.get_rng_state()
    processes = set()
    for first in (0, 30):
        found = torch.stack(list(workers.map(range(first, first + 10))))
        assert found[:, 0].tolist() == [number**2 for number in range(first, first + 10)]
        processes |= set(found[:, 1].tolist())
    assert torch.equal(torch.get_rng_state(), state)
    assert processes == {os.getpid()} if count == 0 else len(processes - {os.getpid()}) == count


@pytest.mark.parametrize("count", [0, 2])
def test_a_user_error_is_raised_unchanged_and_work_continues_after_it(count: int) -> None:
    workers = Workers(square, count)
    with pytest.raises(UserError, match=r"^13: must be lucky$"):
        list(workers.map([3, 13, 5, 6, 7, 8]))
    assert [int(found[0]) for found in workers.map([2, 1])] == [4, 1]


@pytest.mark.parametrize("count", [0, 2])
def test_jobs_are_generated_only_as_they_are_needed(count: int) -> None:
    made = []

    def jobs() -> Iterator[int]:
        for number in range(100, 200):
            made.append(number)
            yield number

    results = Workers(square, count).map(jobs())
    assert int(next(results)[0]) == 100**2
    assert len(made) < 10  # not a whole epoch's draws at once
    results.close()  # type: ignore[attr-defined]


def test_no_jobs_give_no_results() -> None:
    assert list(Workers(square, 1).map([])) == []
