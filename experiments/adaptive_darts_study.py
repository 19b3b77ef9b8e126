"""Is input-adaptive hard-exit DARTS worth its cost? Arms on real CIFAR-10 images, each seed and arm resumable.

Arms: `ours` (static and adaptive hard networks of one relaxed training, and the soft network itself), `published` (the
published recipe: one split for everything, exit i of E costs i / E), `darts` (no controller, no stop heads, no cost),
`random` (architectures of the same space, each trained separately for as many epochs) and `nsga2` (on the same space by
a supernet, for the CPU seconds of `ours`). Every hard network's thresholds are found on `calibrate`, under the same
grid for all; reported is the accuracy on the test set at the measured average MACs of the test images.

    python experiments/adaptive_darts_study.py                      # mini: 5,000 images, seeds 11 22 33
    python experiments/adaptive_darts_study.py --table              # the table and plot of the finished arms
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

from aebnas.core.atomic_files import write_json, write_text
from aebnas.data.datasets import load_test
from aebnas.evaluation.evaluator import inherit
from aebnas.policies.exit_table.exit_table import ExitTable
from aebnas.policies.exit_table.policy_score import score_policy
from aebnas.policies.exit_table.tabulate import tabulate
from aebnas.policies.threshold_search.find import find, rules_for
from aebnas.run.candidate_scoring import candidate_evaluator
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.run.training_setup import trained_supernet
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.runtime.network import Network
from aebnas.search.loop import run_plan
from aebnas.search.plan import make_plan
from aebnas.selected.selected_model import candidate_network
from aebnas.space.min_exits import MinExits

HERE = Path(__file__).resolve().parent
SCRATCH, OUT = Path("results/scratch_adaptive_darts"), Path("results/adaptive_darts")
ARMS = ("ours", "published", "darts", "random", "nsga2")
LAMBDA = 0.1
CONTROLLER = 4  # at a width of 8 it needs a third of the smallest networks' MACs
RANDOM_ARCHITECTURES = 3
RELAXED_EPOCHS, TUNE_EPOCHS, BATCH = 12, 12, 64
FULL_EPOCHS = (4, 4)
BUDGETS = (0.15e6, 0.2e6, 0.25e6, 0.3e6, 0.4e6, 0.5e6)


def spec_of(arm: str, seed: int, full: bool, seconds: float | None) -> dict[str, Any]:
    relaxed_epochs, tune_epochs = FULL_EPOCHS if full else (RELAXED_EPOCHS, TUNE_EPOCHS)
    splits = {"arch": 0.3, "search": 0.1, "calibrate": 0.1, "certify": 0}
    single = splits | {"arch": 0}  # these arms train weights on the images of `arch`, too
    relaxed: dict[str, Any] = {
        "epochs": relaxed_epochs,
        "batch_size": BATCH,
        "lr": 17.6,
        "weight_decay": 0.0088,
        "arch_lr": 0.01,
    }
    relaxed["controller"] = CONTROLLER
    relaxed |= {"lambda_warmup_epochs": max(1, relaxed_epochs // 5), "validate_every": relaxed_epochs}
    loop = {"batch_size": BATCH, "recipe": "classic", "lr": 8.8, "weight_decay": 0.0044}
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
        value |= {"data": value["data"] | {"splits": single}, "strategy": {"name": "random"}}
        value["evaluate"] = {"weights": f"scratch({relaxed_epochs + tune_epochs})", "training": loop}
        value["retrain"] = loop | {"weights": "kept", "epochs": 1}
    if arm == "nsga2":
        epochs = supernet_epochs(seconds or 600.0, full)
        value |= {"data": value["data"] | {"splits": single}}
        value["supernet"] = {
            "epochs": epochs,
            "batch_size": BATCH,
            "recipe": "classic",
            "lr": 35.2,
            "weight_decay": 0.0176,
            "random_subnets": 1,
            "branches": 1,
        }
        value["supernet"] |= {"validate_every": epochs}
        value["evaluate"] = {"weights": "supernet"}
        value["strategy"] = {"name": "nsga2", "population": 12, "generations": 4}
        value["retrain"] = loop | {"weights": "supernet", "epochs": 1}
    return value


SUPERNET_SECONDS_AN_EPOCH = 20.0
"""CPU seconds on one core of the machine on which the mini study ran."""
SEARCH_SECONDS = 17.0


def supernet_epochs(seconds: float, full: bool) -> int:
    """The number of epochs that leaves time for the search."""
    return max(1, round((seconds - SEARCH_SECONDS) / (SUPERNET_SECONDS_AN_EPOCH * (10 if full else 1))))


def policies(table: ExitTable, session: RunSession) -> list[ExitPolicy]:
    """The policies of the frontier on `calibrate`, with stop heads where there are any."""
    spec = session.space.spec.policy
    assert spec.thresholds.optimise is not None
    rules = rules_for(spec, stop_heads=table.stop_nk is not None)
    found = find(table, rules, spec.thresholds.optimise, MinExits(), "macs")
    return [point.policy for point in found.thinned(spec.thresholds.optimise.max_points).points]


def measure(networks: Sequence[tuple[str, str, Network]], session: RunSession) -> list[dict[str, Any]]:
    """Every policy of every network (form, id, network): figures on `calibrate` and on the test set."""
    test = load_test(session.experiment.data, session.base)
    rows = []
    for form, name, network in networks:
        heads = any(graph_exit.stop for graph_exit in network.graph.exits)
        criteria = rules_for(session.space.spec.policy, heads).scores
        tables = {
            split: tabulate(network, images, session.images.preprocessing, criteria)
            for split, images in {"calibrate": session.images.splits.calibrate, "test": test}.items()
        }
        for policy in policies(tables["calibrate"], session):
            calibrate, tested = score_policy(tables["calibrate"], policy), score_policy(tables["test"], policy)
            row = {"form": form, "id": name}
            row |= {"calibrate_accuracy": calibrate.accuracy, "calibrate_macs": calibrate.avg_macs}
            rows.append(row | {"accuracy": tested.accuracy, "macs": tested.avg_macs})
    return rows


def run_arm(arm: str, seed: int, full: bool, scratch: Path, out: Path) -> None:
    """Run one arm of one seed, unless its figures exist."""
    target = out / f"{arm}-{seed}.json"
    if target.exists():
        return
    seconds = None
    if arm == "nsga2":
        ours = out / f"ours-{seed}.json"
        if not ours.exists():
            raise SystemExit(f"{ours}: must exist before nsga2, which gets its CPU seconds; run the arm ours first")
        seconds = json.loads(ours.read_text())["cpu_seconds"]
    started = time.process_time()
    plan = make_plan(
        HERE / "adaptive_darts_study.yaml", scratch / f"{arm}-{seed}", value=spec_of(arm, seed, full, seconds)
    )
    session = (
        RunSession(Run(plan.folder), plan.experiment, plan.space, plan.base) if arm == "random" else run_plan(plan)
    )
    found = networks(arm, session)
    used = time.process_time() - started
    relaxed = [json.loads(path.read_text()) for path in sorted((session.run.folder / "relaxed").glob("*.json"))]
    rows = measure(found, session)
    write_json(target, {"arm": arm, "seed": seed, "cpu_seconds": used, "points": rows, "relaxed": relaxed})


def networks(arm: str, session: RunSession) -> list[tuple[str, str, Network]]:
    """(form, id, network) of all networks of an arm's run; random ones are trained here."""
    if arm == "random":
        rng, evaluator = np.random.default_rng(session.experiment.seed), candidate_evaluator(session, None)
        drawn = [session.space.decode(session.space.sample(rng)).architecture for _ in range(RANDOM_ARCHITECTURES)]
        return [("random", architecture.id, evaluator.network(architecture)) for architecture in drawn]
    if arm == "nsga2":
        supernet, calibration = trained_supernet(session), session.images.calibration(512)
        front = {trial.architecture.id: trial.architecture for trial, _ in session.front()}
        return [("nsga2", name, inherit(supernet, one, calibration)) for name, one in front.items()]
    found = []
    for trial in session.run.trials():
        if trial.points:
            form = trial.origin.rpartition(" ")[2] if arm in ("ours", "published") else arm
            network = candidate_network(session, trial.architecture, trial.points[0].id)
            found.append((form, trial.architecture.id, network))
    return found


