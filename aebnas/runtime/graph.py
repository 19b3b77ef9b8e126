"""The one lowered form of every early-exit network: topologically ordered op nodes with exits attached to them.

Staged backbones, DAG cells (several inputs of an `add`), edges whose op depends on the image (`choice`) and imported
backbones (opaque `module` nodes that state their output shape and cost) are all lowered to a Graph. Building a Network,
counting, drawing and export read nothing else.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .op import Attr, Attrs
from .ops import OPS
from .shape_rules import Shape

INPUT = "input"
"""Name by which nodes refer to the input image."""


@dataclass(frozen=True)
class Node:
    """One op application.

    `attrs` are the keyword arguments of the op's module, as sorted pairs so that nodes can be hashed.
    `weights` is the key under which a Supernet keeps the shared weights of all nodes in this position; the
    weights of a plain Network are named by `name`.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attrs: Attrs
    weights: str

    @classmethod
    def make(cls, name: str, op: str, inputs: tuple[str, ...], weights: str = "", **attrs: Attr) -> "Node":
        """Build a node from keyword attributes; the weights key is the name unless given."""
        return cls(name, op, inputs, tuple(sorted(attrs.items())), weights or name)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The attributes as keyword arguments."""
        return dict(self.attrs)

    @property
    def depends_on_sample(self) -> bool:
        """Whether the op is selected per sample from several candidates."""
        return OPS[self.op].depends_on_sample

    def candidates(self) -> "list[Node | None]":
        """The nodes that can run here for a sample; None where nothing runs. An ordinary node is its only candidate."""
        if not self.depends_on_sample:
            return [self]
        return [
            None if candidate is None else Node(self.name, candidate[0], self.inputs[:1], candidate[1], self.weights)
            for candidate in OPS[self.op].candidates(self.op, self.attrs)
        ]


@dataclass(frozen=True)
class GraphExit:
    """An exit: the backbone node it is attached to and the node whose outputs are its logits.

    `stop` is the node of its stop head, whose output is one number per sample (learned halting); "" for none.
    """

    site: str
    output: str
    stop: str = ""


class Segment(NamedTuple):
    """The nodes that run between one exit decision and the next: backbone up to the exit's site, then its branch.

    A stop head belongs to the branch.
    """

    backbone: tuple[Node, ...]
    branch: tuple[Node, ...]


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, exits from shallow to deep; at the last exit all remaining samples leave.

    Raises ValueError when names, order, shapes or exits don't fit together. `shapes` holds the output shape of
    every node and of the input.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]
    exits: tuple[GraphExit, ...]
    shapes: dict[str, Shape] = field(init=False, compare=False, repr=False)
    _nodes_for: "dict[tuple[GraphExit, ...], tuple[Node, ...]]" = field(
        init=False, compare=False, repr=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        for node in self.nodes:
            if node.name in shapes:
                raise ValueError(f"node '{node.name}': the name must be unique, but is taken")
            missing = [name for name in node.inputs if name not in shapes]
            if missing or not node.inputs:
                raise ValueError(f"node '{node.name}': inputs must come before it, but got {missing or 'none'}")
            shapes[node.name] = _out_shape(node, [shapes[name] for name in node.inputs])
        object.__setattr__(self, "shapes", shapes)
        self._check_exits()

    def _check_exits(self) -> None:
        if not self.exits:
            raise ValueError("a graph must have at least one exit, but got none")
        for graph_exit in self.exits:
            for name in filter(None, (graph_exit.site, graph_exit.output, graph_exit.stop)):
                if name not in self.shapes:
                    raise ValueError(f"exit on '{name}': must name a node, but there is no such node")
        outputs = {self.shapes[graph_exit.output] for graph_exit in self.exits}
        if len(outputs) != 1:
            raise ValueError(f"all exits must give logits of one shape, but got {sorted(outputs)}")
        stops = {self.shapes[graph_exit.stop] for graph_exit in self.exits if graph_exit.stop}
        if stops - {(1, 1, 1)}:
            raise ValueError(f"stop heads must give one number, but got {sorted(stops)}")
        run = [node.name for segment in self.segments() for part in segment for node in part]
        shared = {name for name in run if run.count(name) > 1}
        unused = {node.name for node in self.nodes} - set(run)
        if shared:
            raise ValueError(f"nodes of a branch must belong only to it, but {sorted(shared)} are used elsewhere")
        if unused:
            raise ValueError(f"every node must lead to an exit, but {sorted(unused)} don't")

    @property
    def classes(self) -> int:
        """Number of classes of every exit's logits."""
        return self.shapes[self.exits[-1].output][0]

    def ancestors(self, name: str) -> set[str]:
        """Names of all nodes that `name` depends on, itself included, the input excluded."""
        by_name = {node.name: node for node in self.nodes}
        found: set[str] = set()
        todo = [name]
        while todo:
            current = todo.pop()
            if current != INPUT and current not in found:
                found.add(current)
                todo.extend(by_name[current].inputs)
        return found

    def nodes_for(self, exits: "tuple[GraphExit, ...]") -> tuple[Node, ...]:
        """The nodes that some exits need, in execution order; their stop heads belong to them."""
        if exits not in self._nodes_for:
            outputs = [name for one in exits for name in (one.output, one.stop) if name]
            needed = set().union(*map(self.ancestors, outputs))
            self._nodes_for[exits] = tuple(node for node in self.nodes if node.name in needed)
        return self._nodes_for[exits]

    def segments(self) -> tuple[Segment, ...]:
        """The nodes that each exit adds, in execution order: new backbone nodes up to its site, then its branch."""
        backbone_done: set[str] = set()
        segments = []
        for graph_exit in self.exits:
            up_to_site = self.ancestors(graph_exit.site) if graph_exit.site != INPUT else set()
            branch = self.ancestors(graph_exit.output) - up_to_site
            if graph_exit.stop:
                branch |= self.ancestors(graph_exit.stop) - up_to_site
            backbone = tuple(n for n in self.nodes if n.name in up_to_site - backbone_done)
            segments.append(Segment(backbone, tuple(n for n in self.nodes if n.name in branch)))
            backbone_done |= up_to_site
        return tuple(segments)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary; `from_json` reads it back to an equal Graph."""
        nodes = [
            {"name": n.name, "op": n.op, "inputs": list(n.inputs), "attrs": n.kwargs, "weights": n.weights}
            for n in self.nodes
        ]
        exits = [{"site": e.site, "output": e.output} | ({"stop": e.stop} if e.stop else {}) for e in self.exits]
        return {"input_shape": list(self.input_shape), "nodes": nodes, "exits": exits}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Graph":
        """Read what `to_json` wrote; raises KeyError or ValueError for invalid values."""
        nodes = tuple(
            Node.make(n["name"], n["op"], tuple(n["inputs"]), n["weights"], **_with_tuples(n["attrs"]))
            for n in value["nodes"]
        )
        exits = tuple(GraphExit(e["site"], e["output"], e.get("stop", "")) for e in value["exits"])
        channels, height, width = value["input_shape"]
        return cls((channels, height, width), nodes, exits)


def _with_tuples(attrs: dict[str, Any]) -> dict[str, Any]:
    return {key: _tupled(value) for key, value in attrs.items()}


def _tupled(value: Any) -> Any:
    return tuple(_tupled(item) for item in value) if isinstance(value, list) else value


def _out_shape(node: Node, shapes: list[Shape]) -> Shape:
    attrs = node.kwargs
    if node.op not in OPS:
        raise ValueError(f"node '{node.name}': op must be one of {', '.join(sorted(OPS))}, but got '{node.op}'")
    op = OPS[node.op]
    if len(shapes) > 1 and not op.many_inputs:
        raise ValueError(f"node '{node.name}': {node.op} must have one input, but got {len(shapes)}")
    if "in_channels" in op.takes and attrs["in_channels"] != shapes[0][0]:
        raise ValueError(f"node '{node.name}': built for {attrs['in_channels']} channels, but got {shapes[0][0]}")
    try:
        return op.out_shape(shapes, **attrs)
    except ValueError as error:
        raise ValueError(f"node '{node.name}': {error}") from None
