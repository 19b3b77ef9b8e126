"""Measured wall clock of hard-exit inference compared with the full network, beside the ratio of their MACs.

Legend: n samples, e exits, r rounds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from aebnas.cost.counts import count_graph
from aebnas.cost.latency.rounds import WARM_UP_CALLS
from aebnas.cost.latency.stopwatch import MeasurementSetting, call_times_ms
from aebnas.runtime.difficulty import estimator_macs
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.graph import INPUT, Graph, Node
from aebnas.runtime.network import ExitPrediction, Network

ROUNDS = 5
FULL = -1
TIMED_BATCHES = 20
"""Batches per round that are enough to time a known exit, since the time doesn't depend on the images."""


@dataclass(frozen=True)
class WallClock:
    """Times of n samples with exits and with the full network.

    `batch_ms` and `full_ms` are medians over the rounds, one for each batch; `exit_n` is each sample's exit. MACs
    are means per sample.
    """

    samples: int
    rounds: int
    batch_ms: np.ndarray
    full_ms: np.ndarray
    exit_n: np.ndarray
    exits: int
    avg_macs: float
    full_macs: float

    @property
    def ms(self) -> float:
        """Mean time of a sample with exits."""
        return float(self.batch_ms.sum()) / self.samples

    @property
    def speed_up(self) -> float:
        """Time of the full network over time with exits."""
        return float(self.full_ms.sum() / self.batch_ms.sum())

    @property
    def macs_ratio(self) -> float:
        """MACs of the full network over mean MACs with exits."""
        return self.full_macs / self.avg_macs

    @property
    def speedup_efficiency(self) -> float:
        """Speed-up over MACs ratio: 1 where time decreases in proportion to MACs.

        It isn't the saved share: where no time is saved it is 1 / MACs ratio. See `saved_time_share`.
        """
        return self.speed_up / self.macs_ratio

    @property
    def saved_time_share(self) -> float | None:
        """See the function of this name."""
        return saved_time_share(self.speed_up, self.macs_ratio)

    @property
    def exit_shares(self) -> np.ndarray:
        """Shares of the samples that left at each exit, `[e]`."""
        return np.bincount(self.exit_n, minlength=self.exits) / self.samples

    def ms_at_exits(self) -> list[float | None]:
        """At batch 1 the mean time of the samples that left at each exit, None where no sample did."""
        return [
            float(self.batch_ms[self.exit_n == index].mean()) if (self.exit_n == index).any() else None
            for index in range(self.exits)
        ]


def saved_time_share(speed_up: float, macs_ratio: float) -> float | None:
    """Saved share of time over saved share of MACs, (1 - 1/speed-up) / (1 - 1/MACs ratio).

    1 where both are equal, 0 where no time is saved, negative where exits cost time; None
    where no MACs are saved (a ratio of at most 1).
    """
    return (1 - 1 / speed_up) / (1 - 1 / macs_ratio) if macs_ratio > 1 else None


def wall_clock(
    network: Network,
    policy: ExitPolicy,
    x_nchw: Tensor,
    setting: MeasurementSetting,
    rounds: int = ROUNDS,
    pixels: Tensor | None = None,
    advance: Callable[[], object] = lambda: None,
) -> WallClock:
    """Time a network on `x_nchw` in batches of `setting.batch`, with the policy and with every exit at never.

    Each round runs all batches, each in both ways directly after one another. The network must come from
    `setting.network`. `pixels` are the same samples as uint8, for a policy that uses their difficulty, the estimate of
    which is timed and counted, too. `advance` is called after each round. Raises ValueError where a policy needs
    `pixels` and they are None.
    """
    exits = len(network.graph.exits)
    never = ExitPolicy(policy.criterion, (None,) * (exits - 1))
    places = [slice(start, start + setting.batch) for start in range(0, len(x_nchw), setting.batch)]
    batches = [setting.placed(x_nchw[place]) for place in places]
    given = None if pixels is None or policy.difficulty is None else pixels.to(setting.device)
    shown = [None if given is None else given[place] for place in places]
    calls = [partial(infer, network, policy, x, seen) for x, seen in zip(batches, shown, strict=True)]
    early_rb, full_rb = [], []
    with setting.applied():
        left = [call().exit_index.cpu() for call in calls]
        for _ in range(WARM_UP_CALLS):
            network.infer(batches[0], never)
        for _ in range(rounds):
            early, full = [], []
            for x, call in zip(batches, calls, strict=True):
                early += call_times_ms(call, setting.device, 1)
                full += call_times_ms(lambda x=x: network.infer(x, never), setting.device, 1)  # type: ignore[misc]
            early_rb.append(early)
            full_rb.append(full)
            advance()
    macs, exit_n = count_graph(network.graph).macs, torch.cat(left).numpy()
    estimate = 0 if policy.difficulty is None else estimator_macs(network.graph.input_shape)
    return WallClock(
        samples=len(x_nchw),
        rounds=rounds,
        batch_ms=np.median(early_rb, axis=0),
        full_ms=np.median(full_rb, axis=0),
        exit_n=exit_n,
        exits=exits,
        avg_macs=float(macs.to_exit(runs(policy, exits))[exit_n].mean()) + estimate,
        full_macs=float(macs.to_exit(runs(never, exits))[-1]),
    )


