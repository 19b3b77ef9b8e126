"""Minimum depth: converts the sites that a space's policy names to exits of one architecture."""

from typing import NamedTuple

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
    """The minimum exits of an architecture of the space: its first exit at or after the site that the policy names."""
    policy = spec.policy
    names = [*(site.name for site in spec.sites()), LAST]
    present = [names.index(one.site.name) for one in architecture.exits]

    def first(name: str) -> int:
        return sum(position < names.index(spec.site_name(name)) for position in present)

    minimum = 0 if policy.min_exit is None else first(policy.min_exit)
    by_class = [minimum] * spec.classes
    for label, name in policy.min_exit_by_class.items():
        by_class[label] = max(minimum, first(name))
    return MinExits(minimum, tuple(by_class) if any(value > minimum for value in by_class) else ())
