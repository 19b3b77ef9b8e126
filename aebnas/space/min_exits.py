"""Minimum depth: converts the sites that a space's policy names to exits of one architecture."""

from typing import NamedTuple

from aebnas.core.spec_base import updated
from aebnas.runtime.exit_rule import ExitRule
from aebnas.runtime.gate_rules import MinExit, MinExitByClass
from aebnas.space.architecture import Architecture
from aebnas.space.policy_spec import LAST
from aebnas.space.spec import SpaceSpec


class MinExits(NamedTuple):
    """The first exit (from 0) by which a sample may leave, and the same by predicted class (empty: equal for all)."""

    all: int = 0
    by_class: tuple[int, ...] = ()

    @property
    def rules(self) -> tuple[ExitRule, ...]:
        """The rules of a policy with these minimum exits."""
        return MinExit(self.all), MinExitByClass(self.by_class)


def min_exits(spec: SpaceSpec, architecture: Architecture) -> MinExits:
    """The minimum exits of an architecture of the space: its first exit at or after the site that the policy names.

    Raises ValueError for a class that is given by name: only the data tell its number (see `search.plan`).
    """
    policy = spec.policy
    names = [*(site.name for site in spec.sites()), LAST]
    present = [names.index(one.site.name) for one in architecture.exits]

    def first(name: str) -> int:
        return sum(position < names.index(spec.site_name(name)) for position in present)

    minimum = 0 if policy.min_exit is None else first(policy.min_exit)
    by_class = [minimum] * spec.classes
    for label, name in policy.min_exit_by_class.items():
        if isinstance(label, str):
            raise ValueError(f"min_exit_by_class must be by class number here, but got '{label}'")
        by_class[label] = max(minimum, first(name))
    return MinExits(minimum, tuple(by_class) if any(value > minimum for value in by_class) else ())


def without_named_classes(spec: SpaceSpec) -> SpaceSpec:
    """The space without minimum exits of classes that are given by name, for what doesn't depend on the data."""
    by_class = {label: site for label, site in spec.policy.min_exit_by_class.items() if isinstance(label, int)}
    return updated(spec, {"policy": updated(spec.policy, {"min_exit_by_class": by_class})})
