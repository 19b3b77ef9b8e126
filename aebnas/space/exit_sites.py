"""The places of a space where exits may sit, and their names in YAML."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from aebnas.core.errors import SpecError
from aebnas.space.architecture import Site
from aebnas.space.dag import DagSpec

Everywhere = Literal["every_stage", "every_cell", "every_node"]


class ExitSites:
    """All places of a backbone: of `dag`, or of stages with so many blocks at most (`depths`)."""

    def __init__(self, dag: DagSpec | None, depths: Sequence[int] | None) -> None:
        self.dag = dag
        self.whole, self.part = ("cell", "node") if dag else ("stage", "block")
        self.depths = [dag.nodes] * len(dag.stack_of) if dag else list(depths or ())

    @cached_property
    def known(self) -> dict[str, Site]:
        """Every place by its name, shallow to deep; behind the last stage or cell is the final classifier."""
        sites = []
        for number, depth in enumerate(self.depths):
            sites += [self._site(number, block) for block in range(1, depth)] + [self._site(number, None)]
        return {site.name: site for site in sites[:-1]}

    def chosen(self, at: Everywhere | tuple[str, ...]) -> tuple[Site, ...]:
        """The places that `at` names, shallow to deep; raises SpecError for one that isn't there."""
        if at == "every_stage":
            return tuple(self._site(number, None) for number in self._stage_ends()[:-1])
        if isinstance(at, str):
            if self.dag is None:
                raise SpecError("exits.at", f"must be every_stage or places where backbone is staged, but got '{at}'")
            return tuple(site for site in self.known.values() if at == "every_node" or site.block is None)
        for place in at:
            if place not in self.known:
                raise SpecError("exits.at", f"must be places for exits ({self._told(place)}), but got '{place}'")
        order = list(self.known)
        return tuple(self.known[place] for place in sorted(at, key=order.index))

    def _site(self, number: int, block: int | None) -> Site:
        return Site(stage=number, block=block, in_cell=self.dag is not None)

    def _stage_ends(self) -> list[int]:
        """Numbers of all stages, or of the last cells of the stacks."""
        if self.dag is None:
            return list(range(len(self.depths)))
        stacks = self.dag.stack_of
        return [cell for cell in range(len(stacks)) if cell + 1 == len(stacks) or stacks[cell + 1] != stacks[cell]]

    def _told(self, place: str) -> str:
        """The ends, and what is inside of the stage or cell that `place` names, for an error."""
        ends = ", ".join(name for name, site in self.known.items() if site.block is None) or "none"
        around = place.partition(".")[0]
        inside = [name.partition(".")[2] for name in self.known if name.startswith(f"{around}.")]
        behind = "behind blocks there" if self.dag is None else "nodes there"
        return f"{self.whole} ends: {ends}" + (f"; {behind}: {', '.join(inside)}" if inside else "")
