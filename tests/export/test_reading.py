"""The same image files give the same predictions in training's way, by the exported model, and by the exported network
fed by the preprocessing that ships with it."""

import dataclasses
import importlib.util
import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from exporting import NAMES, export, facts, midway_policy, pixels, preprocessing, random_network
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aebnas.data.batches import eval_batches
from aebnas.data.image_files.files import Files
from aebnas.data.image_set import ImageSet
from aebnas.export.folder import export_model
from aebnas.export.model import Model
from aebnas.export.read_folder import read_export
from aebnas.runtime.normalise import normalise
from aebnas.runtime.preprocessing import ImageReader

FILES: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "jpg": ("JPEG", ("L", "RGB", "CMYK"), {}),
    "progressive.jpg": ("JPEG", ("L", "RGB"), {"progressive": True, "quality": 60}),
    "png": ("PNG", ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), {}),
    "transparent.png": ("PNG", ("P", "L", "RGB"), {"transparency": None}),
    "webp": ("WEBP", ("RGB", "RGBA"), {}),
    "bmp": ("BMP", ("1", "L", "P", "RGB"), {}),
    "tif": ("TIFF", ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I"), {}),
    "gif": ("GIF", ("L", "P", "RGBA"), {}),
}
TRANSPARENCY = {"P": 3, "L": 7, "RGB": (0, 0, 0)}
WITH_EXIF = ("JPEG", "PNG", "WEBP", "TIFF")


def content(mode: str, height: int, width: int, seed: int) -> Image.Image:
    values = np.random.default_rng(seed)
    if mode in ("I", "I;16"):
        sixteen = values.integers(0, 65536, (height, width))
        return Image.fromarray(sixteen.astype(np.int32 if mode == "I" else np.uint16))
    colour = Image.fromarray(values.integers(0, 256, (height, width, 4), np.uint8), "RGBA")
    return colour if mode == "RGBA" else colour.convert("RGB").convert(mode)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, bytes]:
    """The name and the bytes of an image file."""
    end = draw(st.sampled_from(sorted(FILES)))
    kind, modes, options = FILES[end]
    mode = draw(st.sampled_from(modes))
    sides = st.integers(1, 40) | st.integers(1, 400)
    image = content(mode, draw(sides), draw(sides), draw(st.integers(0, 99)))
    options = dict(options)
    if "transparency" in options:
        options["transparency"] = TRANSPARENCY[mode]
    orientation = draw(st.integers(1, 8))
    if kind in WITH_EXIF:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"{mode.replace(';', '')}.{end}", buffer.getvalue()


readers = st.builds(
    ImageReader,
    st.sampled_from([(1, 8, 8), (3, 8, 8)]),
    st.sampled_from(["nearest", "box", "bilinear", "bicubic", "lanczos"]),
    st.sampled_from(["crop", "stretch", "pad"]),
    st.sampled_from([(255, 255, 255), (0, 40, 200)]),
)


