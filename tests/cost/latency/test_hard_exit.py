"""Wall clock of hard exits: everything but the times, which aren't asserted."""

import numpy as np
import pytest
import torch

from aebnas.cost.counts import count_graph
from aebnas.cost.latency.hard_exit import (
    WallClock,
    free_speed_up,
    nodes_to,
    run_nodes,
    runs,
    saved_time_share,
    threshold_shares,
    wall_clock,
)
from aebnas.cost.latency.stopwatch import MeasurementSetting, leave_at
from aebnas.runtime.difficulty import Difficulty, estimator_macs
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.threshold_rules import DifficultyOffset
from aebnas.space.lowering import lower


def test_figures_by_hand():
    clock = WallClock(
        samples=4,
        rounds=3,
        batch_ms=np.array([1.0, 2.0, 3.0, 2.0]),
        full_ms=np.array([4.0, 4.0, 4.0, 4.0]),
        exit_n=np.array([0, 2, 2, 2]),
        exits=3,
        avg_macs=10.0,
        full_macs=25.0,
    )
    assert (clock.ms, clock.speed_up, clock.macs_ratio) == pytest.approx((2.0, 2.0, 2.5))
    assert clock.speedup_efficiency == pytest.approx(0.8)
    assert clock.saved_time_share == pytest.approx(0.5 / 0.6)  # half the time for three fifths of the MACs
    assert clock.exit_shares.tolist() == [0.25, 0, 0.75]
    assert clock.ms_at_exits() == [1.0, None, pytest.approx(7 / 3)]


@pytest.mark.parametrize(
    "speed_up, macs_ratio, share",
    [
        (1.0, 1.25, 0.0),  # a fifth of the MACs, no time; the efficiency is 0.8
        (1.25, 1.25, 1.0),
        (2.0, 1.25, 2.5),  # half the time for a fifth of the MACs
        (0.8, 2.0, -0.5),  # a quarter more time for half the MACs
        (2.0, 1.0, None),  # no MACs are saved
        (1.0, 0.5, None),
    ],
)
def test_the_share_of_time_saved_by_hand(speed_up, macs_ratio, share):
    assert saved_time_share(speed_up, macs_ratio) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize("batch", [1, 4])
def test_exits_and_macs_are_those_of_infer(digits, architectures, random_network, pixels, batch):
    architecture = next(a for a in architectures(digits, 30) if len(a.exits) >= 2)
    network, x_nchw = random_network(architecture), pixels(architecture, 10)
    policy = ExitPolicy("confidence", (None,) + (0.3,) * (len(architecture.exits) - 1))
    clock = wall_clock(network, policy, x_nchw, MeasurementSetting(batch=batch), rounds=1)
    taken = network.infer(x_nchw, policy).exit_index.numpy()
    assert clock.exit_n.tolist() == taken.tolist()
    assert len(clock.batch_ms) == len(clock.full_ms) == -(-10 // batch)
    macs, exits = count_graph(lower(architecture)).macs, clock.exits
    ran = np.array([False] + [True] * (exits - 1))
    assert clock.avg_macs == pytest.approx(macs.to_exit(ran)[taken].mean())
    assert clock.full_macs == macs.taken_only[-1]


@pytest.mark.parametrize("batch", [1, 4])
def test_an_estimate_of_difficulty_is_timed_and_counted(digits, architectures, random_network, batch, monkeypatch):
    architecture = next(a for a in architectures(digits, 30) if len(a.exits) == 2)
    network = random_network(architecture)
    shape = network.graph.input_shape
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (10, *shape), dtype=torch.uint8, generator=generator)
    difficulty = Difficulty(0.1, (1.0, 1.0, 1.0))
    policy = ExitPolicy("confidence", (0.2, 0.2), rules=(DifficultyOffset(difficulty, 0.3),))
    x_nchw, seen, real = pixels.float() / 255, [], Difficulty.alpha
    monkeypatch.setattr(Difficulty, "alpha", lambda self, some: seen.append(some) or real(self, some))
    clock = wall_clock(network, policy, x_nchw, MeasurementSetting(batch=batch), rounds=2, pixels=pixels)
    assert torch.equal(torch.cat(seen), torch.cat([pixels] * 3))  # once to record exits, then in every round
    assert clock.exit_n.tolist() == network.infer(x_nchw, policy, real(difficulty, pixels)).exit_index.tolist()
    macs = count_graph(network.graph).macs
    assert clock.avg_macs == pytest.approx(macs.to_exit()[clock.exit_n].mean() + estimator_macs(shape))
    assert clock.full_macs == macs.taken_only[-1]
    with pytest.raises(ValueError, match="needs the images' difficulty, but got none"):
        wall_clock(network, policy, x_nchw, MeasurementSetting(batch=batch), rounds=1)


def test_with_known_exits_the_same_nodes_run_as_with_decisions(digits, architectures, random_network, pixels):
    architecture = next(a for a in architectures(digits, 30) if len(a.exits) >= 2)
    network, x_nchw = random_network(architecture), pixels(architecture, 3)
    exits = len(network.graph.exits)
    ran = []
    for name, module in network.nodes.items():
        module.register_forward_pre_hook(lambda _, inputs, name=name: ran.append(name))
    for leave in range(exits):
        policy = leave_at(leave, exits, never=[0] if leave else [])
        network.infer(x_nchw, policy)
        decided = ran.copy()
        ran.clear()
        with torch.no_grad():
            run_nodes(network, x_nchw, nodes_to(network.graph, leave, runs(policy, exits)))
        assert ran == decided
        ran.clear()
    shares = np.eye(exits)[0]
    assert 0 < free_speed_up(network, leave_at(0, exits), x_nchw, MeasurementSetting(), shares, rounds=1) < float("inf")


def test_thresholds_for_given_exit_shares(rng):
    scores = rng.uniform(size=(4000, 3))
    thresholds = threshold_shares(scores, [0.5, 0.3, 0.2])
    first = scores[:, 0] > thresholds[0]
    second = ~first & (scores[:, 1] > thresholds[1])
    assert first.mean() == pytest.approx(0.5, abs=0.01)
    assert second.mean() == pytest.approx(0.3, abs=0.01)
