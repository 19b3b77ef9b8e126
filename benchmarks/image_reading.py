"""What it costs to decode JPEGs in full, as `aebnas.runtime.preprocessing` reads them, on one core.

Pillow's `draft` decodes a JPEG at a fraction of its size, which is faster and reads other pixels than a full decoding,
so that the same photograph would differ between JPEG and PNG, and between a path and an opened image. The table has the
time of reading a JPEG in full over that with `draft`, for several sizes of photographs and networks.

    python benchmarks/image_reading.py
"""

import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps

from aebnas.runtime.preprocessing import ImageReader

PHOTOGRAPHS = ((320, 240), (500, 375), (1024, 768), (2048, 1536), (4032, 3024))
RESOLUTIONS = (32, 96, 224)
REPEATS = 7


def photograph(width: int, height: int) -> bytes:
    """A JPEG of smooth colours with some noise, of about 2 bits a pixel."""
    generator = np.random.default_rng(0)
    coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), np.uint8)).resize((width, height))
    noisy = np.asarray(coarse, np.int16) + generator.normal(0, 6, (height, width, 1)).astype(np.int16)
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def with_draft(content: bytes, side: int) -> None:
    """As read at twice the network's size or more."""
    with Image.open(io.BytesIO(content)) as image:
        image.draft(None, (2 * side, 2 * side))
        np.asarray(ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BILINEAR))


def in_full(content: bytes, side: int) -> None:
    """As training and exports read it."""
    with Image.open(io.BytesIO(content)) as image:
        ImageReader((3, side, side)).read(image)


def milliseconds(read: Callable[[bytes, int], None], content: bytes, side: int) -> float:
    """CPU time, the median of repeated reads."""
    taken = []
    for _ in range(REPEATS):
        start = time.thread_time()
        read(content, side)
        taken.append((time.thread_time() - start) * 1000)
    return statistics.median(taken)


def main() -> None:
    print(f"{'photograph':>12} {'kB':>6} {'network':>8} {'full ms':>8} {'draft ms':>9} {'ratio':>6}")
    for width, height in PHOTOGRAPHS:
        content = photograph(width, height)
        for side in RESOLUTIONS:
            full, draft = (milliseconds(read, content, side) for read in (in_full, with_draft))
            size = f"{width}x{height}"
            print(f"{size:>12} {len(content) / 1e3:6.0f} {side:8} {full:8.1f} {draft:9.1f} {full / draft:6.1f}")


if __name__ == "__main__":
    main()
