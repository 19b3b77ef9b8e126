"""The op that the documentation adds: what it shows is all there is to do."""

from unittest.mock import patch

import pytest
import tiny_run
import torch
from shown_code import blocks
from tiny_run import write_spec

from aebnas.core.errors import UserError
from aebnas.core.spec_base import parse_spec
from aebnas.cost.counts import count_graph
from aebnas.export.folder import export_model
from aebnas.runtime.network import Network
from aebnas.runtime.ops import OPS
from aebnas.search.loop import run_search
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.supernet import Supernet

SPACE = {
    "input": {"channels": 1, "resolution": 8},
    "classes": 3,
    "stem": {"width": 4},
    "stages": [
        {"width": [4, 6], "depth": [1, 2], "op": ["basic", "dilated"], "kernel": [3, 5]},
        {"width": 8, "depth": 1, "stride": 2, "op": "dilated"},
    ],
    "exits": {"depth": 1, "layer": ["dilated", "dilated+maxpool"], "width": [1, 2]},
}


@pytest.fixture
def dilated():
    """Run the code shown, and take the op away afterwards."""
    (code,) = (block.code for block in blocks("python") if "OPS[" in block.code)
    written = [line for line in code.splitlines() if line.strip()]
    assert len(written) <= 20
    with patch.dict(OPS):
        exec(code, {"__name__": "own_op"})
        yield OPS["dilated"]


def test_without_it_the_yaml_is_refused():
    with pytest.raises(UserError, match=r"stages.0.op.1: must be 'basic', .*, but got 'dilated'"):
        parse_spec(SpaceSpec, SPACE, "space.yaml")


@pytest.mark.parametrize("kernel, stride", [(3, 1), (3, 2), (5, 2)])
def test_its_shape_is_as_stated(dilated, kernel, stride):
    out = dilated.build(in_channels=4, out_channels=6, kernel=kernel, stride=stride).eval()(torch.randn(2, 4, 9, 9))
    assert out.shape[1:] == dilated.out_shape([(4, 9, 9)], out_channels=6, kernel=kernel, stride=stride)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_space_of_it_is_built_counted_and_sliced(dilated, rng, pixels):
    from fvcore.nn import FlopCountAnalysis  # warns when imported

    space = SearchSpace(parse_spec(SpaceSpec, SPACE, "space.yaml"))
    assert {"dilated", "dilated+maxpool"} == set(space.genes["exit.stage1.layer1.op"])
    net = Supernet(space.spec, torch.Generator().manual_seed(0))
    seen = set()
    for _ in range(10):
        candidate = space.decode(space.sample(rng))
        assert space.decode(space.encode(candidate)) == candidate
        graph = lower(candidate.architecture)
        seen |= {(node.op, node.kwargs["kernel"]) for node in graph.nodes if node.op == "dilated"}
        x = pixels(candidate.architecture, 4)
        with torch.no_grad():
            stats = net.recalibrate(candidate.architecture, [x])
            network = net.extract(candidate.architecture, stats)
            for shared, extracted in zip(net(x, candidate.architecture, stats), network(x), strict=True):
                assert torch.allclose(shared, extracted, atol=1e-5)
            flops = FlopCountAnalysis(network, x[:1]).unsupported_ops_warnings(False).by_operator()
        assert flops["conv"] + flops["linear"] == count_graph(graph).macs.total
    assert seen == {("dilated", 3), ("dilated", 5)}


def test_one_that_stays_in_a_script_cannot_be_exported(dilated, tmp_path):
    """Its code wouldn't go along."""
    space = SearchSpace(parse_spec(SpaceSpec, SPACE, "space.yaml"))
    network = Network(lower(space.extreme(True)))
    with pytest.raises(
        UserError, match=r"op 'dilated' must be defined in aebnas/runtime to be exported, but got own_op"
    ):
        export_model(tmp_path / "out", network, None, None, (), torch.empty(0), None)
    assert not (tmp_path / "out").exists()


def test_a_search_with_it_says_so_at_its_start(dilated, tmp_path, capsys):
    stages = [
        {"width": 4, "depth": 1, "op": ["basic", "dilated"]},
        {"width": 8, "depth": 1, "stride": 2, "op": "basic"},
    ]
    run_search(write_spec(tmp_path, tiny_run.SPACE | {"stages": stages}), tmp_path / "run")
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: op 'dilated' isn't defined in aebnas/runtime: networks that have it can't be exported",
    ]
