"""Cells of a DAG: their live edges, and their lowering."""

import math

import pytest
from torch import nn

from aebnas.core.errors import UserError
from aebnas.core.spec_base import parse_spec
from aebnas.cost.bounds.space_bounds import space_bounds
from aebnas.cost.counts import count_graph
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture, Block, Edge, reached
from aebnas.space.cells import connected, live_edges
from aebnas.space.genome import Candidate, SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.min_exits import min_exits
from aebnas.space.size import count_architectures
from aebnas.space.spec import SpaceSpec

CONV, IDENTITY = Block(op="conv", kernel=3, expand=None), Block(op="identity", kernel=None, expand=None)
SPACE = {
    "input": {"channels": 1, "resolution": 8},
    "classes": 3,
    "stem": {"width": 4},
    "backbone": "dag",
    "dag": {"nodes": 3, "ops": ["zero", "conv", "identity"], "stacks": [{"width": 4}]},
    "exits": {"at": ["cell1.node1", "cell1.node2"]},
}


def edge(source, target, op=CONV):
    return Edge(source=source, target=target, ops=(op,))


def space(**dag):
    return SearchSpace(SpaceSpec.model_validate(SPACE | {"dag": SPACE["dag"] | dag}))


def decoded(exits=(), **edges):
    """The architecture with these ops (`e0_1="conv"`), all other edges absent."""
    found = space()
    ops = {block.op: block for block in found.spec.dag.blocks}
    genes = {f"cell1.edge{name[1:]}": ops[op] for name, op in edges.items()}
    genes |= {f"exit.cell1.node{node}.present": True for node in exits}
    genome = [
        values.index(genes.get(name, ops["zero"] if ".edge" in name else values[0]))
        for name, values in found.genes.items()
        if len(values) > 1
    ]
    return found.decode(genome).architecture


def test_dead_edges_are_omitted():
    edges = [edge(0, 1), edge(0, 2), edge(3, 4), edge(0, 4), edge(1, 4), edge(2, 3)]
    assert live_edges([e for e in edges if e.source != 2], {4}) == [edge(0, 1), edge(0, 4), edge(1, 4)]
    assert live_edges(edges[:2], {1}) == [edge(0, 1)]
    assert reached([edge(0, 1), edge(2, 3)]) == {0, 1}


def test_an_exit_makes_its_node_live_and_an_unreached_node_has_none():
    dead_end = {"e0_1": "conv", "e0_3": "conv"}
    assert [(e.source, e.target) for e in decoded(**dead_end).cells[0].edges] == [(0, 3)]
    assert [(e.source, e.target) for e in decoded(exits=[1, 2], **dead_end).cells[0].edges] == [(0, 1), (0, 3)]
    assert [e.block for e in decoded(exits=[1, 2], **dead_end).exits] == [1]
    assert decoded(**dead_end).id == decoded(exits=[2], **dead_end).id


def test_an_unreached_output_is_connected_by_the_first_op():
    assert decoded().cells[0].edges == (edge(0, 3),)
    sparse = space(edges=[[0, 1], [1, 2], [2, 3]])
    assert [e.source for e in connected(sparse.spec.dag, [edge(1, 2, IDENTITY)])] == [0, 1, 2]
    smallest = sparse.decode((0,) * len(sparse.gene_sizes))
    assert sparse.decode(sparse.encode(smallest)) == smallest


def test_lowering_sums_edges_and_adds_no_node_for_identity():
    graph = lower(decoded(exits=[1], e0_1="conv", e0_2="identity", e1_2="conv", e1_3="identity", e2_3="conv"))
    nodes = {node.name: node.inputs for node in graph.nodes}
    assert nodes["cell1_node1"] == ("cell1_edge0_1",)
    assert nodes["cell1_node2"] == ("stem", "cell1_edge1_2")
    assert nodes["cell1_node3"] == ("cell1_node1", "cell1_edge2_3")
    assert [e.site for e in graph.exits] == ["cell1_node1", "cell1_node3"]
    assert [len(segment.backbone) for segment in graph.segments()] == [3, 4]


