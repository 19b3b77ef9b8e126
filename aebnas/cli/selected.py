"""Commands on one point of a front: `retrain`, `evaluate`, `export` and `measure`."""

import math
import shlex
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from aebnas.cli.arguments import MovedData, Pick, RunFolder, Verify, check_images
from aebnas.core.errors import UserError
from aebnas.core.notes import print_note


def retrain(
    run: RunFolder,
    pick: Pick,
    weights: Annotated[
        str | None, typer.Option(help="Initial weights instead of the spec's: supernet, scratch or kept.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs instead of the spec's.")] = None,
    data: MovedData = None,
    verify: Verify = False,
) -> None:
    """Train one architecture of the front separately and find its thresholds again."""
    from aebnas.report.run_report import RunReport
    from aebnas.report.tables import print_point
    from aebnas.run.run_directory import Run
    from aebnas.selected.retrain import retrain as retrain_pick

    if weights not in (None, "supernet", "scratch", "kept"):
        raise UserError(f"--weights must be supernet, scratch or kept, but got '{weights}'")
    check_images(run, data, verify)
    source = cast(Literal["supernet", "scratch", "kept"] | None, weights)
    point_id, point = retrain_pick(run, pick, source, epochs, RunReport)
    samples = Run.open(run).image_counts()["search"]
    print(f"{point_id}, retrained; on the search split (N = {samples:,}):")
    print_point(point, samples)


def evaluate(
    run: RunFolder,
    pick: Pick,
    full: Annotated[
        bool,
        typer.Option("--full", help="All tables, with corrupted and out-of-distribution images and adaptation."),
    ] = False,
    budgets: Annotated[str | None, typer.Option(help="Average MACs to report accuracy at, such as 8e6,12e6.")] = None,
    data: MovedData = None,
    verify: Verify = False,
) -> None:
    """Measure one operating point on the test set, which no other command reads."""
    try:
        numbers = [float(part) for part in budgets.split(",")] if budgets else []
    except ValueError:
        raise UserError(f"--budgets must be numbers such as 8e6,12e6, but got '{budgets}'") from None
    if bad := [number for number in numbers if not (math.isfinite(number) and number > 0)]:
        raise UserError(f"--budgets must be finite numbers above 0, but got {bad[0]:g}")
    from aebnas.cli.evaluation_tables import print_assessment
    from aebnas.report.run_report import RunReport
    from aebnas.selected.evaluate import evaluate as evaluate_pick

    check_images(run, data, verify=False)
    assessment = evaluate_pick(run, pick, full, numbers, RunReport, verify)
    for note in assessment.notes:
        print_note(note)
    print_assessment(assessment, full, budgets=bool(numbers))


def export(
    run: RunFolder,
    pick: Pick,
    out: Annotated[Path, typer.Option(help="The folder to write; a previous export there is replaced.")],
) -> None:
    """Write one operating point as a folder that runs without aebnas."""
    from aebnas.selected.evaluate import export as export_pick

    point_id = export_pick(run, pick, out)
    print(f"{point_id} is in {out}; try: python {shlex.quote(str(out / 'model.py'))} --check")


def measure(
    run: RunFolder,
    pick: Pick,
    profile: Annotated[Path | None, typer.Option(help="A device profile instead of the run's.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; by default the profile's, as for the next four options.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
    dtype: Annotated[str | None, typer.Option(help="Number format: fp32, bf16 or fp16.")] = None,
    memory_format: Annotated[str | None, typer.Option(help="contiguous or channels_last.")] = None,
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Compile each layer by torch.compile.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Images of the search split.", min=1)] = 512,
    rounds: Annotated[int, typer.Option(help="Number of repeated measurements.", min=1)] = 5,
    data: MovedData = None,
    verify: Verify = False,
) -> None:
    """Measure latency, memory and energy of a pick, beside predicted values."""
    from aebnas.cli.measured_table import print_measured
    from aebnas.report.run_report import RunReport
    from aebnas.selected.measure import measure as measure_pick

    check_images(run, data, verify)
    given = {"device": device, "threads": threads, "dtype": dtype, "memory_format": memory_format, "compiled": compiled}
    changes = {name: value for name, value in given.items() if value is not None}
    print_measured(measure_pick(run, pick, changes, profile, samples, rounds, RunReport))
