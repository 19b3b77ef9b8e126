import pytest
import torch

from aebnas.data.channel_statistics import measure_preprocessing
from aebnas.data.image_set import ImageSet
from aebnas.runtime.preprocessing import ImageReader


def pixels(n: int, shape: tuple[int, int, int] = (3, 5, 4)) -> torch.Tensor:
    return torch.randint(256, (n, *shape), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)


def image_set(images: torch.Tensor) -> ImageSet:
    return ImageSet.of(images, torch.arange(len(images)) % 3, 3)


def test_measure_is_the_mean_and_std_of_each_channel() -> None:
    images = pixels(20)
    images[:, 2] = 51
    scaled = images.double() / 255
    got = measure_preprocessing(image_set(images))
    assert got.shape == (3, 5, 4)
    assert got.mean == pytest.approx(scaled.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert got.std[:2] == pytest.approx(scaled.std((0, 2, 3), correction=0).tolist()[:2], abs=1e-12)
    assert got.std[2] == 1e-3
    with pytest.raises(ValueError, match="at least one image"):
        measure_preprocessing(image_set(images[:0]))


def test_measure_uses_10_000_evenly_spaced_images_of_a_large_set() -> None:
    images = pixels(15_000, (3, 1, 2))
    used = [index for index in range(15_000) if index % 3 != 2]  # two of every three
    assert measure_preprocessing(image_set(images)) == measure_preprocessing(image_set(images[used]))
    assert measure_preprocessing(image_set(images)) != measure_preprocessing(image_set(images[:10_000]))


def test_how_further_images_are_read_is_recorded() -> None:
    images = image_set(pixels(2))
    reader = ImageReader((3, 5, 4), fit="pad")
    assert measure_preprocessing(images, reader).reader == reader
    assert measure_preprocessing(images).reader == ImageReader((3, 5, 4))
    with pytest.raises(ValueError, match=r"reader must be of the images' shape \(3, 5, 4\), but got \(3, 4, 5\)"):
        measure_preprocessing(images, ImageReader((3, 4, 5)))
