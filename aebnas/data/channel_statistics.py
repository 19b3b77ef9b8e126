"""Measuring the normalisation of an image set.

Legend: n images, c channels, h height, w width.
"""

import torch

from aebnas.core.progress import no_bar, progress_bar
from aebnas.data.image_set import ImageSet, InMemory
from aebnas.runtime.preprocessing import ImageReader, Preprocessing

STD_FLOOR = 1e-3
MAX_MEASURED = 10_000
MEASURE_BATCH = 500


def measure_preprocessing(images: ImageSet, reader: ImageReader | None = None) -> Preprocessing:
    """Mean and standard deviation of each channel; std is at least 1e-3.

    `reader` is recorded: it reads further images in the same way (by default, one of the images' shape). Of a set of
    more than 10,000 images, 10,000 evenly spaced ones are measured. Raises ValueError for none, or a reader of another
    shape.
    """
    reader = ImageReader(images.shape) if reader is None else reader
    if reader.shape != images.shape:
        raise ValueError(f"reader must be of the images' shape {images.shape}, but got {reader.shape}")
    if not len(images):
        raise ValueError("images must hold at least one image to measure, but got none")
    count = min(len(images), MAX_MEASURED)
    measured = images.subset(torch.arange(count) * len(images) // count)
    counts = torch.zeros(images.shape[0], 256, dtype=torch.int64)
    make_bar = no_bar if isinstance(images.source, InMemory) else progress_bar  # reading files is slow
    with make_bar("measuring images", count) as bar:
        for start in range(0, count, MEASURE_BATCH):
            pixels = measured.pixels(slice(start, start + MEASURE_BATCH))
            for channel, plane in enumerate(pixels.unbind(1)):
                counts[channel] += torch.bincount(plane.flatten(), minlength=256).cpu()
            bar.advance(len(pixels))
    shares = counts.double() / counts.sum(1, keepdim=True)
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = shares @ levels
    variance = (shares * (levels - mean[:, None]).square()).sum(1)
    std = variance.sqrt().clamp_min(STD_FLOOR)
    return Preprocessing(tuple(mean.tolist()), tuple(std.tolist()), reader)
