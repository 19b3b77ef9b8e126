"""Tables in the terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from aebnas.front import FrontPoint
from aebnas.trial import Trial


def print_front(points: Sequence[FrontPoint], samples: int) -> None:
    """The front with exit shares and per-exit accuracy; `samples` is what the accuracy was measured on."""
    table = Table(title=f"{len(points)} operating points on the front (search split, N = {samples:,})")
    for name in ("id", "accuracy", "avg MACs", "taken only", "params"):
        table.add_column(name, justify="left" if name == "id" else "right", no_wrap=True)
    for name in ("policy", "leave at exits", "accuracy there"):
        table.add_column(name, overflow="fold")
    for _, point in points:
        metrics = point.metrics
        thresholds = " ".join("never" if t is None else f"{t:.3f}" for t in point.policy.thresholds)
        table.add_row(
            point.id,
            f"{100 * metrics['accuracy']:.2f}%",
            millions(metrics["avg_macs"]),
            millions(metrics["avg_macs_taken_only"]),
            f"{metrics['params']:,.0f}",
            f"{point.policy.criterion} {thresholds}",
            " ".join(f"{100 * share:.0f}%" for share in point.exit_shares),
            " ".join("-" if a is None else f"{100 * a:.0f}%" for a in point.exit_accuracy),
        )
    console = Console()
    # in a pipe there is no width to fit into, and a cut id is of no use
    (console if console.is_terminal else Console(width=160)).print(table)


def print_facts(trials: Sequence[Trial], seconds: Mapping[str, float]) -> None:
    """What the front doesn't show: failed trials with the first one's reason, and the time each phase took."""
    failed = [trial for trial in trials if trial.status == "failed"]
    if failed:
        print(
            f"{len(failed)} of {len(trials)} trials failed; the first (number {failed[0].number}): {failed[0].reason}"
        )
    if seconds:
        print("seconds: " + ", ".join(f"{phase} {spent:.0f}" for phase, spent in seconds.items()))


def millions(value: float) -> str:
    """A count in millions."""
    return f"{value / 1e6:.3g}M"
