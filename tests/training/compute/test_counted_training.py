"""The compute that a training counts: in its rows, over a resume, up to its bound, and in two stages."""

import pytest
import torch

from aebnas.core.errors import UserError
from aebnas.data.batches import Batches
from aebnas.data.channel_statistics import measure_preprocessing
from aebnas.data.data_spec import AugmentSpec
from aebnas.data.image_set import ImageSet, InMemory
from aebnas.runtime.network import Network
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.space.spec import SpaceSpec
from aebnas.training.compute.compute_meter import PETA, ComputeMeter
from aebnas.training.compute.forward_flop import forward_flop
from aebnas.training.compute.graph_flop import running, step_flop
from aebnas.training.loop import fit
from aebnas.training.single_network import SingleTask
from aebnas.training.stages import fit_network
from aebnas.training.training_spec import TrainSpec


class Stopped(Exception):
    """Simulates a kill."""


def train(task, batches, path=None, on_rows=lambda rows: None):
    """The compute of a training, and its last rows."""
    compute, seen = ComputeMeter(), [[]]

    def report(rows):
        seen.append(rows)
        on_rows(rows)

    fit(task, batches, task.spec, 5, "test", path, report, compute=compute)
    return compute, seen[-1]


def of_an_epoch(task, batches):
    """FLOP of an epoch of a task that trains a network."""
    return step_flop(running(task.module.graph)) * batches.batch_size * len(batches)


def test_rows_hold_the_compute_so_far(make_single, batches):
    task = make_single(epochs=3)
    compute, rows = train(task, batches)
    epoch = of_an_epoch(task, batches)
    assert [row["pflop"] * PETA for row in rows] == pytest.approx([epoch, 2 * epoch, 3 * epoch])
    assert compute.flop == 3 * epoch and compute.pflop == rows[-1]["pflop"]


@pytest.mark.parametrize("kind", ["make_single", "make_sandwich"])
def test_a_killed_training_counts_as_much_as_one_that_was_not(kind, request, batches, tmp_path):
    """What the kill lost, the second half of an epoch, isn't counted."""
    make = request.getfixturevalue(kind)
    whole, whole_rows = train(make(epochs=3), batches, tmp_path / "whole.pt")
    task, steps = make(epochs=3), []
    losses = task.losses

    def killed_in_the_third_epoch(*arguments):
        steps.append(1)
        if len(steps) == 2 * len(batches) + 3:
            raise Stopped
        yield from losses(*arguments)

    task.losses = killed_in_the_third_epoch
    with pytest.raises(Stopped):
        train(task, batches, tmp_path / "cut.pt")
    resumed, rows = train(make(epochs=3), batches, tmp_path / "cut.pt")
    assert resumed.flop == whole.flop
    assert [row["pflop"] for row in rows] == [row["pflop"] for row in whole_rows]


def test_a_training_ends_after_the_step_that_reaches_its_bound(make_single, batches, tmp_path):
    epoch = of_an_epoch(make_single(), batches)
    step = epoch / len(batches)
    task = make_single(epochs=5, max_pflop=(epoch + 1.5 * step) / PETA, validate_every=5)
    compute, rows = train(task, batches, tmp_path / "c.pt")
    assert compute.flop == epoch + 2 * step
    assert [row["epoch"] for row in rows] == [2], "the last epoch, though shorter, is validated"
    again = make_single(epochs=5, max_pflop=task.spec.max_pflop)
    again.losses = lambda *arguments: pytest.fail("trained again")
    assert train(again, batches, tmp_path / "c.pt")[0].flop == compute.flop


def test_the_loss_of_a_shortened_epoch_is_the_mean_of_its_steps(make_single, batches):
    whole = make_single(epochs=1, lr=1e-9)
    step = of_an_epoch(whole, batches) / len(batches)
    _, (row,) = train(whole, batches)
    _, (short,) = train(make_single(epochs=1, lr=1e-9, max_pflop=step / PETA), batches)
    assert short["loss"] == pytest.approx(row["loss"], rel=0.1)


