"""Tables in the terminal. Imports no torch, so that `aebnas list` is fast."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from aebnas.core.confidence_intervals import wilson
from aebnas.core.metric_text import millions, pflop_text, with_unit
from aebnas.core.metrics import BALANCED, ENERGY, LATENCY, METRICS, WORST_CLASS
from aebnas.report.trial_counts import TrialCounts
from aebnas.strategies.front import FrontPoint
from aebnas.strategies.trial import OperatingPoint

SHOWN = ("accuracy", "avg_macs", "avg_macs_taken_only", "params")
"""Metrics that are shown for every front."""
SHOWN_POINTS = 24
"""Maximum number of points listed without `--full`."""


def print_front(points: Sequence[FrontPoint], samples: int, requested: Sequence[str] = (), full: bool = False) -> None:
    """Print the front, each accuracy with its 95 % interval; `samples` is the number of images behind it.

    `requested` are the metrics of the search, shown besides SHOWN. Without `full` the table fits one screen: at most
    SHOWN_POINTS evenly spaced points, without MACs of the taken branch only and accuracies of exits.
    """
    shown = points if full else spread_points(points)
    title = f"{len(points)} operating points on the front (search split, N = {samples:,})"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    more = [metric for metric in dict.fromkeys(requested) if metric not in SHOWN]
    for name in ("id", "accuracy (95 %)", "avg MACs", *(["taken only"] if full else []), "params"):
        table.add_column(name, justify="left" if name == "id" else "right", no_wrap=True)
    for name in more:
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("policy", "leave at exits", *(["accuracy there"] if full else [])):
        table.add_column(name, overflow="fold")
    for _, point in shown:
        metrics = point.metrics
        thresholds = " ".join("never" if t is None else f"{t:.3f}" for t in point.policy.thresholds)
        there = " ".join("-" if a is None else f"{100 * a:.0f}%" for a in point.exit_accuracy)
        table.add_row(
            point.id,
            f"{100 * metrics['accuracy']:.2f}% {interval(metrics['accuracy'], samples)}",
            millions(metrics["avg_macs"]),
            *([millions(metrics["avg_macs_taken_only"])] if full else []),
            f"{metrics['params']:,.0f}",
            *(with_unit(metric, metrics[metric]) for metric in more),
            f"{point.policy.label} {thresholds}",
            " ".join(f"{100 * share:.0f}%" for share in point.exit_shares),
            *([there] if full else []),
        )
    print_table(table)
    if len(shown) < len(points):
        print(f"{len(shown)} of {len(points)} points, evenly spread; --full lists all")


def spread_points(points: Sequence[FrontPoint]) -> Sequence[FrontPoint]:
    """At most SHOWN_POINTS evenly spaced points of a front in its order, including both ends."""
    if len(points) <= SHOWN_POINTS:
        return points
    last = len(points) - 1
    return [points[round(place * last / (SHOWN_POINTS - 1))] for place in range(SHOWN_POINTS)]


def print_table(table: Table) -> None:
    """Print a table in the width of the terminal; in a pipe, 160 characters wide, so that no id is cut.

    Texts are shown literally: names of runs and classes may look like markup (`[bold]`, `:smile:`).
    """
    width = None if Console().is_terminal else 160
    Console(width=width, markup=False, emoji=False).print(table)


def print_point(point: OperatingPoint, samples: int) -> None:
    """Print all metrics of a point, measured on `samples` images."""
    metrics = point.metrics
    low, high = wilson(metrics["accuracy"], samples)
    print(f"  accuracy             {100 * metrics['accuracy']:.2f} % (95 %: {100 * low:.2f} to {100 * high:.2f})")
    for name in (BALANCED, WORST_CLASS):
        if name in metrics:  # runs of version 0.1 lack them
            print(f"  {name:<20} {100 * metrics[name]:.2f} %")
    print(
        f"  avg_macs             {metrics['avg_macs']:,.0f} ({metrics['macs']:,.0f} for a sample that runs everything)"
    )
    print(f"  avg_macs_taken_only  {metrics['avg_macs_taken_only']:,.0f}")
    print(f"  params               {metrics['params']:,.0f}")
    for name in ("peak_memory_bytes", LATENCY, f"{LATENCY}@p99", ENERGY):
        if name in metrics:
            print(f"  {name:<20} {with_unit(name, metrics[name])}{' (predicted)' if METRICS[name].by_device else ''}")
    for number, (share, accuracy) in enumerate(zip(point.exit_shares, point.exit_accuracy, strict=True), start=1):
        correct = "" if accuracy is None else f", {100 * accuracy:.2f} % of them correct"
        print(f"  exit {number}               {100 * share:.1f} % leave{correct}")


def print_facts(counts: TrialCounts, seconds: Mapping[str, float], pflop: Mapping[str, float | None]) -> None:
    """Print the number of failed trials with the first one's reason, and time and compute spent in each phase."""
    failed = counts.first_failed
    if failed is not None:
        number = counts.status["failed"]
        print(f"{number} of {counts.total} trials failed; the first (number {failed.number}): {failed.reason}")
    if seconds:
        print("seconds: " + ", ".join(f"{phase} {spent:.0f}" for phase, spent in seconds.items()))
    if pflop:
        print(f"PFLOP: {pflop_text(pflop)}")


def interval(accuracy: float, samples: int) -> str:
    """The 95 % interval of an accuracy as text, in percent."""
    low, high = wilson(accuracy, samples)
    return f"({100 * low:.1f}-{100 * high:.1f})"
