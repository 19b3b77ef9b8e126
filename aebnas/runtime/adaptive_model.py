"""Inference with online adaptation of thresholds: a network, and the state that `adapt` updates.

Legend: n samples, e exits, c classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .adaptation import (
    UNKNOWN,
    AdaptivePolicy,
    AdaptState,
    Observation,
    adapt,
    current_policy,
    initial_state,
    until_update,
)
from .exit_policy import ExitPolicy
from .fresh_lock import FreshLock
from .network import ExitPrediction, Network


class Adaptive:
    """Inference under an AdaptivePolicy. `state` may be stored and replaced.

    `cost_to_exit [e]` is the cost of a sample that leaves at each exit, `audit_cost` the additional cost of an audit,
    both as shares of the full network's cost.

    Several threads may `infer` at once: each sample is counted and numbered once, and the network runs without a lock.
    A thread decides its samples by the policy that was current when they began, whatever another thread updates.
    """

    def __init__(
        self, network: Network, policy: AdaptivePolicy, cost_to_exit: Sequence[float], audit_cost: float
    ) -> None:
        self.network, self.policy = network, policy
        self.cost_to_exit, self.audit_cost = tuple(cost_to_exit), audit_cost
        self._lock = FreshLock()
        self.state = initial_state(policy)
        self._last_exit_only = ExitPolicy("confidence", (None,) * (policy.exits - 1))

    @property
    def state(self) -> AdaptState:
        """All that is remembered."""
        return self._state

    @state.setter
    def state(self, state: AdaptState) -> None:
        with self._lock:
            self._state, self._begun = state, state.seen

    def infer(self, x_nchw: Tensor, alpha_n: Tensor | None = None, label_n: Tensor | None = None) -> ExitPrediction:
        """As `Network.infer`, under the current policy, which is updated between samples; audited samples run twice.

        `label_n` are true classes where they are known (else -1), in place of audits.
        """
        logits: list[Tensor] = []
        exits: list[Tensor] = []
        start = 0
        while start < len(x_nchw) or not logits:
            with self._lock:
                state, number = self._state, self._begun
                part = slice(start, min(start + until_update(self.policy, state), len(x_nchw)))
                self._begun += part.stop - start
            policy = current_policy(self.policy, state)
            given = (None if values_n is None else values_n[part] for values_n in (alpha_n, label_n))
            predicted, observation = self._decide(x_nchw[part], policy, number, *given)
            with self._lock:
                self._state = adapt(self.policy, self._state, observation)
            logits.append(predicted.logits)
            exits.append(predicted.exit_index)
            start = part.stop
        return ExitPrediction(torch.cat(logits), torch.cat(exits))

    def _decide(
        self, x_nchw: Tensor, policy: ExitPolicy, number: int, alpha_n: Tensor | None, label_n: Tensor | None
    ) -> tuple[ExitPrediction, Observation]:
        """The predictions for samples numbered from `number`, and the observation that adapts the policy."""
        predicted = self.network.infer(x_nchw, policy, alpha_n)
        exit_n, count = predicted.exit_index.cpu(), len(x_nchw)
        cost_n = torch.tensor(self.cost_to_exit)[exit_n]
        if label_n is None:
            label_n = torch.full((count,), UNKNOWN, dtype=torch.int64)
            audited_n = self.policy.audited(number, count)
            if audited_n.any():
                last = self.network.infer(x_nchw[audited_n.to(x_nchw.device)], self._last_exit_only)
                label_n[audited_n] = last.logits.argmax(-1).cpu()
                cost_n = cost_n + audited_n * self.audit_cost
        return predicted, Observation(exit_n, predicted.logits.argmax(-1).cpu(), cost_n, label_n.cpu())
