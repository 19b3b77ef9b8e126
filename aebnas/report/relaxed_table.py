"""Relaxed trainings as rows of text: soft networks beside hard ones, before and after fine-tuning."""

import json
from typing import Any

from rich.table import Table

from aebnas.core.metric_text import millions
from aebnas.report.tables import print_table
from aebnas.run.run_directory import Run

HEADS = (
    *("training", "form", "soft accuracy", "expected MACs", "MACs of all ops"),
    *("hard accuracy", "MACs", "fine-tuned accuracy", "fine-tuned MACs"),
)
CAPTION = "Soft and hard networks on the search split; hard ones stop where the output of a stop head is above 0.5."


def relaxed_rows(run: Run) -> list[tuple[str, ...]]:
    """A row with the columns `HEADS` for every form of every finished relaxed training."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in run.relaxed.glob("*.json")]
    return [
        _row(report, form, figures)
        for report in sorted(reports, key=lambda report: report["lambda"])
        for form, figures in report["forms"].items()
    ]


def print_relaxed(run: Run) -> None:
    """Print the rows as a table; prints nothing if there are none."""
    if rows := relaxed_rows(run):
        table = Table(title=CAPTION)
        for head in HEADS:
            table.add_column(head, justify="left" if head in HEADS[:2] else "right")
        for row in rows:
            table.add_row(*row)
        print_table(table)


def _row(report: dict[str, Any], form: str, figures: dict[str, Any]) -> tuple[str, ...]:
    soft = report["soft"]
    cells = [f"lambda {report['lambda']:g}", form, _percent(soft["accuracy"])]
    cells += [millions(soft["expected_macs"]), millions(soft["macs_run"])]
    for stage in ("hard", "trained"):
        cells += [_percent(figures[stage]["accuracy"]), millions(figures[stage]["macs"]["mean"])]
    return tuple(cells)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
