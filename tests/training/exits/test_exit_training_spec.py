"""When exits take part in a training, and settings that contradict each other."""

import pytest
from pydantic import ValidationError

from aebnas.core.errors import SpecError
from aebnas.training.exits.exit_training_spec import ExitTrainingSpec
from aebnas.training.exits.exit_weights import mask_inactive
from aebnas.training.training_spec import RetrainSpec, SupernetSpec, TrainSpec


def test_by_default_all_exits_train_from_the_first_epoch():
    assert ExitTrainingSpec().active(0, 3) == (True, True, True)
    assert ExitTrainingSpec().active(0, 1) == (True,)


def test_warm_up_trains_only_the_last_exit():
    exits = ExitTrainingSpec(warmup_epochs=2)
    assert [exits.active(epoch, 3) for epoch in (0, 1, 2)] == [
        (False, False, True),
        (False, False, True),
        (True, True, True),
    ]


@pytest.mark.parametrize(
    "activation, second",
    [("shallow_first", (True, False, False, True)), ("deep_first", (False, False, True, True))],
)
def test_exits_are_added_one_by_one(activation, second):
    exits = ExitTrainingSpec(warmup_epochs=1, activation=activation, activation_epochs=2)
    assert exits.active(0, 4) == (False, False, False, True)
    assert exits.active(1, 4) == exits.active(2, 4) == second
    assert sum(exits.active(3, 4)) == 3
    assert exits.active(5, 4) == exits.active(99, 4) == (True,) * 4


def test_weights_of_exits_that_do_not_train_go_to_the_others():
    assert mask_inactive([0.2, 0.3, 0.5], (False, True, True)) == pytest.approx([0.0, 0.375, 0.625])
    assert mask_inactive([0.2, 0.3, 0.5], (True, True, True)) == [0.2, 0.3, 0.5]
    assert mask_inactive([1.0, 0.0], (False, True)) == [0.0, 1.0]


@pytest.mark.parametrize(
    "more", [{"policy_loss": 0.1}, {"stop_heads": True}, {"backbone_epochs": 1}, {"warmup_epochs": 1}]
)
def test_blending_cannot_be_combined_with_other_settings(more):
    with pytest.raises((SpecError, ValidationError), match=f"cannot be combined with {next(iter(more))}"):
        ExitTrainingSpec(blended=True, **more)


def test_branches_require_epochs_after_those_of_the_backbone():
    assert TrainSpec(epochs=3, exits={"backbone_epochs": 2}).exits.backbone_epochs == 2
    with pytest.raises((SpecError, ValidationError), match="must be below the 3 epochs, but got 3"):
        RetrainSpec(epochs=3, exits={"backbone_epochs": 3})


@pytest.mark.parametrize(
    "exits", [{"backbone_epochs": 1}, {"blended": True}, {"policy_loss": 0.1}, {"stop_heads": True}]
)
def test_a_supernet_supports_only_the_activation_of_exits(exits):
    assert SupernetSpec(epochs=5, exits={"activation": "deep_first"}).exits.activation == "deep_first"
    with pytest.raises((SpecError, ValidationError), match="set only for the training of single networks"):
        SupernetSpec(epochs=5, exits=exits)
