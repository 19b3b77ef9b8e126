"""The command line. Heavy imports wait inside the commands, so that help and spec errors come at once."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from aebnas.errors import UserError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Search for early-exit networks that are accurate and cheap, look at the front, take one away.",
)

RunFolder = Annotated[Path, typer.Argument(help="A run's folder, such as results/quickstart.")]
Pick = Annotated[
    str,
    typer.Option(help="A point's id, knee, best-accuracy, cheapest, or a rule such as 'avg_macs<=5e6'."),
]


@app.callback()
def options(debug: Annotated[bool, typer.Option(help="Show tracebacks of errors.")] = False) -> None:
    """Options of all commands; `main` reads --debug."""


@app.command()
def search(
    spec: Annotated[Path, typer.Argument(help="What to run, such as experiments/quickstart.yaml.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder (results/<name of the spec>).")] = None,
    ablation: Annotated[
        str | None, typer.Option(help="Search a part of the space: fixed-branches, fixed-thresholds or backbone-only.")
    ] = None,
) -> None:
    """Train the supernet, search, and write the Pareto front. Given again, a stopped search goes on."""
    from aebnas.search import run_search

    workspace = run_search(spec, out, ablation)
    show(workspace.run.folder)
    folder = workspace.run.folder
    print(f"\n{folder}/pareto.csv, pareto.png and report.html are written.")
    print(f"Next: aebnas evaluate {folder} --pick best-accuracy, or aebnas export {folder} --pick knee --out DIR")


@app.command()
def show(run: RunFolder) -> None:
    """Print the front of a run with its exit shares."""
    from aebnas.report.table import print_facts, print_front
    from aebnas.workspace import Workspace

    workspace = Workspace.open(run)
    trials, points = workspace.run.trials(), workspace.front()
    if points:
        print_front(points, workspace.run.read_json("protocol.json")["pictures"]["search"])
    else:
        print(f"{run}: no feasible operating point yet ({len(trials)} trials)")
    print_facts(trials, workspace.run.seconds())


@app.command()
def space(
    file: Annotated[Path, typer.Argument(help="A search space, such as search_spaces/digits_tiny.yaml.")],
    samples: Annotated[int, typer.Option(help="How many random architectures to print.", min=0)] = 3,
    seed: Annotated[int, typer.Option(min=0)] = 11,
) -> None:
    """Print a space's exact size, bounds of its costs and a few architectures."""
    import numpy as np

    from aebnas.cost.bounds import space_bounds
    from aebnas.cost.counts import count_graph
    from aebnas.space.genome import SearchSpace
    from aebnas.space.lower import lower
    from aebnas.space.size import count_architectures, count_candidates

    loaded = SearchSpace.load(file)
    macs = space_bounds(loaded.spec, lambda counts: counts.macs)
    params = space_bounds(loaded.spec, lambda counts: counts.params)
    print(f"{file}")
    print(f"  architectures   {count_architectures(loaded.spec):,}")
    print(f"  candidates      {count_candidates(loaded.spec):,} (with threshold genes, if there are any)")
    print(f"  genes           {len(loaded.gene_sizes)}")
    print(f"  MACs            {macs.lower:,} to {macs.upper:,} for a sample that runs everything")
    print(f"  least avg MACs  {macs.first_exit:,} (all samples leave at the cheapest exit)")
    print(f"  params          {params.lower:,} to {params.upper:,}")
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        architecture = loaded.decode(loaded.sample(rng)).architecture
        cost = count_graph(lower(architecture)).macs.total
        print(f"  sample {architecture.id}  {cost / 1e6:.2f}M MACs  {architecture}")


@app.command()
def schema(
    of: Annotated[str, typer.Argument(help="space or experiment")] = "space",
) -> None:
    """Print a JSON Schema, with which editors check and complete specs."""
    from aebnas.experiment import ExperimentSpec
    from aebnas.space.spec import SpaceSpec
    from aebnas.specfile import Spec

    models: dict[str, type[Spec]] = {"space": SpaceSpec, "experiment": ExperimentSpec}
    if of not in models:
        raise UserError(f"schema must be one of {', '.join(models)}, but got '{of}'")
    print(json.dumps(models[of].model_json_schema(), indent=2))


@app.command()
def retrain(
    run: RunFolder,
    pick: Pick,
    weights: Annotated[str | None, typer.Option(help="supernet or scratch, instead of the spec's.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the spec's.", min=1)] = None,
) -> None:
    """Train one architecture of the front by itself and find its thresholds anew."""
    from aebnas.retrain import retrain as retrain_pick

    if weights not in (None, "supernet", "scratch"):
        raise UserError(f"--weights must be supernet or scratch, but got '{weights}'")
    point_id, point = retrain_pick(run, pick, cast(Literal["supernet", "scratch"] | None, weights), epochs)
    print(f"{point_id}, retrained; on the search split:")
    _print_point(point.metrics, point.exit_shares, point.exit_accuracy)


@app.command()
def evaluate(run: RunFolder, pick: Pick) -> None:
    """Measure one operating point on the test set, which nothing else reads."""
    from aebnas.assess import evaluate as evaluate_pick

    point_id, source, point, samples = evaluate_pick(run, pick)
    print(f"{point_id}, weights {source}; on the test set (N = {samples:,}), read by this command alone:")
    _print_point(point.metrics, point.exit_shares, point.exit_accuracy)


@app.command()
def export(
    run: RunFolder,
    pick: Pick,
    out: Annotated[Path, typer.Option(help="The folder to write; a previous export there is replaced.")],
) -> None:
    """Write one operating point as a folder that runs without aebnas."""
    from aebnas.assess import export as export_pick

    point_id = export_pick(run, pick, out)
    print(f"{point_id} is in {out}; try: python {out}/model.py --check")


def _print_point(metrics: dict[str, float], shares: Any, accuracies: Any) -> None:
    print(f"  accuracy             {100 * metrics['accuracy']:.2f} %")
    print(f"  avg_macs             {metrics['avg_macs']:,.0f} ({metrics['macs']:,.0f} to run everything)")
    print(f"  avg_macs_taken_only  {metrics['avg_macs_taken_only']:,.0f}")
    print(f"  params               {metrics['params']:,.0f}")
    for number, (share, accuracy) in enumerate(zip(shares, accuracies, strict=True), start=1):
        right = "" if accuracy is None else f", {100 * accuracy:.2f} % of them right"
        print(f"  exit {number}               {100 * share:.1f} % leave{right}")


def main() -> None:
    """Entry point: user errors are one line and exit code 2."""
    try:
        app()
    except (UserError, OSError) as error:  # a full disk is the user's to mend, too
        if "--debug" in sys.argv:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as leaving:
        if leaving.code == 130:  # typer's answer to Ctrl-C
            print("stopped; give the same command again to go on from here", file=sys.stderr)
        raise
