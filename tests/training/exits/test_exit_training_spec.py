"""When exits take part in a training, and settings that contradict each other."""

import pytest
from pydantic import ValidationError

from aebnas.core.errors import SpecError
from aebnas.training.exits.exit_training_spec import ExitTrainingSpec
from aebnas.training.exits.exit_weights import mask_inactive
from aebnas.training.training_spec import RetrainSpec, SupernetSpec


def test_by_default_all_exits_train_from_the_first_step():
    assert ExitTrainingSpec().active(0, 3) == (True, True, True)
    assert ExitTrainingSpec().active(0, 1) == (True,)


def test_mixed_training_begins_with_the_last_exit_only():
    exits = ExitTrainingSpec(backbone_first=0.5)
    assert [exits.active(progress, 3) for progress in (0, 0.49, 0.5)] == [
        (False, False, True),
        (False, False, True),
        (True, True, True),
    ]


@pytest.mark.parametrize(
    "activation, second",
    [("shallow_first", (True, False, False, True)), ("deep_first", (False, False, True, True))],
)
def test_exits_are_added_one_by_one(activation, second):
    exits = ExitTrainingSpec(backbone_first=0.1, activation=activation, activation_share=0.2)
    assert exits.active(0, 4) == (False, False, False, True)
    assert exits.active(0.1, 4) == exits.active(0.29, 4) == second
    assert sum(exits.active(0.3, 4)) == 3
    assert exits.active(0.5, 4) == exits.active(0.99, 4) == (True,) * 4


def test_weights_of_exits_that_do_not_train_go_to_the_others():
    assert mask_inactive([0.2, 0.3, 0.5], (False, True, True)) == pytest.approx([0.0, 0.375, 0.625])
    assert mask_inactive([0.2, 0.3, 0.5], (True, True, True)) == [0.2, 0.3, 0.5]
    assert mask_inactive([1.0, 0.0], (False, True)) == [0.0, 1.0]


@pytest.mark.parametrize(
    "more", [{"policy_loss": 0.1}, {"stop_heads": True}, {"frozen_backbone": 0.5}, {"backbone_first": 0.5}]
)
def test_blending_cannot_be_combined_with_other_settings(more):
    with pytest.raises((SpecError, ValidationError), match=f"cannot be combined with {next(iter(more))}"):
        ExitTrainingSpec(blended=True, **more)


@pytest.mark.parametrize(
    "exits, rule",
    [
        ({"frozen_backbone": 0.5, "backbone_first": 0.2}, "must be 0 with frozen_backbone"),
        ({"reach_weights": True}, "must be set only with frozen_backbone"),
        ({"frozen_backbone": 1.0}, "less than 1"),
    ],
)
def test_stages_that_contradict_each_other(exits, rule):
    with pytest.raises((SpecError, ValidationError), match=rule):
        RetrainSpec(epochs=3, exits=exits)


@pytest.mark.parametrize(
    "exits", [{"frozen_backbone": 0.5}, {"blended": True}, {"policy_loss": 0.1}, {"stop_heads": True}]
)
def test_a_supernet_supports_only_the_activation_of_exits(exits):
    assert SupernetSpec(epochs=5, exits={"activation": "deep_first"}).exits.activation == "deep_first"
    with pytest.raises((SpecError, ValidationError), match="set only for the training of single networks"):
        SupernetSpec(epochs=5, exits=exits)
