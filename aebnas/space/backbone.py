"""A kind of backbone (staged, or a DAG of cells): all that genomes, layers, exit sites and sizes depend on."""

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
    """The word for a part in the names of sites."""
    inside_word: ClassVar[str]
    """The word for a position inside a part in the names of sites."""
    inside_phrase: ClassVar[str]
    """The phrase for positions inside a part in error messages."""

    @property
    @abstractmethod
    def depths(self) -> list[int]:
        """For each part the maximum number of blocks or nodes in it."""

    @abstractmethod
    def site(self, part: int, block: int | None) -> Site:
        """The site in (or, with None, at the end of) a part."""

    @abstractmethod
    def everywhere(self, at: str) -> tuple[Site, ...]:
        """The sites that a keyword such as `every_stage` stands for; raises SpecError for one of another backbone."""

    def other_names(self) -> dict[str, Site]:
        """Sites that have a second name, by it: what a word of `everywhere` means can be named one by one."""
        return {}

    @abstractmethod
    def check_sites(self, sites: Sequence[Site]) -> None:
        """Raise SpecError where exits cannot be placed at one of these sites."""

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
        """The parts that genes select, given the exits that are present (ignoring those outside of the backbone)."""

    @abstractmethod
    def encode(self, architecture: Architecture) -> dict[str, Any]:
        """Values of the genes of an architecture; raises ValueError for one of another space."""

    @abstractmethod
    def extreme_choice(self, gene: str, largest: bool) -> Block | None:
        """The largest (smallest) choice of a gene whose choices are Blocks; None for a gene of numbers or names."""

    @abstractmethod
    def part_layers(self, part: int, maps: set[Shape]) -> tuple[set[Shape], set[Layer]]:
        """Shapes of a part's outputs for inputs of shapes `maps`, and all layers that it may have.

        Raises SpecError or Unfit with the YAML path for a layer that cannot run.
        """

    @abstractmethod
    def sums(self, layers: set[Layer]) -> set[LayerKey]:
        """Keys of all sums of maps that its networks may contain, given all layers of the space."""

    @abstractmethod
    def ways(self, sites: Sequence[Site], exit_ways: Callable[[Site], Ways]) -> Ways:
        """In how many ways the parts and their exits can be built, by the number of exits."""
