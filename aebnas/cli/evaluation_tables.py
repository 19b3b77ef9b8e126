"""What `evaluate` tells beyond a point's figures. Imported inside the command, since it is heavy."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from aebnas.report.tables import print_table
from aebnas.selected.test_report import Evaluation

CLASSES_SHOWN = 12


def print_evaluation(found: Evaluation) -> None:
    """Spread of costs, budgets, traffic and, where they were asked for, shifts and unfamiliar images; warnings."""
    told = found.description
    if told.top_accuracy:
        print("  " + ", ".join(f"top-{k} {100 * share:.2f} %" for k, share in told.top_accuracy.items()))
    ece = "" if told.ece is None else f", ECE {told.ece:.4f}"
    print(
        f"  left too early       {100 * told.premature_rate:.2f} % (wrong there, right at the last exit); "
        f"{100 * told.rescued_rate:.2f} % the other way round{ece}"
    )
    for name, share in found.saving.items():
        print(f"  {name} saved against the same backbone without branches: {100 * share:.1f} %")
    rows = [
        {"cost": name, "mean": spread.mean, "p50": spread.p50, "p90": spread.p90}
        | {"p95": spread.p95, "p99": spread.p99, "worst": spread.worst}
        for name, spread in told.costs.items()
    ]
    _print("cost of a sample", rows)
    if told.class_depth:
        known = [(depth + 1, label) for label, depth in enumerate(told.class_depth) if depth == depth]
        deepest = sorted(known, reverse=True)[:CLASSES_SHOWN]
        print(f"  mean exit by class, deepest first: {', '.join(f'{label}: {exit_:.2f}' for exit_, label in deepest)}")
    _print("at budgets (policies found on calibrate)", found.budgets)
    _print(f"requests at random times, one server ({found.traffic['unit']})", found.traffic["queue"])
    if "skewed" in found.traffic:
        skewed = found.traffic["skewed"]
        print(
            f"  skewed classes: {100 * skewed['accuracy_least']:.2f} to {100 * skewed['accuracy_most']:.2f} % right, "
            f"avg_macs {skewed['avg_macs_least']:,.0f} to {skewed['avg_macs_most']:,.0f}"
        )
    _print("under shift", found.shifts)
    _print("on images that are none of the classes", found.unfamiliar)
    for name, value in found.adaptation.items():
        print(
            f"  online adaptation, {name}: {value:.4f}" if value <= 1 else f"  online adaptation, {name}: {value:,.0f}"
        )
    for warning in found.warnings:
        print(f"  warning: {warning}")


def _print(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(str(name), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    print_table(table)


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(f"{100 * share:.0f}%" for share in value)
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return "-" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
