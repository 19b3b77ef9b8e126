"""The output of `sweep` and `calibrate`. Imported inside the commands, since its imports are slow."""

from pathlib import Path

import pandas as pd
from rich.table import Table

from aebnas.core.metric_text import millions
from aebnas.export.recalibrate import Retuned
from aebnas.policies.calibration.risk_control import RiskPromise
from aebnas.report.tables import interval, print_point, print_table
from aebnas.selected.calibrate import Calibrated

MAX_ROWS = 12
"""Maximum number of rows shown per frontier; the file has all."""
SHOWN_QUANTILES = (0, 4, 8)
"""Indices of the shown quantiles among those at 10, 20, ... 90 %."""


def print_sweep(table: pd.DataFrame, point_id: str, samples: int) -> None:
    """Print evenly spaced policies of each method's frontier, measured on `samples` images."""
    shown = Table(title=f"{point_id}: policies found on calibrate, measured on the search split (N = {samples:,})")
    for name in ("method", "accuracy (95 %)", "avg MACs", "leave at exits", "criterion", "thresholds"):
        shown.add_column(name, no_wrap=name not in ("thresholds", "leave at exits"))
    for method, part in table.groupby("method", sort=False):
        step = max(1, -(-len(part) // MAX_ROWS))
        for row in part.iloc[::step].to_dict("records"):
            shown.add_row(
                str(method),
                f"{100 * row['accuracy']:.2f}% {interval(row['accuracy'], samples)}",
                millions(row["avg_macs"]),
                " ".join(f"{100 * float(share):.0f}%" for share in row["exit_shares"].split()),
                row["criterion"],
                row["thresholds"],
            )
    print_table(shown)


def print_calibrated(found: Calibrated) -> None:
    """Print the policy, each exit over all samples, and the metrics on the search split."""
    print(f"{found.id}: policy for {found.goal} ({found.method}), found on calibrate (N = {found.found_on:,})")
    table = Table(title="exits over all samples of calibrate")
    for name in (
        "exit",
        "accuracy",
        "temperature",
        "ECE before",
        "ECE",
        "confidence at 10/50/90 %",
        "leaves above",
    ):
        table.add_column(name, justify="right")
    score = found.policy.criterion
    for index, each in enumerate(found.exits):
        summary = each.summary
        quantiles = summary.quantiles.get(score, summary.quantiles["confidence"])
        table.add_row(
            str(index + 1),
            f"{100 * summary.accuracy_alone:.2f}%",
            f"{each.temperature:.3f}",
            f"{each.before.ece:.4f}",
            f"{each.reliability.ece:.4f}",
            " / ".join(f"{quantiles[place]:.3f}" for place in SHOWN_QUANTILES),
            found.policy.threshold_text(index),
        )
    print_table(table)
    print(f"  ECE under the policy: {found.before.ece:.4f} before, {found.overall.ece:.4f} with temperatures")
    if found.difficulty_ms is not None:
        print(f"  estimating an image's difficulty takes {found.difficulty_ms:.3f} ms here, one image at a time")
    print_promise(found.tuned.promise)
    for note in found.notes:
        print(f"  note: {note}")
    print(f"on the search split (N = {found.samples:,}):")
    print_point(found.point, found.samples)
    print("evaluate and export use this policy from now on; curves are in picks/, threshold candidates in its .json.")


def print_retuned(found: Retuned, folder: Path) -> None:
    """Print the result of re-tuning an export: metrics before and after."""
    print(f"{folder}: policy for {found.goal}, found on {found.found_on:,} of the new images")
    print_promise(found.promise)
    for note in found.notes:
        print(f"  note: {note}")
    print(f"on {found.samples:,} other new images:")
    print(f"  accuracy  {100 * found.before.accuracy:.2f} % before, {100 * found.after.accuracy:.2f} % now")
    print(f"  avg_macs  {found.before.avg_macs:,.0f} before, {found.after.avg_macs:,.0f} now")
    for number, (before, after) in enumerate(
        zip(found.before.exit_shares, found.after.exit_shares, strict=True), start=1
    ):
        print(f"  exit {number}    {100 * before:.1f} % left before, {100 * after:.1f} % leave now")
    print(f"policy, card, costs and self-check of {folder} are updated.")


def print_promise(promise: RiskPromise | None) -> None:
    """Print a certified bound on the risk, if there is one."""
    if promise is not None:
        print(f"  {promise}")
