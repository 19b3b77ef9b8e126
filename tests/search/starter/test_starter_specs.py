"""Specs and spaces for all kinds of image sets are valid, and small enough for a budget."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aebnas.core.errors import UserError
from aebnas.core.metrics import Constraint
from aebnas.data.survey import Survey
from aebnas.search.plan import make_plan
from aebnas.search.starter.files import read_budget
from aebnas.search.starter.spec import StarterSpec

MACS, PARAMS = Constraint("avg_macs", "<=", 2e6), Constraint("params", "<=", 2e4)


def seen(folder: Path, train_k: tuple[int, ...], side: int = 32, channels: int = 3, **changes: Any) -> Survey:
    """A survey of images that nobody has looked at, in a folder of class folders without images."""
    names = tuple(f"{number:04}" for number in range(len(train_k)))
    for part in ("train", "test"):
        for name in names:
            (folder / part / name).mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {"data": {"name": "folder"}, "sizes": ((side, side),), "findings": ()}
    return Survey(folder, class_names=names, train_k=train_k, test_k=train_k, channels=channels, **about | changes)


def plan(spec: StarterSpec, folder: Path):
    """The plan of a search of the written files."""
    folder.mkdir(exist_ok=True)
    (folder / "spec.yaml").write_text(spec.text(folder, "space.yaml"), encoding="utf-8")
    (folder / "space.yaml").write_text(spec.space.text(), encoding="utf-8")
    return make_plan(folder / "spec.yaml")


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    side=st.integers(1, 3000),
    channels=st.sampled_from([1, 3]),
    classes=st.integers(2, 30),
    images=st.integers(3, 20_000),
    rarest=st.integers(1, 3),
    budget=st.none()
    | st.tuples(st.sampled_from(["avg_macs", "macs", "params", "peak_memory_bytes"]), st.floats(3, 9.5)),
)
def test_any_images_have_a_spec(tmp_path, side, channels, classes, images, rarest, budget):
    survey = seen(tmp_path / str(classes), (rarest, *[5 + images // classes] * (classes - 1)), side, channels)
    budgets = [] if budget is None else [Constraint(budget[0], "<=", round(10 ** budget[1]))]
    try:
        spec = StarterSpec.scaled(survey, budgets)
    except UserError as error:
        assert budgets and str(error).startswith("--budget must be at least ")
        return
    found = plan(spec, tmp_path / "written")
    assert found.experiment.parsed_constraints() == budgets
    assert found.space.spec == spec.space.spec
    assert all(spec.space.least(one.metric) <= one.bound for one in budgets)
    resolution = found.experiment.data.resolution
    assert min(224, max(8, side)) >= resolution.height == resolution.width
    sizes = found.experiment.data.splits
    cut = [round(size * survey.train) if isinstance(size, float) else size for size in (sizes.search, sizes.calibrate)]
    assert min(cut) >= classes and survey.train - sum(cut) >= classes


@pytest.mark.parametrize(
    "path", ["plain", "with 'quotes' and \"more\"", "# no comment: here", "ünïcode ✓ 🐈", "~", "a\tb"]
)
def test_paths_of_the_data_survive(tmp_path, path):
    survey = seen(tmp_path / path, (20, 20))
    for folder in (tmp_path / "spec", tmp_path / "far" / "away" / "spec"):
        folder.mkdir(parents=True)
        experiment = plan(StarterSpec.scaled(survey, ()), folder).experiment
        assert (folder / experiment.data.path).resolve() == (tmp_path / path).resolve()
        assert experiment.data.path.is_absolute() == ("away" in str(folder))


def test_images_larger_than_networks_should_be_are_resized_by_them_in_arrays(tmp_path):
    arrays = {"data": {"name": "npz"}, "sizes": ((300, 400),)}
    spec = StarterSpec.scaled(seen(tmp_path, (200, 200), channels=4, **arrays), ())
    assert spec.space.spec.input.shape == (4, 300, 400)
    [size] = spec.space.spec.input.resolution
    assert size.height <= 224 and abs(size.width / size.height - 4 / 3) < 0.05


def test_more_images_have_larger_networks_and_sizes_are_near_the_images(tmp_path):
    def space(side: int, images: int):
        return StarterSpec.scaled(seen(tmp_path, (images, images), side), ()).space

    assert space(32, 50).most_macs < space(32, 40_000).most_macs
    assert [space(side, 100).side for side in (5, 9, 16, 30, 32, 64)] == [8, 8, 16, 28, 32, 64]
    assert space(32, 1000).side < space(500, 1000).side <= space(500, 100_000).side <= 224


def test_a_budget_narrows_the_networks(tmp_path):
    survey = seen(tmp_path, (500, 500))
    free, macs, params = (StarterSpec.scaled(survey, budget).space for budget in ((), [MACS], [PARAMS]))
    assert macs.most_macs <= 2 * MACS.bound < free.most_macs
    assert params.minimum("params") <= PARAMS.bound / 2


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(UserError, match="at least 6 training images, three for each class on average, but got 5"):
        StarterSpec.scaled(seen(tmp_path, (4, 1)), ())
    least = plan(StarterSpec.scaled(seen(tmp_path, (4, 2)), ()), tmp_path / "written").experiment
    assert (least.data.splits.search, least.data.splits.calibrate, least.data.splits.certify) == (2, 2, 0)


@pytest.mark.parametrize(
    "text, metric, bound",
    [("avg_macs=20e6", "avg_macs", 20e6), (" params <= 1000 ", "params", 1000)],
)
def test_budgets(text, metric, bound):
    assert read_budget(text) == Constraint(metric, "<=", bound)
