"""From image files to a network's input: reading files as uint8 pixels of the network's size, and normalising them.

It is the one implementation, for training, scoring and every export, and needs NumPy and Pillow alone.

Every format that Pillow reads gives the same pixels where it holds the same image, as a path or as an opened image:

- A file is decoded in full. Of several frames the first is read (of an opened image the one it is at).
- The orientation in EXIF is applied.
- Transparent pixels (an alpha channel, a transparent colour, a palette with transparency) are composited over the
  `ground` colour.
- Grey of 16 bits is scaled to 8 (0..65535 to 0..255, rounded). Of colour with 16 bits Pillow keeps the upper 8.
- One bit a pixel becomes black and white; palettes, CMYK, YCbCr, HSV and LAB are converted to RGB. Colour profiles are
  not applied.
- Grey values and whole numbers outside 0..65535, and floating-point images, are refused.
- Grey is 0.299 red + 0.587 green + 0.114 blue.
- An image of more pixels than `PIL.Image.MAX_IMAGE_PIXELS` (89 million) is refused: a small file may fill the memory.
- The image is then fitted to the network's size, see `ImageReader`.

A `.npy` file holds the pixels themselves, uint8 `[h, w, c]` of the network's size. Networks of other than 1 or 3
channels read no other files.

Legend: n images, h height, w width, c channels.
"""

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

Resize = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]
Fit = Literal["crop", "stretch", "pad"]
Colour = tuple[int, int, int]

FILTERS = {name: Image.Resampling[name.upper()] for name in get_args(Resize)}
CHANNELS = (1, 3)
"""Numbers of channels that image files can be read with, and that operations on colours are for: grey and RGB."""
WHITE: Colour = (255, 255, 255)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of each EXIF orientation upright. `ImageOps.exif_transpose` would also write the rest of the EXIF
data again, and fail where that is damaged."""


class ImageError(ValueError):
    """Raised for an image that can't be used; the message names the file, where there is one, and the rule."""