def at_budgets(points: pd.DataFrame, budgets: Sequence[float]) -> dict[float, tuple[float, float]]:
    """Test accuracy and test MACs of the most accurate point on `calibrate` within each budget there."""
    chosen = {}
    for budget in budgets:
        within = points[points.calibrate_macs <= budget]
        if len(within):
            best = within.sort_values(["calibrate_accuracy", "calibrate_macs"], ascending=[False, True]).iloc[0]
            chosen[budget] = float(best.accuracy), float(best.macs)
    return chosen


def read(out: Path) -> list[dict[str, Any]]:
    """The figures of all finished arms."""
    return [json.loads(path.read_text()) for path in sorted(out.glob("*-*.json"))]


def fronts(figures: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Points of a file by their name in tables and the plot; each random architecture has its own."""
    points = pd.DataFrame(figures["points"])
    if figures["arm"] == "random":
        return {f"random {name}": some for name, some in points.groupby("id")}
    many = figures["arm"] in ("ours", "published")
    return {f"{figures['arm']} {form}" if many else figures["arm"]: some for form, some in points.groupby("form")}


def at_all_budgets(several: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row for each seed and form: test accuracy and MACs at each budget."""
    rows = []
    for figures in several:
        for name, points in fronts(figures).items():
            row: dict[str, Any] = {"arm": name, "seed": figures["seed"], "cpu_seconds": figures["cpu_seconds"]}
            for budget, (accuracy, macs) in at_budgets(points, BUDGETS).items():
                row |= {f"accuracy@{budget:g}": accuracy, f"macs@{budget:g}": macs}
            rows.append(row)
    return pd.DataFrame(rows)


def soft_and_hard(several: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row for each relaxed training and form, on the search split: soft, hard at s > 0.5, hard and fine-tuned."""
    rows = []
    for known in several:
        for report in known["relaxed"]:
            soft = report["soft"]
            for form, figures in report["forms"].items():
                row = {"arm": f"{known['arm']} {form}", "seed": known["seed"]}
                row |= {"soft_accuracy": soft["accuracy"], "soft_expected_macs": soft["expected_macs"]}
                row |= {"soft_run_macs": soft["macs_run"]}
                for stage in ("hard", "trained"):
                    row |= {f"{stage}_accuracy": figures[stage]["accuracy"]}
                    row |= {f"{stage}_macs": figures[stage]["macs"]["mean"]}
                rows.append(row)
    return pd.DataFrame(rows)


def summary(found: pd.DataFrame, columns: dict[str, tuple[str, float]]) -> str:
    """Mean and standard deviation over seeds, as Markdown; `columns` maps a header to a column's name and factor."""
    lines = ["| arm | rows | " + " | ".join(columns) + " |", "|---" * (2 + len(columns)) + "|"]
    found = found.reindex(columns=list({*found.columns, *(name for name, _ in columns.values())}))
    found = found.assign(arm=found.arm.str.replace(r"^random .*", "random", regex=True))
    for arm, rows in found.groupby("arm"):
        cells = []
        for name, factor in columns.values():
            values = factor * rows[name].dropna().to_numpy()
            spread = f" +- {values.std(ddof=1):.1f}" if len(values) > 1 else ""
            few = f" ({len(values)})" if 0 < len(values) < len(rows) else ""
            cells.append(f"{values.mean():.1f}{spread}{few}" if len(values) else "-")
        lines.append(f"| {arm} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(out: Path) -> None:
    """Accuracy over average MACs of every arm, all seeds."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    colours: dict[str, str] = {}
    for figures in read(out):
        for front, points in fronts(figures).items():
            name = front if figures["arm"] != "random" else "random"
            first = name not in colours
            colour = colours.setdefault(name, f"C{len(colours)}")
            budgets = np.linspace(points.calibrate_macs.min(), points.calibrate_macs.max(), 40)
            chosen = at_budgets(points, budgets.tolist()).values()
            line = [macs / 1e6 for _, macs in chosen], [100 * accuracy for accuracy, _ in chosen]
            axes.plot(*line, color=colour, label=name if first else None, linewidth=1)
    axes.set(xlabel="average MACs of a test image (millions)", ylabel="test accuracy (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out / "study.png", dpi=140)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 22, 33])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--full", action="store_true", help="all of CIFAR-10 instead of 5,000 images")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    scratch, out = (Path(f"{path}_full") if options.full else path for path in (SCRATCH, OUT))
    out.mkdir(parents=True, exist_ok=True)
    for seed in [] if options.table else options.seeds:
        for arm in options.arms:
            run_arm(arm, seed, options.full, scratch, out)
    several = read(out)
    found, gaps = at_all_budgets(several), soft_and_hard(several)
    write_text(out / "study.csv", found.to_csv(index=False, float_format="%.5g"))
    write_text(out / "soft_and_hard.csv", gaps.to_csv(index=False, float_format="%.5g"))
    at = {f"{budget / 1e6:g}M": (f"accuracy@{budget:g}", 100.0) for budget in BUDGETS}
    text = "Test accuracy (%) within average MACs:\n\n" + summary(found, at)
    if len(gaps):
        stages = ("soft_accuracy", "hard_accuracy", "trained_accuracy")
        columns = {name.replace("_", " ") + " (%)": (name, 100.0) for name in stages}
        costs = ("soft_run_macs", "soft_expected_macs", "hard_macs", "trained_macs")
        columns |= {name.replace("_", " ") + " (k)": (name, 1e-3) for name in costs}
        text += "\n\nSoft and hard, by stop heads only, on the search split:\n\n" + summary(gaps, columns)
    write_text(out / "study.md", text + "\n")
    print(text)
    draw(out)


if __name__ == "__main__":
    main()
