"""Forward and backward pass of every op with a stride in channels_last, over channels and sides; see `test_strides`.

Writes each case before it runs, so that the last line names the one that ended the process.
"""

import torch

from aebnas.runtime.ops import OPAQUE, OPS

STRIDED = sorted(name for name, op in OPS.items() if "stride" in op.takes and name != OPAQUE)
SETTINGS = {"out_channels": 4, "expand": 1.0}
SIDES = {1: (8, 55, 112, 224), 3: (8, 56)}
"""Kernel: sides. A pointwise convolution's backward pass is the one that has ended processes."""


def sweep() -> None:
    """Every case once, one image each."""
    torch.set_num_threads(1)
    for kernel, sides in SIDES.items():
        for side in sides:
            for channels in range(2, 33):
                x_nchw = torch.ones(1, channels, side, side).to(memory_format=torch.channels_last).requires_grad_()
                for name in STRIDED:
                    print(name, f"kernel {kernel}, {channels} channels, side {side}", flush=True)
                    known = SETTINGS | {"in_channels": channels, "kernel": kernel, "stride": 2}
                    op = OPS[name].build(**{key: known[key] for key in OPS[name].needs})
                    op.to(memory_format=torch.channels_last)(x_nchw).sum().backward()


if __name__ == "__main__":
    sweep()
    print("done")
