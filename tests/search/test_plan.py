"""The plan of a valid spec; invalid specs are in `tests/bad_input`."""

import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_run import EXPERIMENT, GENES, SPACE, write_spec

from aebnas.core.errors import SpecError, UserError
from aebnas.run.run_config import RunConfig
from aebnas.search.plan import make_plan
from aebnas.space.genome import SearchSpace


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


def write_arrays(folder: Path, classes: int, side: int, channels: int = 1) -> dict[str, Any]:
    """An array file with two images of each class; returns the spec's part that names it."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.arange(2 * classes) % classes
    images = np.zeros((2 * classes, side, side, channels), np.uint8)
    np.savez(folder / "set.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    return {"name": "npz", "path": "set.npz"}


def test_class_names_are_for_a_set_that_has_none(tmp_path):
    data = write_arrays(tmp_path, 10, 8) | {"class_names": list("abcdefghij")}
    assert make_plan(write_spec(tmp_path, data=data)).experiment.data.class_names == tuple("abcdefghij")


def without(space: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in space.items() if key not in keys}


SETS = {
    "digits": ({"name": "digits"}, (1, 8), 10),
    "public": ({"name": "cifar100"}, (3, 32), 100),
    "folder": ({"name": "folder", "path": "images", "resolution": 20}, (3, 20), 3),
    "grey folder": ({"name": "folder", "path": "images", "resolution": 9, "channels": 1}, (1, 9), 3),
    "oblong folder": ({"name": "folder", "path": "images", "resolution": "12x20"}, (3, "12x20"), 3),
    "arrays": ({"name": "npz", "path": "set.npz"}, (3, 12), 4),
}


@pytest.mark.parametrize("data, image, classes", SETS.values(), ids=SETS)
def test_a_space_may_leave_out_what_the_data_show(tmp_path, data, image, classes):
    write_arrays(tmp_path, 4, 12, channels=3)
    for name in product(("train", "test"), "abc"):
        tmp_path.joinpath("images", *name).mkdir(parents=True)
    given = {"input": {"channels": image[0], "resolution": image[1]}, "classes": classes}
    whole = make_plan(write_spec(tmp_path, SPACE | given, data=data)).space
    for partly in ({}, {"input": None, "classes": None}, {"input": {"channels": image[0]}}, {"classes": classes}):
        plan = make_plan(write_spec(tmp_path, without(SPACE, "input", "classes") | partly, data=data))
        assert plan.space == whole
        assert plan.space.decode(plan.space.sample(np.random.default_rng(0))) == whole.decode(
            whole.sample(np.random.default_rng(0))
        )


def test_resolutions_may_differ_from_the_images(tmp_path):
    space = without(SPACE, "input", "classes") | {"input": {"resolution": [6, 7]}}
    found = make_plan(write_spec(tmp_path, space)).space.spec
    assert (found.input.shape, found.classes) == ((1, 8, 8), 10)
    assert [str(size) for size in found.input.resolution] == ["6", "7"]
    fits = make_plan(write_spec(tmp_path, space | {"input": {"resolution": [6, 8]}})).space.spec
    assert fits.input.shape == (1, 8, 8) and fits.input.image_size is None


def test_one_resolution_that_is_not_that_of_the_images_is_refused(tmp_path):
    spec = write_spec(tmp_path, without(SPACE, "input") | {"input": {"resolution": 16}})
    with pytest.raises(SpecError, match="input: must fit the images of digits, which are 1 x 8 x 8, but got 1 x 16 x"):
        make_plan(spec)


def test_a_run_keeps_the_completed_space(tmp_path):
    write_spec(tmp_path / "left_out", without(SPACE, "input", "classes"))
    plan = make_plan(tmp_path / "left_out" / "tiny.yaml", tmp_path / "run")
    config = RunConfig(plan.experiment, plan.space, plan.base).to_json(plan.folder, None)
    assert (config["space"]["input"]["resolution"], config["space"]["classes"]) == ([8], 10)


def write_named(folder: Path, space: str) -> Path:
    """The spec of a search on CIFAR-10 in a space by its name, beside no space."""
    spec = folder / "tiny.yaml"
    spec.write_text(yaml.safe_dump(EXPERIMENT | {"data": {"name": "cifar10"}, "space": space}), encoding="utf-8")
    return spec


def test_bundled_spaces_are_found_by_name_unless_a_file_has_it(tmp_path, root):
    spec = write_named(tmp_path, "resnet_cifar")
    bundled = SearchSpace.load(root / "search_spaces" / "resnet_cifar.yaml")
    assert make_plan(spec).space == bundled
    (tmp_path / "resnet_cifar").mkdir()
    assert make_plan(spec).space == bundled
    (tmp_path / "resnet_cifar").rmdir()
    shutil.copy(root / "search_spaces" / "resnet_cifar_wide.yaml", tmp_path / "resnet_cifar")
    assert make_plan(spec).space == SearchSpace.load(root / "search_spaces" / "resnet_cifar_wide.yaml")


def test_an_unknown_space_lists_those_that_are_bundled(tmp_path, root):
    with pytest.raises(SpecError) as error:
        make_plan(write_named(tmp_path, "resnet_cifer"))
    assert str(error.value).startswith(f"{tmp_path / 'tiny.yaml'}: space: must be the file of a search space, but '")
    assert str(error.value).endswith(", did you mean 'resnet_cifar'?")
    assert all(file.stem in str(error.value) for file in (root / "search_spaces").glob("*.yaml"))


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
