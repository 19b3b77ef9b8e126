"""A cheap search problem with a known front: ZDT1 (Zitzler et al. 2000) on integer genes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aebnas.core.metrics import Constraint, Objective
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.strategies.strategy import Job, Strategy
from aebnas.strategies.trial import OperatingPoint, Trial

OBJECTIVES = [Objective("accuracy"), Objective("avg_macs")]


@dataclass(frozen=True)
class FakeArchitecture:
    genes: tuple[int, ...]

    @property
    def id(self) -> str:
        return "n" + ".".join(map(str, self.genes))


@dataclass(frozen=True)
class FakeCandidate:
    architecture: FakeArchitecture
    policy: ExitPolicy | None


class FakeSpace:
    """Genes of the architecture, then an inactive gene, then the gene of the policy's threshold."""

    def __init__(self, sizes: Sequence[int] = (11, 6, 6, 6, 6, 6), thresholds: int = 2) -> None:
        self.sizes = tuple(sizes)
        self.gene_sizes = (*sizes, 3, thresholds)
        self.size = int(np.prod(sizes)) * thresholds

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        return tuple(int(rng.integers(size)) for size in self.gene_sizes)

    def with_policy(self, genome: Sequence[int], policy: ExitPolicy) -> tuple[int, ...]:
        return (*genome[:-1], round(policy.thresholds[0] * 10))

    def decode(self, genome: Sequence[int]) -> FakeCandidate:
        assert len(genome) == len(self.gene_sizes)
        assert all(isinstance(g, int) and 0 <= g < size for g, size in zip(genome, self.gene_sizes, strict=True))
        policy = None if self.gene_sizes[-1] == 1 else ExitPolicy("margin", (genome[-1] / 10,))
        return FakeCandidate(FakeArchitecture(tuple(genome[:-2])), policy)


def zdt1(space: FakeSpace, genes: Sequence[int]) -> tuple[float, float]:
    """Both minimised; the front is the second = 1 - sqrt(the first), where all genes but the first are 0."""
    x = np.array(genes) / np.maximum(np.array(space.sizes) - 1, 1)
    g = 1 + 9 * x[1:].sum() / max(len(x) - 1, 1)
    return float(x[0]), float(g * (1 - np.sqrt(x[0] / g)))


def make_point(architecture: FakeArchitecture, accuracy: float, macs: float, threshold: float) -> OperatingPoint:
    metrics = {"accuracy": accuracy, "avg_macs": macs, "params": float(sum(architecture.genes))}
    return OperatingPoint(architecture.id, ExitPolicy("margin", (threshold,)), metrics, (0.5, 0.5), (None, 0.5))


def evaluate(space: FakeSpace, job: Job, number: int, constraints: Sequence[Constraint] = (), points: int = 1) -> Trial:
    """A trial with some operating points along a small trade-off."""
    cost, error = zdt1(space, job.architecture.genes)
    found = tuple(
        make_point(job.architecture, 1 - error / 10 - 0.01 * k, 1 + cost - 0.05 * k, k / 10) for k in range(points)
    )
    violation = min(sum(c.violation(point.metrics) for c in constraints) for point in found)
    status, reason = ("infeasible", "over budget") if violation else ("ok", "")
    return Trial(number, job.architecture, job.policy, status, found, reason, job.origin, 0.0, violation)


def run(strategy: Strategy, space: FakeSpace, constraints: Sequence[Constraint] = (), points: int = 1) -> list[Trial]:
    """A whole search."""
    trials: list[Trial] = []
    while jobs := strategy.ask():
        trials += (
            generation := [evaluate(space, job, len(trials) + i, constraints, points) for i, job in enumerate(jobs)]
        )
        strategy.tell(generation)
    return trials
