from pathlib import Path

import pytest
from tiny_run import EXPERIMENT, TRAIN

from aebnas.core.errors import UserError
from aebnas.core.metrics import Constraint, Objective, SoftTarget
from aebnas.core.spec_base import parse_spec, read_spec
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.space.genome import SearchSpace

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


def parse(**changes) -> ExperimentSpec:
    return parse_spec(ExperimentSpec, EXPERIMENT | changes, "x.yaml")


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_bundled_experiments_are_read(path):
    spec = read_spec(ExperimentSpec, path)
    assert (path.parent / spec.space).exists()
    assert parse_spec(ExperimentSpec, spec.to_json(), "again") == spec


def test_the_quickstart_is_parsed(root):
    spec = read_spec(ExperimentSpec, root / "experiments" / "quickstart.yaml")
    assert spec.parsed_objectives() == [Objective("accuracy"), Objective("avg_macs")]
    assert spec.parsed_constraints() == [Constraint("params", "<=", 150_000)]
    assert spec.parsed_target() is None
    assert (spec.data.name, spec.evaluate.workers, spec.strategy.evaluations) == ("digits", 2, 192)


def test_the_aebnas_experiment_has_the_values_of_the_paper(root):
    spec = read_spec(ExperimentSpec, root / "experiments" / "aebnas_cifar10.yaml")
    assert spec.parsed_target() == SoftTarget("avg_macs", 17e6, 0.1, tunes_thresholds=True)
    assert (spec.strategy.name, spec.strategy.evaluations, spec.strategy.crossover_prob) == ("nsga2", 340, 0.9)
    assert (spec.evaluate.mode, spec.candidate_training.epochs) == ("finetune", 5)
    genes = SearchSpace.load(root / "experiments" / spec.space).spec.policy
    assert (genes.criterion, genes.thresholds.genes) == (("margin",), (0.1, 0.2, "never"))


def test_a_soft_target_is_read():
    spec = parse(target={"metric": "params", "value": 5e4, "weight": 0.2})
    assert spec.parsed_target() == SoftTarget("params", 5e4, 0.2)


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"stategy": {}}, "stategy: unknown key, did you mean 'strategy'?"),
        ({"supernet": TRAIN | {"epoch": 1}}, "supernet.epoch: unknown key, did you mean 'epochs'?"),
        ({"supernet": {}}, "supernet.epochs: this key is required"),
        ({"objectives": ["accuracy"]}, "objectives: must name two or more different metrics"),
        ({"objectives": ["accuracy", "accuracy"]}, "objectives: must name two or more different metrics"),
        ({"objectives": ["acuracy", "avg_macs"]}, "did you mean 'accuracy'?"),
        ({"constraints": ["avg_macs <= 3", "avg_macs >= 4"]}, "'avg_macs >= 4' and 'avg_macs <= 3'"),
        ({"constraints": ["avg_macs = 3"]}, "must read 'metric <= number' or 'metric >= number'"),
        (
            {"constraints": ["avg_macs <= many"]},
            "constraints.0: must bound avg_macs by a number, but got",
        ),
        ({"constraints": ["latency <= 4"]}, "metric must be one of"),
        ({"constraints": ["accuracy >= 97"]}, "constraints.0: must bound accuracy by a fraction in [0, 1], but got 97"),
        (
            {"target": {"metric": "accuracy", "value": 1}},
            "target.metric: must be one that is minimised, but got",
        ),
        ({"target": {"value": 0}}, "target.value: must be greater than 0"),
        ({"evaluate": {"workers": -1}}, "evaluate.workers: must be greater than or equal to 0, but got -1"),
        ({"evaluate": {"weights": "finetune"}}, "evaluate.weights: must be supernet, finetune(EPOCHS) or scratch("),
        ({"evaluate": {"weights": "scratch(0)"}}, "whole number of at least 1, but got 'scratch(0)'"),
        (
            {"evaluate": {"weights": "scratch(1)"}},
            "retrain.weights: must be scratch or kept where evaluate.weights is scratch(1)",
        ),
        ({"evaluate": {"training": {"epochs": 3}}}, "evaluate.training.epochs: unknown key"),
        ({"evaluate": {"gpus_per_worker": 2}}, "evaluate.gpus_per_worker: must be less than or equal to 1"),
        ({"supernet": None}, "supernet: is required when evaluate.weights is supernet"),
        (
            {"target": {"metric": "params", "value": 9, "tune_thresholds": True}},
            "target.metric: must be avg_macs where thre",
        ),
        (
            {"strategy": {"name": "luck"}},
            "must be 'random', 'nsga2' or 'adaptive_darts', but got 'luck'",
        ),
        ({"supernet": TRAIN | {"exit_weights": "foo"}}, "supernet.exit_weights: must be 'equal' or 'linear'"),
        ({"supernet": TRAIN | {"lr": float("nan")}}, "supernet.lr: must be"),
        ({"seed": -1}, "seed: must be greater than or equal to 0"),
    ],
)
def test_a_bad_spec_is_reported_in_one_line(changes, expected):
    with pytest.raises(UserError) as caught:
        parse(**changes)
    message = str(caught.value)
    assert message.startswith("x.yaml: ") and expected in message and "\n" not in message


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        read_spec(ExperimentSpec, tmp_path / "none.yaml")


def test_candidates_are_trained_as_the_pick_is_unless_specified():
    assert parse().candidate_training is None and parse().trains_supernet
    tuned = parse(evaluate={"weights": "finetune(5)"})
    assert tuned.trains_supernet
    assert tuned.candidate_training.model_dump() == tuned.retrain.model_dump(exclude={"weights"}) | {"epochs": 5}
    scratch = parse(
        evaluate={"weights": "scratch(12)", "training": {"lr": 0.3}},
        retrain=TRAIN | {"weights": "scratch"},
    )
    assert not scratch.trains_supernet
    assert (scratch.candidate_training.epochs, scratch.candidate_training.lr, scratch.candidate_training.precision) == (
        12,
        0.3,
        "auto",
    )
    assert parse_spec(ExperimentSpec, scratch.to_json(), "again") == scratch
