"""Out-of-distribution images: noise, and test images whose patches are shuffled. Made here, no download.

Legend: n images, c channels, h height, w width.
"""

import torch
from torch import Tensor

from aebnas.data.image_set import ImageSet

PATCHES = 4
"""Patches a side: enough that no object is left, few enough that edges and colours are those of real images."""


def noise_like(images: ImageSet, count: int, seed: int = 0) -> ImageSet:
    """`count` images of independent normal pixels with each channel's mean and standard deviation in `images`.

    The labels are all 0 and mean nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    pixels = images.pixels(slice(0, min(len(images), 1000))).float()
    mean_c, std_c = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    noise_nchw = torch.randn(count, *images.shape, generator=generator)
    noise_nchw = noise_nchw * std_c[:, None, None].clamp(min=1.0) + mean_c[:, None, None]
    return _unlabelled(noise_nchw.round().clamp(0, 255).to(torch.uint8), images.classes)


def shuffled_patches(images: ImageSet, count: int, seed: int = 0) -> ImageSet:
    """The first `count` images, the patches of each in a random order of its own; labels are all 0, mean nothing."""
    generator = torch.Generator().manual_seed(seed)
    pixels = images.pixels(slice(0, min(count, len(images))))
    h, w = pixels.shape[2:]
    patches = min(PATCHES, h, w)
    patch_h, patch_w = h // patches, w // patches
    shuffled_nchw = pixels.clone()
    for index in range(len(pixels)):
        order = torch.randperm(patches * patches, generator=generator)
        for place, source in enumerate(order.tolist()):
            to, at = _patch(place, patches, patch_h, patch_w), _patch(source, patches, patch_h, patch_w)
            shuffled_nchw[index][(slice(None), *to)] = pixels[index][(slice(None), *at)]
    return _unlabelled(shuffled_nchw, images.classes)


def _patch(number: int, patches: int, patch_h: int, patch_w: int) -> tuple[slice, slice]:
    row, column = divmod(number, patches)
    return slice(row * patch_h, (row + 1) * patch_h), slice(column * patch_w, (column + 1) * patch_w)


def _unlabelled(pixels: Tensor, classes: int) -> ImageSet:
    return ImageSet.of(pixels, torch.zeros(len(pixels), dtype=torch.int64), classes)
