"""Policies of a pick: `sweep` and `calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from aebnas.cli.arguments import MovedData, Pick, RunFolder, Verify, check_images
from aebnas.core.errors import UserError

PerExit = Annotated[int, typer.Option(help="Number of quantiles tried per exit (2 to 1000).")]
Raw = Annotated[bool, typer.Option("--no-temperatures", help="Fit no temperatures.")]


def sweep(
    run: RunFolder,
    pick: Pick,
    method: Annotated[
        list[str] | None,
        typer.Option(help="auto, joint, lagrangian, value_iteration, greedy, fixed or dart; may be repeated."),
    ] = None,
    per_exit: PerExit = 50,
    no_temperatures: Raw = False,
    out: Annotated[Path | None, typer.Option(help="Folder of table and plot (the run's picks/).")] = None,
    data: MovedData = None,
    verify: Verify = False,
) -> None:
    """List all nondominated policies of a pick: its accuracy-cost frontiers, as a table and a plot."""
    from aebnas.cli.policy_tables import print_sweep
    from aebnas.report.run_report import RunReport
    from aebnas.selected.sweep import DEFAULT_METHODS
    from aebnas.selected.sweep import sweep as sweep_pick

    check_images(run, data, verify)
    swept = sweep_pick(run, pick, tuple(method or DEFAULT_METHODS), per_exit, not no_temperatures, out, RunReport)
    print_sweep(swept.table, swept.id, swept.samples)
    print(f"{swept.csv} and {swept.csv.stem}.png are written.")


def calibrate(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or with --data an exported one.")],
    pick: Annotated[str | None, typer.Option(help="Of a run: a point's id, knee, 'avg_macs<=5e6', ...")] = None,
    accuracy_target: Annotated[
        float | None, typer.Option(help="The cheapest policy of at least this accuracy, such as 0.85.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="The most accurate policy within a mean cost, such as avg_macs=8e6.")
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="The policy with the maximum of accuracy - beta * cost / full cost.")
    ] = None,
    risk: Annotated[
        str | None, typer.Option(help="EPSILON,DELTA: the cheapest policy with a bounded risk, such as 0.01,0.05.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="auto, joint, lagrangian, value_iteration, greedy, fixed or dart.")
    ] = None,
    per_exit: PerExit = 50,
    no_temperatures: Raw = False,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Of an exported folder: an .npz file with x and y to re-tune it on. Of a run: where its images lie "
            "now, if they were moved."
        ),
    ] = None,
    verify: Verify = False,
) -> None:
    """Find temperatures and thresholds for a goal; `evaluate` and `export` then use them."""
    from aebnas.policies.threshold_search.goal import Goal

    goal = Goal.read(accuracy_target, budget, beta, risk)
    is_run = (folder / "config.json").exists()
    if data is not None and not is_run:
        if pick is not None or method is not None:
            raise UserError("--data cannot be combined with --pick or --method, since it re-tunes an exported folder")
        from aebnas.cli.policy_tables import print_retuned
        from aebnas.export.recalibrate import retune

        print_retuned(retune(folder, data, goal, per_exit, not no_temperatures), folder)
        return
    if verify and not is_run:
        raise UserError(f"{folder}: must be a run to be verified, but has no config.json")
    if pick is None:
        raise UserError("--pick is required with a run, or --data with an exported folder, but got neither")
    from aebnas.cli.policy_tables import print_calibrated
    from aebnas.report.run_report import RunReport
    from aebnas.selected.calibrate import calibrate as calibrate_pick

    check_images(folder, data, verify)
    print_calibrated(calibrate_pick(folder, pick, goal, method, per_exit, not no_temperatures, RunReport))
