"""Real search spaces with few candidates, and searches of them without training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tiny_darts
import yaml
from tiny_run import EXPERIMENT

from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.search.plan import Plan, make_plan
from aebnas.space.architecture import Architecture
from aebnas.space.genome import SearchSpace
from aebnas.strategies.build import make_strategy
from aebnas.strategies.strategy import AnyJob, Job, Strategy
from aebnas.strategies.trial import OperatingPoint, Trial

BLOCK = {"width": 4, "depth": 1, "op": "basic"}
BASE: dict[str, Any] = {"input": {"channels": 1, "resolution": 8}, "classes": 10, "stem": {"width": 4}}
FIXED = BASE | {"stages": [BLOCK, BLOCK | {"stride": 2}], "exits": {"optional": False}}
CELL = {"nodes": 2, "ops": ["conv"], "stacks": [{"width": 4}]}

SPACES: dict[str, dict[str, Any]] = {
    "one architecture": FIXED,
    "one architecture without exits": FIXED | {"exits": {"at": []}},
    "one architecture, one threshold": FIXED | {"policy": {"thresholds": {"genes": [0.5]}}},
    "one architecture, thresholds as genes": FIXED | {"policy": {"thresholds": {"genes": [0.2, 0.6, "never"]}}},
    "two architectures": FIXED | {"exits": {"optional": True}},
    "one gene": FIXED | {"stem": {"width": [4, 5, 6, 7, 8, 9]}},
    "thresholds as genes": FIXED
    | {"stem": {"width": [4, 6]}, "exits": {"depth": [0, 1]}}
    | {"policy": {"criterion": ["margin", "confidence"], "thresholds": {"genes": [0.5, "never"]}}},
    "one cell": BASE | {"backbone": "dag", "dag": CELL, "exits": {"at": "every_node", "optional": False}},
    "cells": tiny_darts.SPACE,
}
STRATEGIES_HERE: dict[str, dict[str, Any]] = {
    "random": {"strategy": {"name": "random", "population": 4, "generations": 5}},
    "nsga2": {"strategy": {"name": "nsga2", "population": 4, "generations": 5}},
    "adaptive_darts": tiny_darts.DARTS,
}
"""The settings of an experiment for each strategy."""


def plan_of(strategy: str, space: str, folder: Path) -> Plan:
    """The checked search of a strategy on one of the spaces; raises UserError where they don't fit."""
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACES[space]), encoding="utf-8")
    return make_plan(folder / "spec", folder / "run", value=EXPERIMENT | STRATEGIES_HERE[strategy])


def strategy_of(plan: Plan, seed: int = 11) -> Strategy:
    """The strategy, made as the search makes it."""
    experiment, rng = plan.experiment, np.random.default_rng(seed)
    objectives, constraints = experiment.parsed_objectives(), experiment.parsed_constraints()
    return make_strategy(experiment.strategy, plan.space, objectives, constraints, experiment.parsed_target(), rng)


def candidates(space: SearchSpace) -> set[tuple[str, ExitPolicy | None]]:
    """Every candidate of a space, by genome."""
    found = [space.decode(genome) for genome in np.ndindex(*space.gene_sizes)]
    return {(each.architecture.id, each.policy) for each in found}


def scored(space: SearchSpace, job: AnyJob, number: int) -> Trial:
    """A trial whose metrics are computed from the architecture's id."""
    architecture = job.architecture if isinstance(job, Job) else _drawn(space, number)
    policy = job.policy if isinstance(job, Job) else None
    points = (_point(architecture, policy),)
    return Trial(number, architecture, policy, "ok", points, "", job.origin, 0.0)


def failed(space: SearchSpace, job: AnyJob, number: int) -> Trial:
    """A failed trial."""
    architecture = job.architecture if isinstance(job, Job) else space.extreme(largest=True)
    policy = job.policy if isinstance(job, Job) else None
    return Trial(number, architecture, policy, "failed", (), "out of memory", job.origin, 0.0)


def searched(
    strategy: Strategy, space: SearchSpace, outcome: Callable[[SearchSpace, AnyJob, int], Trial] = scored
) -> tuple[list[AnyJob], list[Trial]]:
    """All jobs and trials of a search."""
    asked: list[AnyJob] = []
    trials: list[Trial] = []
    while jobs := strategy.ask():
        asked += jobs
        trials += (generation := [outcome(space, job, len(trials) + i) for i, job in enumerate(jobs)])
        strategy.tell(generation)
    return asked, trials


def _drawn(space: SearchSpace, number: int) -> Architecture:
    return space.decode(space.sample(np.random.default_rng(number))).architecture


def _point(architecture: Architecture, policy: ExitPolicy | None) -> OperatingPoint:
    share, early = int(architecture.id, 16) % 1000 / 1000, len(architecture.exits)
    metrics = {"accuracy": 0.5 + share / 2, "avg_macs": 1e6 * (1 + share**2), "params": 1e3}
    policy = policy or ExitPolicy("confidence", (0.5,) * early)
    return OperatingPoint(architecture.id, policy, metrics, (1.0, *(0.0,) * early), (0.5, *(None,) * early))
