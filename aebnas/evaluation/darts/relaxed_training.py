"""One relaxed training, the figures of its soft network, and those of hard networks for comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aebnas.core.progress import MakeBar
from aebnas.cost.latency.network_profile import Profile
from aebnas.data.batches import Batches, eval_batches
from aebnas.data.image_set import ImageSet
from aebnas.policies.analysis.description import describe
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.tabulate import EVAL_BATCH
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.gate_rules import StopHeads
from aebnas.runtime.preprocessing import Preprocessing
from aebnas.space.spec import SpaceSpec
from aebnas.supernet.darts.discretization import Form
from aebnas.supernet.darts.relaxed_costs import layer_cost, relaxed_costs
from aebnas.supernet.darts.relaxed_network import RelaxedNetwork
from aebnas.training.compute.compute_meter import ComputeMeter
from aebnas.training.darts.relaxed_spec import RelaxedSpec
from aebnas.training.darts.relaxed_task import RelaxedTask, soft_figures
from aebnas.training.loop import fit, write_rows

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
STOP = 0.5
"""Above this stop probability a sample leaves, where hard networks are compared with their soft one."""


@dataclass(frozen=True)
class Relaxation:
    """Work of an evaluator: train the relaxed network under the lambda `weight`."""

    weight: float

    @property
    def id(self) -> str:
        """Its name in file names."""
        return f"lambda-{self.weight:g}"


@dataclass(frozen=True)
class RelaxedTraining:
    """How relaxed networks are trained: weights on `batches`, the architecture on `arch`, validated on `validation`.

    `folder` is for checkpoints and rows; `choosing` are the images whose choices determine the candidates kept.
    """

    spec: RelaxedSpec
    space: SpaceSpec
    forms: tuple[Form, ...]
    batches: Batches
    arch: Batches | None
    choosing: ImageSet
    validation: ImageSet
    profile: Profile | None
    seed: int
    folder: Path

    def train(
        self,
        work: Relaxation,
        calibration: Sequence[Tensor],
        device: torch.device,
        progress: MakeBar,
        compute: ComputeMeter,
    ) -> tuple[RelaxedNetwork, dict[str, Any]]:
        """The trained network in evaluation mode, and the soft network's figures on `validation`.

        An interrupted training resumes from its checkpoint. `compute` receives the FLOP of the training and of the norm
        statistics. Raises UserError where the loss is no longer finite.
        """
        spec, preprocessing = self.spec, self.batches.preprocessing
        generator = torch.Generator().manual_seed(self.seed)
        network = RelaxedNetwork(self.space, spec.controller, spec.stop_heads, generator).to(device)
        macs = relaxed_costs(network, layer_cost("macs"))
        costs = None
        if spec.cost != "linspace":
            costs = relaxed_costs(network, layer_cost(spec.cost, self.profile))
        task = RelaxedTask(
            network,
            spec,
            work.weight,
            costs,
            self.arch,
            self.validation,
            preprocessing,
            calibration,
            self.seed,
            self.batches.class_weights,
        )
        rows_file, checkpoint = self.folder / f"{work.id}.csv", self.folder / f"{work.id}.pt"
        used = ComputeMeter()
        try:
            trained = fit(
                task,
                self.batches,
                spec,
                self.seed,
                f"relaxed {work.id}",
                checkpoint,
                partial(write_rows, rows_file),
                progress,
                compute=used,
            )
        finally:
            compute.add(used.flop)
        finished = task.finished(trained, calibration)
        compute.add(task.counted.forward(calibration))
        soft = soft_figures(finished, task, self.validation, preprocessing)
        task.costs = macs
        expected = soft_figures(finished, task, self.validation, preprocessing)["expected_cost"] * macs.total
        everything = macs.fixed_e[-1] + macs.edges_egk[-1].sum() + sum(float(b.sum()) for b in macs.branches)
        soft |= {"expected_macs": expected, "macs_run": float(everything) * macs.total}
        return finished, soft

    def pixels(self, preprocessing: Preprocessing) -> list[Tensor]:
        """Batches `x_nchw` of `choosing`."""
        return [x_nchw for x_nchw, _ in eval_batches(self.choosing, preprocessing, EVAL_BATCH)]


def hard_figures(table: ExitTable, stop: float = STOP) -> dict[str, Any]:
    """A hard network's accuracy and costs where only its stop heads decide, for comparison with the soft one."""
    early = table.exits - 1
    stops = (stop,) * early if table.has_stop_heads else ()
    thresholds = (0.0 if stops else None,) * early
    policy = ExitPolicy("confidence", thresholds, rules=(StopHeads(stops),), temperatures=table.temperatures)
    found = describe(table, policy)
    costs = {name: {"mean": c.mean, "p90": c.p90, "worst": c.worst} for name, c in found.costs.items()}
    return {
        "accuracy": found.accuracy,
        "top_accuracy": found.top_accuracy,
        "exit_shares": list(found.exit_shares),
        "exit_accuracy_alone": table.correct_ne.mean(0).tolist(),
        "ece": found.ece,
    } | costs


def calibration_summary(table: ExitTable) -> list[dict[str, Any]]:
    """For every early exit: quantiles of its stop probability and confidence, and its accuracy over all samples."""
    summary = []
    for index in range(table.exits - 1):
        node: dict[str, Any] = {"exit": index + 1, "accuracy": float(table.correct_ne[:, index].mean())}
        kinds: Mapping[str, np.ndarray | None] = {
            "stop": None if table.stop_nk is None else table.stop_nk[:, index],
            "confidence": table.scores["confidence"][:, index] if "confidence" in table.scores else None,
        }
        for name, values in kinds.items():
            if values is not None:
                node[name] = dict(zip(map(str, QUANTILES), np.quantile(values, QUANTILES).tolist(), strict=True))
        summary.append(node)
    return summary
