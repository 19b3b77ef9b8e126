"""Writing a spec and a space for a set of images: what `aebnas init` does."""

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aebnas.core.atomic_files import write_text
from aebnas.core.errors import UserError
from aebnas.core.metrics import METRICS, Constraint
from aebnas.core.spec_base import did_you_mean
from aebnas.data.survey import survey
from aebnas.search.starter.spec import StarterSpec

SPEC, SPACE = "spec.yaml", "space.yaml"
BUDGETED = tuple(name for name, metric in METRICS.items() if metric.direction == "min" and not metric.by_device)
"""Metrics that a budget may bound: those of a device need its profile."""
_BUDGET = re.compile(r"\s*([^\s<=]+)\s*<?=\s*([^\s<=]+)\s*")


@dataclass(frozen=True)
class Starter:
    """What was written into `folder`."""

    folder: Path
    spec: StarterSpec

    @property
    def spec_file(self) -> Path:
        """The experiment."""
        return self.folder / SPEC

    @property
    def space_file(self) -> Path:
        """The search space."""
        return self.folder / SPACE

    @property
    def next_commands(self) -> list[str]:
        """What to run now, as a shell takes it."""
        spec, space = shlex.quote(str(self.spec_file)), shlex.quote(str(self.space_file))
        out = shlex.quote(str(Path("results") / self.folder.resolve().name))
        return [f"aebnas search {spec} --out {out}", f"aebnas space {space} --spec {spec}"]


def read_budget(text: str) -> Constraint:
    """A budget such as `avg_macs=20e6`; raises UserError for anything else."""
    match = _BUDGET.fullmatch(text)
    if match is None:
        raise UserError(f"--budget must read METRIC=NUMBER, such as avg_macs=20e6, but got '{text}'")
    metric, number = match.groups()
    if metric not in BUDGETED:
        hint = did_you_mean(metric, BUDGETED)
        raise UserError(f"--budget must bound one of {', '.join(BUDGETED)}, but got '{metric}'{hint}")
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not (math.isfinite(bound) and bound > 0):
        raise UserError(f"--budget must bound {metric} by a finite number above 0, but got '{number}'")
    return Constraint(metric, "<=", bound)


def write_starter(folder: Path, data: Path, budgets: Sequence[str] = (), force: bool = False) -> Starter:
    """Look at images and write `spec.yaml` and `space.yaml` for them into a folder; `force` replaces these files.

    Raises UserError for files that are there, budgets of another form or that can't be met, and unusable data.
    """
    constraints = [read_budget(text) for text in budgets]
    twice = [one.metric for one in constraints if sum(one.metric == other.metric for other in constraints) > 1]
    if twice:
        raise UserError(f"--budget must bound a metric once, but got {twice[0]} several times")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: must be a folder or a new name, but got a file")
    if data.is_dir() and data.resolve() in folder.resolve().parents:
        raise UserError(f"{folder}: must not lie in the folder of images, where it would be a class, but got {data}")
    for file in (folder / SPEC, folder / SPACE):
        if file.exists() and not force:
            raise UserError(f"{file}: must not exist yet (--force replaces it), but is there")
    spec = StarterSpec.scaled(survey(data), constraints)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {SPEC: spec.text(folder, SPACE), SPACE: spec.space.text()}
    for name, text in texts.items():
        write_text(folder / name, text)
    return Starter(folder, spec)
