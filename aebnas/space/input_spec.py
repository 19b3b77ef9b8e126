"""The input and the stem in YAML."""

from aebnas.core.spec_base import Spec
from aebnas.core.spec_types import Side
from aebnas.space.fields import Acts, Kernel, Sides, Stride, Width, Widths


class InputSpec(Spec):
    """The image: `channels`, and `resolution`, the side in pixels that the stem sees.

    `image_side` is that of the images fed in (default: the largest resolution); where the two differ the
    network's first node resizes.
    """

    channels: Width = 3
    resolution: Sides
    image_side: Side | None = None

    @property
    def side(self) -> int:
        """Side of the images fed in."""
        return self.image_side or max(self.resolution)


class StemSpec(Spec):
    """The convolution before the first stage."""

    width: Widths
    kernel: Kernel = 3
    stride: Stride = 1
    act: Acts = ("relu",)
