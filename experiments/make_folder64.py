"""Make `data/folder64`, a folder like Tiny-ImageNet's of 64 x 64 images, by enlarging images of CIFAR-10.

    python experiments/make_folder64.py [--npz data/cifar10.npz] [--per-class 200] [--out data/folder64]

For `tiny_imagenet.yaml` where Tiny-ImageNet isn't at hand: change its `path`. Reads the array file, or without `--npz`
CIFAR-10 through torchvision, and takes the first images of every class in the official order: `per-class` into
`train/CLASS/images`, a fifth of that into `val/images`, whose classes are in `val/val_annotations.txt`.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from aebnas.core.atomic_files import write_text
from aebnas.data.class_names import CLASS_NAMES
from aebnas.data.data_spec import DataSpec
from aebnas.data.datasets import load_test, load_train

SIDE = 64
NAMES = CLASS_NAMES["cifar10"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npz", type=Path)
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("data/folder64"))
    options = parser.parse_args()
    spec = DataSpec(name="npz", path=options.npz) if options.npz else DataSpec(name="cifar10")
    train, test = load_train(spec, Path()), load_test(spec, Path())
    for label, name in enumerate(NAMES):
        for number, index in enumerate(_first(train.labels, label, options.per_class)):
            _save(train.pixels([index])[0], options.out / "train" / name / "images" / f"{name}_{number}.JPEG")
    lines = []
    for label, name in enumerate(NAMES):
        for index in _first(test.labels, label, options.per_class // 5):
            file = f"val_{index}.JPEG"
            _save(test.pixels([index])[0], options.out / "val" / "images" / file)
            lines.append(f"{file}\t{name}\t0\t0\t{SIDE - 1}\t{SIDE - 1}\n")
    write_text(options.out / "val" / "val_annotations.txt", "".join(lines))
    print(options.out)


def _first(labels: Tensor, label: int, count: int) -> list[int]:
    return torch.nonzero(labels == label)[:count, 0].tolist()


def _save(pixels_chw: Tensor, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels_chw.permute(1, 2, 0).numpy())
    image.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, quality=95)


if __name__ == "__main__":
    main()
