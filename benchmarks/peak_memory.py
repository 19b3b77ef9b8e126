"""Computed peak activation memory compared with that of a run that records its live tensors.

    python benchmarks/peak_memory.py [--spaces search_spaces/*.yaml] [--architectures 50] [--seed 0]

Random architectures, of each space in turn, at batch 1 in fp32, for a sample that leaves at each exit. The last line is
`WORST <percent>`, the largest difference.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from aebnas.cost.latency.stopwatch import leave_at
from aebnas.cost.live_tensors import recorded_peak
from aebnas.cost.memory import peak_memory
from aebnas.runtime.network import Network
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="+", type=Path, default=sorted(Path("search_spaces").glob("*.yaml")))
    parser.add_argument("--architectures", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    rng, worst = np.random.default_rng(options.seed), 0.0
    spaces = [SearchSpace.load(path) for path in options.spaces]
    print(f"{'space':<20}{'architecture':<14}{'exit':>5}{'counted':>12}{'recorded':>12}{'off by':>9}")
    for number in range(options.architectures):
        path, space = options.spaces[number % len(spaces)], spaces[number % len(spaces)]
        architecture = space.decode(space.sample(rng)).architecture
        graph = lower(architecture)
        network, exits = Network(graph).eval(), len(graph.exits)
        for index, counted in enumerate(peak_memory(graph)):
            recorded = recorded_peak(network, torch.randn(1, *graph.input_shape), leave_at(index, exits))
            off = counted / recorded - 1
            worst = max(worst, abs(off))
            print(f"{path.stem:<20}{architecture.id:<14}{index + 1:>5}{counted:>12,}{recorded:>12,}{100 * off:>8.2f}%")
    print(f"WORST {100 * worst:.3f}")


if __name__ == "__main__":
    main()
