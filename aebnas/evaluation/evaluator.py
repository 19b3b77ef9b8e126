"""Scoring one architecture, with inherited or separately trained weights, as ExitTables on `calibrate` and `search`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aebnas.core.determinism import pinned
from aebnas.core.progress import MakeBar, no_bar
from aebnas.core.spec_base import updated
from aebnas.cost.model import COUNTS, CostModel
from aebnas.data.batches import Batches
from aebnas.data.image_set import ImageSet
from aebnas.data.splits import CALIBRATE, SEARCH
from aebnas.evaluation.darts.relaxed_training import Relaxation, RelaxedTraining, calibration_summary, hard_figures
from aebnas.policies.calibration.calibrated_tables import Tables, calibrated_tables
from aebnas.runtime.network import Network
from aebnas.runtime.preprocessing import Preprocessing
from aebnas.space.architecture import Architecture
from aebnas.space.policy_spec import PolicySpec
from aebnas.supernet.darts.discretization import (
    Form,
    adaptive_architecture,
    choice_shares,
    extract,
    static_architecture,
)
from aebnas.supernet.darts.relaxed_network import RelaxedNetwork
from aebnas.supernet.supernet import Supernet
from aebnas.training.compute.compute_meter import ComputeMeter
from aebnas.training.compute.forward_flop import forward_flop, table_flop
from aebnas.training.exits.add_stop_heads import add_stop_heads
from aebnas.training.exits.exit_training_spec import ExitTrainingSpec
from aebnas.training.recipes.initial_weights import set_initial_weights
from aebnas.training.single_network import fresh_network, with_norm_stats
from aebnas.training.stages import fit_network
from aebnas.training.training_spec import TrainSpec


@dataclass(frozen=True)
class Scored:
    """The result of scoring an architecture: its tables, and the network (on the CPU) if trained separately.

    `pflop` is the compute of its training, its norm statistics and its tables; None where it isn't known.
    """

    tables: Tables
    network: Network | None
    pflop: float | None = None


@dataclass(frozen=True)
class RelaxedResult:
    """The result of a relaxed training: the network, each form's architecture and scores, and figures.

    `report` can be written as JSON. `pflop` as in `Scored`, of all of it.
    """

    network: RelaxedNetwork
    forms: dict[Form, tuple[Architecture, Scored]]
    report: dict[str, Any]
    pflop: float | None = None


Work = Architecture | Relaxation
"""One item of an evaluator's work."""


@dataclass(frozen=True)
class CandidateTraining:
    """How a candidate is trained separately: `spec` on `batches`, seeded by `seed` and the architecture."""

    spec: TrainSpec
    batches: Batches
    seed: int
    from_scratch: bool = False

    def seed_of(self, architecture: Architecture) -> int:
        """The seed of an architecture's training, independent of when and in which process it runs."""
        return int(np.random.SeedSequence([self.seed, int(architecture.id, 16)]).generate_state(1)[0])

    def fresh(self, architecture: Architecture, calibration: Sequence[Tensor]) -> Network:
        """The architecture with newly initialised weights; `calibration` are batches `x_nchw` of training images."""
        network = fresh_network(architecture, self.seed_of(architecture))
        set_initial_weights(network, self.spec, [x_nchw.cpu() for x_nchw in calibration])
        return network

    def halting(self, weight: float) -> "CandidateTraining":
        """The same for networks with stop heads, whose expected cost is weighted with lambda `weight`."""
        exits = ExitTrainingSpec(stop_heads=True, policy_loss=weight)
        return replace(self, spec=updated(self.spec, {"exits": exits}))

    def train(
        self,
        network: Network,
        architecture: Architecture,
        calibration: Sequence[Tensor],
        progress: MakeBar,
        compute: ComputeMeter,
    ) -> Network:
        """The trained network in evaluation mode; raises UserError where the loss is no longer finite.

        `compute` receives the FLOP of the training.
        """
        network = add_stop_heads(network, self.spec.exits)
        seed, label = self.seed_of(architecture), f"candidate {architecture.id}"
        return fit_network(
            network,
            architecture,
            self.spec,
            self.batches,
            seed,
            label,
            checkpoint=None,
            validation=None,
            calibration=calibration,
            norm_calibration=calibration,
            progress=progress,
            compute=compute,
        )


