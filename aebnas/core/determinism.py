"""Threads and algorithms pinned for a while, so that the same work gives the same bits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""Without it cuBLAS adds in an order of its own, and torch refuses to multiply matrices in deterministic mode."""


@contextmanager
def pinned(threads: int, deterministic: bool) -> Iterator[None]:
    """Inside, torch uses `threads` CPU threads (they cut sums) and, with `deterministic`, such algorithms alone.

    What was set before is set again at the end. On GPUs torch raises RuntimeError for an op that has no deterministic
    form.
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
        torch.use_deterministic_algorithms(before[0])
        cudnn.benchmark, cudnn.deterministic = before[1:]
