"""Two points with the same id (24 bits of a hash): neither gets the record or the weights of the other."""

import json
import random
import shutil
from dataclasses import replace

import pytest
from tiny_run import own_copy, searched

from aebnas.core.errors import UserError
from aebnas.policies.threshold_search.goal import Goal
from aebnas.run.pick_records import picked_ids, read_record
from aebnas.run.run_directory import Run
from aebnas.run.session import RunSession
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.selected.calibrate import calibrate
from aebnas.selected.evaluate import evaluate, export
from aebnas.selected.retrain import retrain
from aebnas.strategies.front import pick


@pytest.fixture(scope="module")
def colliding(tmp_path_factory):
    """A point of a front with early exits, under two policies whose ids are equal."""
    session = RunSession.open(searched(tmp_path_factory))
    trial, point = next(pair for pair in session.front() if len(pair[1].exit_shares) > 1)
    rng, seen = random.Random(0), {}
    for _ in range(200_000):
        thresholds = tuple(rng.random() for _ in point.policy.thresholds)
        drawn = replace(point, policy=ExitPolicy("margin", thresholds))
        if drawn.id in seen:
            return trial, seen[drawn.id], drawn
        seen[drawn.id] = drawn
    raise AssertionError("24 bits collide within some ten thousand draws")


@pytest.fixture
def copy(tmp_path_factory, tmp_path):
    return own_copy(searched(tmp_path_factory), tmp_path)


def put(run, trial, point):
    """Replace the points of a trial with one point."""
    changed = replace(trial, points=(point,)).to_json()
    lines = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
    lines = [changed if line["number"] == trial.number else line for line in lines]
    best = {"accuracy": 1.0}
    changed["points"][0]["metrics"] |= best  # so that it is on the front
    (run / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_record_is_not_read_nor_written_for_another_point(copy, colliding):
    trial, first, second = colliding
    put(copy, trial, first)
    point_id = evaluate(copy, first.id).id
    before = read_record(Run.open(copy), point_id)
    assert picked_ids(Run.open(copy)) == [point_id]
    put(copy, trial, second)
    assert RunSession.open(copy).pick(second.id)[1].policy == second.policy
    for verb in (evaluate, lambda run, rule: calibrate(run, rule, Goal.read(beta=0.5)), retrain):
        with pytest.raises(UserError) as refused:
            verb(copy, second.id)
        text = str(refused.value)
        assert f"picks/{point_id}.json: must belong to architecture {trial.architecture.id}" in text
        assert json.dumps(first.policy.to_json()) in text and json.dumps(second.policy.to_json()) in text
        assert "\n" not in text
    assert read_record(Run.open(copy), point_id) == before
    put(copy, trial, first)
    assert evaluate(copy, first.id).point.policy == first.policy


def test_weights_are_not_read_for_another_point(copy, colliding, tmp_path):
    trial, first, second = colliding
    put(copy, trial, first)
    retrain(copy, first.id)
    shutil.rmtree(copy / "picks")  # only the model folder identifies the point then
    put(copy, trial, second)
    with pytest.raises(UserError, match=rf"models/{first.id}/point\.json: must belong to"):
        export(copy, second.id, tmp_path / "out")
    with pytest.raises(UserError, match=rf"models/{first.id}/point\.json: must belong to"):
        retrain(copy, second.id)


def test_two_points_of_one_id_on_a_front_are_not_picked_by_it(copy, colliding):
    trial, first, second = colliding
    session = RunSession.open(copy)
    with pytest.raises(UserError, match="must be the id of one point, but two points have the same id"):
        pick([(trial, first), (trial, second)], session.experiment.parsed_objectives(), first.id)


def test_a_record_of_version_0_1_belongs_to_the_point_of_its_id(copy):
    point = RunSession.open(copy).pick("knee")[1]
    evaluate(copy, "knee")
    path = copy / "picks" / f"{point.id}.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({name: part for name, part in record.items() if name != "point"}))
    session = RunSession.open(copy)
    assert session.valid_record(session.pick("knee"), "test") == record["test"]
