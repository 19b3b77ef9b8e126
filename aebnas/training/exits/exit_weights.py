"""Weights of the exits' losses. Imports no torch, so that an error in a spec is reported without loading it."""

from collections.abc import Sequence

from aebnas.core.errors import SpecError
from aebnas.space.architecture import Architecture
from aebnas.training.training_spec import ExitWeights

LAST = "last"
"""Name of the final classifier among exit weights."""


def exit_weights(setting: ExitWeights, architecture: Architecture) -> list[float]:
    """Weight of each exit's loss, shallow to deep, summing to 1.

    Raises SpecError when sites are given by name and one is missing, or all weights are zero.
    """
    sites = [present.site.name for present in architecture.exits] + [LAST]
    if setting == "equal":
        weights = [1.0] * len(sites)
    elif setting == "linear":
        weights = [index / len(sites) for index in range(1, len(sites) + 1)]
    else:
        assert isinstance(setting, dict)
        missing = [site for site in sites if site not in setting]
        if missing:
            raise SpecError("exit_weights", f"must name every exit site, but {', '.join(missing)} is missing")
        weights = [setting[site] for site in sites]
    if sum(weights) <= 0:
        raise SpecError("exit_weights", f"must not all be zero, but got {setting}")
    return [weight / sum(weights) for weight in weights]


def mask_inactive(weights: Sequence[float], active: Sequence[bool]) -> list[float]:
    """The weights with 0 for exits that don't train, rescaled to sum to 1; where none is left the last exit gets 1."""
    if all(active):
        return list(weights)
    masked = [weight if on else 0.0 for weight, on in zip(weights, active, strict=True)]
    if sum(masked) <= 0:
        return [0.0] * (len(masked) - 1) + [1.0]
    return [weight / sum(masked) for weight in masked]
