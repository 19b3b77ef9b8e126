"""The one lowered form of every early-exit network: topologically ordered op nodes with exits attached to them.

Staged backbones, DAG cells (several inputs of an `add`), edges whose op depends on the image (`choice`) and imported
backbones (opaque `module` nodes that state their output shape and cost) are all lowered to a Graph. Building a Network,
counting, drawing and export read nothing else.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from .op import Attr, Attrs
from .ops import BOOST, OPS
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

    `stop` is the node of its stop head, whose output is one number per sample (learned halting); "" for none. In a
    boosted network `output` is, at every exit after the first, a `boost` node, which adds half of the previous exit's
    logits to the branch's own.
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


class Step(NamedTuple):
    """The nodes of a segment by when they run: `always`, or only where samples may leave by its exit (`optional`).

    A branch is optional. In a boosted network only its stop head is, since later exits add to its logits.
    """

    always: tuple[Node, ...]
    optional: tuple[Node, ...]


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
        self._check_boosts()
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

    def _check_boosts(self) -> None:
        """Either every exit after the first adds the logits of the exit before it, or none does."""
        added = [self._added_to(index) for index in range(1, len(self.exits))]
        if any(added) and added != [graph_exit.output for graph_exit in self.exits[:-1]]:
            rule = "every exit after the first must add the logits of the exit before it, or none"
            raise ValueError(f"{rule}, but got those of {[name or 'no exit' for name in added]}")

    @property
    def boosted(self) -> bool:
        """Whether every exit after the first adds half of the previous exit's logits to its own."""
        return len(self.exits) > 1 and bool(self._added_to(1))

    def _added_to(self, index: int) -> str:
        """The node of the earlier logits that exit `index` adds to its own; "" for none."""
        output = self._outputs[self.exits[index].output]
        return output.inputs[1] if index and output is not None and output.op == BOOST else ""

    @cached_property
    def _outputs(self) -> dict[str, Node | None]:
        """The nodes of the exits' logits by name; None for the input."""
        names = {graph_exit.output for graph_exit in self.exits}
        return dict.fromkeys(names) | {node.name: node for node in self.nodes if node.name in names}

    @property
    def classes(self) -> int:
        """Number of classes of every exit's logits."""
        return self.shapes[self.exits[-1].output][0]

    def ancestors(self, name: str, without: str = INPUT) -> set[str]:
        """Names of all nodes that `name` depends on, itself included; the input excluded, and `without` with all that
        only it depends on."""
        by_name = {node.name: node for node in self.nodes}
        found: set[str] = set()
        todo = [name]
        while todo:
            current = todo.pop()
            if current not in found and current not in (INPUT, without):
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
        for index, graph_exit in enumerate(self.exits):
            up_to_site = self.ancestors(graph_exit.site) if graph_exit.site != INPUT else set()
            branch = self.ancestors(graph_exit.output, self._added_to(index) or INPUT) - up_to_site
            if graph_exit.stop:
                branch |= self.ancestors(graph_exit.stop) - up_to_site
            backbone = tuple(n for n in self.nodes if n.name in up_to_site - backbone_done)
            segments.append(Segment(backbone, tuple(n for n in self.nodes if n.name in branch)))
            backbone_done |= up_to_site
        return tuple(segments)

    def schedule(self) -> tuple[Step, ...]:
        """The nodes of every segment by when they run."""
        if not self.boosted:
            return tuple(Step(*segment) for segment in self.segments())
        steps = []
        for index, (backbone, branch) in enumerate(self.segments()):
            own = self.ancestors(self.exits[index].output, self._added_to(index) or INPUT)
            always = tuple(node for node in branch if node.name in own)
            steps.append(Step(backbone + always, tuple(node for node in branch if node.name not in own)))
        return tuple(steps)

    def summed_nodes(self) -> frozenset[str]:
        """Names of the nodes that every sample runs only because the network is boosted: the early exits' branches
        without stop heads, and the sums."""
        last = self._outputs[self.exits[-1].output]
        if not self.boosted or last is None:
            return frozenset()
        always = {node.name for step in self.schedule() for node in step.always}
        backbone = {node.name for segment in self.segments() for node in segment.backbone}
        return frozenset(always - backbone - self.ancestors(last.inputs[0]))

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
