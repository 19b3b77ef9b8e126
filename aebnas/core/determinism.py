"""Threads and algorithms pinned within a `with` block, so that equal work gives bitwise equal results."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""Without it cuBLAS sums in varying order, and torch refuses to multiply matrices in deterministic mode."""


@contextmanager
def pinned(threads: int, deterministic: bool) -> Iterator[None]:
    """Inside, torch uses `threads` CPU threads (sums are split by thread) and, if `deterministic`, only deterministic
    algorithms.

    The previous settings are restored at the end. On GPUs torch raises RuntimeError for an op that has no deterministic
    implementation.
    """
    cudnn = torch.backends.cudnn
    threads_before = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, cudnn.deterministic
    torch.set_num_threads(threads)
    if deterministic:
        os.environ.setdefault(*CUBLAS)
        torch.use_deterministic_algorithms(True)
        cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        if deterministic:  # even torch.use_deterministic_algorithms(False) imports torch's compiler, for a second
            torch.use_deterministic_algorithms(before[0])
            cudnn.benchmark, cudnn.deterministic = before[1:]
