"""The number format in which a training computes; weights and optimiser stay in fp32."""

import time
from collections.abc import Callable
from functools import cache
from typing import cast

import torch
from torch import nn

from aebnas.cost.latency.stopwatch import DTYPES
from aebnas.training.training_spec import Precision

ROUNDS = 7
MAX_TIME_RATIO = 0.8
"""bf16 is used where it takes at most this share of fp32's time."""


def computing_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The format specified; for `auto` bf16 where it is faster, fp16 on GPUs without it, else fp32.

    In torch's deterministic mode nothing is measured: a CPU computes in fp32.
    """
    if precision != "auto":
        return DTYPES[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float32 if torch.are_deterministic_algorithms_enabled() else _faster_on_this_cpu()


def dtype_name(dtype: torch.dtype) -> Precision:
    """The name of the format in a spec."""
    return cast(Precision, next(name for name, known in DTYPES.items() if known == dtype))


@cache
def _faster_on_this_cpu() -> torch.dtype:
    """Measured, since a CPU's flags don't determine it: with the same AVX512-bf16 one CPU trains twice as fast in bf16
    as in fp32, and another a quarter slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine several threads wait for each other in either format
    try:
        with torch.random.fork_rng(devices=[]):
            steps = [_convolution_step(dtype) for dtype in (torch.float32, torch.bfloat16)]
        # alternating, so that other load affects both alike
        taken = [[_seconds(step) for step in steps] for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(before)
    fp32_s, bf16_s = (min(column) for column in zip(*taken, strict=True))
    return torch.bfloat16 if bf16_s <= MAX_TIME_RATIO * fp32_s else torch.float32


def _convolution_step(dtype: torch.dtype) -> Callable[[], None]:
    """A training step of one convolution of medium size."""
    conv = nn.Conv2d(64, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x_nchw = torch.randn(32, 64, 16, 16).to(memory_format=torch.channels_last).requires_grad_()

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = conv(x_nchw).sum()
        loss.backward()

    step()
    return step


def _seconds(act: Callable[[], None]) -> float:
    started = time.process_time()  # excludes the time of other processes
    act()
    return time.process_time() - started
