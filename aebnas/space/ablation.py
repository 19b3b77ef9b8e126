"""Ablations: subspaces in which exactly one kind of choice is removed.

A subspace has the same backbones and, except for thresholds found on tables, policies of the whole space.
"""

from collections.abc import Callable
from typing import Any

from aebnas.core.errors import SpecError, UserError, in_file
from aebnas.core.spec_base import updated
from aebnas.space.branch_spec import BranchChoices
from aebnas.space.genome import SearchSpace
from aebnas.space.policy_spec import LAST, PolicySpec
from aebnas.space.spec import SpaceSpec

FIXED_THRESHOLD = 0.9
"""For all exits and criteria; of threshold genes the one nearest to it."""


def fixed_branches(spec: SpaceSpec) -> SpaceSpec:
    """One branch for all exits of a site: one layer (or the smallest number), the first op, smallest kernel, width 1.

    The sites of exits are still searched.
    """
    sites = {name: choices.model_dump() | _one_branch(choices) for name, choices in spec.exits.sites.items()}
    return updated(spec, {"exits": updated(spec.exits, _one_branch(spec.exits) | {"sites": sites})})


def fixed_thresholds(spec: SpaceSpec) -> SpaceSpec:
    """One threshold for all exits and criteria, instead of searched or optimised ones.

    Raises SpecError for a criterion that isn't defined by one threshold per exit.
    """
    for rule in spec.policy.criterion:
        if not PolicySpec.has_threshold_genes(rule):
            known = "confidence, entropy, margin or learned, whose thresholds can be fixed"
            raise SpecError("policy.criterion", f"must be {known}, but got '{rule}'")
    genes = spec.policy.thresholds.genes
    numbers = [gene for gene in genes or (FIXED_THRESHOLD,) if gene != "never"]
    one: Any = min(numbers, key=lambda gene: abs(gene - FIXED_THRESHOLD), default="never")
    return updated(spec, {"policy": updated(spec.policy, {"thresholds": {"genes": (one,)}})})


def backbone_only(spec: SpaceSpec) -> SpaceSpec:
    """No early exit; minimum exits of the policy are removed, too, except `last`."""
    policy = spec.policy
    by_class = {label: site for label, site in policy.min_exit_by_class.items() if site == LAST}
    first = policy.min_exit if policy.min_exit == LAST else None
    changes = {"exits": {"at": ()}, "policy": updated(policy, {"min_exit": first, "min_exit_by_class": by_class})}
    return updated(spec, changes)


ABLATIONS: dict[str, Callable[[SpaceSpec], SpaceSpec]] = {
    "fixed-branches": fixed_branches,
    "fixed-thresholds": fixed_thresholds,
    "backbone-only": backbone_only,
}


def ablate(space: SearchSpace, name: str) -> SearchSpace:
    """The subspace of an ablation; raises UserError for an unknown name, or one that cannot be applied."""
    if name not in ABLATIONS:
        raise UserError(f"--ablation must be one of {', '.join(ABLATIONS)}, but got '{name}'")
    with in_file(f"--ablation {name}"):
        return SearchSpace(ABLATIONS[name](space.spec))


def _one_branch(choices: BranchChoices) -> dict[str, Any]:
    """A single branch of those allowed, as values of the fields that are choices."""
    with_layers = [depth for depth in choices.depth if depth > 0]
    one: dict[str, Any] = {
        name: value[:1] for name, value in choices if isinstance(value, tuple) and name in BranchChoices.model_fields
    }
    return one | {
        "depth": (min(with_layers, default=0),),
        "kernel": (min(choices.kernel),),
        "width": (min(choices.width, key=lambda width: abs(width - 1)),),
    }
