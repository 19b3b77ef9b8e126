"""The spec of a search scaled to a set of images, as commented YAML."""

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from aebnas.core.errors import UserError, check_utf8
from aebnas.core.metrics import Constraint
from aebnas.data.survey import Survey
from aebnas.search.starter.space import SIDES, StarterSpace, starter_space

STEPS = 1500
"""Of the supernet's training, about."""
EPOCHS = (10, 60)
"""Fewest and most."""
BATCH_SIZES = (128, 64, 32, 16, 8, 4, 2)
FEW_STEPS = 25
"""Of an epoch, below which the length of a training is written in steps."""
SMALL_BATCH = 8
"""Batches are larger only where an epoch has ten of them."""
SEARCH, CALIBRATE = 0.2, 0.15
"""Shares of small sets; those of large ones are the defaults of a spec."""
LARGE = 10_000
"""Training images from which a risk can be certified and the default shares are enough."""
TRAINING_MACS = 1e13
"""Of the supernet's training on a small set: minutes on a few CPU cores."""
SMALL = 5_000
"""Training images above which the training may grow with the set."""
MACS_PER_IMAGE = 6
"""MACs of a training step for an image, in those of the largest network: forward and backward passes of three."""
CANDIDATES = {500: (12, 4), LARGE: (16, 6)}
"""Population and generations by the number of training images below which they hold."""
MOST_CANDIDATES = (24, 8)


