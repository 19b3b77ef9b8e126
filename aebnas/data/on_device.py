"""Images on the device that trains."""

import math

import torch
from torch import Tensor

from aebnas.data.image_set import ImageSet, InMemory

RESIDENT_SHARE = 0.25
"""Training images live in a GPU's memory where they take at most this share of what is free there."""
COPIED_AT_ONCE = 4096
"""Images; so that a set isn't in the host's memory twice."""


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, without waiting for the work of a GPU, as a copy to one does otherwise.

    Other devices may read the source after it is freed, unless they wait.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def fits(images: ImageSet, device: torch.device) -> bool:
    """Whether a set that is held in memory fits into that of a GPU, with room for its training."""
    return images.source.in_memory and len(images) * math.prod(images.shape) <= RESIDENT_SHARE * free_bytes(device)


def free_bytes(device: torch.device) -> int:
    """What a GPU has left for this process; 0 for other devices, which have no memory of their own."""
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def copied(images: ImageSet, device: torch.device) -> ImageSet:
    """The set in the memory of a device; raises UserError for a file that can't be read."""
    pixels = torch.empty(len(images), *images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), COPIED_AT_ONCE):
        part = slice(start, start + COPIED_AT_ONCE)
        pixels[part] = images.pixels(part).to(device)
    return ImageSet(InMemory(pixels), images.labels.to(device), images.classes)
