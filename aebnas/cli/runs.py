"""Commands that inspect runs: `show`, `list` and `compare`."""

from pathlib import Path
from typing import Annotated

import typer

from aebnas.cli.arguments import RunFolder


def show(
    run: RunFolder,
    full: Annotated[bool, typer.Option("--full", help="All points of the front, and all columns.")] = False,
) -> None:
    """Print the state and the front of a run with its exit shares, also while it is active."""
    from aebnas.report.relaxed_table import print_relaxed
    from aebnas.report.run_state import state_lines
    from aebnas.report.tables import print_facts, print_front
    from aebnas.report.trial_digest import counts_and_front
    from aebnas.run.front_files import why_empty
    from aebnas.run.run_facts import RunFacts

    facts = RunFacts.read(run)
    counts, points = counts_and_front(facts, facts.run.recorded())
    for line in state_lines(facts, counts, points):
        print(line)
    if points:
        print_front(points, facts.samples, facts.requested_metrics, full)
    elif why_empty(facts.run) is None:
        print(f"{run}: no feasible operating point yet ({counts.total} trials)")
    print_relaxed(facts.run)
    print_facts(counts, facts.run.seconds(), facts.run.pflop())


def list_runs(
    folder: Annotated[Path, typer.Argument(help="A folder of runs.")] = Path("results"),
) -> None:
    """List the runs in a folder: state, best points, and when they last changed."""
    from aebnas.report import run_list as runs

    runs.print_runs(runs.list_runs(folder))


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two or more runs with the same objectives.")],
    out: Annotated[Path | None, typer.Option(help="Folder of table and plot (results/compare-<runs>).")] = None,
) -> None:
    """Compare the fronts of runs: hypervolumes, and the share of each front that the others dominate."""
    from aebnas.report.compare import compare_runs, print_comparison, write_comparison

    comparison = compare_runs(runs)
    folder = out or Path("results") / comparison.default_name
    write_comparison(comparison, folder)
    print_comparison(comparison)
    print(f"{folder}/compare.csv and compare.png are written.")
