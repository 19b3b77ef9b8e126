"""A search space scaled to a set of images: its resolution, strides, widths and depths."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aebnas.core.errors import UserError
from aebnas.core.metrics import METRICS, Constraint
from aebnas.core.resolution import Resolution
from aebnas.core.spec_base import parse_spec
from aebnas.cost.bounds.metric_bounds import metric_bounds
from aebnas.cost.bounds.space_bounds import Bounds
from aebnas.cost.memory import peak_memory
from aebnas.runtime.shape_rules import Shape
from aebnas.space.completion import completed
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec

SIDES = (8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 224)
"""Pixels a side that images may be brought to."""
WIDTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Channels after the stem."""
USUAL_WIDTH, USUAL_SIDE = 8, 32
"""Where time is short, networks become narrower down to this before images become smaller, and these down to that."""
WIDEST = {1_000: 16, 10_000: 32}
"""Most channels after the stem by number of training images below which it holds; more images allow for more."""
LAST_SIDE = 7
"""Side of the last maps, about."""
SIZES = ("params", "weight_bytes")
"""Metrics of a network's size, which vary more within a space than MACs do."""
WITHIN = 0.5
"""Share of a budget within which the smallest network must be, so that there is something to choose from."""


@dataclass(frozen=True)
class StarterSpace:
    """The space for images that are read at a `size`, or brought to it by networks (`resized`); `image` is the shape
    (c, h, w) of the images as they are. The stem has `first_width` channels."""

    size: Resolution
    resized: bool
    first_width: int
    image: Shape
    classes: int

    @property
    def value(self) -> dict[str, Any]:
        """The content of its YAML file; what it leaves out is that of the data."""
        stem_stride, strides = _strides(self.side)
        stages = [
            {"width": _choices(self.first_width * 2**number), "depth": [1, 2], "stride": stride}
            for number, stride in enumerate(strides)
        ]
        value: dict[str, Any] = {"stem": {"width": self.first_width, "stride": stem_stride}}
        value["stages"] = [stage | {"op": ["basic", "mbconv"], "kernel": 3, "expand": [2, 3]} for stage in stages]
        value["exits"] = {"at": "every_stage", "depth": [0, 1], "layer": ["conv", "sepconv"]}
        value["policy"] = {
            "criterion": ["confidence", "margin"],
            "thresholds": {"optimise": {"per_exit": 12, "max_points": 12}},
        }
        if not self.resized:
            return value
        pixels = {"resolution": self.size.to_json(), "image_size": Resolution(*self.image[1:]).to_json()}
        return {"input": pixels} | value

    @property
    def side(self) -> int:
        """The shorter side of `size`."""
        return min(self.size.height, self.size.width)

    @cached_property
    def spec(self) -> SpaceSpec:
        """The checked space."""
        image = self.image if self.resized else (self.image[0], self.size.height, self.size.width)
        return parse_spec(SpaceSpec, completed(self.value, image, self.classes), "space.yaml")

    def minimum(self, metric: str) -> float:
        """What a metric is, about, for the smallest network: exactly the least, but for memory."""
        if metric == "peak_memory_bytes":  # the exact minimum of a space takes seconds
            return float(peak_memory(lower(SearchSpace(self.spec).extreme(largest=False))).max())
        return self._bounds(metric).lower

    def least(self, metric: str) -> float:
        """The least that a metric can be: of a mean over images, that of images that all leave at the first exit."""
        if metric == "peak_memory_bytes":
            return self.minimum(metric)
        return self._bounds(metric).first_exit if METRICS[metric].cost else self._bounds(metric).lower

    def middle(self, metric: str) -> float:
        """The geometric mean of the least and the most that a metric can be."""
        return math.sqrt(self._bounds(metric).lower * self._bounds(metric).upper)

    def _bounds(self, metric: str) -> Bounds:
        bounds = metric_bounds(self.spec, metric, None, stop_heads=False)
        assert bounds is not None
        return bounds

    @cached_property
    def most_macs(self) -> float:
        """MACs of its largest network."""
        bounds = metric_bounds(self.spec, "macs", None, stop_heads=False)
        assert bounds is not None
        return bounds.upper

    def text(self) -> str:
        """Its YAML, with comments."""
        value = self.value
        lines = ["# What may be built; a key takes one value or a list of choices. See docs/how-to/search-space.md."]
        lines += ["# classes, and what isn't given of input, are those of the data."]
        lines += [f"{key}: {_flow(value[key])}" for key in ("input", "stem") if key in value]
        lines += ["stages:", *(f"  - {_flow(stage)}" for stage in value["stages"])]
        lines += [f"exits: {_flow(value['exits'])}   # each may be absent", f"policy: {_flow(value['policy'])}"]
        return "\n".join(lines) + "\n"


