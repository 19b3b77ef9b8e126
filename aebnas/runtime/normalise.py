"""Normalisation of images as tensors; `Preprocessing.normalised` does the same for arrays, without torch.

Legend: n images, c channels, h height, w width.
"""

import torch
from torch import Tensor

from .preprocessing import Preprocessing


def normalise(pixels: Tensor, preprocessing: Preprocessing, dtype: torch.dtype = torch.float32) -> Tensor:
    """The network's input `[n, c, h, w]` in channels_last, from uint8 of that shape on any device.

    Computed in float32 at least, and then rounded to `dtype`. Raises ValueError for images of another type or shape.
    """
    if pixels.dtype != torch.uint8 or tuple(pixels.shape[1:]) != preprocessing.shape:
        got = f"{pixels.dtype} {list(pixels.shape)}"
        raise ValueError(f"images must be torch.uint8 [n, {', '.join(map(str, preprocessing.shape))}], but got {got}")
    precision = torch.promote_types(dtype, torch.float32)
    scale, shift = (
        torch.from_numpy(values_c)
        # the copy to a GPU needn't wait for the GPU's work
        .to(pixels.device, precision, non_blocking=pixels.device.type == "cuda")
        .view(1, -1, 1, 1)
        for values_c in (preprocessing.scale_c, preprocessing.shift_c)
    )
    # Pixels are uint8, so this is a copy that may be written to. In the order of the pixels: with three channels
    # innermost, a CPU takes six times as long for CIFAR-10.
    x_nchw = pixels.to(precision).mul_(scale).add_(shift)
    return x_nchw.to(dtype, memory_format=torch.channels_last)