def test_nas_bench_201_has_15625_genomes_of_one_cell_and_fewer_networks(root):
    bench = SearchSpace.load(root / "search_spaces" / "nasbench201.yaml")
    edges = [size for name, size in zip(bench.genes, map(len, bench.genes.values()), strict=True) if "edge" in name]
    assert math.prod(edges) == 15_625
    bare = SearchSpace(bench.spec.model_copy(update={"exits": bench.spec.exits.model_copy(update={"at": ()})}))
    cells = count_architectures(bare.spec)
    assert cells == 9_444
    architecture = bench.extreme(largest=True)
    assert len(architecture.cells) == 15 and len({cell.edges for cell in architecture.cells}) == 1
    assert sum(isinstance(m, nn.Conv2d) for m in Network(lower(architecture)).modules()) == 1 + 15 * 6 + 2 * 3 + 2


def test_the_published_space_has_ten_edges_of_six_ops_and_four_exits(root):
    published = SearchSpace.load(root / "search_spaces" / "darts_4node.yaml")
    largest = published.extreme(largest=True)
    assert len(published.spec.dag.pairs) * len(published.spec.dag.blocks) == 60
    assert len(lower(largest).exits) == 4
    bounds = space_bounds(published.spec, lambda counts: counts.macs)
    assert bounds.lower <= count_graph(lower(largest)).macs.total <= bounds.upper


def test_ids_of_staged_architectures_do_not_depend_on_the_field_cells(digits):
    value = digits.extreme(largest=True).to_json()
    assert not {"cells", "controller", "stop_heads"} & set(value)
    assert not any("in_cell" in present for present in value["exits"])


def test_an_architecture_has_one_backbone_and_a_controller_where_it_is_adaptive():
    plain = decoded(e0_3="conv")
    with pytest.raises(ValueError, match="either stages or cells"):
        Architecture.from_json(plain.to_json() | {"cells": []})
    several = plain.cells[0].model_copy(update={"edges": (Edge(source=0, target=3, ops=(CONV, IDENTITY)),)})
    with pytest.raises(ValueError, match="must have a controller if and only if"):
        Architecture.from_json(plain.to_json() | {"cells": [several.model_dump(mode="json")]})
    adaptive = Architecture.from_json(plain.to_json() | {"cells": [several.model_dump(mode="json")], "controller": 4})
    assert adaptive.adaptive and not plain.adaptive
    with pytest.raises(ValueError, match="not of this space"):
        space().encode(Candidate(adaptive, None))


STACKS = {"nodes": 2, "ops": ["conv", "identity"], "stacks": [{"width": 4, "cells": 2}, {"width": 8}, {"width": 8}]}


def with_sites(exits, policy=None):
    return SpaceSpec.model_validate(SPACE | {"dag": STACKS, "exits": exits, "policy": policy or {}})


def test_what_every_stage_means_can_be_named_one_by_one():
    every, listed = with_sites({"at": "every_stage"}), with_sites({"at": ["stage2", "stage1"]})
    assert [site.name for site in every.sites()] == ["cell2", "cell3"] and listed.sites() == every.sites()
    assert [site.name for site in with_sites({"at": ["stage1", "cell1.node1"]}).sites()] == ["cell1.node1", "cell2"]
    widths = with_sites({"at": "every_stage", "sites": {"stage2": {"width": [1, 2]}}})
    assert [widths.branch(site).width for site in widths.sites()] == [(1,), (1, 2)]


def test_rules_of_a_policy_may_use_those_names():
    spec = with_sites({"optional": False}, {"min_exit": "stage2", "min_exit_by_class": {0: "last"}})
    architecture = SearchSpace(spec).extreme(largest=True)
    assert min_exits(spec, architecture) == min_exits(
        with_sites({"optional": False}, {"min_exit": "cell3", "min_exit_by_class": {0: "last"}}), architecture
    )
    assert min_exits(spec, architecture).all == 1


@pytest.mark.parametrize(
    ("exits", "says"),
    [
        ({"at": ["stage3"]}, "exits.at: must be sites of exits (cell ends: cell1, cell2 or stage1, cell3 or stage2)"),
        ({"at": ["stage1", "cell2"]}, "exits.at: sites must be distinct, but got ['cell2', 'cell2']"),
        ({"sites": {"stage1": {}, "cell2": {}}}, "exits.sites: sites must be distinct, but got ['stage1', 'cell2']"),
        ({"sites": {"stage3": {}}}, "exits.sites: must be of cell2, cell3, but got 'stage3'"),
    ],
)
def test_sites_that_are_not_there_or_twice(exits, says):
    with pytest.raises(UserError) as raised:
        parse_spec(SpaceSpec, SPACE | {"dag": STACKS, "exits": exits}, "space.yaml")
    assert str(raised.value).startswith(f"space.yaml: {says}")
