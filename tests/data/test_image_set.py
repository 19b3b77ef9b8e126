import pytest
import torch

from aebnas.data.image_set import ImageSet


def four() -> ImageSet:
    return ImageSet.of(torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1), torch.tensor([0, 1, 2, 0]), 3)


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), 2, "images must be uint8"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]), 2, "images must be uint8"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0]), 2, "labels must be int64"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 2]), 2, "labels must be in 0..1"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 0]), 1, "classes must be at least 2"),
    ],
)
def test_an_image_set_refuses_invalid_values(
    images: torch.Tensor, labels: torch.Tensor, classes: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ImageSet.of(images, labels, classes)


def test_pixels_takes_indices_a_slice_or_nothing() -> None:
    for indices, expected in [(torch.tensor([2, 0]), [2, 0]), ([3, 3], [3, 3]), (slice(1, 9), [1, 2, 3]), ([], [])]:
        assert four().pixels(indices).flatten().tolist() == expected  # type: ignore[arg-type]
    assert four().pixels().flatten().tolist() == [0, 1, 2, 3]


def test_subset_keeps_order_and_classes() -> None:
    part = four().subset(torch.tensor([3, 1]))
    assert part.pixels().flatten().tolist() == [3, 1] and part.labels.tolist() == [0, 1] and part.classes == 3
    assert len(part.subset(torch.tensor([], dtype=torch.int64))) == 0


def test_joined_sets_are_concatenated() -> None:
    pixels, labels = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1), torch.arange(10) % 3
    first, second = (ImageSet.of(pixels[part], labels[part], 3) for part in (slice(0, 4), slice(4, 10)))
    both = first.joined(second)
    assert len(both) == 10 and both.shape == (1, 1, 1)
    assert both.labels.tolist() == labels.tolist() and both.pixels().flatten().tolist() == list(range(10))
    some = both.subset(torch.tensor([9, 0, 5])).subset(torch.tensor([2, 0]))
    assert some.pixels().flatten().tolist() == [5, 9] and some.labels.tolist() == [2, 0]
    assert first.joined(second.subset(torch.arange(0))) is first
    with pytest.raises(ValueError, match="joined images must be of one shape, but got"):
        first.joined(ImageSet.of(torch.zeros(1, 3, 1, 1, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), 3))
