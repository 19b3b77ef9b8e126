"""What `evaluate` prints about classes: figures of each by name, and which are taken for which."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from aebnas.core.confidence_intervals import wilson
from aebnas.policies.analysis.class_report import ClassFigures, ClassReport
from aebnas.report.tables import interval, print_table

ALL_SHOWN_UP_TO = 12
"""Number of classes of which all are listed, and the confusion matrix is printed with `--full`."""
WORST_SHOWN, WORST_SHOWN_FULL, PAIRS_SHOWN = 5, 40, 20
"""Of more classes."""
LONGEST_NAME = 18


def over_classes(found: ClassReport) -> str:
    """Balanced accuracy and the worst class as text."""
    worst = found.worst[0]
    low, high = wilson(worst.accuracy or 0.0, worst.samples)
    return (
        f"balanced accuracy {_percent(found.balanced_accuracy)}; worst class {_short(worst.name)}: "
        f"{_percent(worst.accuracy)} of {worst.samples:,} (95 %: {100 * low:.1f} to {100 * high:.1f})"
    )


def print_classes(found: ClassReport, full: bool = False) -> None:
    """Print a row per class; of many classes the least accurate. `full` shows more of them."""
    limit = WORST_SHOWN_FULL if full else WORST_SHOWN
    if len(found.classes) <= ALL_SHOWN_UP_TO:
        shown: Sequence[ClassFigures] = found.classes
        title = "classes"
    else:
        shown = found.worst[:limit]
        title = f"the {len(shown)} least accurate of {len(found.classes):,} classes"
        if len(shown) == len(found.classes):
            title = "classes, the least accurate first"
    table = _table(
        title, ("class", "images", "accuracy (95 %)", "precision", "F1", "mean exit", "most often taken for")
    )
    pairs = found.confused()
    for each in shown:
        wrong = next((pair for pair in pairs if pair.name == each.name), None)
        table.add_row(
            _short(each.name),
            f"{each.samples:,}",
            "-" if each.accuracy is None else f"{_percent(each.accuracy)} {interval(each.accuracy, each.samples)}",
            _percent(each.precision),
            _percent(each.f1),
            "-" if each.mean_exit is None else f"{each.mean_exit + 1:.2f}",
            "" if wrong is None else f"{_short(wrong.taken_for)} {100 * wrong.share:.1f} %",
        )
    print_table(table)


def print_confusion(found: ClassReport) -> None:
    """Print the confusion matrix; of many classes the pairs that are confused most."""
    if len(found.classes) <= ALL_SHOWN_UP_TO:
        names = [_short(each.name) for each in found.classes]
        table = _table("confusion matrix: rows are classes, columns predictions", ("class", *names))
        for name, counts in zip(names, found.matrix().tolist(), strict=True):
            table.add_row(name, *(str(count) if count else "." for count in counts))
        print_table(table)
        return
    pairs = found.confused()[:PAIRS_SHOWN]
    table = _table("most confused classes", ("class", "taken for", "images", "share of the class"))
    for pair in pairs:
        table.add_row(_short(pair.name), _short(pair.taken_for), f"{pair.count:,}", f"{100 * pair.share:.1f} %")
    print_table(table)


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in heads:
        table.add_column(head, justify="left" if head in ("class", "taken for") else "right", no_wrap=True)
    return table


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
