import json
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_run import (
    EXPERIMENT,
    FEW_GENES,
    GENES,
    SPACE,
    Stopped,
    front_of,
    own_copy,
    searched,
    searched_genes,
    write_spec,
)

from aebnas.core.errors import UserError
from aebnas.data.data_spec import AugmentSpec
from aebnas.evaluation.evaluator import Evaluator
from aebnas.evaluation.worker_pool import Failure, open_pool, score_one
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.runtime.normalise import normalise
from aebnas.search import loop as search_loop
from aebnas.search.loop import run_search


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return searched(tmp_path_factory)


@pytest.fixture
def search_trained(run, tmp_path):
    """The function that searches with other settings but the weights of `run`, which they don't touch."""

    def search(space=SPACE, **changes):
        folder = tmp_path / "trained" / "checkpoints"
        folder.mkdir(parents=True)
        shutil.copy(run / "checkpoints" / "supernet.safetensors", folder)
        return run_search(write_spec(tmp_path / "spec", space, **changes), folder.parent).run

    return search


def test_every_file_is_there(run):
    names = {path.name for path in run.iterdir()}
    assert names >= {
        *("protocol.json", "env_info.json", "config.json", "pip_freeze.txt", "train_epoch_metrics.csv"),
        *("trials.jsonl", "pareto.csv", "pareto.json", "summary.json", "pareto.png", "report.html"),
    }
    assert not [name for name in names if "partial" in name]


def test_the_front_is_a_table_of_operating_points(run):
    front = pd.read_csv(run / "pareto.csv")
    assert list(front.columns[:5]) == ["id", "accuracy", "avg_macs", "avg_macs_taken_only", "params"]
    assert front.id.is_unique and front.accuracy.between(0, 1).all()
    assert front.accuracy.is_monotonic_decreasing and front.avg_macs.is_monotonic_decreasing
    assert (front.avg_macs_taken_only <= front.avg_macs).all() and (front.avg_macs <= front.macs).all()
    as_json = json.loads((run / "pareto.json").read_text())
    assert [point["id"] for point in as_json] == list(front.id)
    known = {point.id: (trial, point) for trial in Run.open(run).trials() for point in trial.points}
    for row in as_json:
        trial, point = known[row["id"]]
        assert row["metrics"] == point.metrics and row["architecture"] == trial.architecture.to_json()


def test_the_summary_counts(run):
    summary = json.loads((run / "summary.json").read_text())
    trials = Run.open(run).trials()
    assert summary["trials"] == summary["ok"] == len(trials) == 8
    assert [trial.number for trial in trials] == list(range(8))
    assert len({trial.architecture.id for trial in trials}) == 8
    assert summary["front_points"] == len(pd.read_csv(run / "pareto.csv"))
    assert summary["best_accuracy"] == pd.read_csv(run / "pareto.csv").accuracy.max()
    assert summary["samples_behind_accuracy"] == 287
    assert 0 < summary["hypervolume"] < 1


def test_the_training_is_recorded(run):
    rows = pd.read_csv(run / "train_epoch_metrics.csv")
    assert list(zip(rows.epoch, rows.subnet, strict=True)) == [
        (epoch, subnet) for epoch in (1, 2) for subnet in ("largest", "smallest")
    ]
    assert {"exit1_accuracy", "exit2_accuracy", "avg_macs_at_0.9", "loss"} <= set(rows.columns)
    assert not (run / "checkpoints" / "supernet.pt").exists()


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_one_seed_gives_one_front_in_process_and_with_two_workers(run, tmp_path, monkeypatch, architectures):
    compared = []

    @contextmanager
    def compare_too(evaluator, *where):
        with open_pool(evaluator, *where) as pool:
            asked = architectures(RunSession.open(run).space, 3)
            wider = asked[0].stem.model_copy(update={"width": 999})
            outcomes = dict(pool.score([*asked, asked[0].model_copy(update={"stem": wider})]))
            assert isinstance(outcomes.pop(3), Failure)
            for index, architecture in enumerate(asked):
                here = score_one(evaluator, architecture)
                for split, table in outcomes[index].tables.items():
                    other = here.tables[split]
                    assert np.array_equal(table.correct_ne, other.correct_ne)
                    compared.extend(np.array_equal(table.scores[c], other.scores[c]) for c in table.scores)
            yield pool

    monkeypatch.setattr(search_loop, "open_pool", compare_too)
    spec = write_spec(tmp_path / "spec", evaluate=EXPERIMENT["evaluate"] | {"workers": 2})
    run_search(spec, tmp_path / "run")
    assert len(compared) == 12 and all(compared)
    assert front_of(tmp_path / "run") == front_of(run)


