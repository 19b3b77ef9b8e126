"""Helpers of the export tests: a random network, its images, and the folder exported from them."""

import runpy
from pathlib import Path

import torch

from aebnas.export.card import CardFacts
from aebnas.export.folder import export_model
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.runtime.normalise import normalise
from aebnas.runtime.preprocessing import ImageReader, Preprocessing
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower

SPACE = Path(__file__).parents[2] / "search_spaces" / "digits_tiny.yaml"

NAMES = tuple(f"digit {number}" for number in range(10))


def facts(exits: int) -> CardFacts:
    rest = (0.0,) * (exits - 1)
    return CardFacts(
        name="a7-knee",
        dataset="digits",
        split="search",
        samples=143,
        metrics={"accuracy": 0.9722, "avg_macs": 12345.0},
        exit_shares=(1.0, *rest),
        exit_accuracy=(0.9722,) + (None,) * (exits - 1),
        training="Trained for 3 epochs.",
        aebnas_version="0.1.0",
    )


def random_network(channels: int = 1, seed: int = 0) -> Network:
    """A network of three exits with random weights and statistics, so that images leave at different exits."""
    space = SearchSpace.load(SPACE)
    architecture = space.extreme(largest=True).model_copy(update={"channels": channels})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(lower(architecture)).eval()
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.5 if "running_var" in name else torch.randn_like(tensor) * 0.3)
    return network


def pixels(channels: int = 1, n: int = 40) -> torch.Tensor:
    return torch.randint(256, (n, channels, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def preprocessing(channels: int = 1) -> Preprocessing:
    return Preprocessing((0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels], ImageReader((channels, 8, 8)))


def midway_policy(network: Network, x_nchw: torch.Tensor) -> ExitPolicy:
    """Thresholds in the middle of the widest gap near the median: some samples leave at each exit, none is close to a
    threshold."""
    thresholds = []
    with torch.no_grad():
        for logits_nc in network(x_nchw)[:-1]:
            scores = logits_nc.softmax(-1).amax(-1).sort().values
            middle = scores[len(scores) // 3 : 2 * len(scores) // 3]
            widest = int(middle.diff().argmax())
            thresholds.append(float((middle[widest] + middle[widest + 1]) / 2))
    return ExitPolicy("confidence", tuple(thresholds))


def export(folder: Path, channels: int = 1, seed: int = 0) -> tuple[Network, ExitPolicy]:
    network = random_network(channels, seed)
    policy = midway_policy(network, normalise(pixels(channels), preprocessing(channels)))
    card_facts = facts(len(network.graph.exits))
    export_model(folder, network, policy, preprocessing(channels), NAMES, pixels(channels), card_facts)
    return network, policy


def files_of(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"}


def own_main(folder: Path, *arguments: str) -> int:
    """Run the command of the folder's `model.py` in this process, which is faster than a new one; its exit code."""
    code: int = runpy.run_path(str(folder / "model.py"))["main"](arguments)
    return code
