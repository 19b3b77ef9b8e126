"""An edge whose op depends on the image.

Legend: n samples, k candidates, m numbers of the controller.
"""

import torch
from torch import Tensor, nn

from .choice_rules import ZERO


class Choice(nn.Module):
    """An edge that selects an op for each sample: the argmax over candidates of alpha + Delta alpha(x).

    `ops` are the candidates, each a name and its module (None for `identity`, whose output is its input, and `zero`,
    whose output is zeros). Delta alpha is `delta [n, m]` from column `start` on. Samples are grouped by op, and an op
    that no sample selects doesn't run.
    """

    def __init__(self, ops: tuple[tuple[str, nn.Module | None], ...], start: int) -> None:
        super().__init__()
        self.names = tuple(name for name, _ in ops)
        self.alpha = nn.Parameter(torch.zeros(len(ops)), requires_grad=False)
        self.ops = nn.ModuleList(nn.Identity() if module is None else module for _, module in ops)
        self.start = start

    def chosen(self, delta: Tensor) -> Tensor:
        """The candidate of each sample, int64 `[n]`."""
        delta_nk = delta.flatten(1)[:, self.start : self.start + len(self.names)]
        return (self.alpha + delta_nk.float()).argmax(-1)

    def forward(self, x_nchw: Tensor, delta: Tensor) -> Tensor:
        chosen_n = self.chosen(delta)
        present = chosen_n.unique().tolist()
        if len(present) == 1:
            return self._run(present[0], x_nchw)
        out_nchw = torch.zeros_like(x_nchw)
        for index in present:
            if self.names[index] != ZERO:
                rows = (chosen_n == index).nonzero()[:, 0]
                out_nchw = out_nchw.index_copy(0, rows, self._run(index, x_nchw[rows]).to(out_nchw.dtype))
        return out_nchw

    def _run(self, index: int, x_nchw: Tensor) -> Tensor:
        return torch.zeros_like(x_nchw) if self.names[index] == ZERO else self.ops[index](x_nchw)