@dataclass(frozen=True)
class Evaluator:
    """Everything that scoring requires; picklable, so that it is sent to a worker once.

    Without `supernet` candidates start from newly initialised weights, without `training` they are scored with
    inherited ones; ValueError for neither. `calibration` are batches `x_nchw` for norm statistics; `images` the splits
    `calibrate` and `search`; `policy` names the rules whose scores the tables hold, `costs` the costs that they hold.
    With `gpu` everything runs on the visible GPU. `deterministic` as in `determinism.pinned`. `progress` makes the bar
    of a candidate's training. `relaxed` is given where relaxed networks are trained.
    """

    supernet: Supernet | None
    training: CandidateTraining | None
    calibration: Sequence[Tensor]
    images: Mapping[str, ImageSet]
    preprocessing: Preprocessing
    policy: PolicySpec
    threads: int
    costs: CostModel = COUNTS
    gpu: bool = False
    deterministic: bool = False
    progress: MakeBar = no_bar
    relaxed: RelaxedTraining | None = None

    def __post_init__(self) -> None:
        if self.supernet is None and self.training is None:
            raise ValueError("an evaluator must have a supernet or a training, but got neither")

    def network(self, architecture: Architecture, compute: ComputeMeter | None = None) -> Network:
        """The architecture in evaluation mode, with the weights under which it is scored.

        `compute` receives the FLOP of its training and norm statistics.
        """
        compute = ComputeMeter() if compute is None else compute
        device = torch.device("cuda" if self.gpu else "cpu")
        calibration = [x_nchw.to(device) for x_nchw in self.calibration]
        if self.supernet is not None:
            network = inherit(self.supernet.to(device), architecture, calibration)
            compute.add(forward_flop(network.graph, calibration))
        else:
            assert self.training is not None
            network = self.training.fresh(architecture, calibration).to(device)
        if self.training is None:
            return network
        return self.training.train(network, architecture, calibration, self.progress, compute)

    def score(self, architecture: Architecture, compute: ComputeMeter | None = None) -> Scored:
        """Calibrated tables in fp32, computed with the pinned number of threads.

        `compute` receives the FLOP, also of a scoring that fails. Raises ValueError for NaN logits, UserError for a NaN
        loss.
        """
        with pinned(self.threads, self.deterministic):
            compute = ComputeMeter() if compute is None else compute
            network = self.network(architecture, compute)
            tables = self._tables(network, compute)
            return Scored(tables, network.cpu() if self.training else None, compute.pflop)

    def relax(self, work: Relaxation, compute: ComputeMeter | None = None) -> RelaxedResult:
        """A relaxed training and its hard networks, fine-tuned (or trained from scratch) and tabulated.

        `compute` as in `score`.
        """
        assert self.relaxed is not None and self.training is not None, "a checked experiment specifies both"
        with pinned(self.threads, self.deterministic):
            device = torch.device("cuda" if self.gpu else "cpu")
            calibration = [x_nchw.to(device) for x_nchw in self.calibration]
            compute = ComputeMeter() if compute is None else compute
            relaxed, soft = self.relaxed.train(work, calibration, device, self.progress, compute)
            report: dict[str, Any] = {"lambda": work.weight, "soft": soft, "forms": {}}
            forms: dict[Form, tuple[Architecture, Scored]] = {}
            for form in self.relaxed.forms:
                architecture = self._discretised(relaxed, form)
                hard = with_norm_stats(extract(relaxed, architecture), calibration)
                compute.add(forward_flop(hard.graph, calibration))
                before = self._tables(hard, compute, keep_logits=True)[SEARCH]
                if self.training.from_scratch:
                    hard = self.training.fresh(architecture, calibration).to(device)
                training = self.training.halting(work.weight) if architecture.stop_heads else self.training
                trained = training.train(hard, architecture, calibration, self.progress, compute)
                tables = self._tables(trained, compute, keep_logits=True)
                forms[form] = architecture, Scored(tables, trained.cpu())
                report["forms"][form] = {
                    "architecture": architecture.id,
                    "text": str(architecture),
                    "hard": hard_figures(before),
                    "trained": hard_figures(tables[SEARCH]),
                    "calibration": calibration_summary(tables[CALIBRATE]),
                }
            return RelaxedResult(relaxed.cpu(), forms, report, compute.pflop)

    def _discretised(self, relaxed: RelaxedNetwork, form: Form) -> Architecture:
        assert self.relaxed is not None
        spec = self.relaxed.spec
        if form == "static":
            return static_architecture(relaxed, spec.inputs)
        shares = choice_shares(relaxed, self.relaxed.pixels(self.preprocessing))
        return adaptive_architecture(relaxed, shares, spec.min_share)

    def _tables(self, network: Network, compute: ComputeMeter, keep_logits: bool = False) -> Tables:
        tables = calibrated_tables(network, self.images, self.preprocessing, self.policy, self.costs, keep_logits)
        for table in tables.values():
            compute.add(table_flop(table))
        return tables


def inherit(supernet: Supernet, architecture: Architecture, calibration: Sequence[Tensor]) -> Network:
    """The architecture with the supernet's weights and recalibrated norms."""
    return supernet.extract(architecture, supernet.recalibrate(architecture, calibration))