@dataclass(frozen=True)
class StarterSpec:
    """A survey of images, and the space, splits and lengths of training that suit them."""

    survey: Survey
    space: StarterSpace
    budgets: tuple[Constraint, ...]
    splits: dict[str, int | float]
    batch_size: int
    epochs: int

    @classmethod
    def scaled(cls, survey: Survey, budgets: Sequence[Constraint]) -> "StarterSpec":
        """The spec for some images; raises UserError for too few of them, or a budget that can't be met."""
        splits = _splits(survey)
        left = survey.train - sum(_count(size, survey.train) for size in splits.values())
        batch_size = next((size for size in BATCH_SIZES if size <= min(left, max(SMALL_BATCH, left // 10))), 2)
        epochs = min(max(round(STEPS * batch_size / left), EPOCHS[0]), EPOCHS[1])
        # larger sets are worth longer trainings, and small ones no larger networks
        macs = TRAINING_MACS * max(1, left / SMALL) ** 1.5 / (max(left, SMALL / 10) * epochs * MACS_PER_IMAGE)
        if bounds := [one.bound for one in budgets if one.metric.endswith("macs")]:
            macs = 2 * min(bounds)  # so that networks are about as large as they may be
        if survey.in_files:
            side = max(SIDES[0], max((one for one in SIDES if one <= survey.median_side), default=0))
            height, width = survey.common_size or (side, side)
            scale = side / min(height, width)
            image = (survey.channels, round(height * scale), round(width * scale))
        else:
            image = (survey.channels, *survey.sizes[0])
        space = starter_space(image, survey.in_files, survey.classes, survey.train, macs, budgets)
        return cls(survey, space, tuple(budgets), splits, batch_size, epochs)

    def length(self, times: int) -> dict[str, int]:
        """Of a training so many times as long as the supernet's: in steps where an epoch has few of them."""
        if self.steps_per_epoch < FEW_STEPS:
            return {"steps": times * self.epochs * self.steps_per_epoch}
        return {"epochs": times * self.epochs}

    @property
    def steps_per_epoch(self) -> int:
        """Of the supernet's training."""
        left = self.survey.train - sum(_count(size, self.survey.train) for size in self.splits.values())
        return max(1, left // self.batch_size)

    def text(self, folder: Path, space_file: str) -> str:
        """The YAML of a spec in `folder`; raises UserError for a path that isn't UTF-8."""
        survey, epochs, batch = self.survey, self.epochs, self.batch_size
        small = next((pair for below, pair in CANDIDATES.items() if survey.train < below), MOST_CANDIDATES)
        training = {"batch_size": batch, "validate_every": max(1, epochs // 5)}
        data = [f"name: {survey.data['name']}", f"path: {_quoted(_data_path(survey.path, folder))}"]
        if survey.in_files:
            note = f"median of the images' shorter sides: {survey.median_side} pixels"
            data += [f"resolution: {self.space.size}      # {note}", f"channels: {survey.channels}"]
        if "unreadable" in survey.data:
            data.append(f"unreadable: {survey.data['unreadable']}   # some can't be read")
        if crop := self.space.side // 8 if not self.space.resized else min(self.space.image[1:]) // 8:
            note = "for training images; also flip: true where a mirrored image keeps its class"
            data.append(f"augment: {{crop: {crop}}}   # {note}")
        splits = dict(survey.data.get("splits", {})) | self.splits
        data.append(f"splits: {_flow(splits)}   # shares or numbers of images; the others train")
        lines = [
            f"# For {survey.train:,} training images of {survey.classes:,} classes. All keys: aebnas schema experiment",
            f"space: {space_file}   # what may be built",
            "data:",
            *(f"  {line}" for line in data),
            "objectives: [accuracy, avg_macs]   # two or more, any metric",
        ]
        bounds = ", ".join(f'"{one.metric} <= {_number(one.bound)}"' for one in self.budgets)
        lines.append(f"constraints: [{bounds}]" if bounds else '# constraints: ["avg_macs <= 20e6"]')
        lines += [
            f"supernet: {_flow(self.length(1) | {'random_subnets': 1, 'branches': 1} | training)}",
            "evaluate: {weights: supernet, workers: 0}   # workers: 4 scores on four cores, with equal results",
            f"strategy: {_flow({'name': 'nsga2', 'population': small[0], 'generations': small[1]})}",
            f"retrain: {_flow(self.length(2) | {'weights': 'supernet'} | training)}",
            "seed: 11",
        ]
        return "\n".join(lines) + "\n"


def _splits(survey: Survey) -> dict[str, int | float]:
    """Sizes of the splits: shares, or numbers where shares would have fewer images than there are classes."""
    images, classes = survey.train, sum(count > 0 for count in survey.train_k)
    if images < 3 * classes:
        rule = f"must hold at least {3 * classes:,} training images, three for each class on average"
        raise UserError(f"{survey.path}: {rule}, but got {images:,}")
    if images >= LARGE:
        shares: dict[str, int | float] = {"search": 0.1, "calibrate": 0.05, "certify": 0.05}
    else:
        shares = {"search": SEARCH, "calibrate": CALIBRATE, "certify": 0}
    for name, share in shares.items():
        if share and _count(share, images) < classes:
            shares[name] = 0 if name == "certify" else classes
    if sum(_count(size, images) for size in shares.values()) > images - classes:
        shares["search"] = shares["calibrate"] = classes
    return shares


def _count(size: int | float, images: int) -> int:
    return round(size * images) if isinstance(size, float) else size


def _data_path(path: Path, folder: Path) -> str:
    """A path for a spec in `folder`: relative where the data lie in it or beside it, so that both can move together."""
    data, start = path.absolute(), folder.resolve()
    try:
        relative = Path(os.path.relpath(data.resolve(), start)).as_posix()
    except ValueError:  # another drive
        relative = "../.."
    own = not relative.startswith(("../..", "~"))
    text = relative if own else str(data)
    check_utf8(text, f"{path}: data")
    return text


def _quoted(text: str) -> str:
    """Text as YAML in quotation marks, on one line."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_style = '"'  # type: ignore[assignment]
    yaml.width, yaml.allow_unicode = 10**6, True
    out = io.StringIO()
    yaml.dump(text, out)
    return out.getvalue().splitlines()[0]


def _number(bound: float) -> str:
    """The shortest text of a number: `2e6`."""
    text = f"{bound:g}" if float(f"{bound:g}") == bound else repr(bound)
    return re.sub(r"e\+?(-?)0*", r"e\1", text)


def _flow(value: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {item}" for key, item in value.items()) + "}"
