"""A kind of backbone (staged, or a DAG of cells): what genomes, layers, exit sites and sizes need to know of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from aebnas.runtime.op import LayerKey
from aebnas.runtime.shape_rules import Shape
from aebnas.space.architecture import Architecture, Block, Cell, Exit, Site, Stage
from aebnas.space.layer import Layer
from aebnas.space.polynomials import Ways


class Backbone(ABC):
    """The choices of a backbone. It is a sequence of parts, stages or cells, numbered from 0."""

    kind: ClassVar[str]
    """The value of `backbone` in YAML."""
    field: ClassVar[str]
    """The field of an Architecture that holds the parts."""
    part_word: ClassVar[str]
    """What a part is called in the names of sites."""
    inside_word: ClassVar[str]
    """What is counted inside a part in the names of sites."""
    inside_phrase: ClassVar[str]
    """The same for errors."""

    @property
    @abstractmethod
    def depths(self) -> list[int]:
        """For each part the greatest number of blocks or nodes in it."""

    @abstractmethod
    def site(self, part: int, block: int | None) -> Site:
        """The site in (or, with None, at the end of) a part."""

    @abstractmethod
    def everywhere(self, at: str) -> tuple[Site, ...]:
        """The sites that `every_stage` or another such word means; raises SpecError for a word that it doesn't have."""

    def other_names(self) -> dict[str, Site]:
        """Sites that have a second name, by it: what a word of `everywhere` means can be named one by one."""
        return {}

    @abstractmethod
    def check_sites(self, sites: Sequence[Site]) -> None:
        """Raise SpecError where exits cannot sit at all of these sites."""

    @abstractmethod
    def check_widths(self, stem_widths: tuple[int, ...]) -> None:
        """Raise SpecError where two expansions round to the same width."""

    @abstractmethod
    def widths(self, part: int) -> tuple[int, ...]:
        """The channels that maps can have in a part."""

    @abstractmethod
    def genes(self) -> dict[str, tuple[Any, ...]]:
        """The genes and their choices, in genome order."""

    @abstractmethod
    def decode(self, choices: Mapping[str, Any], exits: Sequence[Exit]) -> Sequence[Stage | Cell]:
        """The parts that genes select under those exits that are present (as far as they lie within the backbone)."""

    @abstractmethod
    def encode(self, architecture: Architecture) -> dict[str, Any]:
        """Values of the genes of an architecture; raises ValueError for one of another space."""

    @abstractmethod
    def end_of_range(self, gene: str, largest: bool) -> Block | None:
        """The largest (smallest) choice of a gene of whole ops; None for a gene of numbers or names."""

    @abstractmethod
    def part_layers(self, part: int, maps: set[Shape]) -> tuple[set[Shape], set[Layer]]:
        """What a part makes of maps, and all layers that it may have; raises SpecError or Unfit with the YAML path."""

    @abstractmethod
    def sums(self, layers: set[Layer]) -> set[LayerKey]:
        """All sums of maps that its networks may contain, given all layers of the space."""

    @abstractmethod
    def ways(self, sites: Sequence[Site], exit_ways: Callable[[Site], Ways]) -> Ways:
        """In how many ways the parts and their exits can be built, by the number of exits."""