def test_a_bound_that_is_not_reached_changes_nothing(make_single, batches):
    plain, bounded = (make_single(epochs=2, **more) for more in ({}, {"max_pflop": 1.0}))
    assert train(plain, batches)[0].flop == train(bounded, batches)[0].flop
    for one, other in zip(plain.module.parameters(), bounded.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_smaller_images_of_a_progressive_resolution_cost_less(two_stages):
    value = two_stages.spec.model_dump() | {"input": {"channels": 1, "resolution": 16}}
    architecture = SearchSpace(SpaceSpec.model_validate(value)).extreme(largest=True)
    pixels = torch.randint(256, (64, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = ImageSet(InMemory(pixels), torch.arange(64) % 10, 10)
    preprocessing = measure_preprocessing(images)
    batches = Batches(images, preprocessing, AugmentSpec(), 32)
    spec = TrainSpec(epochs=2, batch_size=32, precision="fp32", resolution_steps=[[0, 0.5], [0.5, 1]])
    network = Network(lower(architecture))
    compute = ComputeMeter()
    task = SingleTask(network, architecture, spec, None, preprocessing, ())
    fit(task, batches, spec, 5, "test", None, compute=compute)
    small, whole = (step_flop(running(network.graph, shape=(1, side, side))) for side in (8, 16))
    assert compute.flop == 64 * (small + whole) and small < 0.3 * whole


def in_stages(architecture, batches, calibration, **settings):
    compute, network = ComputeMeter(), Network(lower(architecture))
    spec = TrainSpec(**({"epochs": 3, "batch_size": 64, "precision": "fp32", "recipe": "classic"} | settings))
    arguments = (network, architecture, spec, batches, 11, "test", None, None, calibration, calibration)
    try:
        fit_network(*arguments, compute=compute)
    except UserError:
        return compute, False
    return compute, True


def test_both_stages_and_the_norm_statistics_of_each_are_counted(two_stages, batches, calibration):
    architecture = two_stages.extreme(largest=True)
    graph = lower(architecture)
    steps = len(batches) * batches.batch_size
    branches = {node.name for segment in graph.segments()[:-1] for node in segment.branch}

    def frozen(node):
        return frozenset() if node.name in branches else FROZEN

    FROZEN = _all_parameters(graph)
    last_only = [False] * (len(graph.exits) - 1) + [True]
    first_steps = steps * step_flop(running(graph, last_only))
    second_steps = 2 * steps * step_flop(running(graph), frozen)
    compute, _ = in_stages(architecture, batches, calibration, exits={"frozen_backbone": 2 / 3})
    assert compute.flop == first_steps + second_steps + 2 * forward_flop(graph, calibration)
    assert second_steps < first_steps * 2


def _all_parameters(graph):
    network = Network(graph)
    return frozenset(name for node in graph.nodes for name, _ in network.nodes[node.name].named_parameters())


def test_a_bound_leaves_each_stage_its_share_of_the_epochs(two_stages, batches, calibration):
    architecture = two_stages.extreme(largest=True)
    settings = {"epochs": 4, "exits": {"frozen_backbone": 0.75}}
    whole, _ = in_stages(architecture, batches, calibration, **settings)
    norms = 2 * forward_flop(lower(architecture), calibration)
    bound = 0.4 * (whole.flop - norms)
    compute, _ = in_stages(architecture, batches, calibration, max_pflop=bound / PETA, **settings)
    step = step_flop(running(lower(architecture))) * batches.batch_size
    assert bound <= compute.flop - norms <= bound + 2 * step


def test_the_compute_of_a_training_that_fails_is_counted(two_stages, batches, calibration):
    architecture = two_stages.extreme(largest=True)
    settings = {"lr": 1e30, "momentum": 0.0, "warmup": 0}
    compute, succeeded = in_stages(architecture, batches, calibration, **settings)
    assert not succeeded
    epoch = step_flop(running(lower(architecture))) * batches.batch_size * len(batches)
    assert compute.flop % epoch == 0 and compute.flop > 0
