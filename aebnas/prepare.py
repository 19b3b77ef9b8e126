"""What can be known of a search before anything heavy is imported: its specs, and whether they fit each other.

Imports no torch, so that a mistake is shown at once; what the pictures must tell is checked later, by `search`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aebnas.cost.bounds import Measure, space_bounds
from aebnas.data.classes import class_names
from aebnas.errors import SpecError, in_file
from aebnas.experiment import ExperimentSpec
from aebnas.objectives import MAX_COMBINATIONS, Constraint, SoftTarget
from aebnas.space.ablation import ablate
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec
from aebnas.specfile import did_you_mean, parse_spec, read_spec
from aebnas.train.exit_weights import LAST, exit_weights


@dataclass(frozen=True)
class Plan:
    """A checked search: the spec's file, what it and the space say, and the folder of the run."""

    spec_file: Path
    experiment: ExperimentSpec
    space: SearchSpace
    folder: Path

    @property
    def base(self) -> Path:
        """Where the spec's relative paths start."""
        return self.spec_file.parent


def prepare(
    spec_file: Path,
    out: Path | None = None,
    ablation: str | None = None,
    deterministic: bool = False,
    value: Mapping[str, Any] | None = None,
) -> Plan:
    """Read a spec and its space and check one against the other; `out` is the run's folder.

    With `ablation` (see `space.ablation`) that part of the space; `deterministic` switches that key on. `value` stands
    for what the file holds, which then need not be there: it gives errors and the run their name, and relative paths
    their start. The folder is `results/<name of the spec>` unless given, and `results/<name of the spec>-<ablation>`.
    Raises UserError for bad specs, budgets below the space's minimum and whatever else needs no pictures to be known.
    """
    if value is None:
        experiment = read_spec(ExperimentSpec, spec_file)
    else:
        experiment = parse_spec(ExperimentSpec, dict(value), spec_file)
    if deterministic:
        experiment = experiment.model_copy(update={"deterministic": True})
    space_file = spec_file.parent / experiment.space.expanduser()
    if not space_file.exists():
        raise SpecError("space", f"must be a search space's file, but '{space_file}' is no such file", spec_file)
    space = SearchSpace.load(space_file)
    with in_file(spec_file):
        check_exit_weights(experiment, space)
        if ablation is not None:
            space = ablate(space, ablation)
        check_budgets(space.spec, experiment.parsed_constraints())
        check_tuning(space.spec, experiment.parsed_target())
        check_classes(experiment, space, spec_file.parent, space_file)
    folder = out or Path("results") / "-".join(filter(None, (spec_file.stem, ablation)))
    return Plan(spec_file, experiment, space, folder)


MEASURES: dict[str, Measure] = {
    "macs": lambda counts: counts.macs,
    "params": lambda counts: counts.params,
    "weight_bytes": lambda counts: counts.weight_bytes,
}


def check_exit_weights(experiment: ExperimentSpec, space: SearchSpace) -> None:
    """Raise SpecError where weights of exits' losses leave out a place of the space, or name one that it hasn't."""
    places = [*(site.name for site in space.spec.sites()), LAST]
    trainings = {"supernet": experiment.supernet, "evaluate.training": experiment.evaluate.training}
    for path, training in (trainings | {"retrain": experiment.retrain}).items():
        if training is None:
            continue
        with in_file(None, path):
            named = training.exit_weights if isinstance(training.exit_weights, dict) else {}
            for place in named:
                if place not in places:
                    rule = f"must be of {', '.join(places)}, but got '{place}'{did_you_mean(place, places)}"
                    raise SpecError("exit_weights", rule)
            exit_weights(training.exit_weights, space.extreme(largest=True))


def check_classes(experiment: ExperimentSpec, space: SearchSpace, base: Path, space_file: Path) -> None:
    """Raise SpecError where the names of the classes tell that the data have more or fewer than the space."""
    names, classes = class_names(experiment.data, base), space.spec.classes
    if names is None or len(names) == classes:
        return
    if experiment.data.class_names is not None:
        raise SpecError("data.class_names", f"must be {classes} names, as the space says, but got {len(names)}")
    raise SpecError("classes", f"must be {len(names)}, as in the data, but got {classes}", space_file)


def check_budgets(spec: SpaceSpec, constraints: Sequence[Constraint]) -> None:
    """Raise SpecError where no architecture of the space can meet a constraint, from the space's exact bounds."""
    for number, constraint in enumerate(constraints):
        metric = constraint.metric
        average = metric.startswith("avg_")
        measure = MEASURES.get("macs" if average else metric)
        if measure is None:
            continue
        bounds = space_bounds(spec, measure)
        least = bounds.first_exit if average else bounds.lower
        most = bounds.upper
        if constraint.sense == "<=" and constraint.bound < least:
            rule = f"must leave a network possible (the least {metric} in this space is {least:,})"
            raise SpecError(f"constraints.{number}", f"{rule}, but got '{constraint}'")
        if constraint.sense == ">=" and constraint.bound > most:
            rule = f"must leave a network possible (the greatest {metric} in this space is {most:,})"
            raise SpecError(f"constraints.{number}", f"{rule}, but got '{constraint}'")


def check_tuning(spec: SpaceSpec, target: SoftTarget | None) -> None:
    """Raise SpecError where a target shall tune threshold genes that aren't there, or too many of them."""
    if target is None or not target.tunes_thresholds:
        return
    genes = spec.policy.thresholds.genes
    if genes is None:
        rule = "must be false, since the space has no threshold genes, but got true"
        raise SpecError("target.tune_thresholds", rule)
    if (combinations := len(genes) ** len(spec.sites())) > MAX_COMBINATIONS:
        rule = f"must be a grid of at most {MAX_COMBINATIONS:,} combinations, but got {combinations:,}"
        raise SpecError("target.tune_thresholds", rule)
