"""The AEBNAS paper's space in our DSL: its size computed by hand, and the structure of its networks."""

import pytest
import torch

from aebnas.core.errors import UserError
from aebnas.core.resolution import Resolution
from aebnas.cost.bounds.space_bounds import space_bounds
from aebnas.cost.counts import count_graph
from aebnas.runtime.network import Network
from aebnas.space.architecture import BranchLayer
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.size import count_architectures, count_candidates
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.supernet import Supernet


def test_size_by_hand(large):
    stage = (3 * 3) ** 2 + (3 * 3) ** 3 + (3 * 3) ** 4  # kernel x expand of each of 2, 3 or 4 blocks
    layer = 2 * 2 * 2 * 2  # side, kernel, width, max-pool or not
    branch = layer + layer**2
    assert count_architectures(large.spec) == 11 * stage**5 * branch**4
    assert count_candidates(large.spec) == 11 * stage**5 * branch**4 * 3**4


def test_number_of_genes(large):
    """The paper's genome has 82: there "no second layer" is a third choice of the second layer's side."""
    resolution, depths, blocks, thresholds = 1, 5, 5 * 4 * 2, 4
    branches = 4 * (1 + 2 * 4)  # depth; op, kernel, width, side of two layers
    assert len(large.gene_sizes) == resolution + depths + blocks + branches + thresholds == 82 + 4


def test_branches_are_the_papers(large):
    """Resize, convolution of stride 2, perhaps a max-pool, then the next layer or the classifier."""
    architecture = next(
        a
        for a in (large.decode([gene % size for size in large.gene_sizes]).architecture for gene in range(40))
        if [layer.op for layer in a.exits[0].layers] == ["resize+conv+maxpool"] * 2
    )
    assert isinstance(architecture.exits[0].layers[0], BranchLayer)
    graph = lower(architecture)
    branch = graph.segments()[0].branch
    assert [node.op for node in branch] == ["resize", "conv", "maxpool"] * 2 + ["classifier"]
    side = architecture.exits[0].layers[0].side.height
    half, quarter = -(-side // 2), -(-side // 4)
    sides = [graph.shapes[node.name][1] for node in branch]
    assert sides == [side, half, quarter] * 2 + [1]


def test_images_of_32_pixels_are_resized_to_every_resolution(large, architectures, pixels):
    drawn = {architecture.resolution.height: architecture for architecture in architectures(large, 60)}
    assert set(drawn) == set(range(32, 73, 4))
    for resolution in (32, 72):
        graph = lower(drawn[resolution])
        assert graph.input_shape == (3, 32, 32)
        assert [node.op == "resize" for node in graph.nodes if node.inputs == ("input",)] == [resolution != 32]
        assert graph.shapes["stem"] == (16, resolution, resolution)
        network = Network(graph).eval()
        assert [logits.shape for logits in network(pixels(drawn[resolution], 2))] == [(2, 10)] * 5


def test_costs_are_within_bounds_and_grow_with_resolution(large, architectures):
    bounds = space_bounds(large.spec, lambda counts: counts.macs)
    for architecture in [*architectures(large, 5), large.extreme(True), large.extreme(False)]:
        assert bounds.lower <= count_graph(lower(architecture)).macs.total <= bounds.upper
    assert large.extreme(True).resolution == Resolution(72, 72)
    assert large.extreme(False).resolution == Resolution(32, 32)


def test_extracted_networks_equal_the_supernet(large, architectures, pixels):
    net = Supernet(large.spec, torch.Generator().manual_seed(0))
    for architecture in architectures(large, 2):
        x = pixels(architecture, 2)
        with torch.no_grad():
            stats = net.recalibrate(architecture, [pixels(architecture, 8)])
            for shared, extracted in zip(net(x, architecture, stats), net.extract(architecture, stats)(x), strict=True):
                assert (shared - extracted).abs().max() <= 1e-5
                assert shared.std() > 0


def test_the_original_strides_are_refused_at_32_pixels(large):
    stages = [*large.spec.stages[:4], large.spec.stages[4].model_copy(update={"stride": (2,)})]
    spec = large.spec.model_dump() | {"stages": [stage.model_dump() for stage in stages]}
    with pytest.raises(
        UserError,
        match=r"^stages.4.kernel: must be at most 3, .*, at input.resolution 32, but got 5$",
    ):
        SearchSpace(SpaceSpec.model_validate(spec))
