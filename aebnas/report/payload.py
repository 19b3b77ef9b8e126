"""The data of the HTML report as one JSON-ready dictionary; needs no images and no weights."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from aebnas.core.confidence_intervals import accuracy_bounds
from aebnas.core.errors import UserError
from aebnas.core.metric_text import pflop_text
from aebnas.core.metrics import METRICS
from aebnas.cost.model import CostModel
from aebnas.report.drawing import drawing
from aebnas.report.relaxed_table import CAPTION, HEADS, relaxed_rows
from aebnas.report.trial_digest import TrialDigest
from aebnas.run.measured_rows import measured_rows, measured_where
from aebnas.run.pick_records import owns_record, picked_ids, read_record
from aebnas.run.run_directory import Run
from aebnas.run.run_facts import RunFacts
from aebnas.run.selected_state import valid_record
from aebnas.space.lowering import lower
from aebnas.strategies.front import FrontPoint, pick

OTHERS_SHOWN = 6_000
"""Maximum number of points besides the front, so that the page stays small and fast after a long search."""

REASONS_SHOWN = 5
NAMED = ("best-accuracy", "knee", "cheapest")


def digest_of(facts: RunFacts) -> TrialDigest:
    """The digest of a run's trials on disk for its page and plot; raises UserError if a line of them can't be read."""
    return TrialDigest(facts, facts.run.recorded(), OTHERS_SHOWN)


def payload(facts: RunFacts, digest: TrialDigest) -> dict[str, Any]:
    """All data of a run that its page shows. Raises UserError if a file of the run can't be read."""
    run, front_points, counts = facts.run, digest.front, digest.counts
    summary = run.summary()
    shown = [*front_points, *digest.others]
    architectures = {trial.architecture.id: trial.architecture for trial, _ in shown}
    charged = CostModel(stop_heads=facts.ships_stop_heads).charged  # drawn with the stop heads that are counted
    return {
        "name": run.name,
        "folder": f"results/{run.name}" if run.folder.resolve().parent.name == "results" else run.name,
        "data": facts.data,
        "objectives": [objective.metric for objective in facts.objectives],
        "constraints": [f"{each.metric} {each.sense} {each.bound:.12g}" for each in facts.constraints],
        "axes": {"x": digest.horizontal, "y": digest.vertical},
        "samples": facts.samples,
        "metrics": {name: _metric(name) for name in _metric_names(shown)},
        "trials": {"total": counts.total} | {name: counts.status[name] for name in ("ok", "infeasible", "failed")},
        "failures": counts.failures.most_common(REASONS_SHOWN),
        "ended_early": summary.get("ended_early_because"),
        "nothing_feasible": summary.get("nothing_feasible"),
        "points_total": digest.points_total,
        "points": _columns(shown, {point.id for _, point in front_points}, list(architectures), facts.samples),
        "architectures": [
            {"id": architecture.id, "text": str(architecture), "drawing": drawing(charged(lower(architecture)))}
            for architecture in architectures.values()
        ],
        "named": _named(facts, front_points),
        "growth": digest.growth,
        "training": _training(run.folder),
        "picks": _picks(facts.run),
        "relaxed": {"caption": CAPTION, "heads": HEADS, "rows": relaxed_rows(run)},
        "measured": _measured(facts, digest.picked),
        "protocol": run.read_json("protocol.json"),
        "environment": run.read_json("env_info.json"),
        "seconds": run.seconds(),
        "pflop": pflop_text(run.pflop()) or "unknown",
    }


def _columns(shown: Sequence[FrontPoint], on_front: set[str], ids: list[str], samples: int) -> dict[str, Any]:
    """The properties of the points, one list per property, in the order of `shown`."""
    place = {architecture_id: number for number, architecture_id in enumerate(ids)}
    bounds = [accuracy_bounds(point.metrics, samples) for _, point in shown]
    return {
        "id": [point.id for _, point in shown],
        "architecture": [place[trial.architecture.id] for trial, _ in shown],
        "trial": [trial.number for trial, _ in shown],
        "role": ["front" if p.id in on_front else "infeasible" if t.status != "ok" else "dominated" for t, p in shown],
        "metrics": {name: [point.metrics[name] for _, point in shown] for name in _metric_names(shown)},
        "accuracy_low": [bound["accuracy_low"] for bound in bounds],
        "accuracy_high": [bound["accuracy_high"] for bound in bounds],
        "criterion": [point.policy.label for _, point in shown],
        "thresholds": [list(point.policy.thresholds) for _, point in shown],
        "exit_shares": [list(point.exit_shares) for _, point in shown],
        "exit_accuracy": [list(point.exit_accuracy) for _, point in shown],
    }


def _metric_names(shown: Sequence[FrontPoint]) -> list[str]:
    """The metrics that all points have: a resumed run of an earlier version may have points with fewer metrics."""
    return [name for name in shown[0][1].metrics if all(name in p.metrics for _, p in shown)] if shown else []


def _metric(name: str) -> dict[str, str]:
    metric = METRICS[name]
    return {"unit": metric.unit, "direction": metric.direction, "meaning": metric.meaning}


def _named(facts: RunFacts, front_points: Sequence[FrontPoint]) -> dict[str, str]:
    """Ids of the points that the named rules of `--pick` select; a rule that selects none is omitted."""
    named = {}
    for rule in NAMED:
        try:
            named[rule] = pick(front_points, facts.objectives, rule)[1].id
        except UserError:
            continue
    return named


def _training(folder: Path) -> list[dict[str, Any]]:
    """Training curves of the supernet or relaxed networks and of retrained points: one per validated subnet."""
    files = [("", folder / "train_epoch_metrics.csv")]
    files += [
        (f"retrained {path.parent.name}", path) for path in sorted(folder.glob("models/*/train_epoch_metrics.csv"))
    ]
    curves = []
    for title, path in files:
        if not path.exists() or not path.read_text(encoding="utf-8").strip():
            continue
        for (phase, subnet), rows in pd.read_csv(path).groupby(["phase", "subnet"], sort=False):
            name = title or phase
            columns = [name for name in rows.columns if name.startswith("exit") and rows[name].notna().any()]
            curves.append(
                {
                    "title": name if subnet in ("chosen", "soft") else f"{name}, {subnet} subnet",
                    "epoch": rows["epoch"].tolist(),
                    "loss": rows["loss"].tolist(),
                    "exits": {name.removesuffix("_accuracy"): rows[name].tolist() for name in columns},
                }
            )
    return curves


def _measured(facts: RunFacts, candidates: Sequence[FrontPoint]) -> list[dict[str, Any]]:
    """Records of `aebnas measure` for picks with their present weights and policy: device and rows of text."""
    picked = {pair[1].id: pair for pair in candidates if owns_record(facts.run, pair)}
    known = [(name, valid_record(facts.run, facts.scored, picked[name], "measured")) for name in sorted(picked)]
    return [{"id": name, "where": measured_where(m), "rows": measured_rows(m)} for name, m in known if m is not None]


def _picks(run: Run) -> list[dict[str, Any]]:
    """Records of `retrain`, `calibrate` and `evaluate`: up to three per pick."""
    records = []
    for name, kind in itertools.product(picked_ids(run), ("retrained", "calibrated", "test")):
        record = read_record(run, name).get(kind)
        if record is not None:
            bounds = accuracy_bounds(record["metrics"], record["samples"])
            source = {"source": record.get("source") or record["how"]}
            records.append({"id": name, "kind": kind} | record | source | bounds)
    return records
