"""What an exported model takes, through `predict` and `infer` alike, and what it refuses in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import export, pixels
from PIL import Image

from aebnas.export.model import BadInput, Model

DOORS = ("predict", "infer")


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("coloured") / "model"
    export(folder, channels=3)
    return Model.load(folder)


@pytest.fixture(scope="module")
def grey_model(grey: Path) -> Model:
    return Model.load(grey)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "images, got",
    [
        (torch.rand(2, 3, 8, 8), r"uint8 tensor \[n, 3, 8, 8\], but got float32 \[2, 3, 8, 8\]"),
        (torch.rand(2, 3, 8, 8).to(memory_format=torch.channels_last), "but got float32"),
        (torch.full((2, 3, 8, 8), 300), "but got int64"),
        (pixels(1), r"but got uint8 \[40, 1, 8, 8\]"),
        (torch.zeros(2, 8, 8, 3, dtype=torch.uint8), r"but got uint8 \[2, 8, 8, 3\]"),
        (torch.zeros(2, 3, 9, 8, dtype=torch.uint8), r"but got uint8 \[2, 3, 9, 8\]"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"but got uint8 \[3, 8, 8\]"),
        (np.zeros((2, 8, 8, 3)), r"uint8 array \[n, 8, 8, 3\], but got float64 \[2, 8, 8, 3\]"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"but got uint8 \[2, 3, 8, 8\]"),
        (np.array(None), "but got object"),
        ([np.zeros((9, 8, 3), np.uint8)], r"but got uint8 \[1, 9, 8, 3\]"),
        ([torch.zeros(3, 8, 8)], r"but got float32 \[1, 3, 8, 8\]"),
        ([None], "an image must be a path, a PIL image, an array or a tensor, but got NoneType"),
        (b"image.png", "an image must be .*, but got int"),
        (7, "images must be a path, .*, or several of them, but got int"),
        ("none.png", "none.png: must be an image file, but got no such file"),
    ],
)
def test_what_is_no_image_of_the_model_is_refused(coloured: Model, door: str, images: object, got: str) -> None:
    with pytest.raises(BadInput, match=got) as caught:
        getattr(coloured, door)(images)
    assert "\n" not in str(caught.value)


def test_every_form_gives_the_same_answer_through_both_doors(coloured: Model, tmp_path: Path) -> None:
    tensor = pixels(3)[:6]
    array = tensor.permute(0, 2, 3, 1).numpy()
    files = [tmp_path / f"{number}.png" for number in range(len(array))]
    for one, file in zip(array, files, strict=True):
        Image.fromarray(one).save(file)
    forms = (array, tensor, list(array), list(tensor), iter(tensor), files, [str(files[0]), *array[1:3], *tensor[3:]])
    wanted = coloured.predict(array)
    for form in forms:
        assert coloured.predict(form) == wanted
    for form in (tensor, list(array), files):
        answer = coloured.infer(form)
        assert answer.logits.argmax(-1).tolist() == [prediction.label for prediction in wanted]
        assert (answer.exit_index + 1).tolist() == [prediction.exit_taken for prediction in wanted]


def test_grey_images_need_no_channel_axis(grey_model: Model) -> None:
    tensor = pixels()[:5]
    wanted = grey_model.predict(tensor)
    for form in (tensor[:, 0], tensor[:, 0].numpy(), list(tensor[:, 0]), list(tensor[:, 0].numpy())):
        assert grey_model.predict(form) == wanted


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_arguments_are_never_written_to(coloured: Model, door: str, memory_format: torch.memory_format) -> None:
    tensor = pixels(3).to(memory_format=memory_format)
    array = pixels(3).permute(0, 2, 3, 1).numpy().copy()
    array.setflags(write=False)
    call = getattr(coloured, door)
    assert str(call(tensor)) == str(call(tensor))
    assert str(call(array)) == str(call(tensor))
    assert torch.equal(tensor, pixels(3))


@pytest.mark.parametrize("empty", [[], np.zeros((0, 8, 8, 3), np.uint8), torch.zeros(0, 3, 8, 8, dtype=torch.uint8)])
def test_no_images_give_no_answers(coloured: Model, empty: object) -> None:
    seen = coloured.monitor.report()["seen"]
    assert coloured.predict(empty) == []
    assert coloured.infer(empty).logits.shape == (0, 10)
    assert coloured.monitor.report()["seen"] == seen
