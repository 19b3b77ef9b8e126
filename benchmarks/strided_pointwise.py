"""What the pointwise (1x1) convolution that takes its pixels out first costs beside PyTorch's strided one.

    python benchmarks/strided_pointwise.py [--rounds 7] [--batch 32] [--threads 1] [--dtype fp32]

A ratio is time taken out first / time strided, so below 1 is faster; both take turns within each round, and the ratio
is that of the median CPU times. `forward` is in evaluation mode, `both` is training. `block` is a whole residual
block (`basic`, 3x3, stride 2), of which the convolution is the shortcut: what a network feels. In channels_last,
PyTorch's strided one with fewer input channels than the CPU's vectors hold can end the process in its backward pass,
so below `SAFE` channels both are compared in contiguous alone. The last line is the median ratio over the rows, by
column.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from aebnas.cost.latency.stopwatch import DTYPES, FORMATS
from aebnas.runtime.blocks import Basic
from aebnas.runtime.conv_norm import SubsampledPointwise

SAFE = 32
"""Input channels from which no CPU known ends the process."""
SHAPES = ((8, 32), (8, 224), (16, 32), (16, 112), (32, 16), (32, 56), (32, 112), (64, 8), (64, 56), (256, 14))
"""Input channels (the output has twice as many) and side."""
COLUMNS = ("forward", "both", "block forward", "block both")


def ratio(rounds: int, subsampled: Callable[[], object], strided: Callable[[], object]) -> float:
    """Median CPU seconds of the first over those of the second; they take turns after two warm-ups each."""
    taken: tuple[list[float], list[float]] = [], []
    for turn in range(rounds + 2):
        for work, seconds in zip((subsampled, strided), taken, strict=True):
            started = time.process_time()
            work()
            if turn > 1:
                seconds.append(time.process_time() - started)
    return statistics.median(taken[0]) / statistics.median(taken[1])


def pointwise(channels: int) -> nn.Module:
    """The convolution by itself."""
    return nn.Sequential(SubsampledPointwise(channels, 2 * channels, 1, 2, bias=False))


def strided_twin(module: nn.Module) -> nn.Module:
    """The same network with PyTorch's strided convolution."""
    for name, part in list(module.named_modules()):
        if isinstance(part, SubsampledPointwise):
            plain = nn.Conv2d(part.in_channels, part.out_channels, 1, part.stride, bias=False)
            plain = plain.to(part.weight.dtype)
            plain.weight = part.weight
            module.set_submodule(name, plain)
    return module


def passes(module: nn.Module, x_nchw: Tensor, backward: bool) -> Callable[[], None]:
    """Forward, or forward and backward with the input's gradient."""

    def work() -> None:
        with torch.set_grad_enabled(backward):
            y_nchw = module(x_nchw)
        if backward:
            y_nchw.sum().backward()

    return work


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype, rows = DTYPES[options.dtype], list[list[float]]()
    print(f"{'format':<15}{'channels':>9}{'side':>6}" + "".join(f"{name:>15}" for name in COLUMNS))
    for name, memory_format in FORMATS.items():
        for channels, side in SHAPES:
            if channels < SAFE and name == "channels_last":
                continue
            x_nchw = torch.randn(options.batch, channels, side, side, dtype=dtype)
            x_nchw = x_nchw.to(memory_format=memory_format).requires_grad_()
            row = []
            for made in (pointwise(channels), Basic(channels, 2 * channels, 3, 2)):
                subsampled = made.to(dtype=dtype, memory_format=memory_format)
                strided = strided_twin(copy.deepcopy(subsampled))
                for backward in (False, True):
                    works = [passes(module.train(backward), x_nchw, backward) for module in (subsampled, strided)]
                    row.append(ratio(options.rounds, *works))
            print(f"{name:<15}{channels:>9}{side:>6}" + "".join(f"{value:>15.2f}" for value in row), flush=True)
            rows.append(row)
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(f"{'MEDIAN':<30}" + "".join(f"{value:>15.2f}" for value in medians))


if __name__ == "__main__":
    main()
