"""Whether a network's predictions equal those recorded when it was exported, possibly on another machine.

Legend: n samples, c classes.
"""

from typing import NamedTuple

from torch import Tensor

from .exit_policy import ExitPolicy
from .network import ExitPrediction

LOGIT_TOLERANCE = 1e-4
THRESHOLD_TOLERANCE = 1e-5


class CheckResult(NamedTuple):
    """`problems` is empty if the check passed; `undecided` counts samples that left at another exit than recorded,
    with a score on a threshold."""

    samples: int
    problems: tuple[str, ...]
    undecided: int


def compare(
    predicted: ExitPrediction, recorded: ExitPrediction, label_n: Tensor, policy: ExitPolicy, alpha_n: Tensor | None
) -> CheckResult:
    """Compare a prediction with the recorded one and its classes `label_n`; `alpha_n` is the images' difficulty."""
    (logits_nc, exit_n), (want_nc, want_n) = predicted, recorded
    near_nc = (logits_nc - want_nc).abs() <= LOGIT_TOLERANCE * (1 + want_nc.abs())
    problems, undecided = [], 0
    for i in range(len(logits_nc)):
        taken, wanted, label = int(exit_n[i]), int(want_n[i]), int(logits_nc[i].argmax())
        if taken != wanted:
            earlier_c = logits_nc[i] if taken < wanted else want_nc[i]
            if _on_threshold(policy, earlier_c, min(taken, wanted), None if alpha_n is None else alpha_n[i : i + 1]):
                undecided += 1
            else:
                problems.append(f"sample {i}: the exit must be {wanted + 1} as recorded, but got {taken + 1}")
        elif not near_nc[i].all():
            off = float((logits_nc[i] - want_nc[i]).abs().max())
            problems.append(f"sample {i}: logits at exit {taken + 1} differ from the recorded ones by up to {off:.2g}")
        elif label != label_n[i]:
            problems.append(f"sample {i}: the class must be {label_n[i]} as recorded, but got {label}")
    return CheckResult(len(logits_nc), tuple(problems), undecided)


def _on_threshold(policy: ExitPolicy, logits_c: Tensor, exit_index: int, alpha_n: Tensor | None) -> bool:
    """Whether the score is so close to the threshold that rounding on another machine may change the decision."""
    if not (0 <= exit_index < len(policy.thresholds) and policy.runs(exit_index)):
        return False
    if policy.needs_stop_heads:  # their outputs are not recorded
        return False
    observation = policy.observe(exit_index, logits_c[None], alpha_n=alpha_n)
    return bool((observation.score_n - policy.threshold(exit_index, observation)).abs() <= THRESHOLD_TOLERANCE)
