"""Only some exits of a network take part: the others' branches don't run."""

from itertools import product

import pytest
import torch

from aebnas.runtime.network import Network
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.supernet import Supernet

STRIDED = {"width": 6, "depth": 1, "stride": 2, "op": "basic"}


def space(**exits) -> SearchSpace:
    value = {
        "input": {"channels": 1, "resolution": 8},
        "classes": 4,
        "stem": {"width": 4},
        "stages": [{"width": 4, "depth": 1, "op": "basic"}, STRIDED, STRIDED | {"stride": 1}],
        "exits": {"at": "every_stage", "optional": False, "depth": 1} | exits,
    }
    return SearchSpace(SpaceSpec.model_validate(value))


@pytest.mark.parametrize("boosted", [False, True])
@pytest.mark.parametrize("active", [a for a in product([False, True], repeat=3) if any(a)])
def test_they_answer_as_if_all_did(active, boosted):
    own = space(boosted=boosted)
    architecture = own.extreme(largest=True)
    torch.manual_seed(0)
    network, x_nchw = Network(lower(architecture)).eval(), torch.randn(3, 1, 8, 8)
    ran = []
    for name, module in network.nodes.items():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    every = network.outputs(x_nchw).logits
    ran.clear()
    some = network.outputs(x_nchw, active).logits
    expected = [logits for logits, on in zip(every, active, strict=True) if on]
    assert all(map(torch.equal, some, expected)) and len(some) == sum(active)
    off = [number for number in range(2) if not active[number]]
    if not boosted:  # where later exits add to the earlier ones' logits, branches run for them
        assert not any(name.startswith(f"exit_stage{number + 1}") for name in ran for number in off)
    supernet = Supernet(own.spec, torch.Generator().manual_seed(0))
    all_logits = supernet.forward_many(x_nchw, [architecture])[0]
    (found,) = supernet.forward_many(x_nchw, [architecture], active=[active])
    expected = [logits for logits, on in zip(all_logits, active, strict=True) if on]
    assert all(map(torch.equal, found, expected)) and len(found) == sum(active)
