"""Reading of image files: hand-worked cases, and that the form in which an image is stored makes no difference."""

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aebnas.runtime.normalise import normalise
from aebnas.runtime.preprocessing import FILTERS, ImageError, ImageReader, Preprocessing

ORIENTATION = 0x0112
RGB_2X2 = ImageReader((3, 2, 2))
GREY_1X1 = ImageReader((1, 1, 1))


def saved(image: Image.Image, kind: str, **options: Any) -> Image.Image:
    """The image, opened from the bytes of a file of that format."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(io.BytesIO(buffer.getvalue()))


def pixel(image: Image.Image, **settings: Any) -> list[int]:
    """What one pixel of an image of one colour is read as."""
    return ImageReader((3, 1, 1), **settings).read(image)[0, 0].tolist()


def noise(height: int, width: int, channels: int = 3) -> Image.Image:
    values = np.random.default_rng(height * width).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(values if channels > 1 else values[..., 0])


CORNERS = np.array([[0, 1, 2], [3, 4, 5]], np.uint8)
"""An image of 2 x 3 as a viewer shows it."""
STORED = {
    1: CORNERS,
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.T,
    6: CORNERS[:, ::-1].T,
    7: CORNERS[::-1, ::-1].T,
    8: CORNERS[::-1].T,
}
"""The rows in which a file of each EXIF orientation holds it: 6 is a camera turned so that its top points left."""


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_the_orientation_in_exif_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    options = {"lossless": True} if kind == "WEBP" else {}
    opened = saved(image.convert("RGB"), kind, exif=exif, **options)
    assert ImageReader((1, 2, 3)).read(opened)[..., 0].tolist() == CORNERS.tolist()
    assert ImageReader((1, 2, 3)).read(opened)[..., 0].tolist() == CORNERS.tolist()  # nor is it applied twice


@pytest.mark.parametrize("orientation", [0, 9, 6.5, b"x"])
def test_an_orientation_that_is_none_is_ignored(orientation: object) -> None:
    image = Image.fromarray(CORNERS)
    image.getexif()[ORIENTATION] = orientation
    assert ImageReader((1, 2, 3)).read(image)[..., 0].tolist() == CORNERS.tolist()


def test_damaged_exif_does_not_keep_an_image_from_being_read(tmp_path: Path) -> None:
    Image.fromarray(CORNERS).save(tmp_path / "a.png", exif=b"Exif\0\0no TIFF header")
    assert ImageReader((1, 2, 3)).read(tmp_path / "a.png")[..., 0].tolist() == CORNERS.tolist()


def palette(colours: list[int], **options: Any) -> Image.Image:
    image = Image.new("P", (1, 1), 1)
    image.putpalette(colours)
    return saved(image, "PNG", **options)


def transparent(mode: str, colour: Any, value: Any) -> Image.Image:
    return saved(Image.new(mode, (1, 1), colour), "PNG", transparency=value)


ON_GROUND: dict[str, tuple[Image.Image, list[int]]] = {
    "RGBA, half of it": (Image.new("RGBA", (1, 1), (0, 100, 255, 51)), [80, 180, 91]),  # 0.2 and 0.8 of 100, 200, 50
    "RGBA, none of it": (Image.new("RGBA", (1, 1), (9, 9, 9, 0)), [100, 200, 50]),
    "RGBA, all of it": (Image.new("RGBA", (1, 1), (9, 8, 7, 255)), [9, 8, 7]),
    "LA": (Image.new("LA", (1, 1), (0, 51)), [80, 160, 40]),
    "La": (Image.new("LA", (1, 1), (0, 51)).convert("La"), [80, 160, 40]),
    "PA": (Image.new("RGBA", (1, 1), (0, 0, 0, 51)).convert("PA"), [80, 160, 40]),
    "a palette": (palette([0, 0, 0, 9, 8, 7]), [9, 8, 7]),
    "a palette with one transparent colour": (palette([0, 0, 0, 9, 8, 7], transparency=1), [100, 200, 50]),
    "a palette with another transparent colour": (palette([0, 0, 0, 9, 8, 7], transparency=0), [9, 8, 7]),
    "a palette with alphas": (palette([0, 0, 0, 0, 100, 255], transparency=b"\xff\x33"), [80, 180, 91]),
    "a transparent grey": (transparent("L", 7, 7), [100, 200, 50]),
    "another grey": (transparent("L", 7, 8), [7, 7, 7]),
    "a transparent colour": (transparent("RGB", (1, 2, 3), (1, 2, 3)), [100, 200, 50]),
    "a transparent white of 1 bit": (transparent("1", 1, 255), [100, 200, 50]),
    "a transparent grey of 16 bits": (transparent("I;16", 2570, 2570), [100, 200, 50]),
    "another grey of 16 bits": (transparent("I;16", 2570, 2571), [10, 10, 10]),
}


@pytest.mark.parametrize("image, expected", ON_GROUND.values(), ids=ON_GROUND)
def test_transparent_pixels_lie_on_the_ground(image: Image.Image, expected: list[int]) -> None:
    assert pixel(image, ground=(100, 200, 50)) == expected


def test_a_transparent_colour_of_16_bits_a_channel_is_compared_by_what_is_kept_of_it() -> None:
    image = Image.new("RGB", (1, 1), (255, 18, 0))
    image.info["transparency"] = (65535, 18 * 256 + 77, 9)
    assert pixel(image) == [255, 255, 255]


def test_the_ground_is_white_by_default_and_grey_for_grey_networks() -> None:
    clear = Image.new("RGBA", (1, 1))
    assert pixel(clear) == [255, 255, 255] and GREY_1X1.read(clear).tolist() == [[[255]]]
    assert ImageReader((1, 1, 1), ground=(255, 0, 0)).read(clear).tolist() == [[[76]]]  # 0.299 * 255


CONVERTED: dict[str, tuple[Image.Image, list[int]]] = {
    "16 bits": (Image.new("I;16", (1, 1), 65535), [255] * 3),
    "16 bits, rounded up": (Image.new("I;16", (1, 1), 129), [1] * 3),
    "16 bits, rounded down": (Image.new("I;16", (1, 1), 128), [0] * 3),
    "16 bits, big endian": (Image.new("I;16B", (1, 1), 257 * 40), [40] * 3),
    "32 bits": (Image.new("I", (1, 1), 257 * 40), [40] * 3),
    "1 bit": (Image.new("1", (1, 1), 1), [255] * 3),
    "CMYK": (Image.new("CMYK", (1, 1), (255, 0, 0, 0)), [0, 255, 255]),
    "YCbCr": (Image.new("YCbCr", (1, 1), (76, 85, 255)), [254, 0, 0]),
    "HSV": (Image.new("HSV", (1, 1), (0, 255, 255)), [255, 0, 0]),
    "LAB": (Image.new("LAB", (1, 1), (255, 128, 128)), [255, 255, 255]),
    "RGBX": (Image.new("RGBX", (1, 1), (1, 2, 3, 0)), [1, 2, 3]),
    "RGBa": (Image.new("RGBa", (1, 1), (0, 0, 0, 51)), [204] * 3),
}


@pytest.mark.parametrize("image, expected", CONVERTED.values(), ids=CONVERTED)
def test_every_mode_becomes_8_bits_of_grey_or_colour(image: Image.Image, expected: list[int]) -> None:
    got = pixel(image)
    assert max(abs(a - b) for a, b in zip(got, expected, strict=True)) <= (2 if image.mode == "LAB" else 0), got
    luma = 0.299 * got[0] + 0.587 * got[1] + 0.114 * got[2]
    assert abs(int(GREY_1X1.read(image)[0, 0, 0]) - luma) <= 0.501


@pytest.mark.parametrize(
    "image, reason",
    [
        (Image.new("F", (2, 2)), "must hold whole numbers, but got floating-point ones (mode F)"),
        (Image.new("I", (2, 2), -3), "must hold numbers in 0..65535, but got -3..-3 (mode I)"),
        (Image.new("I", (2, 2), 65536), "must hold numbers in 0..65535, but got 65536..65536 (mode I)"),
        (Image.new("RGB", (0, 2)), "must have at least one pixel, but got 0 x 2"),
    ],
    ids=["float", "negative", "above 16 bits", "no pixel"],
)
def test_what_cannot_be_shown_is_refused(tmp_path: Path, image: Image.Image, reason: str) -> None:
    with pytest.raises(ImageError) as raised:
        RGB_2X2.read(image)
    assert str(raised.value) == f"an image {reason}"
    if all(image.size):
        image.save(tmp_path / "a.tif")
        with pytest.raises(ImageError) as raised:
            RGB_2X2.read(str(tmp_path / "a.tif"))
        assert str(raised.value) == f"{tmp_path / 'a.tif'}: {reason}"


def test_files_have_1_or_3_channels(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"x.png: must be a uint8 array \[2, 2, 4\] .* have 1 or 3 channels"):
        ImageReader((4, 2, 2)).read(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"none.png: must be an image file, but got no such file"):
        ImageReader((4, 2, 2)).read(tmp_path / "none.png")


def test_an_image_of_too_many_pixels_is_refused_as_a_file_and_opened(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15)
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    rule = r"must have at most 15 pixels \(Pillow's limit for decompression bombs\), but got 16 \(4 x 4\)$"
    for image in (Image.new("RGB", (4, 4)), tmp_path / "x.png"):
        with pytest.raises(ImageError, match=rule), warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            RGB_2X2.read(image)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
    with pytest.raises(ImageError, match=r"must have at most 7 pixels .*, but got more than twice as many$"):
        RGB_2X2.read(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert RGB_2X2.read(tmp_path / "x.png").shape == (2, 2, 3)


def test_of_several_frames_the_first_is_read() -> None:
    frames = [Image.new("L", (2, 2), value) for value in (10, 20, 30)]
    for kind in ("GIF", "TIFF", "PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        opened = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert opened.n_frames == 3 and RGB_2X2.read(opened).max() == RGB_2X2.read(opened).min() == 10


def test_the_three_fits() -> None:
    """A 2 x 4 image in columns of 0, 40, 80, 120."""
    image = Image.fromarray(np.tile(np.array([0, 40, 80, 120], np.uint8), (2, 1)))

    def read(shape: tuple[int, int, int], fit: Any, ground: tuple[int, int, int] = (9, 9, 9)) -> list[list[int]]:
        rows: list[list[int]] = ImageReader(shape, "box", fit, ground).read(image)[..., 0].tolist()
        return rows

    assert read((1, 2, 2), "crop") == [[40, 80]] * 2
    assert read((1, 1, 2), "crop") == [[20, 100]]
    assert read((1, 2, 2), "stretch") == [[20, 100]] * 2
    assert read((1, 4, 4), "pad") == [[9] * 4, [0, 40, 80, 120], [0, 40, 80, 120], [9] * 4]
    assert read((1, 2, 6), "pad") == [[9, 0, 40, 80, 120, 9]] * 2
    assert read((3, 2, 2), "pad")[0] == [20, 100] and read((1, 1, 1), "pad") == [[60]]
    far = ImageReader((3, 8, 8), fit="pad", ground=(1, 2, 3)).read(Image.new("RGB", (400, 1)))  # never thinner than 1
    assert (far[3] == 0).all() and (far[[0, 7]] == [1, 2, 3]).all()


@pytest.mark.parametrize("name", FILTERS)
def test_the_filter_is_that_of_pillow(name: Any) -> None:
    image = noise(60, 40)
    got = ImageReader((3, 6, 4), resize=name).read(image)
    assert np.array_equal(got, np.asarray(image.resize((4, 6), FILTERS[name])))


@pytest.mark.parametrize(
    "settings",
    [{"resize": "cubic"}, {"fit": "zoom"}, {"ground": (0, 0, 256)}, {"ground": (0, 0)}, {"ground": (0.5, 0, 0)}],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be "):
        ImageReader((3, 2, 2), **settings)


def test_it_round_trips_through_json_and_reads_that_of_earlier_versions() -> None:
    reader = ImageReader((3, 5, 4), "lanczos", "pad", (1, 2, 3))
    preprocessing = Preprocessing((0.1, 0.2, 0.3), (0.5, 0.25, 2.0), reader)
    value = json.loads(json.dumps(preprocessing.to_json()))
    assert Preprocessing.from_json(value) == preprocessing
    earlier = {name: value[name] for name in ("mean", "std", "shape")}
    plain = ImageReader((3, 5, 4), "bilinear", "crop", (255, 255, 255))
    assert Preprocessing.from_json(earlier) == Preprocessing((0.1, 0.2, 0.3), (0.5, 0.25, 2.0), plain)


@pytest.mark.parametrize(
    ("mean", "std", "shape"),
    [
        ((0.5,), (0.5,), (3, 4, 4)),
        ((0.5,), (0.0,), (1, 4, 4)),
        ((float("nan"),), (0.5,), (1, 4, 4)),
        ((0.5,), (0.5,), (1, 0, 4)),
    ],
)
def test_invalid_statistics_are_refused(mean: Any, std: Any, shape: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        Preprocessing(mean, std, ImageReader(shape))


SOME = Preprocessing((0.1, 0.2, 0.3), (0.5, 0.25, 2.0), ImageReader((3, 5, 4)))


def test_arrays_and_tensors_are_normalised_to_the_same_bits() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), np.uint8)
    expected = (pixels / 255 - np.array(SOME.mean)) / np.array(SOME.std)
    x_nchw = SOME.normalised(pixels)
    assert x_nchw.dtype == np.float32 and x_nchw.flags.c_contiguous
    np.testing.assert_allclose(x_nchw, expected.transpose(0, 3, 1, 2), atol=1e-6, rtol=1e-6)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    before = tensor.clone()
    assert torch.equal(normalise(tensor, SOME), torch.from_numpy(x_nchw))
    assert torch.equal(normalise(tensor, SOME, torch.bfloat16), torch.from_numpy(x_nchw).bfloat16())
    assert normalise(tensor, SOME, torch.float64).dtype == torch.float64
    assert normalise(tensor, SOME).is_contiguous(memory_format=torch.channels_last) and torch.equal(tensor, before)


@pytest.mark.parametrize("shape, dtype", [((2, 3, 5, 4), np.uint8), ((2, 5, 4, 3), np.float32), ((5, 4, 3), np.uint8)])
def test_other_pixels_are_refused(shape: tuple[int, ...], dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"pixels must be uint8 \[n, 5, 4, 3\], but got"):
        SOME.normalised(np.zeros(shape, dtype))
    with pytest.raises(ValueError, match=r"images must be torch.uint8 \[n, 3, 5, 4\], but got"):
        normalise(torch.zeros(2, 5, 4, 3, dtype=torch.uint8), SOME)
    with pytest.raises(ValueError, match=r"images must be torch.uint8 \[n, 3, 5, 4\], but got"):
        normalise(torch.zeros(2, 3, 5, 4), SOME)