def starter_space(
    image: Shape,
    in_files: bool,
    classes: int,
    images: int,
    most_macs: float,
    budgets: Sequence[Constraint],
) -> StarterSpace:
    """The largest space whose largest network has at most `most_macs`, whose smallest is well within all budgets, and
    whose middle is within those of size.

    `image` is the shape (c, h, w) of the images as they are, which are read at other sizes if they are `in_files`;
    `images` is their number. Raises UserError where no space is within a budget.
    """
    shorter = min(image[1:])
    sides = [side for side in SIDES[::-1] if side < shorter]
    if shorter <= SIDES[-1] or not sides:
        sides = [shorter, *sides]
    enough = [side for side in sides if side >= min(USUAL_SIDE, shorter)]
    widest = next((width for below, width in WIDEST.items() if images < below), WIDTHS[-1])

    def made(side: int, width: int) -> StarterSpace:
        size = Resolution(*(max(1, round(length * side / shorter)) for length in image[1:]))
        return StarterSpace(size, not in_files and side != shorter, width, image, classes)

    def fits(space: StarterSpace, macs: float) -> bool:
        small = all(space.minimum(one.metric) <= WITHIN * one.bound for one in budgets)
        typical = all(space.middle(one.metric) <= one.bound for one in budgets if one.metric in SIZES)
        return small and typical and space.most_macs <= macs

    def largest(sides: Sequence[int], narrowest: int, macs: float) -> StarterSpace | None:
        """The first that fits, for ever narrower networks first and then ever smaller images."""
        for side in sides:
            if fits(made(side, narrowest), macs):
                widths = [width for width in WIDTHS[::-1] if narrowest <= width <= widest]
                return next(space for width in widths if fits(space := made(side, width), macs))
        return None

    found = largest(enough, USUAL_WIDTH, most_macs)
    if found is None and budgets:
        found = largest(sides, WIDTHS[0], most_macs)
    if found is None and fits(small := made(enough[-1], USUAL_WIDTH), math.inf):
        found = small  # time is a wish, and a budget a condition
    if found is None:
        found = largest(sides, WIDTHS[0], math.inf)
    if found is None:
        found = made(sides[-1], WIDTHS[0])
        _check_reachable(found, budgets)
    return found


def _check_reachable(smallest: StarterSpace, budgets: Sequence[Constraint]) -> None:
    for one in budgets:
        if (least := smallest.least(one.metric)) > one.bound:
            rule = f"must be at least {math.ceil(least):,} {one.metric} for images and classes like these"
            raise UserError(f"--budget {rule}, but got {one.bound:g}")


def _strides(side: int) -> tuple[int, list[int]]:
    """Strides of the stem and of three or four stages, so that the last maps have about `LAST_SIDE` pixels a side."""
    halvings = max(round(math.log2(side / LAST_SIDE)), int(side >= 8))
    strides = [1] * (4 if halvings > 3 else 3)
    stem = 1
    for place in [*range(1, len(strides)), None, 0][:halvings]:
        if place is None:
            stem = 2
        else:
            strides[place] = 2
    return stem, strides


def _choices(width: int) -> list[int]:
    """Three widths around one."""
    return sorted({max(2, round(width * factor)) for factor in (0.75, 1, 1.5)})


def _flow(value: Any) -> str:
    """YAML on one line; words are plain."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case str():
            return value
    return json.dumps(value)
