"""The input and the stem in YAML."""

from aebnas.core.spec_base import Spec
from aebnas.core.spec_types import Side
from aebnas.space.fields import Acts, Kernel, Sides, Stride, Width, Widths

EXPORTED_CHANNELS = (1, 3)
"""Grey and RGB, which image files can be brought to; other arrays have no preprocessing that an export could hold."""


class InputSpec(Spec):
    """The image."""

    channels: Width = 3
    """Channels of the image."""
    resolution: Sides
    """Side of the stem's input, in pixels."""
    image_side: Side | None = None
    """Side of the input images, in pixels; the largest resolution if absent. Where it differs from the resolution, the
    network's first node resizes."""

    @property
    def side(self) -> int:
        """Side of the input images, in pixels."""
        return self.image_side or max(self.resolution)


class StemSpec(Spec):
    """The convolution before the first stage."""

    width: Widths
    """Output channels."""
    kernel: Kernel = 3
    """Side of the window, odd."""
    stride: Stride = 1
    """Stride."""
    act: Acts = ("relu",)
    """Activation."""
