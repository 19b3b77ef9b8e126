"""The input and the stem in YAML."""

from pydantic import ConfigDict

from aebnas.core.resolution import Resolution
from aebnas.core.spec_base import Spec, optional_keys
from aebnas.runtime.shape_rules import Shape
from aebnas.space.fields import Acts, Kernel, Resolutions, Stride, Width, Widths


class InputSpec(Spec):
    """The image."""

    model_config = ConfigDict(json_schema_extra=optional_keys("resolution"))

    channels: Width = 3
    """Channels of the image; those of the data if absent, 3 where no data are named."""
    resolution: Resolutions
    """Size of the stem's input: pixels a side, or height x width such as `96x160`; that of the data's images if
    absent."""
    image_size: Resolution | None = None
    """Size of the input images; if absent, that of the data's images beside several resolutions, else the largest
    resolution. Where it differs from the resolution, the network's first node resizes."""

    @property
    def size(self) -> Resolution:
        """Size of the input images."""
        return self.image_size or max(self.resolution)

    @property
    def shape(self) -> Shape:
        """Shape of the input images, (c, h, w)."""
        return self.channels, self.size.height, self.size.width

    def image_size_for(self, resolution: Resolution) -> Resolution | None:
        """The `image_size` of an architecture of this resolution: None where images aren't resized."""
        return None if resolution == self.size else self.size


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