def infer(network: Network, policy: ExitPolicy, x_nchw: Tensor, pixels: Tensor | None) -> ExitPrediction:
    """`Network.infer`, preceded by the estimate of the difficulty of `pixels` (uint8) where the policy uses it."""
    estimator = policy.difficulty
    alpha_n = None if estimator is None or pixels is None else estimator.alpha(pixels)
    return network.infer(x_nchw, policy, alpha_n)


def free_speed_up(
    network: Network,
    policy: ExitPolicy,
    x_nchw: Tensor,
    setting: MeasurementSetting,
    shares_e: np.ndarray,
    rounds: int = ROUNDS,
) -> float:
    """The speed-up if decisions took no time, which is an upper bound of `WallClock.speed_up`.

    Batches are run to each exit by which some sample leaves as if it were known beforehand, without computing any
    score; the times are weighted by `shares_e [e]`. The full network is timed in turn with them, both in the same way
    and by `infer`; the difference is added to the other times. All samples of a batch leave together, so nothing is
    copied.
    """
    exits = len(network.graph.exits)
    last, never = exits - 1, ExitPolicy(policy.criterion, (None,) * (exits - 1))
    batches = [setting.placed(x) for x in x_nchw.split(setting.batch)][:TIMED_BATCHES]
    nodes = {leave: nodes_to(network.graph, leave, runs(policy, exits)) for leave in np.flatnonzero(shares_e).tolist()}
    nodes[FULL] = nodes_to(network.graph, last, runs(never, exits))
    infer_ms: list[float] = []
    known_ms: dict[int, list[float]] = {leave: [] for leave in nodes}
    with setting.applied():
        for x in batches[:WARM_UP_CALLS]:
            network.infer(x, never)
        for _ in range(rounds):
            for x in batches:
                infer_ms += call_times_ms(lambda x=x: network.infer(x, never), setting.device, 1)  # type: ignore[misc]
                for leave, run in nodes.items():
                    call = lambda x=x, run=run: run_nodes(network, x, run)  # noqa: E731
                    known_ms[leave] += call_times_ms(call, setting.device, 1)
    full_ms, ms = float(np.median(infer_ms)), {leave: float(np.median(times)) for leave, times in known_ms.items()}
    around_ms = max(0.0, full_ms - ms.pop(FULL))
    return full_ms / (around_ms + sum(float(shares_e[leave]) * known for leave, known in ms.items()))


def nodes_to(graph: Graph, leave: int, runs_e: np.ndarray) -> list[Node]:
    """The nodes that run for a sample that leaves at exit `leave`, in order."""
    steps = enumerate(graph.schedule()[: leave + 1])
    return [node for index, step in steps for node in step.always + step.optional * bool(runs_e[index])]


def run_nodes(network: Network, x_nchw: Tensor, nodes: Sequence[Node]) -> None:
    """Run the nodes without decisions."""
    values = {INPUT: x_nchw}
    for node in nodes:
        values[node.name] = network.nodes[node.name](*(values[name] for name in node.inputs))


def runs(policy: ExitPolicy, exits: int) -> np.ndarray:
    """At which exits samples may leave under a policy, bool `[e]`."""
    return np.array([policy.runs(index) for index in range(exits)])


def threshold_shares(scores_ne: Sequence[Sequence[float]] | np.ndarray, shares_e: Sequence[float]) -> list[float]:
    """Thresholds under which about the shares `shares_e` of samples leave at each exit, `[e - 1]` (without the last).

    Each is a quantile of the scores of the samples that haven't left before.
    """
    scores_ne = np.asarray(scores_ne, dtype=float)
    remaining, thresholds, left = np.ones(len(scores_ne), dtype=bool), [], 1.0
    for index, share in enumerate(shares_e[:-1]):
        scores = scores_ne[remaining, index]
        threshold = float(np.quantile(scores, 1 - min(1.0, share / left))) if len(scores) else 1.0
        thresholds.append(min(max(threshold, 0.0), 1.0))
        remaining &= scores_ne[:, index] <= thresholds[-1]
        left = max(left - share, 1e-9)
    return thresholds
