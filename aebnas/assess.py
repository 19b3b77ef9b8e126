"""`aebnas evaluate` and `aebnas export`: what a pick is worth on the test set, and the pick as a folder to ship."""

from datetime import date
from pathlib import Path

import torch

from aebnas import __version__
from aebnas.data.datasets import load_test
from aebnas.evaluate.points import operating_point
from aebnas.export.bundle import export_model
from aebnas.export.card import CardFacts
from aebnas.policy.tabulate import tabulate
from aebnas.trial import OperatingPoint
from aebnas.workspace import Workspace, load_chosen, note_pick, read_pick

RECORDED = 32
"""Pictures of the search split whose answers an export records for its self-check."""


def evaluate(folder: Path, rule: str) -> tuple[str, str, OperatingPoint, int]:
    """Measure the pick on the test set, which nothing else reads.

    Returns its id, where its weights come from, its operating point on the test set, and the number of pictures.
    """
    workspace = Workspace.open(folder)
    chosen = load_chosen(workspace, rule)
    images = load_test(workspace.experiment.data, workspace.base)
    table = tabulate(chosen.network, images, workspace.preprocessing, [chosen.policy.criterion])
    measured = operating_point(chosen.trial_point[0].architecture, chosen.policy, table)
    record = measured.to_json() | {"source": chosen.source, "samples": len(images)}
    with workspace.run.locked():
        note_pick(workspace.run, chosen.id, "test", record)
    return chosen.id, chosen.source, measured, len(images)


def export(folder: Path, rule: str, out: Path) -> str:
    """Write the pick as a standalone folder; returns its id.

    The card states the test figures where `evaluate` has measured these weights, else those of the search split.
    """
    workspace = Workspace.open(folder)
    chosen = load_chosen(workspace, rule)
    known, search = read_pick(workspace.run, chosen.id), workspace.splits.search
    point, split, samples = chosen.trial_point[1], "search", len(search)
    if known.get("test", {}).get("source") == chosen.source:
        point, split, samples = OperatingPoint.from_json(known["test"]), "test", known["test"]["samples"]
    elif "retrained" in known:
        point = OperatingPoint.from_json(known["retrained"])
    facts = CardFacts(
        name=f"{workspace.run.name} {chosen.id}",
        dataset=workspace.experiment.data.name,
        split=split,
        samples=samples,
        metrics=point.metrics,
        exit_shares=point.exit_shares,
        exit_accuracy=point.exit_accuracy,
        training=f"Weights {chosen.source}; {len(workspace.splits.train):,} training pictures.",
        aebnas_version=__version__,
        date=date.today().isoformat(),
    )
    export_model(
        out,
        chosen.network,
        chosen.policy,
        workspace.preprocessing,
        workspace.class_names(),
        search.subset(torch.arange(len(search))[:RECORDED]).pictures(),
        facts,
    )
    return chosen.id
