"""Images as they come on a bad day: Gaussian noise, blur and lost contrast, each at three severities.

For measuring how accuracy, compute and the exits taken change on unfamiliar input; nothing is downloaded. What is
drawn for an image depends on the seed and on which image it is, not on the order in which images are read.

Legend: n images, c channels, h, w sides; m indices asked for.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from aebnas.data.image_set import ImageSet, Source

SEVERITIES = (1, 2, 3)

NOISE_STD = (0.04, 0.08, 0.12)
"""Standard deviation of the noise by severity, as a share of the pixels' range."""

BLUR_STD = (0.5, 1.0, 1.5)
"""Standard deviation of the blur by severity, in pixels of an image of up to 32 a side; larger ones in proportion."""

CONTRAST = (0.6, 0.35, 0.15)
"""What is left of each pixel's distance from the image's mean, by severity."""


def gaussian_noise(pixels: Tensor, severity: int, seed_n: Tensor) -> Tensor:
    """Normal noise on every pixel; `seed_n` are the seeds of the images."""
    noise = torch.empty(pixels.shape)
    generator = torch.Generator()
    for index, seed in enumerate(seed_n.tolist()):
        noise[index].normal_(generator=generator.manual_seed(seed))
    return _to_bytes(pixels.float() + noise.to(pixels.device) * (255 * NOISE_STD[severity - 1]))


def blur(pixels: Tensor, severity: int, seed_n: Tensor) -> Tensor:
    """Gaussian blur, the border's pixels repeated outwards."""
    std = BLUR_STD[severity - 1] * max(1.0, min(pixels.shape[2:]) / 32)
    reach = math.ceil(3 * std)
    place = torch.arange(-reach, reach + 1, dtype=torch.float32)
    window = torch.exp(-(place**2) / (2 * std**2))
    window = (window / window.sum()).to(pixels.device)
    n, c, h, w = pixels.shape
    x = F.pad(pixels.float().view(n * c, 1, h, w), [reach] * 4, mode="replicate")
    x = F.conv2d(F.conv2d(x, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return _to_bytes(x.view(n, c, h, w))


def contrast(pixels: Tensor, severity: int, seed_n: Tensor) -> Tensor:
    """Every pixel drawn towards its image's mean."""
    x_nchw = pixels.float()
    mean_n = x_nchw.mean((1, 2, 3), keepdim=True)
    return _to_bytes(mean_n + (x_nchw - mean_n) * CONTRAST[severity - 1])


SHIFTS: Mapping[str, Callable[[Tensor, int, Tensor], Tensor]] = {
    "gaussian_noise": gaussian_noise,
    "blur": blur,
    "contrast": contrast,
}
"""Name -> (uint8 `[n, c, h, w]`, severity from 1, seeds `[n]`) -> the same images, shifted."""


def shift_images(images: ImageSet, kind: str, severity: int, seed: int = 0) -> ImageSet:
    """The same labelled images under a shift, read and shifted when they are asked for.

    Raises ValueError for an unknown kind or severity.
    """
    if kind not in SHIFTS or severity not in SEVERITIES:
        want = f"{', '.join(SHIFTS)} at severity {', '.join(map(str, SEVERITIES))}"
        raise ValueError(f"the shift must be one of {want}, but got {kind} at {severity}")
    numbers_n = torch.arange(len(images))
    return replace(images, source=_Shifted(images.source, kind, severity, seed, numbers_n))


@dataclass(frozen=True, eq=False)
class _Shifted:
    """A source whose images come shifted; `number_n` are those of the images in the set that was shifted."""

    source: Source
    kind: str
    severity: int
    seed: int
    number_n: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `Source`."""
        return self.source.shape

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Tensor) -> Tensor:
        """See `Source`."""
        seeds = (self.number_n[indices] * 1_000_003 + self.seed) % (2**63 - 1)
        return SHIFTS[self.kind](self.source.read(indices), self.severity, seeds)

    def take(self, indices: Tensor) -> "_Shifted":
        """See `Source`."""
        return replace(self, source=self.source.take(indices), number_n=self.number_n[indices])


def _to_bytes(x_nchw: Tensor) -> Tensor:
    return x_nchw.round().clamp(0, 255).to(torch.uint8)
