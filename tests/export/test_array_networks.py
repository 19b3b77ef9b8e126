"""Exports of networks whose images aren't square, or have other than 1 or 3 channels: arrays and `.npy` files."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import facts, midway_policy
from PIL import Image

from aebnas.export.folder import export_model
from aebnas.export.model import BadInput, Model
from aebnas.export.read_folder import read_export
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.normalise import normalise
from aebnas.runtime.preprocessing import ImageReader, Preprocessing
from aebnas.runtime.threshold_rules import DifficultyOffset
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec

SPACE = {
    "classes": 3,
    "stem": {"width": 4},
    "stages": [{"width": 4, "depth": 1, "op": "basic"}, {"width": 6, "depth": 1, "stride": 2, "op": "basic"}],
    "exits": {"optional": False, "depth": 1, "layer": "resize+conv", "side": "4x6"},
}


@pytest.fixture(scope="module", params=[1, 2, 3, 12])
def exported(request, tmp_path_factory, random_network):
    """A network for images of 7 x 11 pixels, resized to 5x9, under a policy with difficulty; the folder, 40 images."""
    channels, folder = request.param, tmp_path_factory.mktemp("arrays") / "model"
    size = {"channels": channels, "resolution": "5x9", "image_size": "7x11"}
    space = SearchSpace(SpaceSpec.model_validate(SPACE | {"input": size}))
    network = random_network(space.extreme(largest=True))
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (40, channels, 7, 11), dtype=torch.uint8, generator=generator)
    preprocessing = Preprocessing((0.4,) * channels, (0.2,) * channels, ImageReader((channels, 7, 11)))
    [threshold] = midway_policy(network, normalise(pixels, preprocessing)).thresholds
    difficulty = DifficultyOffset(Difficulty(0.5, (1.0, 0.2, 1.0)), 0.0)  # runs, but decides nothing
    policy = ExitPolicy("confidence", (threshold,), rules=(difficulty,))
    export_model(folder, network, policy, preprocessing, ("a", "b", "c"), pixels, facts(2))
    return folder, pixels


def test_arrays_tensors_and_npy_files_give_the_same_answers(exported, tmp_path: Path) -> None:
    folder, pixels = exported
    model = Model.load(folder)
    assert not model.check().problems
    array = pixels.permute(0, 2, 3, 1).numpy()
    files = [tmp_path / f"{number}.npy" for number in range(len(array))]
    for one, file in zip(array, files, strict=True):
        np.save(file, one)
    wanted = model.predict(array)
    assert len({prediction.exit_taken for prediction in wanted}) == 2
    assert model.predict(pixels) == wanted == model.predict(files)
    assert model.predict(str(files[0])) == wanted[:1]
    assert torch.equal(model.infer(files).logits, model.infer(pixels).logits)


def test_the_command_takes_npy_files(exported, tmp_path: Path, capsys) -> None:
    folder, pixels = exported
    np.save(tmp_path / "one.npy", pixels[0].permute(1, 2, 0).numpy())
    main = runpy.run_path(str(folder / "model.py"), run_name="shipped")["main"]
    assert main([str(tmp_path / "one.npy")]) == 0
    assert "probability" in capsys.readouterr().out
    np.save(tmp_path / "one.npy", pixels[0].permute(2, 1, 0).numpy())
    assert main([str(tmp_path / "one.npy")]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: {tmp_path / 'one.npy'}: must hold a uint8 array [7, 11, ") and line.count("\n") == 1


def test_image_files_are_for_grey_and_colour(exported, tmp_path: Path) -> None:
    folder, pixels = exported
    model, channels = Model.load(folder), pixels.shape[1]
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    card = (folder / "README.md").read_text(encoding="utf-8")
    if channels in (1, 3):
        assert len(model.predict([tmp_path / "a.png", Image.new("L", (3, 90))])) == 2
        assert "python model.py image.png" in card and "images of 7 x 11 pixels" in card
        return
    assert f"Arrays of {channels} channels of 7 x 11 pixels" in card and "python model.py image.npy" in card
    for image, got in ((tmp_path / "a.png", "another file"), (Image.new("RGB", (11, 7)), "an image")):
        rule = rf"must be a uint8 array \[7, 11, {channels}\] or a .npy file of one, since images have 1 or 3 channels"
        with pytest.raises(BadInput, match=f"{rule}, but got {got}$"):
            model.predict(image)


@pytest.mark.parametrize(
    "content, problem",
    [
        (np.zeros((7, 11, 5), np.uint8), r", but got uint8 \[7, 11, 5\]"),
        (np.zeros((2, 7, 11, 2), np.uint8), r", but got uint8 \[2, 7, 11, 2\]"),
        (np.zeros((7, 11, 2)), r", but got float64 \[7, 11, 2\]"),
        (np.array(3, np.uint8), r", but got uint8 \[\]"),
        (b"", ", but isn't a readable .npy file"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 9), }", "readable"),
        (b"no array", ", but isn't a readable .npy file"),
        (None, "must be an image file, but got no such file"),
    ],
)
def test_other_npy_files_are_refused_in_one_line(tmp_path: Path, content: object, problem: str) -> None:
    file = tmp_path / "one.npy"
    if isinstance(content, np.ndarray):
        np.save(file, content)
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=problem) as caught:
        ImageReader((2, 7, 11)).read(file)
    assert str(caught.value).startswith(f"{file}: must ") and "\n" not in str(caught.value)


def test_grey_npy_files_need_no_channel_axis(tmp_path: Path) -> None:
    pixels = np.arange(77, dtype=np.uint8).reshape(7, 11)
    np.save(tmp_path / "one.NPY.npy", pixels)
    assert np.array_equal(ImageReader((1, 7, 11)).read(tmp_path / "one.NPY.npy")[..., 0], pixels)


def test_an_exported_folder_is_read_again(exported) -> None:
    folder, pixels = exported
    again = read_export(folder)
    assert again.preprocessing.shape == again.network.graph.input_shape == pixels.shape[1:]
    assert again.network.graph.shapes["exit_stage1_layer1_resize"][1:] == (4, 6)
