"""`aebnas evaluate` and `aebnas export`: a selected model's figures on the test set, and the model as a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from aebnas.core.confidence_intervals import accuracy_bounds, difference
from aebnas.core.errors import UserError
from aebnas.core.notes import print_note
from aebnas.core.version import __version__
from aebnas.data.splits import CALIBRATE, SEARCH
from aebnas.evaluation.operating_points import operating_point
from aebnas.export.card import CardFacts
from aebnas.export.folder import check_replaceable, export_model
from aebnas.export.recalibrate import recorded_rules
from aebnas.run.checked_data import RECORDED
from aebnas.run.device_facts import device_text
from aebnas.run.events import Listen, RunEvents
from aebnas.run.front_files import record_optimism
from aebnas.run.pick_records import record_pick
from aebnas.run.session import RunSession
from aebnas.selected.recorded_outputs import SelectedModelOutputs
from aebnas.selected.selected_model import load_selected_model
from aebnas.selected.test_report import Evaluation, evaluated, exit_records
from aebnas.strategies.trial import OperatingPoint


@dataclass(frozen=True)
class Assessment:
    """A selected model on the test set and on the search split, under the same weights and the same policy.

    `id` is the id on the front, `source` the origin of weights and policy; `point` was measured on `samples` images of
    the test set, `search_point` on `search_samples` images of the search split. `notes` are lines for the user.
    """

    id: str
    source: str
    point: OperatingPoint
    samples: int
    search_point: OperatingPoint
    search_samples: int
    evaluation: Evaluation
    notes: tuple[str, ...] = ()

    @property
    def optimism(self) -> dict[str, float]:
        """Optimism of the search split: its accuracy minus that of the test set, with a 95 % interval."""
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
        """The content of `test` in `picks/<id>.json`."""
        bounds = accuracy_bounds(self.point.metrics, self.samples)
        about = {"source": self.source, "samples": self.samples}
        more = {"optimism": self.optimism, "evaluation": self.evaluation.to_json(), "notes": list(self.notes)}
        return self.point.to_json() | about | bounds | more


def evaluate(
    folder: Path,
    rule: str,
    full: bool = False,
    budgets: Sequence[float] = (),
    listen: Listen = RunEvents,
    verify: bool = False,
) -> Assessment:
    """Measure the selected model on the test set, which no other command reads.

    Recorded in `picks/<id>.json` (see `Assessment.to_json`) and `summary.json`. `full` adds corrupted and
    out-of-distribution images, and online adaptation; `budgets` are average MACs; `listen` makes the listener of the
    events; `verify` compares contents of image files with those at the run's start. Raises UserError if the rule
    matches no point, weights or test images are missing, or other images than those of the test set have changed.
    """
    outputs = SelectedModelOutputs.open(folder, rule, verify)
    session, state = outputs.session, outputs.state
    with listen(session.facts) as events:
        _ = session.images.splits  # changed ones are refused
        known = session.valid_record(outputs.picked, "test")
        changed = _changed_test_set(session.images.test_fingerprint, known)
        found, table = evaluated(outputs, state.point.policy, full, budgets, events)
        measured = operating_point(outputs.picked[0].architecture.id, outputs.graph, state.point.policy, table)
        search_samples = session.run.image_counts()[SEARCH]
        assessment = Assessment(
            outputs.id, state.source, measured, table.samples, state.point, search_samples, found, changed
        )
        fingerprint = {"fingerprint": session.images.test_fingerprint[0]}
        record_pick(session.run, outputs.picked, "test", assessment.to_json() | fingerprint)
        record_optimism(session.run)
        events.selected_model_changed(outputs.id)
    return assessment


def _changed_test_set(test: tuple[str, str], known: dict[str, Any] | None) -> tuple[str, ...]:
    """A note on a test set that isn't that of the run's start (`test` says how it differs), or of the last evaluation
    (`known`)."""
    fingerprint, how = test
    if how:
        return (f"the test set isn't that of the run's start ({how}); the figures are those of the present one",)
    if known is not None and known.get("fingerprint", fingerprint) != fingerprint:
        return ("the test set isn't that of the last evaluation; the figures are those of the present one",)
    return ()


def export(folder: Path, rule: str, out: Path) -> str:
    """Write the selected model as a standalone folder; returns its id.

    The card states test metrics if `evaluate` has measured the present weights and policy, else those of the search
    split. Raises UserError if the rule matches no point, weights are missing, or `out` holds anything but an export.
    """
    session = RunSession.open(folder)
    check_replaceable(out.resolve())  # before the network runs
    selected = load_selected_model(session, rule)
    counts, state = session.run.image_counts(), session.selected_state(selected.trial_point)
    point, split, samples = selected.point, SEARCH, counts[SEARCH]
    if test := session.valid_record(selected.trial_point, "test"):
        point, split, samples = OperatingPoint.from_json(test), "test", test["samples"]
        exits = test["evaluation"].get("exits", [])  # absent in records of earlier versions
    else:
        exits = _search_exits(SelectedModelOutputs(session, selected.trial_point), selected.policy.temperatures)
    record = session.data_record
    if record is not None:
        preprocessing, recorded = record.preprocessing, record.samples
    else:  # a run of an earlier version
        images = session.images
        search = images.splits.search
        preprocessing, recorded = images.preprocessing, search.subset(torch.arange(len(search))[:RECORDED]).pixels()
    facts = CardFacts(
        name=f"{session.run.name} {selected.id}",
        dataset=session.experiment.data.name,
        split=split,
        samples=samples,
        metrics=point.metrics,
        exit_shares=point.exit_shares,
        exit_accuracy=point.exit_accuracy,
        exit_ece=tuple(each["ece"] for each in exits),
        exit_ece_before=tuple(each["ece_before"] for each in exits),
        training=f"Weights {state.origin}; {counts['train']:,} training images.",
        thresholds=f"Found on {counts[CALIBRATE]:,} other images: {state.how}." if state.how else None,
        aebnas_version=__version__,
        device=device_text(session.profile, session.valid_record(selected.trial_point, "measured")),
        date=date.today().isoformat(),
        promise=state.promise,
        rules=recorded_rules(session.space.spec.policy),
    )
    export_model(out, selected.network, selected.policy, preprocessing, session.class_names(), recorded, facts)
    return selected.id


def _search_exits(outputs: SelectedModelOutputs, temperatures: tuple[float, ...]) -> list[dict[str, float]]:
    """What a card says of each exit on the search split; nothing where that takes images that aren't there any more."""
    if not outputs.has_logits(SEARCH):
        try:
            _ = outputs.session.images.splits
        except UserError as error:
            print_note(
                f"the card states no calibration error of exits, since the images aren't there as they were: {error}"
            )
            return []
    return exit_records(outputs, SEARCH, temperatures)
