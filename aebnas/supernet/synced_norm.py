"""Batch norm over the batches of all ranks, as `torch.nn.SyncBatchNorm`, which is for CUDA only.

Ranks hold equal shares of a batch. One all-gather of statistics forward, one all-reduce of sums backward
(Ioffe & Szegedy 2015 over the whole batch).
Legend: n samples, c channels, h height, w width, r ranks.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

OVER = (0, 2, 3)
"""All dimensions but the channels."""


class SyncedNorm(nn.BatchNorm2d):
    """Training-time batch norm without running statistics; in a single process it is plain batch norm."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x_nchw)
        return _Synced.apply(x_nchw, self.weight, self.bias, self.eps)


class _Synced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_nchw: Tensor, weight_c: Tensor, bias_c: Tensor, eps: float) -> Tensor:
        world = dist.get_world_size()
        dtype = torch.promote_types(x_nchw.dtype, torch.float32)  # statistics of bf16 maps are computed in fp32
        own = torch.stack(torch.var_mean(x_nchw.to(dtype), OVER, correction=0))
        shares = [torch.empty_like(own) for _ in range(world)]
        dist.all_gather(shares, own)
        var_rc, mean_rc = torch.stack(shares).unbind(1)
        mean_c = mean_rc.mean(0)
        var_c = var_rc.mean(0) + (mean_rc - mean_c).square().mean(0)
        ctx.save_for_backward(x_nchw, weight_c, mean_c, (var_c + eps).rsqrt())
        return F.batch_norm(x_nchw, mean_c, var_c, weight_c, bias_c, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        x_nchw, weight_c, mean_c, inverse_std_c = ctx.saved_tensors
        grad_nchw = grads[0].to(mean_c.dtype)
        centred_nchw = x_nchw.to(mean_c.dtype) - mean_c.view(-1, 1, 1)
        sums_c = torch.stack([grad_nchw.sum(OVER), (grad_nchw * centred_nchw).sum(OVER) * inverse_std_c])
        bias_grad_c, weight_grad_c = sums_c.clone().unbind()
        dist.all_reduce(sums_c)
        # d loss / dx = weight / std * (dy - mean(dy) - x_hat * mean(dy * x_hat)), means over the whole batch
        means_c = sums_c / (x_nchw.numel() // x_nchw.shape[1] * dist.get_world_size())
        scale_c = weight_c * inverse_std_c
        x_grad_nchw = (grad_nchw - means_c[0].view(-1, 1, 1)).mul_(scale_c.view(-1, 1, 1))
        slope_c = scale_c * inverse_std_c * means_c[1]
        x_grad_nchw.addcmul_(centred_nchw, slope_c.view(-1, 1, 1), value=-1)
        return x_grad_nchw.to(x_nchw.dtype), weight_grad_c, bias_grad_c, None
