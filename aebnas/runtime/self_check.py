"""Whether a network's predictions equal those recorded when it was exported, possibly on another machine.

Recorded predictions are those of float32 on the CPU. How far others may be from them depends on the number type.
Legend: n samples, c classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .exit_policy import ExitPolicy
from .network import ExitPrediction


class Tolerance(NamedTuple):
    """The difference that counts as rounding: of logits, times (1 + their magnitude), and of scores."""

    logits: float
    score: float


IN_FLOAT32 = Tolerance(1e-4, 1e-5)
IN_FLOAT16 = Tolerance(0.02, 0.005)
IN_BFLOAT16 = Tolerance(0.2, 0.05)
"""The last two are about twice the largest differences of trained networks of the `resnet_cifar` and `mbconv_cifar`
spaces."""


def tolerance_of(device: torch.device, dtype: torch.dtype) -> Tolerance:
    """The tolerance for a network that runs on a device in a number type.

    On CUDA devices float32 has that of float16, since PyTorch lets convolutions round factors to as many bits (TF32).
    """
    if dtype == torch.bfloat16:
        return IN_BFLOAT16
    rounds = dtype == torch.float16 or (dtype == torch.float32 and device.type == "cuda")
    return IN_FLOAT16 if rounds else IN_FLOAT32


class CheckResult(NamedTuple):
    """`problems` is empty if the check passed; `undecided` counts samples that left at another exit than recorded,
    with a score on a threshold."""

    samples: int
    problems: tuple[str, ...]
    undecided: int


def compare(
    predicted: ExitPrediction,
    recorded: ExitPrediction,
    label_n: Tensor,
    policy: ExitPolicy,
    alpha_n: Tensor | None,
    class_names: Sequence[str],
    tolerance: Tolerance = IN_FLOAT32,
) -> CheckResult:
    """Compare a prediction with the recorded one and its classes `label_n`; `alpha_n` is the images' difficulty.

    Another class is a problem only where rounding can't explain it: its recorded logit isn't near the largest one.
    """
    (logits_nc, exit_n), (want_nc, want_n) = predicted, recorded
    slack_nc = tolerance.logits * (1 + want_nc.abs())
    near_nc = (logits_nc - want_nc).abs() <= slack_nc
    problems, undecided = [], 0
    for i in range(len(logits_nc)):
        taken, wanted, label = int(exit_n[i]), int(want_n[i]), int(logits_nc[i].argmax())
        if taken != wanted:
            earlier_c = logits_nc[i] if taken < wanted else want_nc[i]
            alpha_1 = None if alpha_n is None else alpha_n[i : i + 1]
            if _on_threshold(policy, earlier_c, min(taken, wanted), alpha_1, tolerance.score):
                undecided += 1
            else:
                problems.append(f"sample {i}: the exit must be {wanted + 1} as recorded, but got {taken + 1}")
        elif not near_nc[i].all():
            off = float((logits_nc[i] - want_nc[i]).abs().max())
            problems.append(f"sample {i}: logits at exit {taken + 1} differ from the recorded ones by up to {off:.2g}")
        elif label != label_n[i] and not _tied(want_nc[i], slack_nc[i], label, int(label_n[i])):
            want, got = (_name(class_names, number) for number in (int(label_n[i]), label))
            problems.append(f"sample {i}: the class must be {want} as recorded, but got {got}")
    return CheckResult(len(logits_nc), tuple(problems), undecided)


def _name(class_names: Sequence[str], label: int) -> str:
    return f"'{class_names[label]}'" if 0 <= label < len(class_names) else f"number {label}"


def _tied(want_c: Tensor, slack_c: Tensor, label: int, recorded: int) -> bool:
    """Whether the recorded class is that of the recorded logits, and rounding may put another one before it."""
    if not 0 <= recorded < len(want_c) or recorded != int(want_c.argmax()):
        return False
    return bool(want_c[recorded] - want_c[label] <= slack_c[recorded] + slack_c[label])


def _on_threshold(
    policy: ExitPolicy, logits_c: Tensor, exit_index: int, alpha_n: Tensor | None, tolerance: float
) -> bool:
    """Whether the score is so close to the threshold that rounding on another machine may change the decision."""
    if not (0 <= exit_index < len(policy.thresholds) and policy.runs(exit_index)):
        return False
    if policy.needs_stop_heads:  # their outputs are not recorded
        return False
    observation = policy.observe(exit_index, logits_c[None], alpha_n=alpha_n)
    return bool((observation.score_n - policy.threshold(exit_index, observation)).abs() <= tolerance)
