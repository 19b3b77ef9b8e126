"""Ids of architectures name files and points of old runs, so they must never change."""

import json

import pytest

from aebnas.space.architecture import Architecture
from aebnas.strategies.trial import Trial

RUNS = ("tests/fixtures/run_of_version_0_1/run", "results/cifar10_cpu", "results/cifar10_mini")


@pytest.mark.parametrize("run", RUNS)
def test_recorded_ids_are_those_of_their_architectures(root, run):
    lines = (root / run / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    recorded = [json.loads(line) for line in lines]
    points = {}
    for value in recorded:
        architecture = Architecture.from_json(value["architecture"])
        ids = {point["architecture_id"] for point in value["points"]}
        assert ids <= {architecture.id}
        points |= {point.id: point for point in Trial.from_json(value).points}
    assert any(value["points"] for value in recorded)
    for pick in (root / run / "picks").glob("*.json"):
        assert pick.stem in points
