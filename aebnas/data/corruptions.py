"""Image corruptions: Gaussian noise, blur and reduced contrast of torchvision, each at three severities.

For measuring how accuracy, compute and the exits taken change on corrupted images; nothing is downloaded. The noise of
an image depends on the seed and on which image it is, not on the order in which images are read.

Legend: n images, c channels, h height, w width.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from aebnas.data.image_set import ImageSet, Source
from aebnas.data.transforms import each_with_its_seed
from aebnas.runtime.preprocessing import CHANNELS

SEVERITIES = (1, 2, 3)

NOISE_STD = (0.04, 0.08, 0.12)
"""Standard deviation of the noise by severity, as a share of the pixels' range."""

BLUR_STD = (0.5, 1.0, 1.5)
"""Standard deviation of the blur by severity, in pixels, for shorter sides of up to 32; in proportion for larger
images."""

CONTRAST = (0.6, 0.35, 0.15)
"""Factor on each pixel's distance from the image's mean, by severity."""


def gaussian_noise(pixels: Tensor, severity: int, seed_n: Tensor) -> Tensor:
    """Normal noise on every pixel; `seed_n` are the seeds of the images."""
    from torchvision.transforms.v2.functional import gaussian_noise

    # on the CPU, whose generator gives the same numbers whatever device holds the images
    operation = partial(gaussian_noise, sigma=NOISE_STD[severity - 1])
    return _to_bytes(each_with_its_seed(operation, _to_floats(pixels).cpu(), seed_n)).to(pixels.device)


def blur(pixels: Tensor, severity: int, seed_n: Tensor) -> Tensor:
    """Gaussian blur with a window of three standard deviations to each side, or of the image where it is smaller.

    Borders are mirrored. Rows, then columns: at 224 x 224 one two-dimensional window would take 30 times as many
    multiplications.
    """
    from torchvision.transforms.v2.functional import gaussian_blur

    height, width = pixels.shape[2:]
    std = BLUR_STD[severity - 1] * max(1.0, min(height, width) / 32)
    across, down = (2 * min(math.ceil(3 * std), side - 1) + 1 for side in (width, height))
    return _to_bytes(gaussian_blur(gaussian_blur(_to_floats(pixels), [across, 1], [std]), [1, down], [std]))


def contrast(pixels: Tensor, severity: int, seed_n: Tensor) -> Tensor:
    """Every pixel moved towards its image's mean grey value; of other than 1 or 3 channels, towards its channel's mean.

    What isn't a colour has no grey value, and the channels may be of different kinds.
    """
    from torchvision.transforms.v2.functional import adjust_contrast

    x_nchw, factor = _to_floats(pixels), CONTRAST[severity - 1]
    if pixels.shape[1] in CHANNELS:
        return _to_bytes(adjust_contrast(x_nchw, factor))
    return _to_bytes(torch.lerp(x_nchw.mean((2, 3), keepdim=True), x_nchw, factor))


CORRUPTIONS: Mapping[str, Callable[[Tensor, int, Tensor], Tensor]] = {
    "gaussian_noise": gaussian_noise,
    "blur": blur,
    "contrast": contrast,
}
"""Name -> (uint8 `[n, c, h, w]`, severity from 1, seeds `[n]`) -> the same images, corrupted."""


def corrupt_images(images: ImageSet, kind: str, severity: int, seed: int = 0) -> ImageSet:
    """The same labelled images under a corruption of a `kind`, applied whenever images are read.

    Raises ValueError for an unknown kind or severity.
    """
    if kind not in CORRUPTIONS or severity not in SEVERITIES:
        want = f"{', '.join(CORRUPTIONS)} at severity {', '.join(map(str, SEVERITIES))}"
        raise ValueError(f"the corruption must be one of {want}, but got {kind} at {severity}")
    numbers_n = torch.arange(len(images))
    return replace(images, source=_Corrupted(images.source, kind, severity, seed, numbers_n))


@dataclass(frozen=True, eq=False)
class _Corrupted:
    """A source that corrupts its images; `number_n`, their indices in the set given first, seed the noise."""

    source: Source
    kind: str
    severity: int
    seed: int
    number_n: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `Source`."""
        return self.source.shape

    @property
    def in_memory(self) -> bool:
        """See `Source`."""
        return False

    @property
    def paths(self) -> None:
        """See `Source`."""

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Tensor) -> Tensor:
        """See `Source`."""
        seeds = (self.number_n[indices] * 1_000_003 + self.seed) % (2**63 - 1)
        return CORRUPTIONS[self.kind](self.source.read(indices), self.severity, seeds)

    def take(self, indices: Tensor) -> "_Corrupted":
        """See `Source`."""
        return replace(self, source=self.source.take(indices), number_n=self.number_n[indices])


def _to_floats(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1], since torchvision rounds bytes down after some transforms."""
    return pixels.float() / 255


def _to_bytes(x_nchw: Tensor) -> Tensor:
    return (x_nchw * 255).round().clamp(0, 255).to(torch.uint8)
