"""Image files for tests, sound and malformed."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image

from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train


def write_image(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> bytes:
    """Write an image in the format of the path's extension, and folders on the way; returns its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 50).convert(mode).save(path)
    return path.read_bytes()


def encoded(kind: str, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    """The bytes of an image file of a format."""
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A small PNG whose header promises this size: a decompression bomb, if it is large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


def write_digits(folder: Path, train: int, test: int) -> Path:
    """Write digits of scikit-learn into `digits/train` and `digits/test`, in a folder a class; returns `digits`."""
    for part, load, count in (("train", load_train, train), ("test", load_test, test)):
        images = load(DataSpec(name="digits"), folder)
        for number in range(count):
            place = folder / "digits" / part / f"digit {int(images.labels[number])}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images.pixels([number])[0, 0].numpy()).save(place / f"{number:03}.png")
    return folder / "digits"
