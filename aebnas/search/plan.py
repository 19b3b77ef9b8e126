"""The plan of a search: its specs, read and checked against each other.

Imports no torch, so that errors are reported at once. What depends on the images is checked later, in `search.loop`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aebnas.core.errors import SpecError, in_file
from aebnas.core.metrics import MAX_COMBINATIONS, METRICS, SoftTarget
from aebnas.core.spec_base import parse_spec, read_spec, short, updated
from aebnas.cost.bounds.metric_bounds import metric_bounds
from aebnas.cost.latency.network_profile import Profile, load_profile
from aebnas.data.class_names import class_numbers, named_classes, own_class_names
from aebnas.data.data_shape import DataShape, check_test_labels, data_shape
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.run.space_file import check_fits
from aebnas.search.exit_weight_sites import with_own_site_names
from aebnas.space.ablation import ablate
from aebnas.space.bundled import find_space
from aebnas.space.genome import SearchSpace
from aebnas.space.policy_spec import DUAL, LEARNED
from aebnas.space.size import count_branches
from aebnas.space.spec import SpaceSpec

UNSATISFIABLE = "no architecture of the space can satisfy"

MAX_BRANCHES = 16
"""Maximum number of candidate branches per exit of a relaxed network; more would cost more than the backbone."""


@dataclass(frozen=True)
class Plan:
    """A checked search: the spec's file, the experiment and the space, the run's folder, the device profile."""

    spec_file: Path
    experiment: ExperimentSpec
    space: SearchSpace
    folder: Path
    profile: Profile | None = None

    @property
    def base(self) -> Path:
        """Where the spec's relative paths start."""
        return self.spec_file.parent


def make_plan(
    spec_file: Path,
    out: Path | None = None,
    ablation: str | None = None,
    deterministic: bool = False,
    value: Mapping[str, Any] | None = None,
) -> Plan:
    """Read a spec and its space, and check them against each other.

    `out` is the run's folder (default: `results/<name of the spec>`, or `results/<name of the spec>-<ablation>`).
    `ablation` restricts the space (see `space.ablation`); `deterministic` sets that key. `value` replaces the content
    of the file, which then need not exist: errors and the run are still named after it, and relative paths start beside
    it. Raises UserError for invalid specs, constraints that no architecture can satisfy, and everything else that can
    be checked without the images.
    """
    if value is None:
        experiment = read_spec(ExperimentSpec, spec_file)
    else:
        experiment = parse_spec(ExperimentSpec, dict(value), spec_file)
    if deterministic:
        experiment = updated(experiment, {"deterministic": True}, spec_file)
    with in_file(spec_file):
        space_file = find_space(experiment.space, spec_file.parent)
        shape = data_shape(experiment.data, spec_file.parent)
        space = SearchSpace.load(space_file, shape.image, shape.classes)
        experiment = with_own_site_names(experiment, space)
        if ablation is not None:
            space = ablate(space, ablation)
        profile = read_device(experiment, spec_file.parent)
        if profile is not None:
            profile.check_covers(space.spec, experiment.ships_stop_heads)
        check_budgets(space.spec, experiment, profile)
        check_tuning(space.spec, experiment.parsed_target())
        check_stop_heads(space.spec, experiment)
        if experiment.trains_relaxed:
            check_relaxable(space.spec, space_file)
            check_relaxed_cost(experiment, profile)
        check_data(experiment, space, shape, spec_file.parent, space_file)
        check_class_weights(experiment, space, spec_file.parent)
        space = with_class_numbers(experiment, space, spec_file.parent, space_file)
    folder = out or Path("results") / "-".join(filter(None, (spec_file.stem, ablation)))
    return Plan(spec_file, experiment, space, folder, profile)


