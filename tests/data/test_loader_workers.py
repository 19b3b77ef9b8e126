import os
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from aebnas.core.errors import UserError
from aebnas.data import loader_workers
from aebnas.data.loader_workers import MOST_LOADERS, Workers, number_of, read_all


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


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("ahead", [1, 4])
def test_each_process_is_as_many_jobs_ahead_as_it_may(count: int, ahead: int) -> None:
    made = []

    def jobs() -> Iterator[int]:
        for number in range(100, 200):
            made.append(number)
            yield number

    results = Workers(square, count, ahead).map(jobs())
    next(results)
    assert len(made) == count * ahead + 1
    results.close()  # type: ignore[attr-defined]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    return 4


def test_a_number_that_is_given_is_used(threads: int) -> None:
    assert [number_of(given, 1, 10**15) for given in (0, 3, 40)] == [0, 3, 40]


def test_the_automatic_number_is_that_of_threads_within_limits(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    assert [number_of("auto", parts, 1000) for parts in (0, 1, 3, 4, 1000)] == [0, 1, 3, 4, 4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 200)
    assert number_of("auto", 1000, 1000) == MOST_LOADERS


def test_without_shared_memory_images_are_read_in_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], threads: int
) -> None:
    monkeypatch.setattr(loader_workers, "SHARED_MEMORY", tmp_path)
    usage = namedtuple("usage", "free")(64_000_000)
    monkeypatch.setattr(loader_workers.shutil, "disk_usage", lambda path: usage)
    assert number_of("auto", 100, part_bytes=4_000_000) == threads and not capsys.readouterr().err
    for part_bytes, ahead, needed in [(4_000_001, 0, 32), (4_000_000, 16, 64)]:
        assert number_of("auto", 100, part_bytes, ahead) == 0
        note = capsys.readouterr().err
        assert f"has room for 32 of the {needed} MB" in note and note.count("\n") == 1
    assert number_of(2, 100, 10**9) == 2  # the user knows better
    monkeypatch.setattr(loader_workers, "SHARED_MEMORY", tmp_path / "not Linux")
    assert number_of("auto", 100, 10**15) == threads


def double(indices: Tensor) -> Tensor:
    return 2 * indices


@pytest.mark.parametrize("loaders", [0, 1, "auto"])
@pytest.mark.parametrize("images", [0, 10, 64, 150])
def test_all_is_read_once_in_order(images: int, loaders: int) -> None:
    read = list(read_all(double, images, loaders, 1))  # type: ignore[arg-type]
    indices, results = zip(*read, strict=True) if read else ((), ())
    assert [number for part in indices for number in part.tolist()] == list(range(images))
    assert [number for part in results for number in part.tolist()] == list(range(0, 2 * images, 2))
