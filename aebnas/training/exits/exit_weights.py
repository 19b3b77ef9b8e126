"""How much each exit's loss weighs. Imports no torch, so that a spec's mistake is shown at once."""

from collections.abc import Sequence

from aebnas.core.errors import SpecError
from aebnas.space.architecture import Architecture
from aebnas.training.training_spec import ExitWeights

LAST = "last"
"""Name of the final classifier among exit weights."""


def exit_weights(setting: ExitWeights, architecture: Architecture) -> list[float]:
    """Weight of each exit's loss, shallow to deep, summing to 1.

    Raises SpecError when places are given by name and one is missing, or all weights are zero.
    """
    places = [present.site.name for present in architecture.exits] + [LAST]
    if setting == "equal":
        weights = [1.0] * len(places)
    elif setting == "linear":
        weights = [index / len(places) for index in range(1, len(places) + 1)]
    else:
        assert isinstance(setting, dict)
        missing = [place for place in places if place not in setting]
        if missing:
            raise SpecError("exit_weights", f"must name every place, but {', '.join(missing)} is missing")
        weights = [setting[place] for place in places]
    if sum(weights) <= 0:
        raise SpecError("exit_weights", f"must not all be zero, but got {setting}")
    return [weight / sum(weights) for weight in weights]


def mask_inactive(weights: Sequence[float], active: Sequence[bool]) -> list[float]:
    """The weights with 0 for exits that don't train, summing to 1 again; the last gets all where none is left."""
    if all(active):
        return list(weights)
    kept = [weight if on else 0.0 for weight, on in zip(weights, active, strict=True)]
    if sum(kept) <= 0:
        return [0.0] * (len(kept) - 1) + [1.0]
    return [weight / sum(kept) for weight in kept]
