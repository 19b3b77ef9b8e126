"""Does input-adaptive hard-exit DARTS pay? Arms on real CIFAR-10 pictures, each seed and arm resumable.

Arms: `ours` (static and adaptive hard networks of one relaxed training, and the soft network itself), `published` (the
published recipe: one split for everything, exit i of E costs i / E), `darts` (no controller, no stop heads, no cost),
`random` (architectures of the same space trained alike) and `nsga2` (on the same space by a supernet, for the CPU
seconds that `ours` took). Every hard network's thresholds are found on `calibrate`, under the same grid for all; what
is told is the accuracy on the test set at the average MACs that the test pictures really took.

    python experiments/adaptive_darts_study.py                      # mini: 5,000 pictures, seeds 11 22 33
    python experiments/adaptive_darts_study.py --table              # the table and picture of what has run
    python experiments/adaptive_darts_study.py --full --seeds 11 --arms ours
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from aebnas.data.datasets import load_test
from aebnas.errors import UserError
from aebnas.files import write_json, write_text
from aebnas.policy.finding import find
from aebnas.policy.table import ExitTable, score_policy
from aebnas.policy.tabulate import tabulate
from aebnas.prepare import prepare
from aebnas.runtime.decide import LEARNED, ExitPolicy
from aebnas.runtime.network import Network
from aebnas.searching import run_plan
from aebnas.space.least_exits import LeastExits
from aebnas.space.policy_spec import DUAL
from aebnas.workspace import Workspace, inherit, kept_network

HERE = Path(__file__).resolve().parent
SCRATCH, OUT = Path("results/scratch_adaptive_darts"), Path("results/adaptive_darts")
ARMS = ("ours", "published", "darts", "random", "nsga2")
LAMBDA = 0.2
RELAXED_EPOCHS, TUNE_EPOCHS, BATCH = 8, 6, 64
FULL_EPOCHS = (25, 20)
BUDGETS = (0.1e6, 0.2e6, 0.3e6, 0.45e6, 0.7e6)


def spec_of(arm: str, seed: int, full: bool, seconds: float | None) -> dict[str, Any]:
    """The experiment of an arm; `seconds` are those that `ours` took, for `nsga2`."""
    relaxed_epochs, tune_epochs = FULL_EPOCHS if full else (RELAXED_EPOCHS, TUNE_EPOCHS)
    splits = {"arch": 0.3, "search": 0.1, "calibrate": 0.1, "certify": 0}
    single = splits | {"arch": 0}  # what isn't cut off trains: these arms have the pictures of `arch` for weights
    relaxed: dict[str, Any] = {"epochs": relaxed_epochs, "batch_size": BATCH, "lr": 0.1, "arch_lr": 0.01}
    relaxed |= {"lambda_warmup_epochs": max(1, relaxed_epochs // 5), "validate_every": relaxed_epochs}
    loop = {"batch_size": BATCH, "lr": 0.05}
    value: dict[str, Any] = {
        "space": "../search_spaces/darts_mini.yaml",
        "data": {"name": "npz", "path": f"../data/cifar10{'' if full else '_mini'}.npz", "augment": "crop_flip"}
        | {"splits": splits},
        "strategy": {"name": "adaptive_darts", "lambdas": [LAMBDA]},
        "relaxed": relaxed,
        "evaluate": {"weights": f"finetune({tune_epochs})", "training": loop},
        "retrain": loop | {"weights": "kept", "epochs": 1},
        "seed": seed,
    }
    if arm == "published":
        joint = {"bilevel": "joint", "cost": "linspace", "temperature": [1.0, 1.0], "arch_lr": 3e-4}
        value |= {"relaxed": relaxed | joint, "data": value["data"] | {"splits": single}}
    if arm == "darts":
        plain = {"controller": 0, "stop_heads": False, "temperature": [1.0, 1.0]}
        value |= {"relaxed": relaxed | plain}
        value["strategy"] = {"name": "adaptive_darts", "lambdas": [0.0], "forms": ["static"]}
    if arm == "random":
        value |= {"data": value["data"] | {"splits": single}, "strategy": {"name": "random", "population": 4}}
        value["strategy"] |= {"generations": 1}
        value["evaluate"] = {"weights": f"scratch({relaxed_epochs + tune_epochs})", "training": loop}
        value["retrain"] = loop | {"weights": "kept", "epochs": 1}
    if arm == "nsga2":
        epochs = supernet_epochs(seconds or 600.0, full)
        value |= {"data": value["data"] | {"splits": single}}
        value["supernet"] = {"epochs": epochs, "batch_size": BATCH, "lr": 0.2, "random_subnets": 1, "branches": 1}
        value["supernet"] |= {"validate_every": epochs}
        value["evaluate"] = {"weights": "supernet"}
        value["strategy"] = {"name": "nsga2", "population": 12, "generations": 4}
        value["retrain"] = loop | {"weights": "supernet", "epochs": 1}
    return value


SUPERNET_SECONDS_AN_EPOCH = 20.0
"""CPU seconds on one core of the machine on which the mini study ran."""
SEARCH_SECONDS = 17.0


def supernet_epochs(seconds: float, full: bool) -> int:
    """As many as leave time for the search."""
    return max(1, round((seconds - SEARCH_SECONDS) / (SUPERNET_SECONDS_AN_EPOCH * (10 if full else 1))))


def policies(table: ExitTable, workspace: Workspace) -> list[ExitPolicy]:
    """The frontier on `calibrate`, with stop heads where there are any."""
    spec = workspace.space.spec.policy
    assert spec.thresholds.optimise is not None
    if table.stop_nk is not None:
        spec = spec.model_copy(update={"criterion": (*spec.criterion, LEARNED, DUAL)})
    found = find(table, spec, spec.thresholds.optimise, LeastExits(), "macs")
    return [point.policy for point in found.thinned(spec.thresholds.optimise.max_points).points]


def measure(networks: Sequence[tuple[str, str, Network]], workspace: Workspace) -> list[dict[str, Any]]:
    """Every policy of every network (form, id, network): figures on `calibrate` and on the test set."""
    test = load_test(workspace.experiment.data, workspace.base)
    rows = []
    for form, name, network in networks:
        heads = any(graph_exit.stop for graph_exit in network.graph.exits)
        criteria = (*workspace.space.spec.policy.criterion, *([LEARNED] if heads else []))
        tables = {
            split: tabulate(network, images, workspace.preprocessing, criteria)
            for split, images in {"calibrate": workspace.splits.calibrate, "test": test}.items()
        }
        for policy in policies(tables["calibrate"], workspace):
            known, measured = score_policy(tables["calibrate"], policy), score_policy(tables["test"], policy)
            row = {"form": form, "id": name, "calibrate_accuracy": known.accuracy, "calibrate_macs": known.avg_macs}
            rows.append(row | {"accuracy": measured.accuracy, "macs": measured.avg_macs})
    return rows


def run_arm(arm: str, seed: int, full: bool, scratch: Path, out: Path) -> None:
    """One arm of one seed, unless its figures are there."""
    target = out / f"{arm}-{seed}.json"
    if target.exists():
        return
    seconds = None
    if arm == "nsga2":
        ours = out / f"ours-{seed}.json"
        if not ours.exists():
            raise SystemExit(f"{ours}: run the arm ours first, whose seconds nsga2 is given")
        seconds = json.loads(ours.read_text())["cpu_seconds"]
    started = time.process_time()
    value = spec_of(arm, seed, full, seconds)
    plan = prepare(HERE / "adaptive_darts_study.yaml", scratch / f"{arm}-{seed}", value=value)
    workspace = run_plan(plan)
    used = time.process_time() - started
    trials = [trial for trial in workspace.run.trials() if trial.points]
    found: list[tuple[str, str, Network]] = []
    if arm == "nsga2":
        supernet = workspace.trained_supernet()
        calibration = workspace.calibration(512)
        known = {trial.architecture.id: trial.architecture for trial, _ in workspace.front()}
        found = [("nsga2", name, inherit(supernet, one, calibration)) for name, one in known.items()]
    else:
        for trial in trials:
            form = trial.origin.rpartition(" ")[2] if arm in ("ours", "published") else arm
            architecture = trial.architecture
            try:
                network = kept_network(workspace, architecture, trial.points[0].id)
            except UserError:
                continue  # a random one off the front, whose weights aren't kept
            found.append((form, architecture.id, network))
    relaxed = [json.loads(path.read_text()) for path in sorted((workspace.run.folder / "relaxed").glob("*.json"))]
    rows = measure(found, workspace)
    write_json(target, {"arm": arm, "seed": seed, "cpu_seconds": used, "points": rows, "relaxed": relaxed})


def at_budgets(points: pd.DataFrame, budgets: Sequence[float]) -> dict[float, tuple[float, float]]:
    """Test accuracy and test MACs of the point that is best on `calibrate` within each budget there."""
    chosen = {}
    for budget in budgets:
        within = points[points.calibrate_macs <= budget]
        if len(within):
            best = within.sort_values(["calibrate_accuracy", "calibrate_macs"], ascending=[False, True]).iloc[0]
            chosen[budget] = float(best.accuracy), float(best.macs)
    return chosen


def table(out: Path) -> pd.DataFrame:
    """A row for each seed and form, of all figures there are."""
    rows = []
    for path in sorted(out.glob("*-*.json")):
        known = json.loads(path.read_text())
        points = pd.DataFrame(known["points"])
        for form, some in points.groupby("form"):
            name = f"{known['arm']} {form}" if known["arm"] in ("ours", "published") else known["arm"]
            row: dict[str, Any] = {"arm": name, "seed": known["seed"], "cpu_seconds": known["cpu_seconds"]}
            for budget, (accuracy, macs) in at_budgets(some, BUDGETS).items():
                row |= {f"accuracy@{budget:g}": accuracy, f"macs@{budget:g}": macs}
            rows.append(row)
        for report in known["relaxed"]:
            soft = report["soft"]
            row = {"arm": f"{known['arm']} soft (search split)", "seed": known["seed"]}
            row |= {"soft_accuracy": soft["accuracy"], "soft_macs_run": soft["macs_run"]}
            rows.append(row | {"soft_expected_macs": soft["expected_macs"]})
            for form, figures in report["forms"].items():
                row = {"arm": f"{known['arm']} {form} at s > 0.5 (search split)", "seed": known["seed"]}
                row |= {"hard_accuracy": figures["hard"]["accuracy"], "hard_macs": figures["hard"]["macs"]["mean"]}
                row |= {"trained_accuracy": figures["trained"]["accuracy"]}
                rows.append(row | {"trained_macs": figures["trained"]["macs"]["mean"]})
    return pd.DataFrame(rows)


def summary(found: pd.DataFrame) -> str:
    """Mean and standard deviation over seeds, as Markdown."""
    lines = ["| arm | seeds | " + " | ".join(f"{budget / 1e6:g}M" for budget in BUDGETS) + " |"]
    lines.append("|---" * (2 + len(BUDGETS)) + "|")
    columns = [f"accuracy@{budget:g}" for budget in BUDGETS]
    found = found.reindex(columns=[*found.columns, *(c for c in columns if c not in found.columns)])
    for arm, rows in found[found[columns].notna().any(axis=1)].groupby("arm"):
        cells = []
        for column in columns:
            values = 100 * rows[column].dropna().to_numpy()
            spread = f" +- {values.std(ddof=1):.1f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.1f}{spread}" if len(values) else "-")
        lines.append(f"| {arm} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(out: Path) -> None:
    """Accuracy over average MACs of every arm, all seeds."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    colours: dict[str, str] = {}
    for path in sorted(out.glob("*-*.json")):
        known = json.loads(path.read_text())
        for form, some in pd.DataFrame(known["points"]).groupby("form"):
            name = f"{known['arm']} {form}" if known["arm"] in ("ours", "published") else known["arm"]
            budgets = np.linspace(some.calibrate_macs.min(), some.calibrate_macs.max(), 40)
            chosen = at_budgets(some, budgets.tolist()).values()
            first = name not in colours
            colour = colours.setdefault(name, f"C{len(colours)}")
            axes.plot(
                [macs / 1e6 for _, macs in chosen],
                [100 * accuracy for accuracy, _ in chosen],
                color=colour,
                label=name if first else None,
                linewidth=1,
            )
    axes.set(xlabel="average MACs of a test picture (millions)", ylabel="test accuracy (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out / "study.png", dpi=140)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 22, 33])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--full", action="store_true", help="all of CIFAR-10 instead of 5,000 pictures")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    scratch, out = (Path(f"{path}_full") if options.full else path for path in (SCRATCH, OUT))
    out.mkdir(parents=True, exist_ok=True)
    for seed in [] if options.table else options.seeds:
        for arm in options.arms:
            run_arm(arm, seed, options.full, scratch, out)
    found = table(out)
    write_text(out / "study.csv", found.to_csv(index=False, float_format="%.5g"))
    text = summary(found)
    write_text(out / "study.md", text + "\n")
    print(text)
    draw(out)


if __name__ == "__main__":
    main()
