"""Policies of a pick: `sweep` and `calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from aebnas.cli.arguments import Pick, RunFolder
from aebnas.core.errors import UserError

PerExit = Annotated[int, typer.Option(help="Quantiles of each exit's scores that are tried (2 to 1000).")]
Raw = Annotated[bool, typer.Option("--no-temperatures", help="Leave confidences as they are.")]


def sweep(
    run: RunFolder,
    pick: Pick,
    method: Annotated[
        list[str] | None,
        typer.Option(help="auto, joint, lagrangian, value_iteration, greedy, fixed or dart; may be repeated."),
    ] = None,
    per_exit: PerExit = 50,
    no_temperatures: Raw = False,
    out: Annotated[Path | None, typer.Option(help="Folder of table and image (the run's picks/).")] = None,
) -> None:
    """Lay out every useful policy of a pick: its accuracy-cost frontiers, as a table and an image."""
    from aebnas.cli.policy_tables import print_sweep
    from aebnas.report.run_report import RunReport
    from aebnas.selected.sweep import DEFAULT_METHODS
    from aebnas.selected.sweep import sweep as sweep_pick

    swept = sweep_pick(run, pick, tuple(method or DEFAULT_METHODS), per_exit, not no_temperatures, out, RunReport)
    print_sweep(swept.table, swept.id, swept.samples)
    print(f"{swept.csv} and {swept.csv.stem}.png are written.")


def calibrate(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or with --data an exported one.")],
    pick: Annotated[str | None, typer.Option(help="Of a run: a point's id, knee, 'avg_macs<=5e6', ...")] = None,
    accuracy_target: Annotated[float | None, typer.Option(help="Cheapest policy of this accuracy, as 0.85.")] = None,
    budget: Annotated[str | None, typer.Option(help="Most accurate policy within, such as avg_macs=8e6.")] = None,
    beta: Annotated[float | None, typer.Option(help="Best accuracy - beta * share of the full cost.")] = None,
    risk: Annotated[
        str | None, typer.Option(help="EPSILON,DELTA: the cheapest policy with a promise, as 0.01,0.05.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="auto, joint, lagrangian, value_iteration, greedy, fixed or dart.")
    ] = None,
    per_exit: PerExit = 50,
    no_temperatures: Raw = False,
    data: Annotated[Path | None, typer.Option(help="An .npz with x and y: re-tune an export on these.")] = None,
) -> None:
    """Find temperatures and thresholds for a goal; `evaluate` and `export` then use them."""
    from aebnas.policies.threshold_search.goal import Goal

    goal = Goal.read(accuracy_target, budget, beta, risk)
    if data is not None:
        if pick is not None or method is not None:
            raise UserError("--data must go without --pick and --method: it re-tunes an exported folder")
        from aebnas.cli.policy_tables import print_retuned
        from aebnas.export.recalibrate import retune

        print_retuned(retune(folder, data, goal, per_exit, not no_temperatures), folder)
        return
    if pick is None:
        raise UserError("--pick must be given with a run (or --data with an exported folder), but got neither")
    from aebnas.cli.policy_tables import print_calibrated
    from aebnas.report.run_report import RunReport
    from aebnas.selected.calibrate import calibrate as calibrate_pick

    print_calibrated(calibrate_pick(folder, pick, goal, method, per_exit, not no_temperatures, RunReport))
