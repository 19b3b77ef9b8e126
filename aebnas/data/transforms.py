"""Random augmentation in two steps: random numbers are drawn for a whole batch, then applied to its images.

So one process of several can draw for the whole batch and transform only its share, with equal results. That is why
crop, flip, cutout and mixup aren't torchvision's: its transforms draw where they are applied, from torch's global
generator, and once for all images of a batch; applied to one image after another they are many times slower.

Legend: n images, c channels, h height, w width, k classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aebnas.data.data_spec import AugmentSpec
from aebnas.data.on_device import to_device


@dataclass(frozen=True)
class Draws:
    """Random numbers drawn for n images; None for a transform that isn't applied.

    `offset_n2`: row and column of the crop in the padded image. `flip_n`: bool. `seed_n`: of trivial augment.
    `centre_n2`: row and column of the cutout's centre. `mixed`: mixup's weight of an image itself in the mixture,
    one number for all.
    """

    offset_n2: Tensor | None = None
    flip_n: Tensor | None = None
    seed_n: Tensor | None = None
    centre_n2: Tensor | None = None
    mixed: float | None = None

    def of(self, rows: Tensor) -> "Draws":
        """The draws for the images `rows`."""

        def part(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[rows]

        return Draws(part(self.offset_n2), part(self.flip_n), part(self.seed_n), part(self.centre_n2), self.mixed)


def draw(spec: AugmentSpec, n: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
    """Draw from `generator` (a CPU one) for `n` images of `shape` (c, h, w); alternating flips aren't drawn."""

    def numbers(high: int, *size: int) -> Tensor:
        return torch.randint(high, size, generator=generator)

    mixed = None
    offset_n2 = numbers(2 * spec.crop + 1, 2, n).T if spec.crop else None
    flip_n = numbers(2, n).bool() if spec.flip is True else None
    seed_n = numbers(2**62, n) if spec.trivial_augment else None
    centre_n2 = torch.stack([numbers(side, n) for side in shape[1:]], 1) if spec.cutout else None
    if spec.mixup:
        # torch has no public Beta distribution with a generator
        mixed = float(np.random.default_rng(int(numbers(2**62))).beta(spec.mixup, spec.mixup))
    return Draws(offset_n2, flip_n, seed_n, centre_n2, mixed)


def augment(images_nchw: Tensor, spec: AugmentSpec, draws: Draws) -> Tensor:
    """Crop after padding, flip and trivial augment: uint8 `[n, c, h, w]` to the same; doesn't change its input."""
    if draws.offset_n2 is not None or draws.flip_n is not None:
        images_nchw = _crop_and_flip(images_nchw, spec, draws)
    if draws.seed_n is not None:
        images_nchw = _trivial_augment(images_nchw, draws.seed_n)
    return images_nchw


def cut_out(x_nchw: Tensor, size: int, centre_n2: Tensor) -> Tensor:
    """Set a square of `size` pixels around each centre to 0, in place; parts outside the image are cut off.

    For normalised images, whose mean is 0, as in DeVries & Taylor (2017).
    """
    centre_n2 = to_device(centre_n2, x_nchw.device)
    covered = []
    for axis, side in enumerate(x_nchw.shape[2:]):
        place_ns = torch.arange(side, device=x_nchw.device) - (centre_n2[:, axis, None] - size // 2)
        covered.append((place_ns >= 0) & (place_ns < size))
    return x_nchw.masked_fill_(covered[0][:, None, :, None] & covered[1][:, None, None, :], 0.0)


def mix_up(x_nchw: Tensor, y_n: Tensor, classes: int, share: float) -> tuple[Tensor, Tensor]:
    """Mix each image but the last with the next: `[n - 1, c, h, w]` and labels as probabilities `[n - 1, k]`.

    `share` is the weight of the image itself (lambda of Zhang et al. 2018, one a batch as in their code). In a
    batch of random order the next image is a random one.
    """
    y_nk = F.one_hot(y_n, classes).float()
    mixed_x, mixed_y = (torch.lerp(t[1:], t[:-1], share) for t in (x_nchw, y_nk))
    return mixed_x.contiguous(memory_format=torch.channels_last), mixed_y


def _crop_and_flip(images_nchw: Tensor, spec: AugmentSpec, draws: Draws) -> Tensor:
    n, c, h, w = images_nchw.shape
    device = images_nchw.device
    row_nh, column_nw = torch.arange(h, device=device).expand(n, h), torch.arange(w, device=device).expand(n, w)
    if draws.flip_n is not None:
        column_nw = torch.where(to_device(draws.flip_n, device)[:, None], column_nw.flip(1), column_nw)
    if draws.offset_n2 is not None:
        offset_n2 = to_device(draws.offset_n2, device)
        row_nh, column_nw = row_nh + offset_n2[:, :1], column_nw + offset_n2[:, 1:]
    if spec.pad == "reflect":
        padded_nchw = images_nchw
        row_nh, column_nw = _reflected(row_nh - spec.crop, h), _reflected(column_nw - spec.crop, w)
    else:
        padded_nchw = F.pad(images_nchw, [spec.crop] * 4)
    place_n1p = (row_nh[:, :, None] * padded_nchw.shape[3] + column_nw[:, None, :]).view(n, 1, h * w)
    return padded_nchw.flatten(2).gather(2, place_n1p.expand(n, c, h * w)).view(n, c, h, w)


def _reflected(index: Tensor, side: int) -> Tensor:
    """Indices of pixels, mirrored at the first and the last pixel where they lie outside (by less than `side`)."""
    return (side - 1) - ((side - 1) - index.abs()).abs()


def _trivial_augment(images_nchw: Tensor, seed_n: Tensor) -> Tensor:
    from torchvision.transforms.v2 import TrivialAugmentWide

    return each_with_its_seed(TrivialAugmentWide(), images_nchw, seed_n)


def each_with_its_seed(operation: Callable[[Tensor], Tensor], images_nchw: Tensor, seed_n: Tensor) -> Tensor:
    """A random transform of torchvision applied to each image `[c, h, w]` under a seed of its own.

    Such transforms draw from torch's global generator, whose state is restored afterwards.
    """
    out_nchw = torch.empty_like(images_nchw)
    with torch.random.fork_rng(devices=[]):
        for index, seed in enumerate(seed_n.tolist()):
            torch.default_generator.manual_seed(seed)
            out_nchw[index] = operation(images_nchw[index])
    return out_nchw
