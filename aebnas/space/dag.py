"""The DAG backbone in YAML: stacks of cells, each a DAG with a choice of ops for each edge.

Node 0 of a cell is its input, the last node its output; node i is the sum of its edges. Maps are halved between
stacks, so all maps within a cell have one shape.
"""

from functools import cached_property
from itertools import combinations, product
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import Spec
from aebnas.runtime.choice_rules import FREE, ZERO
from aebnas.runtime.shape_rules import mid_channels
from aebnas.space.architecture import Block
from aebnas.space.fields import (
    Acts,
    Depth,
    EdgeOp,
    EdgeOps,
    Factors,
    Kernels,
    Stride,
    Switches,
    Widths,
    canonical,
    check_differ,
    check_variants,
    taken_by,
)

MAX_NODES = 8
"""Of a cell, since counting its networks enumerates all sets of live nodes."""
MAX_CELLS = 100
REDUCTION_KERNEL = 3

NodeNumber = Annotated[int, Field(strict=True, ge=0, le=MAX_NODES)]


class EdgeChoices(Spec):
    """Some of the ops that an edge may have: every combination of the values listed (a key such as `act` applies to ops
    that have the attribute).
    """

    op: EdgeOps
    """Names of ops; `zero` removes the edge, `identity` returns its input."""
    kernel: Kernels = (3,)
    """Side of the window, odd."""
    expand: Factors = (4.0,)
    """Expansion factor of the inner channels."""
    se: Switches = (False,)
    """Squeeze-and-excitation."""
    act: Acts = ("relu",)
    """Activation."""

    @model_validator(mode="after")
    def _few_enough(self) -> "EdgeChoices":
        check_variants(self, EdgeChoices)
        return self

    def blocks(self) -> tuple[Block, ...]:
        """The distinct blocks of these choices."""
        values = product(*(getattr(self, name) for name in Block.model_fields))
        several = [Block(**canonical(dict(zip(Block.model_fields, selected, strict=True)))) for selected in values]
        return tuple(dict.fromkeys(several))


class StackSpec(Spec):
    """Cells of one width. A residual block before the first cell changes the map's width and side; it is omitted where
    neither changes.
    """

    width: Widths
    """Channels."""
    cells: Depth = 1
    """Number of cells."""
    stride: Stride | None = None
    """Stride of that block; if absent 2, and 1 for the first stack."""


class DagSpec(Spec):
    """Stacks of cells, each a DAG with a choice of ops for each edge."""

    nodes: Annotated[int, Field(strict=True, ge=1, le=MAX_NODES)]
    """Number of nodes of a cell without its input, which is node 0."""
    edges: Literal["all"] | tuple[tuple[NodeNumber, NodeNumber], ...] = "all"
    """`all` pairs of an earlier and a later node, or those listed as [from, to]."""
    ops: Annotated[
        tuple[EdgeChoices, ...],
        BeforeValidator(
            lambda ops: [{"op": op} if isinstance(op, str) else op for op in _listed(ops)],
            json_schema_input_type=EdgeOp | EdgeChoices | list[EdgeOp | EdgeChoices],
        ),
    ]
    """The choices of every edge; a plain name is an op with default settings."""
    stacks: tuple[StackSpec, ...]
    """The stacks, from input to output."""
    shared: bool = False
    """Whether all cells have the same ops on their edges, as in NAS-Bench-201."""

    @field_validator("stacks")
    @classmethod
    def _some_stack(cls, stacks: tuple[StackSpec, ...]) -> tuple[StackSpec, ...]:
        if not stacks:
            raise ValueError("must have at least one stack")
        if sum(stack.cells for stack in stacks) > MAX_CELLS:
            raise ValueError(f"must have at most {MAX_CELLS} cells, but got {sum(stack.cells for stack in stacks)}")
        return stacks

    @model_validator(mode="after")
    def _every_node_matters(self) -> "DagSpec":
        if len(set(self.pairs)) != len(self.pairs):
            raise SpecError("edges", f"must be distinct, but got {list(map(list, self.pairs))}")
        for source, target in self.pairs:
            if not source < target <= self.nodes:
                rule = f"must lead from a node to a later one, up to {self.nodes}, but got {[source, target]}"
                raise SpecError("edges", rule)
        for node in range(self.nodes + 1):
            if node and not self.sources(node):
                raise SpecError("edges", f"must lead into every node, but none leads into {node}")
            if node < self.nodes and not any(source == node for source, _ in self.pairs):
                raise SpecError("edges", f"must lead out of every node but the last, but none leads out of {node}")
        return self

    @model_validator(mode="after")
    def _ops_differ(self) -> "DagSpec":
        several = [block for choices in self.ops for block in choices.blocks()]
        if len(set(several)) != len(several):
            raise SpecError("ops", f"must be distinct, but got {', '.join(map(str, several))}")
        if not self.present:
            raise SpecError("ops", "must have an op besides zero, but got none")
        for number, choices in enumerate(self.ops):
            if any("expand" in taken_by(op) for op in choices.op):
                for stack in self.stacks:
                    for width in stack.width:
                        check_differ(f"ops.{number}.expand", choices.expand, width, mid_channels)
        return self

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The edges, sorted by target and source."""
        every = combinations(range(self.nodes + 1), 2) if self.edges == "all" else self.edges
        return tuple(sorted(every, key=lambda pair: pair[::-1]))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The choices of every edge, `zero` included where it is one."""
        return tuple(block for choices in self.ops for block in choices.blocks())

    @cached_property
    def present(self) -> tuple[Block, ...]:
        """The choices of every edge without `zero`."""
        return tuple(block for block in self.blocks if block.op != ZERO)

    @property
    def may_be_absent(self) -> bool:
        """Whether edges may be absent, since `zero` is a choice."""
        return len(self.present) < len(self.blocks)

    def sources(self, target: int) -> tuple[int, ...]:
        """Nodes from which edges lead into a node."""
        return tuple(source for source, end in self.pairs if end == target)

    @cached_property
    def stack_of(self) -> tuple[int, ...]:
        """For each cell the number of its stack, from 0."""
        return tuple(number for number, stack in enumerate(self.stacks) for _ in range(stack.cells))

    def stride_of(self, cell: int) -> int:
        """The factor by which the map's side shrinks before a cell."""
        number = self.stack_of[cell]
        if cell and self.stack_of[cell - 1] == number:
            return 1
        stride = self.stacks[number].stride
        return stride if stride is not None else 2 if number else 1


def is_free(block: Block) -> bool:
    """Whether an edge with this op runs no layer (`zero`, `identity`)."""
    return block.op in FREE


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
