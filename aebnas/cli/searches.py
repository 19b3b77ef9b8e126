"""Commands that search: `search` and `resume`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from aebnas.cli.arguments import MovedData, RunFolder, Verify, check_images
from aebnas.cli.runs import show
from aebnas.core.errors import UserError


def search(
    spec: Annotated[Path, typer.Argument(help="An experiment, such as experiments/quickstart.yaml.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder (results/<name of the spec>).")] = None,
    ablation: Annotated[
        str | None, typer.Option(help="Search a part of the space: fixed-branches, fixed-thresholds or backbone-only.")
    ] = None,
    deterministic: Annotated[
        bool,
        typer.Option("--deterministic", help="Bitwise repeatable results: deterministic algorithms, fixed threads."),
    ] = False,
    seeds: Annotated[
        str | None,
        typer.Option(help="Search once per seed, such as 11,22,33, and print mean and standard deviation."),
    ] = None,
    pick: Annotated[
        list[str] | None,
        typer.Option(help="With --seeds: an additional pick, such as 'avg_macs<=5e6'; may be repeated."),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="With --seeds: measure the picks on the test set.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Record the contents of image files, however large; compare them when a search is resumed."
        ),
    ] = False,
) -> None:
    """Train the supernet, search, and write the Pareto front. The same command resumes a stopped search."""
    from aebnas.search.plan import make_plan

    plan = make_plan(spec, out, ablation, deterministic)  # reports errors before the slow imports
    if seeds is not None:
        import aebnas
        from aebnas.report.seed_summary import print_seeds
        from aebnas.search.multi_seed import seeds_folder

        summary = aebnas.search_seeds(
            spec,
            _numbers(seeds),
            out,
            picks=pick or [],
            test=test,
            ablation=ablation,
            deterministic=deterministic,
            verify=verify,
        )
        print_seeds(summary)
        print(f"{seeds_folder(plan)}/summary.json, seeds.csv and seeds.png are written.")
        return
    if pick or test:
        raise UserError(
            "--pick and --test must be combined with --seeds, but got no --seeds; "
            "for a single run: aebnas evaluate RUN --pick PICK"
        )
    from aebnas.report.run_report import RunReport
    from aebnas.search.loop import run_plan

    session = run_plan(plan, RunReport, verify)
    show(session.run.folder)
    folder = session.run.folder
    print(f"\n{folder}/pareto.csv, pareto.png and report.html are written.")
    run = shlex.quote(str(folder))
    print(f"Next: aebnas evaluate {run} --pick best-accuracy, or aebnas export {run} --pick knee --out DIR")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds must be whole numbers such as 11,22,33, but got '{text}'") from None


def resume(run: RunFolder, data: MovedData = None, verify: Verify = False) -> None:
    """Resume a stopped run from its config.json: the search, then retrainings that were stopped."""
    from aebnas.report.run_report import RunReport
    from aebnas.search.loop import resume_search
    from aebnas.selected.retrain import finish_retrainings

    check_images(run, data, verify)
    resume_search(run, RunReport)
    finished = finish_retrainings(run, RunReport)
    show(run)
    print(f"\n{run}: the search is finished; pareto.csv and report.html are written.")
    for point_id, point in finished:
        print(f"{point_id} is retrained: {100 * point.metrics['accuracy']:.2f} % on the search split")