def shipped(folder: Path) -> ModuleType:
    """The `preprocessing.py` of an export, alone, as a driver without torch loads it."""
    spec = importlib.util.spec_from_file_location("shipped_preprocessing", folder / "runtime" / "preprocessing.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Model]:
    """One for grey and one for colour images."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for channels in (1, 3):
        export(folder / str(channels), channels)
        found[channels] = Model.load(folder / str(channels))
    return found


@given(images=st.lists(files(), min_size=1, max_size=3), reader=readers)
@settings(deadline=None, max_examples=60)
def test_evaluation_export_and_shipped_preprocessing_agree(
    models: dict[int, Model], tmp_path_factory: pytest.TempPathFactory, images: list[tuple[str, bytes]], reader: Any
) -> None:
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{number}{name}" for number, (name, _) in enumerate(images)]
    for path, (_, written) in zip(paths, images, strict=True):
        path.write_bytes(written)
    model = models[reader.shape[0]]
    exported = read_export(model.folder)
    record = dataclasses.replace(exported.preprocessing, reader=reader)
    own = shipped(model.folder).Preprocessing.from_json(json.loads(json.dumps(record.to_json())))
    model.preprocessing = own

    image_set = ImageSet(Files(tuple(map(str, paths)), reader), torch.zeros(len(paths), dtype=torch.int64), 10)
    [(x_nchw, _)] = eval_batches(image_set, record, 8)
    evaluated = exported.network.infer(x_nchw, exported.policy)

    by_path, opened = model.infer(paths), [Image.open(path) for path in paths]
    by_image = model.infer(opened)
    driver = own.normalised(np.stack([own.reader.read(path) for path in paths]))
    assert torch.equal(torch.from_numpy(driver), x_nchw)
    by_driver = exported.network.infer(
        torch.from_numpy(driver).contiguous(memory_format=torch.channels_last), exported.policy
    )
    for found in (by_path, by_image, by_driver):
        assert torch.equal(found.logits, evaluated.logits) and torch.equal(found.exit_index, evaluated.exit_index)
    for image in opened:
        image.close()


def textured(side: int, contrast: int, seed: int) -> Image.Image:
    """Fine texture: pixels alternate around grey, more or less."""
    noise = np.random.default_rng(seed).integers(0, 2, (side, side, 1)) * 2 - 1
    return Image.fromarray((128 + contrast * noise).repeat(3, axis=2).astype(np.uint8))


@pytest.mark.parametrize("side", [260, 281, 300])
def test_fine_texture_in_large_jpegs_is_read_alike(models: dict[int, Model], tmp_path: Path, side: int) -> None:
    """JPEGs decoded at a fraction of their size have less of it."""
    paths = [tmp_path / f"{contrast}.jpg" for contrast in (10, 60)]
    for path, contrast in zip(paths, (10, 60), strict=True):
        textured(side, contrast, side).save(path, quality=95)
    model = models[3]
    model.preprocessing = read_export(model.folder).preprocessing
    trained = Files(tuple(map(str, paths)), ImageReader((3, 8, 8))).read(torch.arange(2))
    full = [Image.open(path).convert("RGB").resize((8, 8), Image.Resampling.BILINEAR) for path in paths]
    assert np.array_equal(trained.permute(0, 2, 3, 1).numpy(), np.stack([np.asarray(image) for image in full]))
    assert model.predict(paths) == model.predict([Image.open(path) for path in paths]) == model.predict(trained)


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_an_export_records_how_images_are_read_and_its_card_says_so(tmp_path: Path, fit: Any) -> None:
    reader = ImageReader((3, 8, 8), "lanczos", fit, (1, 20, 255))
    network = random_network(3)
    policy = midway_policy(network, normalise(pixels(3), preprocessing(3)))
    record = dataclasses.replace(preprocessing(3), reader=reader)
    export_model(tmp_path / "model", network, policy, record, NAMES, pixels(3), facts(3))
    value = json.loads((tmp_path / "model" / "preprocessing.json").read_text())
    assert (value["resize"], value["fit"], value["ground"]) == ("lanczos", fit, [1, 20, 255])
    assert Model.load(tmp_path / "model").preprocessing.reader.to_json() == reader.to_json()
    assert read_export(tmp_path / "model").preprocessing == record
    card = " ".join((tmp_path / "model" / "README.md").read_text(encoding="utf-8").split())
    says = {"crop": "their centre", "stretch": "without keeping their aspect ratio", "pad": "surrounded by"}
    for words in (says[fit], "(lanczos, antialiased)", "the colour 1, 20, 255", "orientation in EXIF", "16-bit grey"):
        assert words in card


def test_exports_of_earlier_versions_are_read(own: Path) -> None:
    path = own / "preprocessing.json"
    value = json.loads(path.read_text())
    path.write_text(json.dumps({name: value[name] for name in ("mean", "std", "shape", "classes")}))
    assert read_export(own).preprocessing == preprocessing()
    assert Model.load(own).check().problems == ()