@dataclass(frozen=True)
class ImageReader:
    """How an image becomes pixels of `shape` (c, h, w), the network's input.

    `fit` is `crop` (the centre of the image, in the aspect ratio of `shape`, is resized), `stretch` (all of it is, the
    aspect ratio is not kept) or `pad` (all of it is, in its aspect ratio, in the centre of the `ground` colour).
    `resize` is Pillow's filter, antialiased but for `nearest`. `ground` (red, green, blue, each 0..255) also lies below
    transparent pixels. Raises ValueError for values out of range.
    """

    shape: tuple[int, int, int]
    resize: Resize = "bilinear"
    fit: Fit = "crop"
    ground: Colour = WHITE

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape must be three positive numbers (c, h, w), but got {self.shape}")
        for name, value, known in (("resize", self.resize, FILTERS), ("fit", self.fit, get_args(Fit))):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, but got {value!r}")
        if len(self.ground) != 3 or not all(type(value) is int and 0 <= value <= 255 for value in self.ground):
            raise ValueError(f"ground must be three whole numbers in 0..255, but got {self.ground}")

    def read(self, image: str | Path | Image.Image) -> NDArray[np.uint8]:
        """Pixels `[h, w, c]` of a file or an opened image; raises ImageError for one that can't be read."""
        name = "an image" if isinstance(image, Image.Image) else f"{image}:"
        try:
            if not isinstance(image, Image.Image):
                Path(image).stat()  # a missing file is that, whatever it should hold
                if Path(image).suffix.lower() == ".npy":
                    return self._array(image)
            if self.shape[0] not in CHANNELS:
                rule = f"must be a {self._array_text} or a .npy file of one, since images have 1 or 3 channels"
                raise ImageError(f"{rule}, but got {'an image' if isinstance(image, Image.Image) else 'another file'}")
            if isinstance(image, Image.Image):
                return self._pixels(image)
            with Image.open(image) as opened:
                return self._pixels(opened)
        except ImageError as error:
            raise ImageError(f"{name} {error}") from None
        except FileNotFoundError:
            raise ImageError(f"{name} must be an image file, but got no such file") from None
        except Image.DecompressionBombError:  # before its size is known here
            raise ImageError(f"{name} {_bomb_rule()}, but got more than twice as many") from None
        except Exception as error:  # decoders raise all sorts on damaged files
            reason = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0]
            raise ImageError(f"{name} must be a readable image, but got {type(error).__name__}: {reason}") from None

    @property
    def _array_text(self) -> str:
        channels, height, width = self.shape
        return f"uint8 array [{height}, {width}, {channels}]"

    def _array(self, file: str | Path) -> NDArray[np.uint8]:
        """Pixels of a `.npy` file; of grey ones the channel axis may be absent."""
        channels, height, width = self.shape
        try:
            found = np.load(file, mmap_mode="r", allow_pickle=False)  # whose shape is checked before it is read
        except FileNotFoundError:
            raise
        except Exception:  # the reasons that NumPy gives are of no help
            raise ImageError(f"must hold a {self._array_text}, but isn't a readable .npy file") from None
        if not isinstance(found, np.ndarray):
            raise ImageError(f"must hold a {self._array_text}, but got several arrays")
        shape = (*found.shape, 1) if found.ndim == 2 else found.shape
        if found.dtype != np.uint8 or shape != (height, width, channels):
            raise ImageError(f"must hold a {self._array_text}, but got {found.dtype} {list(found.shape)}")
        return np.array(found).reshape(shape)

    def _pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        channels, height, width = self.shape
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and (pixels := image.width * image.height) > limit:
            raise ImageError(f"{_bomb_rule()}, but got {pixels:,} ({image.width} x {image.height})")
        image.load()
        if not all(image.size):
            raise ImageError(f"must have at least one pixel, but got {image.width} x {image.height}")
        mode = "L" if channels == 1 else "RGB"
        fitted = self._fitted(_upright(_opaque(image, self.ground).convert(mode), _orientation(image)))
        return np.array(fitted, dtype=np.uint8).reshape(height, width, channels)

    def _fitted(self, image: Image.Image) -> Image.Image:
        """An image in grey or RGB, brought to the height and width of `shape`."""
        _, height, width = self.shape
        resample = FILTERS[self.resize]
        if self.fit == "crop":
            return ImageOps.fit(image, (width, height), resample)
        if self.fit == "stretch":
            return image.resize((width, height), resample)
        scale = min(width / image.width, height / image.height)
        inner = [max(1, round(side * scale)) for side in image.size]
        padded = Image.new("RGB", (1, 1), self.ground).convert(image.mode).resize((width, height))
        padded.paste(image.resize((inner[0], inner[1]), resample), ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return padded

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {"shape": list(self.shape), "resize": self.resize, "fit": self.fit, "ground": list(self.ground)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ImageReader":
        """Read what `to_json` wrote, or `shape` alone, as written by earlier versions; KeyError, ValueError or
        TypeError for anything else."""
        channels, height, width = value["shape"]
        given = {name: value[name] for name in ("resize", "fit") if name in value}
        return cls((channels, height, width), **given, ground=tuple(value.get("ground", WHITE)))


@dataclass(frozen=True)
class Preprocessing:
    """Reading by `reader`, then normalisation: pixels to [0, 1], minus `mean [c]`, over `std [c]`.

    Raises ValueError unless there are c finite means and c finite, positive standard deviations.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    reader: ImageReader

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.std) == self.shape[0]:
            got = f"{len(self.mean)} and {len(self.std)}"
            raise ValueError(f"mean and std must have {self.shape[0]} values (channels), but got {got}")
        if not all(map(math.isfinite, self.mean + self.std)) or min(self.std) <= 0:
            raise ValueError(f"mean and std must be finite and std positive, but got {self.mean}, {self.std}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(c, h, w)` of the network's input."""
        return self.reader.shape

    @cached_property
    def scale_c(self) -> NDArray[np.float32]:
        """Factors of pixels in 0..255, which `shift_c` is added to; float32 `[c]`."""
        return (1 / (255 * np.array(self.std, dtype=np.float64))).astype(np.float32)

    @cached_property
    def shift_c(self) -> NDArray[np.float32]:
        """See `scale_c`."""
        return (-np.array(self.mean, dtype=np.float64) / np.array(self.std, dtype=np.float64)).astype(np.float32)

    def normalised(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The network's input, float32 `[n, c, h, w]`, from uint8 `[n, h, w, c]`; ValueError for any other.

        Bitwise equal to that of `normalise`, which does the same for tensors.
        """
        channels, height, width = self.shape
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (height, width, channels):
            got = f"{pixels.dtype} {list(pixels.shape)}"
            raise ValueError(f"pixels must be uint8 [n, {height}, {width}, {channels}], but got {got}")
        x_nhwc = pixels.astype(np.float32) * self.scale_c + self.shift_c
        return np.ascontiguousarray(x_nhwc.transpose(0, 3, 1, 2))

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; `from_json` reads it back to an equal Preprocessing."""
        return {"mean": list(self.mean), "std": list(self.std)} | self.reader.to_json()

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Preprocessing":
        """Read what `to_json` wrote, also that of earlier versions; KeyError, ValueError or TypeError for anything
        else."""
        return cls(tuple(value["mean"]), tuple(value["std"]), ImageReader.from_json(value))


def silence_size_warnings() -> None:
    """Turn off Pillow's warnings of large images, in a process whose only reader this is: it refuses such images."""
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def _bomb_rule() -> str:
    return f"must have at most {Image.MAX_IMAGE_PIXELS:,} pixels (Pillow's limit for decompression bombs)"


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata of an image that can be read
        return 1
    return found if isinstance(found, int) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _opaque(image: Image.Image, ground: Colour) -> Image.Image:
    """The image in L or RGB, of 8 bits, composited over the ground where it is transparent."""
    transparent = image.info.get("transparency")
    if image.mode == "F":
        raise ImageError("must hold whole numbers, but got floating-point ones (mode F)")
    if image.mode.startswith("I"):
        grey, alpha = _from_16_bits(image, transparent)
    elif image.mode in ("L", "RGB") and transparent is None:
        return image
    elif image.mode in ("1", "CMYK", "YCbCr", "HSV", "LAB", "RGBX") and transparent is None:
        return image.convert("RGB")
    else:
        return _composited(_with_alpha(image, transparent), ground)
    return grey if alpha is None else _composited(Image.merge("RGBA", (grey, grey, grey, alpha)), ground)


def _from_16_bits(image: Image.Image, transparent: object) -> tuple[Image.Image, Image.Image | None]:
    """Grey of 8 bits, and the alpha of a transparent grey value, if there is one."""
    values_hw = np.asarray(image).astype(np.int64)
    low, high = int(values_hw.min()), int(values_hw.max())
    if low < 0 or high > 65535:
        raise ImageError(f"must hold numbers in 0..65535, but got {low}..{high} (mode {image.mode})")
    grey = Image.fromarray(((values_hw + 128) // 257).astype(np.uint8))
    if not isinstance(transparent, int):
        return grey, None
    return grey, Image.fromarray(np.where(values_hw == transparent, 0, 255).astype(np.uint8))


def _with_alpha(image: Image.Image, transparent: object) -> Image.Image:
    """The image in RGBA."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode == "RGB" and isinstance(transparent, tuple) and max(transparent) > 255:
        image = (
            image.copy()
        )  # of 16 bits a channel Pillow keeps the upper 8 of pixels, and all of the transparent colour
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    return image.convert("RGBA")


def _composited(image: Image.Image, ground: Colour) -> Image.Image:
    below = Image.new("RGB", image.size, ground)
    below.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return below