def read_device(experiment: ExperimentSpec, base: Path) -> Profile | None:
    """The device profile of a spec; None if it names none.

    Raises SpecError if one is needed but not named, doesn't exist, or was measured in another setting than the spec's.
    """
    device = experiment.device
    if device is None:
        for place, metric in experiment.requested_metrics().items():
            if METRICS[metric].by_device:
                rule = "must be a metric without a device, or device.profile must name a profile (see aebnas profile)"
                raise SpecError(place, f"{rule}, but got '{metric}'")
        return None
    file = base / device.profile.expanduser()
    if not file.exists():
        raise SpecError("device.profile", f"must be the file of a device profile, but '{file}' doesn't exist")
    profile = load_profile(file)
    with in_file(None, "device"):
        device.check(profile.setting)
    for place, metric in experiment.requested_metrics().items():
        if profile.setting["batch"] > 1 and METRICS[metric].by_device and "@" in metric:
            rule = f"must be a mean where the profile's batch is {profile.setting['batch']}, as samples of a batch"
            raise SpecError(place, f"{rule} wait for each other, but got '{metric}'")
    return profile


def check_data(experiment: ExperimentSpec, space: SearchSpace, shape: DataShape, base: Path, space_file: Path) -> None:
    """Raise SpecError if a space doesn't fit the data, or class names have another number or order."""
    names, classes = experiment.data.class_names, space.spec.classes
    if names is not None and len(names) != classes:
        raise SpecError("data.class_names", f"must be {classes} names, as in the space, but got {len(names)}")
    check_fits(space.spec, experiment.data, shape, space_file)
    if names is not None:
        check_order(names, own_class_names(experiment.data, base))
    check_test_labels(experiment.data, base)


def check_order(names: Sequence[str], own: Sequence[str] | None) -> None:
    """Raise SpecError where class names that are given stand for other classes than those the data call so."""
    for name, class_ in zip(names, own or (), strict=False):
        if name != class_ and own is not None and name in own:
            rule = f"must be in the order of the data's classes ({short(', '.join(own))})"
            raise SpecError("data.class_names", f"{rule}, but got '{name}' for '{class_}'")


def check_class_weights(experiment: ExperimentSpec, space: SearchSpace, base: Path) -> None:
    """Raise SpecError if a weight is given to a class that the data don't have."""
    if isinstance(experiment.classes.weights, dict):
        with in_file(None, "classes.weights"):
            class_numbers(experiment.classes.weights, named_classes(experiment.data, base, space.spec.classes))


def with_class_numbers(experiment: ExperimentSpec, space: SearchSpace, base: Path, space_file: Path) -> SearchSpace:
    """The space with classes in its policy given by number, as in every run, instead of by their names in the data.

    Raises SpecError for a class that the data don't have.
    """
    policy = space.spec.policy
    with in_file(space_file, "policy.min_exit_by_class"):
        by_class = class_numbers(policy.min_exit_by_class, named_classes(experiment.data, base, space.spec.classes))
    if by_class == policy.min_exit_by_class:
        return space
    return SearchSpace(updated(space.spec, {"policy": updated(policy, {"min_exit_by_class": by_class})}))


