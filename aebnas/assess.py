"""`aebnas evaluate` and `aebnas export`: what a pick is worth on the test set, and the pick as a folder to ship."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from aebnas import __version__
from aebnas.data.datasets import load_test
from aebnas.evaluate.points import operating_point
from aebnas.export.bundle import export_model
from aebnas.export.card import CardFacts
from aebnas.interval import accuracy_bounds, difference
from aebnas.policy.tabulate import tabulate_for
from aebnas.progress import progress_bar
from aebnas.report.device import device_sentence
from aebnas.report.results import note_optimism, rewrite_html
from aebnas.trial import OperatingPoint
from aebnas.workspace import Workspace, load_chosen, note_pick, read_pick, retrained_record

RECORDED = 32
"""Pictures of the search split whose answers an export records for its self-check."""


@dataclass(frozen=True)
class Assessment:
    """A pick on the test set and on the search split, under the same weights and the same policy.

    `id` is that by which it was picked, `source` says where the weights come from; `point` was measured on `samples`
    pictures of the test set, `search_point` on `search_samples` of the search split.
    """

    id: str
    source: str
    point: OperatingPoint
    samples: int
    search_point: OperatingPoint
    search_samples: int

    @property
    def optimism(self) -> dict[str, float]:
        """By how much the search split flatters: its accuracy minus the test set's, with a 95 % interval."""
        search, test = self.search_point.metrics["accuracy"], self.point.metrics["accuracy"]
        low, high = difference(search, self.search_samples, test, self.samples)
        return {
            "search_accuracy": search,
            "search_samples": self.search_samples,
            "test_accuracy": test,
            "test_samples": self.samples,
            "difference": search - test,
            "difference_low": low,
            "difference_high": high,
        }

    def to_json(self) -> dict[str, Any]:
        """What `picks/<id>.json` keeps under `test`."""
        bounds = accuracy_bounds(self.point.metrics, self.samples)
        about = {"source": self.source, "samples": self.samples}
        return self.point.to_json() | about | bounds | {"optimism": self.optimism}


def evaluate(folder: Path, rule: str) -> Assessment:
    """Measure the pick on the test set, which nothing else reads; noted in `picks/<id>.json` and `summary.json`."""
    workspace = Workspace.open(folder)
    chosen = load_chosen(workspace, rule)
    images = load_test(workspace.experiment.data, workspace.base)
    costs = workspace.cost_model
    with workspace.repeatable():
        table = tabulate_for(chosen.policy, chosen.network, images, workspace.preprocessing, progress_bar, costs)
    measured = operating_point(chosen.trial_point[0].architecture, chosen.policy, table)
    search_samples = len(workspace.splits.search)
    assessment = Assessment(chosen.id, chosen.source, measured, len(images), chosen.point, search_samples)
    note_pick(workspace.run, chosen.id, "test", assessment.to_json())
    note_optimism(workspace.run)
    rewrite_html(workspace)
    return assessment


def known_test(workspace: Workspace, point_id: str) -> dict[str, Any] | None:
    """What `evaluate` noted of a point under the weights it has now (see `Assessment.to_json`); None if it didn't."""
    retrained = retrained_record(workspace.run, point_id)
    source = retrained["source"] if retrained else workspace.experiment.evaluate.source
    test = read_pick(workspace.run, point_id).get("test", {})
    return test if test.get("source") == source else None


def export(folder: Path, rule: str, out: Path) -> str:
    """Write the pick as a standalone folder; returns its id.

    The card states the test figures where `evaluate` has measured these weights, else those of the search split.
    """
    workspace = Workspace.open(folder)
    chosen = load_chosen(workspace, rule)
    search = workspace.splits.search
    point, split, samples = chosen.point, "search", len(search)
    if test := known_test(workspace, chosen.id):
        point, split, samples = OperatingPoint.from_json(test), "test", test["samples"]
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
        device=device_sentence(workspace.profile) if workspace.profile else "",
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
