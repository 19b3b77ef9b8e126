"""Images that are none of the classes: noise, and test images cut into tiles and jumbled. Made here, no download.

Legend: n images, c channels, h, w sides.
"""

import torch
from torch import Tensor

from aebnas.data.image_set import ImageSet

TILES = 4
"""Tiles a side: enough that no object is left, few enough that edges and colours are those of real images."""


def noise_like(images: ImageSet, count: int, seed: int = 0) -> ImageSet:
    """Images of independent normal pixels with each channel's mean and spread; labels mean nothing."""
    generator = torch.Generator().manual_seed(seed)
    pixels = images.pixels(slice(0, min(len(images), 1000))).float()
    mean_c, std_c = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    noise_nchw = torch.randn(count, *images.shape, generator=generator)
    noise_nchw = noise_nchw * std_c[:, None, None].clamp(min=1.0) + mean_c[:, None, None]
    return _unlabelled(noise_nchw.round().clamp(0, 255).to(torch.uint8), images.classes)


def jumbled(images: ImageSet, count: int, seed: int = 0) -> ImageSet:
    """The first `count` images, the tiles of each in an order of its own."""
    generator = torch.Generator().manual_seed(seed)
    pixels = images.pixels(slice(0, min(count, len(images))))
    h, w = pixels.shape[2:]
    tiles = min(TILES, h, w)
    high, wide = h // tiles, w // tiles
    jumbled_nchw = pixels.clone()
    for index in range(len(pixels)):
        order = torch.randperm(tiles * tiles, generator=generator)
        for place, source in enumerate(order.tolist()):
            to, at = _tile(place, tiles, high, wide), _tile(source, tiles, high, wide)
            jumbled_nchw[index][(slice(None), *to)] = pixels[index][(slice(None), *at)]
    return _unlabelled(jumbled_nchw, images.classes)


def _tile(number: int, tiles: int, high: int, wide: int) -> tuple[slice, slice]:
    row, column = divmod(number, tiles)
    return slice(row * high, (row + 1) * high), slice(column * wide, (column + 1) * wide)


def _unlabelled(pixels: Tensor, classes: int) -> ImageSet:
    return ImageSet.of(pixels, torch.zeros(len(pixels), dtype=torch.int64), classes)
