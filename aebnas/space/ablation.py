"""Parts of a space in which one kind of choice is taken away: the ablations common in the literature.

What is left is a part of the space: the same backbones, and (but for thresholds found on tables) the same policies.
"""

from collections.abc import Callable
from typing import Any

from aebnas.core.errors import UserError
from aebnas.space.branch_spec import BranchChoices
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec

FIXED_THRESHOLD = 0.9
"""For all exits and criteria; of threshold genes the nearest to it is taken."""


def fixed_branches(spec: SpaceSpec) -> SpaceSpec:
    """One branch for all exits of a site: one layer (or the smallest number), the first op, smallest kernel, width 1.

    Where exits sit is still searched.
    """
    sites = {name: choices.model_dump() | _one_branch(choices) for name, choices in spec.exits.sites.items()}
    return _changed(spec, exits=spec.exits.model_dump() | _one_branch(spec.exits) | {"sites": sites})


def fixed_thresholds(spec: SpaceSpec) -> SpaceSpec:
    """The first criterion and one threshold for all exits, instead of searched or found ones."""
    genes = spec.policy.thresholds.genes
    numbers = [gene for gene in genes or (FIXED_THRESHOLD,) if gene != "never"]
    one: Any = min(numbers, key=lambda gene: abs(gene - FIXED_THRESHOLD), default="never")
    policy = {"criterion": spec.policy.criterion[:1], "thresholds": {"genes": (one,)}}
    return _changed(spec, policy=policy)


def backbone_only(spec: SpaceSpec) -> SpaceSpec:
    """No early exit."""
    return _changed(spec, exits={"at": ()})


ABLATIONS: dict[str, Callable[[SpaceSpec], SpaceSpec]] = {
    "fixed-branches": fixed_branches,
    "fixed-thresholds": fixed_thresholds,
    "backbone-only": backbone_only,
}


def ablate(space: SearchSpace, name: str) -> SearchSpace:
    """The part of the space that the ablation leaves; raises UserError for an unknown name."""
    if name not in ABLATIONS:
        raise UserError(f"--ablation must be one of {', '.join(ABLATIONS)}, but got '{name}'")
    return SearchSpace(ABLATIONS[name](space.spec))


def _changed(spec: SpaceSpec, **parts: Any) -> SpaceSpec:
    return SpaceSpec.model_validate(spec.model_dump() | parts)


def _one_branch(choices: BranchChoices) -> dict[str, Any]:
    """A single branch of those on offer, as values of the fields that are choices."""
    with_layers = [depth for depth in choices.depth if depth > 0]
    one: dict[str, Any] = {
        name: value[:1] for name, value in choices if isinstance(value, tuple) and name in BranchChoices.model_fields
    }
    return one | {
        "depth": (min(with_layers, default=0),),
        "kernel": (min(choices.kernel),),
        "width": (min(choices.width, key=lambda width: abs(width - 1)),),
    }
