"""The costs from which the bounds of a space are computed."""

from collections.abc import Callable
from dataclasses import dataclass

from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Site
from aebnas.space.layer import Layer

Best = Callable[..., float]
"""`min` or `max`."""


@dataclass(frozen=True)
class WalkCosts:
    """The cost of a layer, of the best branch at a site on maps of a shape, of the sum of n maps of a shape, and of
    each exit besides its layers.

    `passed` is the minimum cost of a branch that a sample has to run at a required exit where it may not leave: 0
    unless all networks are boosted. `boost` is the best cost of adding one exit's logits to the next one's, which a
    boosted network does once for every early exit.
    """

    layer: Callable[[Layer], float]
    branch: Callable[[Site, Shape], float]
    sums: Callable[[Shape, int], float]
    passed: Callable[[Site, Shape], float]
    each_exit: float = 0
    boost: float = 0


def keep_best(best: Best, table: dict[Shape, float], shape: Shape, value: float) -> None:
    """Record `value` for `shape` if it is the best so far."""
    table[shape] = best(table[shape], value) if shape in table else value
