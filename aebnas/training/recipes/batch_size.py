"""The batch size that suits a set of images. Imports no torch."""

from typing import Literal

LARGEST, SMALLEST = 512, 16
MIN_STEPS = 16
"""Steps of an epoch below which batches are made smaller."""
MAX_PIXELS = LARGEST * 64 * 64
"""Of a batch, so that activations of large images fit into memory."""


def resolved_batch_size(setting: int | Literal["auto"], images: int, height: int, width: int, workers: int = 1) -> int:
    """The setting, or for `auto` the largest power of two that is at most 512, gives 16 steps an epoch (but is at least
    16) and isn't too large for images of this size; a multiple of `workers`."""
    if setting != "auto":
        return setting
    limit = min(LARGEST, max(SMALLEST, images // MIN_STEPS), max(SMALLEST, MAX_PIXELS // (height * width)))
    size = 1 << (limit.bit_length() - 1)
    return max(2 * workers, size // workers * workers)