def test_another_seed_gives_another_front(run, search_trained):
    assert front_of(search_trained(seed=12).folder) != front_of(run)


@pytest.mark.parametrize(
    "constraint, expected",
    [
        ("params <= 10", "minimum params is "),
        ("avg_macs <= 100", "minimum avg_macs is "),
        ("avg_macs_taken_only <= 100", "minimum avg_macs_taken_only is "),
        ("macs >= 1e12", "maximum macs is "),
        ("weight_bytes <= 40", "minimum weight_bytes is "),
    ],
)
def test_a_budget_below_the_minimum_is_reported_at_once(tmp_path, constraint, expected):
    with pytest.raises(UserError, match=f"constraints.0: no architecture of the space can satisfy .*{expected}"):
        run_search(write_spec(tmp_path / "spec", constraints=[constraint]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "space, changes, expected",
    [
        (SPACE | {"input": {"channels": 3, "resolution": 8}}, {}, "1 x 8 x 8, but got 3 x 8 x 8"),
        (SPACE | {"input": {"channels": 1, "resolution": 16}}, {}, "1 x 8 x 8, but got 1 x 16 x 16"),
        (SPACE | {"classes": 5}, {}, "space.yaml: classes: must be 10, as in the data, but got 5"),
        (SPACE, {"data": {"name": "npz", "path": "none.npz"}}, "none.npz: must be a .npz file"),
        (
            SPACE,
            {"data": {"name": "digits", "class_names": ["a", "b"]}},
            "class_names: must be 10 names, as in the space, but got 2",
        ),
        (SPACE, {"supernet": EXPERIMENT["supernet"] | {"exit_weights": {"last": 1}}}, "but stage1 is missing"),
        (SPACE, {"retrain": EXPERIMENT["retrain"] | {"exit_weights": {"stage1": 1}}}, "but last is missing"),
    ],
)
def test_what_does_not_fit_leaves_no_run_behind(tmp_path, space, changes, expected):
    with pytest.raises(UserError, match=expected.replace(".", r"\.")):
        run_search(write_spec(tmp_path / "spec", space, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_candidates_that_differ_in_policy_share_their_tables(tmp_path, scored):
    spec = write_spec(tmp_path / "spec", FEW_GENES, supernet=EXPERIMENT["supernet"] | {"epochs": 1})
    trials = run_search(spec, tmp_path / "run").run.trials()
    distinct = {trial.architecture.id for trial in trials}
    assert len(trials) > len(distinct) and len({(t.architecture.id, t.policy) for t in trials}) == len(trials)
    assert sorted(scored) == sorted(distinct)


def test_threshold_genes_are_the_policies_of_the_points(tmp_path_factory):
    for trial in Run.open(searched_genes(tmp_path_factory)).trials():
        assert [replace(point.policy, temperatures=()) for point in trial.points] == [trial.policy]
        assert set(trial.policy.thresholds) <= {*GENES["policy"]["thresholds"]["genes"]} - {"never"} | {None}


def test_provably_infeasible_candidates_are_not_evaluated(run, search_trained, scored):
    params = sorted(trial.points[0].metrics["params"] for trial in Run.open(run).trials())
    limit = (params[1] + params[2]) / 2
    trials = search_trained(constraints=[f"params <= {limit}"]).trials()
    within = [trial.architecture.id for trial in trials if trial.status == "ok"]
    beyond = [trial for trial in trials if trial.status == "infeasible"]
    assert within and beyond
    assert sorted(scored) == sorted(within)
    for trial in beyond:
        assert trial.reason.startswith("not evaluated: params is ") and trial.violation > 0


def test_points_beyond_a_budget_are_not_on_the_front(run, search_trained):
    everything = sorted(p.metrics["avg_macs"] for t in Run.open(run).trials() for p in t.points)
    limit = everything[len(everything) // 2]
    front = pd.read_csv(search_trained(constraints=[f"avg_macs <= {limit}"]).folder / "pareto.csv")
    assert len(front) and (front.avg_macs <= limit).all()


def test_a_search_without_feasible_trials_reports_the_reason(search_trained):
    with pytest.raises(
        UserError, match=r"no trial of 8 satisfies the constraints; the closest \(number \d\): .*accuracy.*; relax"
    ):
        search_trained(constraints=["accuracy >= 1"])


def test_a_candidate_that_crashes_does_not_end_the_search(search_trained, monkeypatch):
    score, calls = Evaluator.score, []

    def crash_once(self, architecture, *more):
        calls.append(architecture.id)
        if len(calls) == 2:
            raise RuntimeError("out of luck")
        return score(self, architecture, *more)

    monkeypatch.setattr(Evaluator, "score", crash_once)
    trials = search_trained().trials()
    assert [trial.status for trial in trials].count("failed") == 1 and len(trials) == 8
    assert trials[1].reason == "RuntimeError: out of luck"


def test_random_search_runs(search_trained):
    trials = search_trained(strategy={"name": "random", "population": 4, "generations": 2}).trials()
    assert [trial.origin for trial in trials] == ["random"] * 8


def test_a_soft_target_runs(run, search_trained):
    finished = search_trained(target={"metric": "avg_macs", "value": 30000})
    assert len(finished.trials()) == 8
    assert list(pd.read_csv(finished.folder / "pareto.csv").columns[:3]) == ["id", "accuracy", "avg_macs"]


def test_three_objectives_run(search_trained):
    folder = search_trained(objectives=["accuracy", "avg_macs", "params"]).folder
    assert len(pd.read_csv(folder / "pareto.csv"))


def test_weights_that_do_not_fit_are_reported(run, tmp_path):
    copy = own_copy(run, tmp_path)
    (copy / "checkpoints" / "supernet.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"supernet\.safetensors: cannot be read as weights"):
        run_search(copy.parent / "spec" / "tiny.yaml", copy)


def test_the_default_folder_is_named_after_the_spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def stop(folder, *_):
        raise Stopped(folder.as_posix())

    monkeypatch.setattr(Run, "start", stop)
    with pytest.raises(Stopped, match=r"^results/tiny$"):
        run_search(write_spec(tmp_path / "spec"))


def test_calibration_images_come_from_train_and_are_always_the_same(run):
    a, b = (plain(RunSession.open(run)).calibration(130) for _ in range(2))
    assert [len(x_nchw) for x_nchw in a] == [130]
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    images = RunSession.open(run).images
    known = {image.numpy().tobytes() for image in normalise(images.splits.train.pixels(), images.preprocessing)}
    assert all(image.numpy().tobytes() in known for image in a[0])


def test_calibration_images_are_augmented_as_in_training(run):
    images = plain(RunSession.open(run), crop=2)
    train = normalise(images.splits.train.pixels(), images.preprocessing)
    border = normalise(torch.zeros(1, *images.splits.train.shape, dtype=torch.uint8), images.preprocessing)[0, 0, 0, 0]
    black, usual = ((x == border).float().mean() for x in (images.calibration(256)[0], train))
    assert black > usual + 0.05


def plain(session, crop=0):
    """The session's images with no augmentation but a crop."""
    data = session.experiment.data.model_copy(update={"augment": AugmentSpec(crop=crop)})
    return replace(session.images, data=data)


def test_the_run_records_its_specs_with_defaults(run):
    config = json.loads((run / "config.json").read_text())
    assert config["base"] == "../spec"
    assert config["experiment"]["supernet"]["clip"] == 5.0  # a default
    assert RunSession.open(run).space.spec.stem.width == (4,)
