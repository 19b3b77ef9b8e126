"""Progressive resolution: smaller images early in a training, at a part of the compute (Tan & Le 2021)."""

from dataclasses import replace
from math import lcm

from torch import Tensor
from torch.nn import functional as F

from aebnas.runtime.graph import INPUT, Graph

MIN_MAP = 4
"""Pixels a side below which a smaller image would leave too little of a network's last map."""


def scale_at(steps: tuple[tuple[float, float], ...], progress: float) -> float:
    """The scale of images' sides at a share of the training in [0, 1]; 1 without steps."""
    return next((scale for share, scale in reversed(steps) if progress >= share), 1.0)


def training_size(graph: Graph, scale: float) -> tuple[int, int]:
    """Height and width of a network's images scaled for training: multiples of the network's total stride.

    Their own size where the network resizes images itself, holds modules of fixed shapes, or would have a last map of
    fewer than 4 pixels a side.
    """
    channels, height, width = graph.input_shape
    if scale >= 1 or any(node.op in ("resize", "module") for node in graph.nodes):
        return height, width
    last_site = graph.exits[-1].site
    _, last_height, last_width = graph.shapes[last_site if last_site in graph.shapes else INPUT]
    stride = lcm(max(1, round(height / last_height)), max(1, round(width / last_width)))
    rows, columns = (max(round(side * scale / stride), MIN_MAP) * stride for side in (height, width))
    if rows >= height or columns >= width:
        return height, width
    try:
        replace(graph, input_shape=(channels, rows, columns))
    except ValueError:  # a kernel that doesn't fit the smaller maps
        return height, width
    return rows, columns


def resized(x_nchw: Tensor, size: tuple[int, int]) -> Tensor:
    """Images resized with antialiasing; unchanged where they have the size."""
    if tuple(x_nchw.shape[2:]) == size:
        return x_nchw
    return F.interpolate(x_nchw, size=size, mode="bilinear", align_corners=False, antialias=True)
