"""Diagnostics of an early-exit network on its ExitTable: known failures of exits, each reported as one sentence."""

import numpy as np

from aebnas.core.confidence_intervals import difference
from aebnas.policies.analysis.description import premature_rate
from aebnas.policies.calibration.reliability import exit_reliability
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.runtime.exit_policy import ExitPolicy

PREMATURE = 0.02
"""Minimum reported share of samples that are wrong at their exit and right at the last."""
CONCENTRATED = 0.95
"""Share of samples at one exit above which the others have little effect."""
OVERCONFIDENT = 0.05
"""Confidence minus accuracy, and ECE, above which an exit is reported as overconfident."""
MIN_SAMPLES = 50
"""With fewer samples, exits are not tested for overconfidence."""


def diagnose(
    table: ExitTable,
    policy: ExitPolicy,
    cost: str = "macs",
    calibrate: ExitTable | None = None,
    without_exits: tuple[float, int] | None = None,
) -> list[str]:
    """One sentence for each failure found; an empty list where there is none.

    `table` holds unseen samples, `calibrate` those that the thresholds were found on; `without_exits` is the accuracy
    of the same backbone trained without exits and the number of samples it was measured on. Checks whose input isn't
    given are skipped.
    """
    found = [_premature(table, policy), _no_saving(table, policy, cost), *_exits_taken(table, policy, cost)]
    found += _overconfident(table, policy)
    if without_exits is not None:
        found.append(_last_exit(table, *without_exits))
    if calibrate is not None:
        found.append(_threshold_overfitting(table, calibrate, policy))
    return [sentence for sentence in found if sentence]


def _premature(table: ExitTable, policy: ExitPolicy) -> str:
    share = premature_rate(table, policy)
    if share < PREMATURE:
        return ""
    return f"{_percent(share)} of samples leave too early: they are wrong at their exit and right at the last one."


def _no_saving(table: ExitTable, policy: ExitPolicy, cost: str) -> str:
    if table.exits == 1:
        return ""
    without_branches = table.costs[cost].without_exits
    mean = score_policy(table, policy).mean_cost[cost]
    if mean < without_branches:
        return ""
    return (
        f"Exits save nothing: a sample costs {mean:.4g} {cost} on average, the backbone without branches "
        f"{without_branches:.4g}."
    )


def _exits_taken(table: ExitTable, policy: ExitPolicy, cost: str) -> list[str]:
    shares = score_policy(table, policy).exit_shares
    saved_e = table.costs[cost].parts()[1].mean(axis=0)  # by never: nothing in a boosted network
    unused = [
        exit_ for exit_, share in enumerate(shares[:-1]) if share == 0 and policy.runs(exit_) and saved_e[exit_] > 0
    ]
    found = []
    if unused:
        which = ", ".join(str(exit_ + 1) for exit_ in unused)
        noun, verb = ("Exit", "is") if len(unused) == 1 else ("Exits", "are")
        found.append(f"{noun} {which} {verb} run for every sample that reaches it and taken by none; never is cheaper.")
    most = int(np.argmax(shares))
    if len(shares) > 1 and shares[most] > CONCENTRATED:
        share = _percent(shares[most])
        found.append(f"{share} of samples leave at exit {most + 1}; the other exits have little effect.")
    return found


def _overconfident(table: ExitTable, policy: ExitPolicy) -> list[str]:
    if "confidence" not in table.scores or table.samples < MIN_SAMPLES:
        return []
    fitted = "its temperature doesn't fit these images"
    remedy = fitted if policy.temperatures else "`aebnas calibrate` fits a temperature"
    found = []
    for exit_, measured in enumerate(exit_reliability(table)[:-1]):
        if policy.runs(exit_) and min(measured.overconfidence, measured.ece) > OVERCONFIDENT:
            found.append(
                f"Exit {exit_ + 1} is overconfident: its confidence is {100 * measured.overconfidence:.1f} points "
                f"above its accuracy (ECE {measured.ece:.3f}); {remedy}."
            )
    return found


def _last_exit(table: ExitTable, accuracy: float, samples: int) -> str:
    own = float(table.correct_ne[:, -1].mean())
    _, high = difference(own, table.samples, accuracy, samples)
    if high >= 0:
        return ""
    return (
        f"The early exits lower the accuracy of the last one: {_percent(own)} with them, {_percent(accuracy)} without, "
        "a difference beyond sampling error."
    )


def _threshold_overfitting(table: ExitTable, calibrate: ExitTable, policy: ExitPolicy) -> str:
    seen, unseen = (score_policy(each, policy).accuracy for each in (calibrate, table))
    low, high = difference(seen, calibrate.samples, unseen, table.samples)
    if low <= 0 <= high:
        return ""
    return (
        f"Thresholds don't generalise: {_percent(seen)} accuracy on the samples they were found on, {_percent(unseen)} "
        "on unseen ones, a difference beyond sampling error."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
