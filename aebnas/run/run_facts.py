"""The facts on a run that its files, terminal output and report use, as one small frozen record."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from aebnas.core.metrics import METRICS, Constraint, Objective
from aebnas.cost.bounds.metric_bounds import metric_bounds
from aebnas.cost.latency.latency_model import latency_model
from aebnas.cost.latency.network_profile import Profile, load_profile
from aebnas.cost.memory import peak_memory
from aebnas.cost.model import CostModel
from aebnas.run.experiment_spec import ExperimentSpec, ScoredWeights
from aebnas.run.run_config import RunConfig
from aebnas.run.run_directory import Run
from aebnas.runtime.shape_rules import shape_text
from aebnas.space.genome import SearchSpace
from aebnas.space.lowering import lower
from aebnas.strategies.front import FrontPoint, front


@dataclass(frozen=True)
class RunFacts:
    """The properties of a run besides its trials; needs no images and no weights, and is picklable.

    `data` is the name of the image set, `input_text` its source, shape and classes as far as the specs state them.
    `images` maps each split to its number of images. `requested_metrics` are the metrics of objectives, constraints and
    target. `max_costs` maps each minimised objective to its maximum in the space, by which the hypervolume normalises
    it. `scored` describes the weights that candidates were scored with. `supernet_length` is None if no supernet is
    trained. `profile` is the device profile of the run; `ships_stop_heads` is whether candidates are charged with stop
    heads.
    """

    folder: Path
    data: str
    input_text: str
    split_seed: int
    images: dict[str, int]
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    requested_metrics: tuple[str, ...]
    max_costs: dict[str, float]
    scored: ScoredWeights
    supernet_length: str | None
    profile: Profile | None
    ships_stop_heads: bool

    @classmethod
    def read(cls, folder: Path) -> "RunFacts":
        """The facts on a run from its folder; raises UserError if it isn't a run or can't be read."""
        run = Run.open(folder)
        config = RunConfig.read(run)
        profile = read_profile(run, config.experiment)
        costs = replace(cost_model(profile), stop_heads=config.experiment.ships_stop_heads)
        return cls.of(run, config.experiment, config.space, profile, costs)

    @classmethod
    def of(
        cls, run: Run, experiment: ExperimentSpec, space: SearchSpace, profile: Profile | None, costs: CostModel
    ) -> "RunFacts":
        """The facts on a run whose `protocol.json` exists; `costs` is the cost model of candidates. Raises UserError if
        that file can't be read."""
        objectives = tuple(experiment.parsed_objectives())
        data, spec = experiment.data, space.spec
        source = f"{data.name} {data.path.name}" if data.path else data.name
        return cls(
            folder=run.folder,
            data=data.name,
            input_text=f"{source}, {shape_text(spec.input.shape)}, {spec.classes} classes",
            split_seed=data.splits.seed,
            images=run.image_counts(),
            objectives=objectives,
            constraints=tuple(experiment.parsed_constraints()),
            requested_metrics=tuple(dict.fromkeys(experiment.requested_metrics().values())),
            max_costs={
                objective.metric: max_cost(space, objective.metric, profile, costs)
                for objective in objectives
                if METRICS[objective.metric].direction == "min"
            },
            scored=experiment.scored_weights,
            supernet_length=experiment.supernet.length if experiment.supernet and experiment.trains_supernet else None,
            profile=profile,
            ships_stop_heads=experiment.ships_stop_heads,
        )

    @cached_property
    def run(self) -> Run:
        """The run's folder."""
        return Run(self.folder)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.name

    @property
    def samples(self) -> int:
        """Number of images in the search split, on which every accuracy of a front is measured."""
        return self.images["search"]

    def front(self) -> list[FrontPoint]:
        """The front of the trials on disk."""
        return front(self.run.recorded(), self.objectives, self.constraints)


def read_profile(run: Run, experiment: ExperimentSpec) -> Profile | None:
    """The run's copy of its device profile; None if it has none. Raises UserError if it can't be read."""
    return None if experiment.device is None else load_profile(run.profile_file)


def cost_model(profile: Profile | None) -> CostModel:
    """The cost model of a run: counted costs, and predicted ones if there is a profile."""
    return CostModel(None if profile is None else latency_model(profile))


def max_cost(space: SearchSpace, metric: str, profile: Profile | None, costs: CostModel) -> float:
    """The maximum of a cost metric in the space; for costs per sample, that of a sample that runs everything.

    If there is no exact bound, the value of the space's largest network.
    """
    bounds = metric_bounds(space.spec, metric, profile, costs.stop_heads)
    if bounds is not None:
        return float(bounds.upper)
    graph = costs.charged(lower(space.extreme(largest=True)))
    if cost := METRICS[metric].cost:
        return float(costs.exit_costs([graph])[0][cost].total)
    return float(peak_memory(graph)[-1])
