"""Wall clock of hard-exit inference compared with the full network, beside the ratio of their MACs.

    python benchmarks/hard_exit_wall_clock.py [--run results/NAME --pick knee] [--samples 1024] [--rounds 7]

With `--run` a pick of a run on images of its search split; without, random networks of `--space` with random weights
on noise, with thresholds under which about equal shares leave at every exit. `efficiency` is the speed-up over the full
network (every exit at never) divided by the ratio of their MACs: 1 where time decreases in proportion to MACs. `share`
is the saved share of time over the saved share of MACs, (1 - 1/speed-up) / (1 - 1/ratio): 0 where no time is saved.
Both networks are timed batch by batch in turn. `ceiling` is the efficiency if decisions took no time, with every
sample's exit known beforehand: its distance from 1 is due to layers, since a branch or an early layer may be slower per
MAC than the whole network; only the difference of `ceiling` and `efficiency` is the cost of decisions. The last lines
are `CEILING`, `EFFICIENCY` and `SHARE` at batch 1 and 256, medians over the networks in the memory format with the
higher efficiency.
"""

import argparse
import math
import statistics
from pathlib import Path

import numpy as np
import torch

from aebnas.cost.latency.hard_exit import free_speed_up, threshold_shares, wall_clock
from aebnas.cost.latency.stopwatch import FORMATS, MeasurementSetting
from aebnas.run.session import RunSession
from aebnas.runtime.exit_criteria import CRITERIA
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.runtime.normalise import normalise
from aebnas.selected.selected_model import load_selected_model
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower

Subject = tuple[str, Network, ExitPolicy, torch.Tensor, torch.Tensor | None]


def picked(run: Path, rule: str, samples: int) -> Subject:
    """A selected model of a run with its images."""
    session = RunSession.open(run)
    selected = load_selected_model(session, rule)
    search = session.images.splits.search
    pixels = search.subset(torch.arange(min(samples, len(search)))).pixels()
    return selected.id, selected.network, selected.policy, normalise(pixels, session.images.preprocessing), pixels


def random_networks(path: Path, count: int, samples: int) -> list[Subject]:
    """Random networks with policies under which about equal shares of samples leave at each exit."""
    space, rng, found = SearchSpace.load(path), np.random.default_rng(0), []
    torch.manual_seed(0)
    while len(found) < count:
        architecture = space.decode(space.sample(rng)).architecture
        graph = lower(architecture)
        if len(graph.exits) < 2:
            continue
        network, x_nchw = Network(graph).eval(), torch.randn(samples, *graph.input_shape)
        with torch.no_grad():
            scores_ne = np.stack([CRITERIA["margin"](logits).numpy() for logits in network(x_nchw)], 1)
        thresholds = threshold_shares(scores_ne, [1 / len(graph.exits)] * len(graph.exits))
        found.append((architecture.id, network, ExitPolicy("margin", tuple(thresholds)), x_nchw, None))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--pick", nargs="+", default=["knee"])
    parser.add_argument("--space", type=Path, default=Path("search_spaces/resnet_cifar.yaml"))
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 256])
    options = parser.parse_args()

    if options.run:
        subjects = [picked(options.run, rule, options.samples) for rule in options.pick]
    else:
        subjects = random_networks(options.space, options.networks, options.samples)
    print(f"{options.samples} samples, median of {options.rounds} rounds, {options.threads} thread(s)")
    head = ("exits", "left early", "batch", "ms", "full ms", "speed-up", "MACs ratio", "efficiency", "share", "ceiling")
    print(f"{'network':<26}{'format':<15}" + "".join(f"{name:>11}" for name in head))
    efficiencies: dict[tuple[str, int], list[float]] = {}
    shares: dict[tuple[str, int], list[float]] = {}
    ceilings: dict[tuple[str, int], list[float]] = {}
    for name, network, policy, x_nchw, pixels in subjects:
        for memory_format in options.memory_formats:
            for batch in options.batches:
                setting = MeasurementSetting(threads=options.threads, batch=batch, memory_format=memory_format)
                ready, rounds = setting.network(network), options.rounds
                clock = wall_clock(ready, policy, x_nchw, setting, rounds, pixels)
                free = free_speed_up(ready, policy, x_nchw, setting, clock.exit_shares, rounds) / clock.macs_ratio
                efficiencies.setdefault((memory_format, batch), []).append(clock.speedup_efficiency)
                share = math.nan if clock.saved_time_share is None else clock.saved_time_share
                shares.setdefault((memory_format, batch), []).append(share)
                ceilings.setdefault((memory_format, batch), []).append(free)
                full = float(clock.full_ms.sum()) / clock.samples
                early = f"{100 * (1 - clock.exit_shares[-1]):.0f}%"
                ratios = f"{clock.speed_up:>11.2f}{clock.macs_ratio:>11.2f}{clock.speedup_efficiency:>11.3f}"
                ratios += f"{share:>11.3f}{free:>11.3f}"
                start = f"{name:<26}{memory_format:<15}{clock.exits:>11}{early:>11}{batch:>11}"
                print(f"{start}{clock.ms:>11.4f}{full:>11.4f}{ratios}", flush=True)
    medians = {
        key: (statistics.median(efficiencies[key]), float(np.nanmedian(shares[key])), statistics.median(ceilings[key]))
        for key in efficiencies
    }
    for memory_format in options.memory_formats:
        words = [
            "{:.3f} (share {:.3f}, ceiling {:.3f}) at batch {}".format(*medians[memory_format, batch], batch)
            for batch in options.batches
        ]
        print(f"{memory_format}: efficiency {', '.join(words)}")
    best = [max(medians[f, batch] for f in options.memory_formats) for batch in options.batches]
    for number, name in enumerate(("EFFICIENCY", "SHARE", "CEILING")):
        print(f"{name} " + " ".join(f"{figures[number]:.3f}" for figures in best))


if __name__ == "__main__":
    main()
