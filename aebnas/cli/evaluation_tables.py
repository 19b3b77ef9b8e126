"""The output of `evaluate`: one screen with the essential metrics, and with `--full` the long tables.

Imported inside the command, since its imports are slow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from aebnas.cli.class_tables import over_classes, print_classes, print_confusion
from aebnas.core.confidence_intervals import wilson
from aebnas.core.metric_text import with_unit
from aebnas.report.tables import print_table
from aebnas.selected.evaluate import Assessment
from aebnas.selected.test_report import Evaluation

WARNINGS_SHOWN = 5
"""Maximum number of warnings without `--full`; each may take two lines."""


def print_assessment(found: Assessment, full: bool = False, budgets: bool = False) -> None:
    """Print accuracy, costs, exits, classes and warnings on one screen; `full` adds all tables, `budgets` that of
    budgets."""
    _print_essentials(found)
    _print_exits(found)
    print_classes(found.evaluation.classes, full)
    warnings = found.evaluation.warnings
    for warning in warnings if full else warnings[:WARNINGS_SHOWN]:
        print(f"  warning: {warning}")
    if not full and len(warnings) > WARNINGS_SHOWN:
        print(f"  and {len(warnings) - WARNINGS_SHOWN} more warnings: --full prints them")
    if full:
        _print_full(found.evaluation)
        return
    if budgets:
        _print_budgets(found.evaluation)
    print("--full adds: confusion, costs, budgets, traffic, corrupted or out-of-distribution images, adaptation")


def _print_essentials(found: Assessment) -> None:
    metrics, description = found.point.metrics, found.evaluation.description
    low, high = wilson(metrics["accuracy"], found.samples)
    print(f"{found.id} on the test set (N = {found.samples:,}), which only this command reads")
    _line("weights, policy", found.source)
    tops = "".join(f"; top-{k} {100 * share:.2f} %" for k, share in (description.top_accuracy or {}).items() if k > 1)
    _line("accuracy", f"{100 * metrics['accuracy']:.2f} % (95 %: {100 * low:.2f} to {100 * high:.2f}){tops}")
    _line("over classes", over_classes(found.evaluation.classes))
    optimism = found.optimism
    low, high = 100 * optimism["difference_low"], 100 * optimism["difference_high"]
    _line(
        "on search split",
        f"{100 * optimism['search_accuracy']:.2f} % (N = {optimism['search_samples']:,}), "
        f"{100 * optimism['difference']:+.2f} points (95 %: {low:+.2f} to {high:+.2f})",
    )
    for name, spread in description.costs.items():
        saving = found.evaluation.saving[name]
        than = f"{abs(100 * saving):.1f} % {'less' if saving >= 0 else 'more'} than without early exits"
        _line(f"average {name}", f"{_cell(spread.mean)}, {than}; p99 {_cell(spread.p99)}")
    memory = f"; peak memory {with_unit('peak_memory_bytes', metrics['peak_memory_bytes'])}"
    _line("parameters", f"{metrics['params']:,.0f}{memory if 'peak_memory_bytes' in metrics else ''}")
    if description.ece is not None:
        calibrated = bool(found.point.policy.temperatures)
        without = f"{found.evaluation.ece_before:.4f} without temperatures" if calibrated else "no temperatures"
        _line("ECE", f"{description.ece:.4f} ({without})")
    _line(
        "left too early",
        f"{100 * description.premature_rate:.2f} % (wrong there, correct at the last exit); "
        f"{100 * description.rescued_rate:.2f} % the reverse",
    )


def _print_exits(found: Assessment) -> None:
    """Print for each exit its share and accuracy under the policy, and its accuracy and calibration on all samples."""
    calibrated = bool(found.point.policy.temperatures)
    table = Table(title=f"exits ({found.point.policy.label})", title_justify="left")
    names = ["exit", "threshold", "leave", "accuracy", "if all leave", "ECE"]
    for name in [*names, *(["temperature", "ECE without"] if calibrated else [])]:
        table.add_column(name, justify="right", no_wrap=True)
    shares, accuracies = found.point.exit_shares, found.point.exit_accuracy
    for index, each in enumerate(found.evaluation.exits):
        accuracy = accuracies[index]
        table.add_row(
            str(index + 1),
            found.point.policy.threshold_text(index),
            f"{100 * shares[index]:.1f} %",
            "-" if accuracy is None else f"{100 * accuracy:.2f} %",
            f"{100 * each['accuracy_alone']:.2f} %",
            f"{each['ece']:.4f}",
            *([f"{each['temperature']:.3f}", f"{each['ece_before']:.4f}"] if calibrated else []),
        )
    print_table(table)


def _print_full(found: Evaluation) -> None:
    description = found.description
    rows = [
        {"cost": name, "mean": spread.mean, "p50": spread.p50, "p90": spread.p90}
        | {"p95": spread.p95, "p99": spread.p99, "worst": spread.worst}
        for name, spread in description.costs.items()
    ]
    _print("cost per sample", rows)
    print_confusion(found.classes)
    _print_budgets(found)
    _print(f"requests at random times, one server ({found.traffic['unit']})", found.traffic["queue"])
    if "skewed" in found.traffic:
        skewed = found.traffic["skewed"]
        print(
            f"  skewed classes: accuracy {100 * skewed['accuracy_least']:.2f} to "
            f"{100 * skewed['accuracy_most']:.2f} %, "
            f"avg_macs {skewed['avg_macs_least']:,.0f} to {skewed['avg_macs_most']:,.0f}"
        )
    _print("corrupted images", found.corruptions)
    _print("out-of-distribution images", found.ood)
    for name, value in found.adaptation.items():
        print(
            f"  online adaptation, {name}: {value:.4f}" if value <= 1 else f"  online adaptation, {name}: {value:,.0f}"
        )


def _print_budgets(found: Evaluation) -> None:
    _print("at budgets (policies found on calibrate)", found.budgets)


def _line(name: str, text: str) -> None:
    print(f"  {name:<16} {text}")


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
