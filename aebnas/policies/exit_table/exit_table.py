"""The ExitTable: the outputs of one network for a set of samples at each of its exits.

It is computed once per architecture; every policy, threshold search and metric is a vectorised function of it.

Legend: n samples, e exits, c classes, t threshold vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from aebnas.cost.exit_costs import Costs
from aebnas.policies.exit_table.decisions import exits_taken, observations_of
from aebnas.runtime.difficulty import Difficulty
from aebnas.runtime.exit_criteria import CRITERIA, LEARNED
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.exit_rule import ExitObservation

CHUNK_CELLS = 20_000_000
"""At most this many (threshold vector, sample, exit) cells are held at once."""


@dataclass(frozen=True)
class ExitTable:
    """Scores, predictions, correctness and costs of n samples at e exits.

    `scores` maps a criterion to float32 `[n, e]`; `correct_ne` is bool; `costs` maps a cost metric (`macs`) to the
    cost to each exit. `labels_n` and `predicted_ne` are classes, `logits_nec` float16; None where they were not kept.
    `stop_nk` are the stop heads' probabilities (k = e - 1), `alpha_n` the images' difficulty as estimated by
    `difficulty`, both float32; None where there are none. `difficulty_costs` is the cost of the estimate by metric (0
    for a metric that it lacks). `temperatures` are those under which scores were computed. Raises ValueError when
    shapes disagree or a score is not finite.
    """

    scores: Mapping[str, np.ndarray]
    correct_ne: np.ndarray
    costs: Mapping[str, Costs]
    labels_n: np.ndarray | None = None
    predicted_ne: np.ndarray | None = None
    logits_nec: np.ndarray | None = None
    stop_nk: np.ndarray | None = None
    alpha_n: np.ndarray | None = None
    difficulty: Difficulty | None = None
    difficulty_costs: Mapping[str, float] = field(default_factory=dict)
    temperatures: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for criterion, scores_ne in self.scores.items():
            if scores_ne.shape != self.correct_ne.shape:
                raise ValueError(f"{criterion}: scores must be {self.correct_ne.shape}, but got {scores_ne.shape}")
            if not np.isfinite(scores_ne).all():
                raise ValueError(f"{criterion}: scores must be finite")
        for metric, costs in self.costs.items():
            exits, samples = costs.exits, costs.samples
            if exits != self.exits:
                raise ValueError(f"{metric}: costs must be of {self.exits} exits, but got {exits}")
            if samples not in (None, self.samples):
                raise ValueError(f"{metric}: costs must be of {self.samples} samples, but got {samples}")

    @classmethod
    def from_logits(
        cls,
        logits_nec: Tensor,
        labels_n: Tensor,
        criteria: Sequence[str],
        costs: Mapping[str, Costs],
        keep_logits: bool = False,
        stop_logits_nk: Tensor | None = None,
        temperatures: tuple[float, ...] = (),
    ) -> "ExitTable":
        """Build from the logits of every exit; raises ValueError where they are not finite.

        The criterion `learned` requires the outputs of the stop heads, `stop_logits_nk`.
        """
        if not torch.isfinite(logits_nec).all():
            raise ValueError("logits must be finite, but got NaN or infinity")
        predicted_ne = logits_nec.argmax(-1)
        if stop_logits_nk is None and logits_nec.shape[1] == 1:  # a network without early exits lacks no stop head
            stop_logits_nk = logits_nec.new_empty(len(logits_nec), 0)
        stop_nk = None if stop_logits_nk is None else stop_logits_nk.float().sigmoid()
        if temperatures:
            scaled = [logits_nec[:, index].float() / value for index, value in enumerate(temperatures)]
            scaled_nec = torch.stack(scaled, 1)
        else:
            scaled_nec = logits_nec
        scores = {name: CRITERIA[name](scaled_nec).cpu().numpy() for name in criteria if name != LEARNED}
        if LEARNED in criteria:
            if stop_nk is None:
                raise ValueError(f"criterion {LEARNED} needs stop heads, but the network has none")
            scores[LEARNED] = torch.cat([stop_nk, stop_nk.new_ones(len(stop_nk), 1)], 1).cpu().numpy()
        return cls(
            scores,
            (predicted_ne == labels_n[:, None]).cpu().numpy(),
            costs,
            labels_n.cpu().numpy().astype(np.int32),
            predicted_ne.cpu().numpy().astype(np.int32),
            logits_nec.half().cpu().numpy() if keep_logits else None,
            None if stop_nk is None else stop_nk.cpu().numpy(),
            temperatures=temperatures,
        )

    def with_difficulty(
        self, difficulty: Difficulty, alpha_n: np.ndarray, costs: Mapping[str, float] | None = None
    ) -> "ExitTable":
        """The table with the images' difficulty (float32 `[n]`) and the cost of one estimate by metric."""
        return replace(self, difficulty=difficulty, alpha_n=alpha_n, difficulty_costs=costs or {})

    @property
    def samples(self) -> int:
        """Number of samples n."""
        return self.correct_ne.shape[0]

    @property
    def has_stop_heads(self) -> bool:
        """Whether early exits have stop heads; a network without early exits has none."""
        return self.stop_nk is not None and self.stop_nk.shape[1] > 0

    @property
    def exits(self) -> int:
        """Number of exits e, the last one included."""
        return self.correct_ne.shape[1]

    def exit_taken(self, policy: ExitPolicy) -> np.ndarray:
        """Exit at which each sample leaves under a policy, int `[n]`, as in `Network.infer`.

        Raises ValueError where the table lacks values that the policy uses.
        """
        if policy.plain and not self.temperatures:
            return self.exits_taken(policy.criterion, thresholds_te([policy]))[0]
        return exits_taken(policy, self.observe(policy), self.samples).numpy()

    def observe(self, policy: ExitPolicy, rows_n: np.ndarray | slice = slice(None)) -> list[ExitObservation]:
        """Every early exit's observation of the samples `rows_n`; raises ValueError where the table lacks values that
        the policy uses."""
        if len(policy.thresholds) != self.exits - 1:
            raise ValueError(f"thresholds must be for {self.exits - 1} exits, but got {len(policy.thresholds)}")
        if policy.temperatures != self.temperatures:
            got = f"{self.temperatures} and {policy.temperatures}"
            raise ValueError(f"table and policy must have the same temperatures, but got {got}")
        if policy.difficulty not in (None, self.difficulty):
            raise ValueError("the table must hold the difficulty that the policy uses, but has none or another one")
        predicted_ne = self.correct_ne if self.predicted_ne is None else self.predicted_ne
        if policy.needs_classes and self.predicted_ne is None:
            raise ValueError("the policy needs the classes predicted at each exit, but the table has none")
        stop_nk = None if self.stop_nk is None else self.stop_nk[rows_n]
        alpha_n = None if self.alpha_n is None else self.alpha_n[rows_n]
        return observations_of(self.scores[policy.criterion][rows_n], predicted_ne[rows_n], stop_nk, alpha_n)

    def exits_taken(self, criterion: str, thresholds_te: np.ndarray) -> np.ndarray:
        """The same for t threshold vectors (`[t, e - 1]`, float32, infinity for never), int `[t, n]`."""
        if thresholds_te.shape[1] != self.exits - 1:
            raise ValueError(f"thresholds must be for {self.exits - 1} exits, but got {thresholds_te.shape[1]}")
        scores_ne = self.scores[criterion][:, : self.exits - 1]
        taken_tn = np.empty((len(thresholds_te), self.samples), dtype=np.int64)
        rows = max(1, CHUNK_CELLS // max(1, scores_ne.size))
        for start in range(0, len(thresholds_te), rows):
            part = thresholds_te[start : start + rows]
            stops_tne = np.ones((len(part), self.samples, self.exits), dtype=bool)  # all leave at the last exit
            stops_tne[:, :, :-1] = scores_ne > part[:, None, :]
            taken_tn[start : start + rows] = stops_tne.argmax(-1)
        return taken_tn


def stacked(first: ExitTable, second: ExitTable) -> ExitTable:
    """The samples of two tables of one network, concatenated, with the values that both hold; costs must be per exit.

    Raises ValueError for tables of other networks, temperatures or difficulties.
    """
    if (first.exits, first.temperatures, first.difficulty) != (second.exits, second.temperatures, second.difficulty):
        raise ValueError("tables must be of one network, with equal temperatures and difficulty, but they differ")

    def both(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
        return None if one is None or other is None else np.concatenate([one, other])

    shared = [name for name in first.scores if name in second.scores]
    return ExitTable(
        {name: np.concatenate([first.scores[name], second.scores[name]]) for name in shared},
        np.concatenate([first.correct_ne, second.correct_ne]),
        first.costs,
        both(first.labels_n, second.labels_n),
        both(first.predicted_ne, second.predicted_ne),
        both(first.logits_nec, second.logits_nec),
        both(first.stop_nk, second.stop_nk),
        both(first.alpha_n, second.alpha_n),
        first.difficulty,
        first.difficulty_costs,
        first.temperatures,
    )


def thresholds_te(policies: Sequence[ExitPolicy]) -> np.ndarray:
    """Thresholds of policies as float32 `[t, e - 1]`, infinity for never, as compared by `Network.infer`."""
    rows = [[np.inf if value is None else value for value in policy.thresholds] for policy in policies]
    return np.array(rows, dtype=np.float32).reshape(len(policies), -1)