def check_budgets(spec: SpaceSpec, experiment: ExperimentSpec, profile: Profile | None = None) -> None:
    """Raise SpecError if no architecture of the space can satisfy a constraint, by the space's exact bounds.

    The bounds hold for networks with one op per edge. Input-adaptive networks may exceed the upper bound, since they
    have several ops per edge and a controller, and their samples may cost less than the lower bound, since `zero` may
    be selected on every edge.
    """
    for number, constraint in enumerate(experiment.parsed_constraints()):
        metric, of_samples = constraint.metric, METRICS[constraint.metric].cost
        bounds = metric_bounds(spec, metric, profile, experiment.ships_stop_heads)
        if bounds is None:
            continue
        minimum = bounds.first_exit if of_samples else bounds.lower
        lower_holds, upper_holds = not (of_samples and experiment.ships_choices), not experiment.ships_choices
        if lower_holds and constraint.sense == "<=" and constraint.bound < minimum:
            limit = f"minimum {metric} is {_figure(minimum)}"
            raise SpecError(f"constraints.{number}", f"{UNSATISFIABLE} '{constraint}' ({limit})")
        if upper_holds and constraint.sense == ">=" and constraint.bound > bounds.upper:
            limit = f"maximum {metric} is {_figure(bounds.upper)}"
            raise SpecError(f"constraints.{number}", f"{UNSATISFIABLE} '{constraint}' ({limit})")


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def check_relaxable(spec: SpaceSpec, space_file: Path) -> None:
    """Raise SpecError if a space can't be relaxed into one network that contains all of its candidates."""
    because = "where strategy is adaptive_darts"
    if spec.dag is None:
        raise SpecError("backbone", f"must be dag {because}, but got staged", space_file)
    single = {"input.resolution": spec.input.resolution, "stem.width": spec.stem.width, "stem.act": spec.stem.act}
    single |= {f"dag.stacks.{n}.width": stack.width for n, stack in enumerate(spec.dag.stacks)}
    single["exits.boosted"] = spec.exits.boosted
    for place, values in single.items():
        if len(values) > 1:
            raise SpecError(place, f"must be one value {because}, but got {list(values)}", space_file)
    if spec.policy.thresholds.optimise is None:
        raise SpecError("policy.thresholds", f"must be optimise {because}, but got genes", space_file)
    for site in spec.sites():
        if (count := count_branches(spec, site)) > MAX_BRANCHES:
            rule = f"must offer at most {MAX_BRANCHES} branches {because}, but got {count}"
            raise SpecError(spec.branch_place(site), rule, space_file)


def check_relaxed_cost(experiment: ExperimentSpec, profile: Profile | None) -> None:
    """Raise SpecError if the relaxed cost is latency, but the profile has no latencies of layers."""
    relaxed = experiment.relaxed
    needs_layers = relaxed is not None and relaxed.cost == "latency_ms"
    if needs_layers and (profile is None or profile.additive_latency is None):
        rule = "must be a cost other than latency_ms where the profile has latencies of whole networks only"
        raise SpecError("relaxed.cost", f"{rule}, but got latency_ms")


def check_tuning(spec: SpaceSpec, target: SoftTarget | None) -> None:
    """Raise SpecError if a target tunes threshold genes and the space has none, or too many combinations of them."""
    if target is None or not target.tunes_thresholds:
        return
    genes = spec.policy.thresholds.genes
    if genes is None:
        rule = "must be false, since the space has no threshold genes, but got true"
        raise SpecError("target.tune_thresholds", rule)
    if (combinations := len(genes) ** len(spec.sites())) > MAX_COMBINATIONS:
        rule = f"must be a grid of at most {MAX_COMBINATIONS:,} combinations, but got {combinations:,}"
        raise SpecError("target.tune_thresholds", rule)


def check_stop_heads(spec: SpaceSpec, experiment: ExperimentSpec) -> None:
    """Raise SpecError if an exit criterion uses stop heads, but some training doesn't add them."""
    if not spec.policy.needs_stop_heads or (experiment.trains_relaxed and experiment.relaxed_stop_heads):
        return
    rules = " and ".join(rule for rule in (LEARNED, DUAL) if rule in spec.policy.criterion)
    training = experiment.candidate_training
    if training is None:
        rule = f"must be finetune(EPOCHS) or scratch(EPOCHS), since policy.criterion {rules} uses stop heads"
        raise SpecError("evaluate.weights", f"{rule} and inherited weights have none, but got supernet")
    own = "evaluate.training" if experiment.evaluate.training is not None else "retrain"
    for path, exits in {own: training.exits, "retrain": experiment.retrain.exits}.items():
        if not exits.stop_heads:
            rule = f"must be true, since policy.criterion {rules} uses stop heads, but got false"
            raise SpecError(f"{path}.exits.stop_heads", rule)
