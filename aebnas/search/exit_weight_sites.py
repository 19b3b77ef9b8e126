"""Loss weights of exits in a spec name sites of its space, by any of their names."""

from aebnas.core.errors import SpecError, in_file
from aebnas.core.spec_base import Spec, did_you_mean, updated
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.space.genome import SearchSpace
from aebnas.space.spec import SpaceSpec
from aebnas.training.exits.exit_weights import LAST, exit_weights
from aebnas.training.training_spec import ExitWeights, LoopSpec


def with_own_site_names(experiment: ExperimentSpec, space: SearchSpace) -> ExperimentSpec:
    """The experiment whose exit weights have the sites' own names, which trainings use (`cell3` for `stage1` of a DAG
    space).

    Raises SpecError if weights omit an exit site of the space, name one twice, or name one that it doesn't have.
    """
    evaluate = experiment.evaluate
    changes: dict[str, Spec | None] = {
        "supernet": _renamed("supernet", experiment.supernet, space),
        "retrain": _renamed("retrain", experiment.retrain, space),
    }
    training = _renamed("evaluate.training", evaluate.training, space)
    if training is not evaluate.training:
        changes["evaluate"] = updated(evaluate, {"training": training})
    changes = {name: value for name, value in changes.items() if value is not getattr(experiment, name)}
    return updated(experiment, changes) if changes else experiment


def _renamed(path: str, training: LoopSpec | None, space: SearchSpace) -> LoopSpec | None:
    """The training with the sites' own names; itself where it has them, or names no sites."""
    if training is None:
        return None
    with in_file(None, path):
        weights = _own_names(training.exit_weights, space.spec)
        exit_weights(weights, space.extreme(largest=True))
    return training if weights == training.exit_weights else updated(training, {"exit_weights": weights})


def _own_names(weights: ExitWeights, spec: SpaceSpec) -> ExitWeights:
    if not isinstance(weights, dict):
        return weights
    names = [*(site.name for site in spec.sites()), LAST]
    own: dict[str, float] = {}
    for written, weight in weights.items():
        name = spec.site_name(written)
        if name not in names:
            rule = f"must be one of {', '.join(names)}, but got '{written}'{did_you_mean(written, names)}"
            raise SpecError("exit_weights", rule)
        if name in own:
            raise SpecError("exit_weights", f"sites must be distinct, but got {list(weights)}")
        own[name] = weight
    return own
