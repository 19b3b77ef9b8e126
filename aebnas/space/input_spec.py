"""The input and the stem in YAML."""

from pydantic import ConfigDict

from aebnas.core.spec_base import Spec, optional_keys
from aebnas.core.spec_types import Side
from aebnas.space.fields import Acts, Kernel, Sides, Stride, Width, Widths

EXPORTED_CHANNELS = (1, 3)
"""Grey and RGB, which image files can be brought to; other arrays have no preprocessing that an export could hold."""


class InputSpec(Spec):
    """The image."""

    model_config = ConfigDict(json_schema_extra=optional_keys("resolution"))

    channels: Width = 3
    """Channels of the image; those of the data if absent, 3 where no data are named."""
    resolution: Sides
    """Side of the stem's input, in pixels; that of the data's images if absent."""
    image_side: Side | None = None
    """Side of the input images, in pixels; if absent, that of the data's images beside several resolutions, else the
    largest resolution. Where it differs from the resolution, the network's first node resizes."""

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
