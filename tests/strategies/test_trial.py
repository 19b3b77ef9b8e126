"""Operating points and trials: checks, ids, JSON."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import pytest

import aebnas.strategies.trial
from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.strategies.trial import OperatingPoint, Trial


@dataclass(frozen=True)
class FakeArchitecture:
    id: str

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "FakeArchitecture":
        return cls(value["id"])


POLICY = ExitPolicy("margin", (0.5, None))
POINT = OperatingPoint("a1", POLICY, {"accuracy": 0.9, "avg_macs": 1e6}, (0.75, 0.0, 0.25), (0.95, None, 0.75))


def trial(**changes: Any) -> Trial:
    template = Trial(3, FakeArchitecture("a1"), POLICY, "ok", (POINT,), "", "random", 1.5)
    return dataclasses.replace(template, **changes)


def test_ids_differ_between_policies_and_begin_with_the_architectures():
    others = [
        ExitPolicy("margin", (0.6, None)),
        ExitPolicy("entropy", (0.5, None)),
        ExitPolicy("margin", (0.5, 0.5)),
    ]
    ids = {dataclasses.replace(POINT, policy=policy).id for policy in [POLICY, *others]}
    assert len(ids) == 4 and all(name.startswith("a1-") for name in ids)
    assert OperatingPoint.from_json(json.loads(json.dumps(POINT.to_json()))).id == POINT.id


@pytest.mark.parametrize(
    "value",
    [
        trial(),
        trial(policy=None, points=(POINT, dataclasses.replace(POINT, policy=ExitPolicy("entropy", (0.1, 0.2))))),
        trial(status="infeasible", points=(), reason="params 2e6 > 1e6", violation=1.0),
        trial(status="infeasible", reason="avg_macs"),
        trial(status="failed", points=(), reason="loss is NaN"),
    ],
)
def test_json_round_trip(value, monkeypatch):
    monkeypatch.setattr(aebnas.strategies.trial, "Architecture", FakeArchitecture)
    assert Trial.from_json(json.loads(json.dumps(value.to_json()))) == value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": ()}, "ok trial must have at least one operating point"),
        ({"status": "failed", "reason": "NaN"}, "failed trial must have no operating points, but got 1"),
        ({"status": "failed", "points": ()}, "failed must give a reason"),
        ({"status": "infeasible", "points": ()}, "infeasible must give a reason"),
        ({"status": "done"}, "one of ok, infeasible, failed, but got 'done'"),
        ({"number": -1}, "number must be at least 0"),
        ({"seconds": float("nan")}, "seconds must be finite"),
        ({"violation": 0.5}, "violation must be 0 in a trial that is ok"),
        (
            {"status": "infeasible", "reason": "x", "violation": -1.0},
            "violation must be finite and at least 0",
        ),
        ({"architecture": FakeArchitecture("b2")}, "must be of architecture b2, but got a1-"),
    ],
)
def test_trials_refuse_contradictions(changes, message):
    with pytest.raises(ValueError, match=message):
        trial(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"accuracy": float("nan")}}, "metric accuracy must be finite"),
        ({"exit_shares": (0.5, 0.0, 0.25)}, "sum to 1"),
        ({"exit_shares": (1.5, -0.5, 0.0)}, r"lie in \[0, 1\]"),
        ({"exit_accuracy": (0.9,)}, "must hold 3 exits"),
        ({"exit_accuracy": (95.0, None, 0.5)}, "exit_accuracy must lie"),
    ],
)
def test_operating_points_refuse_impossible_figures(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(POINT, **changes)
