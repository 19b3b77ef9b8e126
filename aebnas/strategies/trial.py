"""The result of one job: a Trial with its operating points, or the reason why there are none."""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from aebnas.runtime.exit_policy import ExitPolicy
from aebnas.space.architecture import Architecture

NOT_EVALUATED = "not evaluated"
"""How the reason of a trial begins that was pruned."""

Status = Literal["ok", "infeasible", "failed"]


@dataclass(frozen=True)
class OperatingPoint:
    """One architecture under one exit policy, with its metrics (not to be changed).

    `exit_shares [E]` are the shares of samples that leave at each exit, `exit_accuracy [E]` the accuracy of
    those samples, None where no sample leaves. Raises ValueError for impossible values.
    """

    architecture_id: str
    policy: ExitPolicy
    metrics: dict[str, float]
    exit_shares: tuple[float, ...]
    exit_accuracy: tuple[float | None, ...]

    def __post_init__(self) -> None:
        for name, value in self.metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {name} must be finite, but got {value}")
        if not all(0.0 <= share <= 1.0 for share in self.exit_shares) or abs(sum(self.exit_shares) - 1.0) > 1e-6:
            raise ValueError(f"exit_shares must lie in [0, 1] and sum to 1, but got {self.exit_shares}")
        if len(self.exit_accuracy) != len(self.exit_shares):
            raise ValueError(f"exit_accuracy must hold {len(self.exit_shares)} exits, but got {self.exit_accuracy}")
        if not all(accuracy is None or 0.0 <= accuracy <= 1.0 for accuracy in self.exit_accuracy):
            raise ValueError(f"exit_accuracy must lie in [0, 1] or be None, but got {self.exit_accuracy}")

    @cached_property
    def id(self) -> str:
        """The architecture's id and a hash of the policy."""
        policy = json.dumps(self.policy.to_json(), sort_keys=True).encode()
        # six digits rather than four, since an architecture may have dozens of policies on one front
        return f"{self.architecture_id}-{hashlib.blake2b(policy, digest_size=3).hexdigest()}"

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            "architecture_id": self.architecture_id,
            "policy": self.policy.to_json(),
            "metrics": dict(self.metrics),
            "exit_shares": list(self.exit_shares),
            "exit_accuracy": list(self.exit_accuracy),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "OperatingPoint":
        """Read what `to_json` wrote."""
        return cls(
            value["architecture_id"],
            ExitPolicy.from_json(value["policy"]),
            dict(value["metrics"]),
            tuple(value["exit_shares"]),
            tuple(value["exit_accuracy"]),
        )


@dataclass(frozen=True)
class Trial:
    """The result of one job.

    `policy` is that of the job, None if policies were found on the exit table. `violation` is
    the sum of relative constraint violations of an infeasible trial, 0 where it isn't known. `pflop` is the compute of
    its training and scoring, None where it isn't known (an earlier version's trial). Raises ValueError for a result
    that contradicts itself.
    """

    number: int
    architecture: Architecture
    policy: ExitPolicy | None
    status: Status
    points: tuple[OperatingPoint, ...]
    reason: str
    origin: str
    seconds: float
    violation: float = 0.0
    pflop: float | None = None

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"number must be at least 0, but got {self.number}")
        if self.status not in get_args(Status):
            raise ValueError(f"status must be one of {', '.join(get_args(Status))}, but got '{self.status}'")
        if self.status == "ok" and not self.points:
            raise ValueError("an ok trial must have at least one operating point, but got none")
        if self.status == "failed" and self.points:
            raise ValueError(f"a failed trial must have no operating points, but got {len(self.points)}")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"a trial that is {self.status} must give a reason, but got none")
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ValueError(f"seconds must be finite and at least 0, but got {self.seconds}")
        if not (math.isfinite(self.violation) and self.violation >= 0):
            raise ValueError(f"violation must be finite and at least 0, but got {self.violation}")
        if self.pflop is not None and not (math.isfinite(self.pflop) and self.pflop >= 0):
            raise ValueError(f"pflop must be finite and at least 0, but got {self.pflop}")
        if self.violation and self.status != "infeasible":
            raise ValueError(f"violation must be 0 in a trial that is {self.status}, but got {self.violation}")
        foreign = [point.id for point in self.points if point.architecture_id != self.architecture.id]
        if foreign:
            raise ValueError(f"operating points must be of architecture {self.architecture.id}, but got {foreign[0]}")

    @property
    def pruned(self) -> bool:
        """Whether it wasn't evaluated, since its job was provably infeasible."""
        return self.reason.startswith(NOT_EVALUATED)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            "number": self.number,
            "architecture": self.architecture.to_json(),
            "policy": None if self.policy is None else self.policy.to_json(),
            "status": self.status,
            "points": [point.to_json() for point in self.points],
            "reason": self.reason,
            "origin": self.origin,
            "seconds": self.seconds,
            "violation": self.violation,
            "pflop": self.pflop,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Trial":
        """Read what `to_json` wrote."""
        return cls(
            value["number"],
            Architecture.from_json(value["architecture"]),
            None if value["policy"] is None else ExitPolicy.from_json(value["policy"]),
            value["status"],
            tuple(OperatingPoint.from_json(point) for point in value["points"]),
            value["reason"],
            value["origin"],
            value["seconds"],
            value["violation"],
            value.get("pflop"),
        )
