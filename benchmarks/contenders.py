"""The networks that `equal_minutes.py` trains in parallel, each as a module that returns the logits of every exit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from aebnas.cost.counts import count_graph
from aebnas.cost.exit_costs import ExitCosts
from aebnas.runtime.network import Network
from aebnas.space.architecture import Architecture
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.supernet.elastic import initialise
from aebnas.training.exits.exit_weights import exit_weights
from aebnas.training.training_spec import ExitWeights

HAND_MADE = Path(__file__).with_name("hand_made_resnet.yaml")


@dataclass(frozen=True)
class Contender:
    """A module whose forward returns a list of logits `[n, c]`, its MACs to each exit, and its exits' loss weights.

    In the first share `last_only_share` of the epochs only the last exit is trained.
    """

    module: nn.Module
    macs: ExitCosts
    loss_weights: tuple[float, ...]
    last_only_share: float = 0.0


def searched(architecture: Architecture, weights: ExitWeights, seed: int) -> Contender:
    """The network that the search found, with initial weights."""
    return _ours(architecture, weights, seed)


def late_exits(architecture: Architecture, weights: ExitWeights, seed: int) -> Contender:
    """The network that the search found, whose early exits are trained only in the second half."""
    return replace(searched(architecture, weights, seed), last_only_share=0.5)


def without_exits(architecture: Architecture, weights: ExitWeights, seed: int) -> Contender:
    """The same backbone without exits."""
    return _ours(Architecture.from_json(architecture.to_json() | {"exits": []}), weights, seed)


def hand_made(architecture: Architecture, weights: ExitWeights, seed: int) -> Contender:
    """A three-exit ResNet: widths 16, 32, 64, two blocks a stage, one convolution in each branch."""
    return _ours(SearchSpace.load(HAND_MADE).extreme(largest=True), weights, seed)


def earlyon(architecture: Architecture, weights: ExitWeights, seed: int) -> Contender:
    """The CIFAR ResNet-20 of the PyPI package `earlyon` with its own heads and loss weights."""
    from earlyon.models.cifar_resnet_ee import cifar_resnet_ee

    torch.manual_seed(seed)  # the package draws its weights from the global generator
    wrapped = cifar_resnet_ee(architecture.classes, depth=20)
    loss_weights = tuple(wrapped.config.loss_weights)
    module = _Earlyon(wrapped).eval()
    x_nchw = torch.zeros(1, 3, 32, 32)
    maps = module.maps(x_nchw)
    steps = [_macs(step, x) for step, x in zip(module.steps, [x_nchw, *maps[:-1]], strict=True)]
    reached = [sum(steps[: index + 1]) for index in range(len(steps))]
    heads = [_macs(head, at) for head, at in zip(module.heads, maps, strict=True)]
    macs = ExitCosts(backbone_e=(*reached, reached[-1]), branch_e=(*heads, _macs(module.last, maps[-1])))
    return Contender(module, macs, loss_weights)


CONTENDERS: dict[str, Callable[[Architecture, ExitWeights, int], Contender]] = {
    "searched": searched,
    "late exits": late_exits,
    "hand-made": hand_made,
    "without exits": without_exits,
    "earlyon": earlyon,
}
"""Name -> the function that makes it from the searched architecture, the recipe's exit weights, and a seed."""


def _ours(architecture: Architecture, weights: ExitWeights, seed: int) -> Contender:
    graph = lower(architecture)
    network = Network(graph)
    initialise(network, torch.Generator().manual_seed(seed))
    return Contender(network, count_graph(graph).macs, tuple(exit_weights(weights, architecture)))


class _Earlyon(nn.Module):
    """The package's modules in its own order, with all exits: its wrapper computes exits in hooks, which can neither be
    copied for weight averaging nor return all exits in evaluation."""

    def __init__(self, wrapped: nn.Module) -> None:
        super().__init__()
        backbone = wrapped.backbone
        for module in wrapped.modules():
            module._forward_hooks.clear()
        stem = nn.Sequential(backbone.conv1, backbone.bn1, nn.ReLU())
        self.steps = nn.ModuleList([nn.Sequential(stem, backbone.stage1), backbone.stage2, backbone.stage3])
        self.heads = nn.ModuleList(wrapped.exit_heads.values())
        self.last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), backbone.fc)

    def maps(self, x_nchw: Tensor) -> list[Tensor]:
        found = []
        for step in self.steps:
            x_nchw = step(x_nchw)
            found.append(x_nchw)
        return found

    def forward(self, x_nchw: Tensor) -> list[Tensor]:
        maps = self.maps(x_nchw)
        return [*(head(at) for head, at in zip(self.heads, maps, strict=True)), self.last(maps[-1])]


def _macs(module: nn.Module, x_nchw: Tensor) -> int:
    """MACs of convolutions and linear layers by fvcore, consistent with aebnas' counts."""
    analysis = FlopCountAnalysis(module.eval(), x_nchw).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counted = analysis.by_operator()
    return int(sum(counted[name] for name in ("conv", "linear", "addmm")))
