import json
from dataclasses import replace

import pytest
from tiny_run import own_copy, searched

import aebnas.report.payload
from aebnas.core.confidence_intervals import wilson
from aebnas.report.payload import digest_of, payload
from aebnas.report.trial_digest import TrialDigest
from aebnas.run.pick_records import record_pick
from aebnas.run.session import RunSession
from aebnas.strategies.trial import Trial


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return RunSession.open(searched(tmp_path_factory))


@pytest.fixture(scope="module")
def whole(session):
    return payload(session.facts, digest_of(session.facts))


def test_every_point_is_there_with_what_is_known_of_it(session, whole):
    known = {point.id: (trial, point) for trial in session.run.trials() for point in trial.points}
    points = whole["points"]
    assert len(points["id"]) == len(known) == whole["points_total"] and set(points["id"]) == set(known)
    for place, point_id in enumerate(points["id"]):
        trial, point = known[point_id]
        assert {name: values[place] for name, values in points["metrics"].items()} == point.metrics
        assert points["exit_shares"][place] == list(point.exit_shares)
        assert points["thresholds"][place] == list(point.policy.thresholds)
        bounds = points["accuracy_low"][place], points["accuracy_high"][place]
        assert bounds == wilson(point.metrics["accuracy"], 287)
        architecture = whole["architectures"][points["architecture"][place]]
        assert architecture["id"] == trial.architecture.id and architecture["text"] == str(trial.architecture)
        assert len(architecture["drawing"]["sites"]) == len(point.exit_shares)


def test_the_front_is_distinguished(session, whole):
    ids = [i for i, role in zip(whole["points"]["id"], whole["points"]["role"], strict=True) if role == "front"]
    assert ids == [point.id for _, point in session.front()]
    for rule in ("best-accuracy", "knee", "cheapest"):
        assert whole["named"][rule] == session.pick(rule)[1].id
    assert whole["growth"]["front_points"][-1] == len(ids)


def test_a_long_search_shows_the_whole_front_and_a_subset_of_the_rest(session, monkeypatch):
    monkeypatch.setattr(aebnas.report.payload, "OTHERS_SHOWN", 3)
    thin = payload(session.facts, digest_of(session.facts))
    roles = thin["points"]["role"]
    assert roles.count("front") == len(session.front()) and len(roles) == len(session.front()) + 3
    assert thin["points_total"] == sum(len(trial.points) for trial in session.run.trials())


def test_infeasible_points_are_distinguished(session):
    first, *rest = session.run.trials()
    broken = replace(first, status="infeasible", reason="avg_macs <= 1", violation=1.0)
    roles = payload(session.facts, TrialDigest(session.facts, [broken, *rest], 100))["points"]["role"]
    assert roles.count("infeasible") == len(first.points)


def test_a_search_that_found_nothing_has_a_payload(session):
    architecture = session.run.trials()[0].architecture
    failed = Trial(0, architecture, None, "failed", (), "worker lost", "test", 1.0)
    nothing = payload(session.facts, TrialDigest(session.facts, [failed], 100))
    assert nothing["points"]["id"] == [] and nothing["named"] == {} and nothing["failures"] == [("worker lost", 1)]
    json.dumps(nothing, allow_nan=False)


def test_training_curves_of_supernet_and_retrained_picks(session, tmp_path):
    copy = RunSession.open(own_copy(session.run.folder, tmp_path))
    model = copy.run.folder / "models" / "some-pick"
    model.mkdir(parents=True)
    (model / "train_epoch_metrics.csv").write_text("phase,epoch,loss,subnet,exit1_accuracy\nretrain,1,0.5,chosen,0.9\n")
    curves = payload(copy.facts, digest_of(copy.facts))["training"]
    assert [curve["title"] for curve in curves] == [
        "supernet, largest subnet",
        "supernet, smallest subnet",
        "retrained some-pick",
    ]
    assert curves[0]["epoch"] == [1, 2] and len(curves[0]["exits"]["exit1"]) == 2
    assert curves[2]["loss"] == [0.5] and curves[2]["exits"] == {"exit1": [0.9]}


def test_picks_carry_an_interval(session, tmp_path):
    copy = RunSession.open(own_copy(session.run.folder, tmp_path))
    picked = copy.front()[0]
    point = picked[1]
    record_pick(copy.run, picked, "test", point.to_json() | {"source": "from somewhere", "samples": 360})
    record_pick(copy.run, picked, "retrained", None)
    (pick,) = payload(copy.facts, digest_of(copy.facts))["picks"]
    assert (pick["id"], pick["kind"], pick["source"]) == (point.id, "test", "from somewhere")
    assert (pick["accuracy_low"], pick["accuracy_high"]) == wilson(point.metrics["accuracy"], 360)


def test_no_images_are_needed(session, monkeypatch):
    fresh = RunSession.open(session.run.folder)
    payload(fresh.facts, digest_of(fresh.facts))
    assert "images" not in vars(fresh)
