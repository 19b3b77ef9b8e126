"""The plan of a valid spec; invalid specs are in `tests/bad_input`."""

from pathlib import Path

import pytest
from tiny_run import EXPERIMENT, GENES, SPACE, write_spec

from aebnas.core.errors import SpecError, UserError
from aebnas.search.plan import make_plan


def test_a_plan_holds_what_the_files_say(tmp_path):
    plan = make_plan(write_spec(tmp_path, seed=3))
    assert (plan.experiment.seed, plan.space.spec.classes) == (3, 10)
    assert (plan.base, plan.folder) == (tmp_path, Path("results/tiny"))
    assert make_plan(plan.spec_file, tmp_path / "run").folder == tmp_path / "run"


def test_an_ablation_is_another_run_of_a_part_of_the_space(tmp_path):
    plan = make_plan(write_spec(tmp_path), ablation="backbone-only")
    assert plan.folder == Path("results/tiny-backbone-only")
    assert plan.space.spec.sites() == ()


def test_exit_weights_may_name_sites_that_an_ablation_removes(tmp_path):
    weights = {"stage1": 0.3, "last": 1}
    spec = write_spec(tmp_path, supernet=EXPERIMENT["supernet"] | {"exit_weights": weights})
    assert make_plan(spec, ablation="backbone-only").experiment.supernet.exit_weights == weights


def test_a_budget_equal_to_the_minimum_is_accepted(tmp_path):
    with pytest.raises(UserError) as refused:
        make_plan(write_spec(tmp_path, constraints=["params <= 1"]))
    least = int(str(refused.value).split("minimum params is ")[1].split(")")[0].replace(",", ""))
    assert make_plan(write_spec(tmp_path, constraints=[f"params <= {least}"]))
    with pytest.raises(UserError, match="no architecture of the space can satisfy"):
        make_plan(write_spec(tmp_path, constraints=[f"params <= {least - 1}"]))


def test_a_target_may_tune_threshold_genes(tmp_path):
    target = {"value": 1e4, "tune_thresholds": True}
    assert make_plan(write_spec(tmp_path, GENES, target=target)).experiment.parsed_target().tunes_thresholds


def test_class_names_are_for_a_set_that_has_none(tmp_path):
    data = {"name": "npz", "path": "none.npz", "class_names": list("abcdefghij")}
    assert make_plan(write_spec(tmp_path, data=data)).experiment.data.class_names == tuple("abcdefghij")
    spec = write_spec(tmp_path, SPACE | {"classes": 2}, data={"name": "npz", "path": "none.npz"})
    assert make_plan(spec).space.spec.classes == 2  # how many there are is in the file, which isn't read yet


def with_rules(*criteria):
    return SPACE | {"policy": {"criterion": list(criteria)}}


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, "evaluate.weights: must be finetune(EPOCHS) or scratch(EPOCHS), since policy.criterion learned and dual"),
        (
            {"evaluate": {"weights": "finetune(1)"}},
            "retrain.exits.stop_heads: must be true, since policy.criterion learned and dual uses stop heads",
        ),
        (
            {"evaluate": {"weights": "finetune(1)", "training": {}}},
            "evaluate.training.exits.stop_heads: must be true, since policy.criterion learned and dual uses stop",
        ),
    ],
)
def test_criteria_with_stop_heads_require_trainings_that_add_them(tmp_path, changes, expected):
    spec = write_spec(tmp_path, with_rules("dual", "confidence", "learned"), **changes)
    with pytest.raises(SpecError) as error:
        make_plan(spec)
    assert expected in str(error.value)


def test_stop_heads_may_come_from_the_retraining_or_from_a_training_of_their_own(tmp_path):
    retrain = EXPERIMENT["retrain"] | {"exits": {"stop_heads": True}}
    own = {"exits": {"stop_heads": True}}
    for number, training in enumerate([None, own]):
        evaluate = {"weights": "finetune(1)", "training": training}
        spec = write_spec(tmp_path / str(number), with_rules("learned"), retrain=retrain, evaluate=evaluate)
        assert make_plan(spec).space.spec.policy.needs_stop_heads
