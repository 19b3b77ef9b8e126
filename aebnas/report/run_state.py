"""The state of a run, also while it is active: progress and estimated time left."""

import csv
from collections.abc import Sequence

from aebnas.report.run_list import listed
from aebnas.report.trial_counts import TrialCounts
from aebnas.run.hypervolume import normalised_hypervolume
from aebnas.run.run_directory import Run
from aebnas.run.run_facts import RunFacts
from aebnas.strategies.front import FrontPoint


def state_lines(facts: RunFacts, counts: TrialCounts, points: Sequence[FrontPoint]) -> list[str]:
    """Lines of text: the state with trials and hypervolume of the front `points`, why a search ended early or found
    nothing, and the progress of a supernet's training."""
    run, length = facts.run, facts.supernet_length
    known, trials = listed(run.folder), counts.total
    parts = [known.state]
    if trials:
        parts += [f"{trials} of {known.max_trials} trials", f"hypervolume {normalised_hypervolume(facts, points):.4f}"]
    if trials and known.state == "running in search":
        # the seconds of trials add up to elapsed time, with workers too, so that their mean is the time per trial
        parts.append(f"ETA {duration(counts.seconds / trials * (known.max_trials - trials))}")
    lines = [f"{run.folder}: {', '.join(parts)}"]
    lines += [f"{run.folder}: {reason}" for reason in known.reasons]
    if length is not None and known.state.endswith("in supernet"):
        lines.append(_training_line(run, length))
    return lines


def _training_line(run: Run, length: str) -> str:
    """Epoch, loss and estimated time left of a supernet's training, as of its last validation."""
    path = run.folder / "train_epoch_metrics.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
    if not rows or "progress" not in rows[-1]:
        return f"supernet: no validation yet ({length})"
    last = int(rows[-1]["epoch"])
    here = [row for row in rows if int(row["epoch"]) == last]
    done = float(here[0]["progress"])
    left_s = (1 - done) / done * last * float(here[0]["train_seconds"])
    accuracies = ", ".join(f"{row['subnet']} {100 * float(row['accuracy_at_0.9']):.1f} %" for row in here)
    return (
        f"supernet: epoch {last} ({100 * done:.0f} % of {length}), loss {float(here[0]['loss']):.4g}, "
        f"ETA {duration(left_s)} from there; "
        f"accuracy {accuracies}"
    )


def duration(seconds: float) -> str:
    """Seconds as text: `42 s`, `12 min`, `3 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
