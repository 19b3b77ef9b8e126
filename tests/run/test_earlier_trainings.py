"""Settings of trainings that earlier versions wrote: the same trainings in today's terms."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aebnas.core.errors import SpecError
from aebnas.core.spec_base import parse_spec
from aebnas.run.earlier_trainings import upgraded_experiment, upgraded_training
from aebnas.run.experiment_spec import ExperimentSpec
from aebnas.training.recipes.optimisers import decoupled
from aebnas.training.training_spec import RetrainSpec, SupernetSpec, TrainSpec

OLD = {
    "epochs": 20,
    "batch_size": 64,
    "lr": 0.3,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "warmup_epochs": 2.0,
    "label_smoothing": 0.1,
    "exits": {"warmup_epochs": 5, "activation": "shallow_first", "activation_epochs": 2, "backbone_epochs": 0},
    "clip": 5.0,
    "ema": 0.995,
}


@given(st.floats(1e-4, 5), st.sampled_from([8, 64, 100, 512]), st.floats(0, 0.99), st.floats(0, 0.1))
def test_sgd_has_the_same_rate_and_weight_decay(lr, batch, momentum, weight_decay):
    old = OLD | {"lr": lr, "batch_size": batch, "momentum": momentum, "weight_decay": weight_decay}
    spec = parse_spec(TrainSpec, upgraded_training(old, 20), None)
    assert decoupled(spec, batch) == pytest.approx((lr, weight_decay))


def test_epochs_become_shares_and_the_rest_stays():
    spec = parse_spec(RetrainSpec, upgraded_training(OLD, 20), None)
    assert spec.recipe == "classic" and spec.epochs == 20 and spec.optimiser == "sgd" and not spec.resolution_steps
    assert (spec.warmup, spec.ema, spec.label_smoothing) == (0.1, 0.995, 0.1)
    assert (spec.exits.backbone_first, spec.exits.activation_share) == (0.25, 0.1)
    two_stages = OLD | {"exits": {"backbone_epochs": 15, "stop_heads": True}}
    exits = parse_spec(RetrainSpec, upgraded_training(two_stages, 20), None).exits
    assert (exits.frozen_backbone, exits.stop_heads) == (0.25, True)


def test_settings_with_a_recipe_stay():
    for recipe in ("fast", "classic"):
        new = json.loads(TrainSpec(epochs=3, recipe=recipe).model_dump_json())
        assert upgraded_training(new, 3) == new


def test_a_committed_run_is_read(root):
    config = json.loads((root / "results" / "cifar10_cpu" / "config.json").read_text())
    experiment = parse_spec(ExperimentSpec, upgraded_experiment(config["experiment"]), None)
    assert isinstance(experiment.supernet, SupernetSpec)
    assert decoupled(experiment.supernet, 128) == pytest.approx((0.3, 5e-4))
    assert decoupled(experiment.retrain, 128) == pytest.approx((0.2, 5e-4))
    assert experiment.supernet.warmup == pytest.approx(1 / 12)


def test_candidates_were_trained_for_their_own_epochs():
    old = {"evaluate": {"weights": "finetune(4)", "training": {k: v for k, v in OLD.items() if k != "epochs"}}}
    training = upgraded_experiment(old)["evaluate"]["training"]
    assert training["warmup"] == 0.5 and training["recipe"] == "classic"


@pytest.mark.parametrize("change", [{"lr": "x"}, {"momentum": 1}, {"batch_size": 0}, {"lr": None}, {"recipe": ["a"]}])
def test_damaged_values_are_reported_in_one_line(change):
    with pytest.raises(SpecError) as raised:
        parse_spec(RetrainSpec, upgraded_training(OLD | change, 20), "config.json", "retrain")
    assert "\n" not in str(raised.value) and str(raised.value).startswith("config.json: retrain.")


@pytest.mark.parametrize("value", [None, [], {"supernet": None}, {"retrain": {"epochs": "3", "lr": 0.1}}])
def test_what_is_no_training_stays_for_the_error_it_gives(value):
    assert upgraded_experiment(value) == value
