"""`aebnas evaluate` and `aebnas export`: a selected model's figures on the test set, and the model as a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from aebnas import __version__
from aebnas.core.confidence_intervals import accuracy_bounds, difference
from aebnas.data.splits import SEARCH
from aebnas.evaluation.operating_points import operating_point
from aebnas.export.card import CardFacts
from aebnas.export.folder import export_model
from aebnas.export.recalibrate import recorded_rules
from aebnas.report.device_words import device_words
from aebnas.report.front_files import note_optimism, rewrite_html
from aebnas.run.session import RunSession
from aebnas.selected.recorded_outputs import SelectedModelOutputs
from aebnas.selected.selected_model import known_of_pick, load_selected_model, note_pick, selected_model_state
from aebnas.selected.test_report import Evaluation, evaluated, exit_records
from aebnas.strategies.front import FrontPoint
from aebnas.strategies.trial import OperatingPoint

RECORDED = 32
"""Images of the search split whose answers an export records for its self-check."""


@dataclass(frozen=True)
class Assessment:
    """A selected model on the test set and on the search split, under the same weights and the same policy.

    `id` is that by which it was picked, `source` states where weights and policy come from; `point` was measured on
    `samples` images of the test set, `search_point` on `search_samples` of the search split.
    """

    id: str
    source: str
    point: OperatingPoint
    samples: int
    search_point: OperatingPoint
    search_samples: int
    evaluation: Evaluation

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
        more = {"optimism": self.optimism, "evaluation": self.evaluation.to_json()}
        return self.point.to_json() | about | bounds | more


def evaluate(folder: Path, rule: str, full: bool = False, budgets: Sequence[float] = ()) -> Assessment:
    """Measure the pick on the test set, which nothing else reads; noted in `picks/<id>.json` and `summary.json`.

    `full` adds corrupted and out-of-distribution images, and online adaptation; `budgets` are average MACs.
    """
    answered = SelectedModelOutputs.open(folder, rule)
    session, now = answered.session, answered.now
    found, table = evaluated(answered, now.point.policy, full, budgets)
    measured = operating_point(answered.picked[0].architecture, now.point.policy, table)
    search_samples = len(session.splits.search)
    assessment = Assessment(answered.id, now.source, measured, table.samples, now.point, search_samples, found)
    note_pick(session.run, answered.id, "test", assessment.to_json())
    note_optimism(session.run)
    rewrite_html(session)
    return assessment


def known_test(session: RunSession, picked: FrontPoint) -> dict[str, Any] | None:
    """What `evaluate` noted of a point as it stands now (see `Assessment.to_json`); None if it didn't."""
    return known_of_pick(session, picked, "test")


def export(folder: Path, rule: str, out: Path) -> str:
    """Write the pick as a standalone folder; returns its id.

    The card states the test figures where `evaluate` has measured these weights, else those of the search split.
    """
    session = RunSession.open(folder)
    chosen = load_selected_model(session, rule)
    search, now = session.splits.search, selected_model_state(session, chosen.trial_point)
    point, split, samples = chosen.point, "search", len(search)
    if test := known_test(session, chosen.trial_point):
        point, split, samples = OperatingPoint.from_json(test), "test", test["samples"]
        exits = test["evaluation"].get("exits", [])  # absent in records of earlier versions
    else:
        exits = exit_records(SelectedModelOutputs(session, chosen.trial_point), SEARCH, chosen.policy.temperatures)
    facts = CardFacts(
        name=f"{session.run.name} {chosen.id}",
        dataset=session.experiment.data.name,
        split=split,
        samples=samples,
        metrics=point.metrics,
        exit_shares=point.exit_shares,
        exit_accuracy=point.exit_accuracy,
        exit_ece=tuple(each["ece"] for each in exits),
        exit_ece_before=tuple(each["ece_before"] for each in exits),
        training=f"Weights {now.origin}; {len(session.splits.train):,} training images.",
        thresholds=f"Found on {len(session.splits.calibrate):,} others: {now.how}." if now.how else None,
        aebnas_version=__version__,
        device=device_words(session.profile, known_of_pick(session, chosen.trial_point, "measured")),
        date=date.today().isoformat(),
        promise=now.promise,
        rules=recorded_rules(session.space.spec.policy),
    )
    export_model(
        out,
        chosen.network,
        chosen.policy,
        session.preprocessing,
        session.class_names(),
        search.subset(torch.arange(len(search))[:RECORDED]).pixels(),
        facts,
    )
    return chosen.id
