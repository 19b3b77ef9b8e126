"""The bound `evaluate.max_pflop` of a search."""

from collections.abc import Iterator
from typing import TypeVar

from aebnas.strategies.strategy import Shortfall
from aebnas.strategies.trial import Trial
from aebnas.training.compute.compute_meter import PETA, ComputeMeter

T = TypeVar("T")


class ComputeBound:
    """Adds up the compute of trials; `reached` once they have used `max_pflop` (None: never)."""

    def __init__(self, max_pflop: float | None) -> None:
        self.max_pflop = max_pflop
        self.used = ComputeMeter()

    @property
    def reached(self) -> bool:
        """Whether the bound is used up."""
        return self.used.reached(self.max_pflop)

    def add(self, trial: Trial) -> None:
        """Add a trial, of this session or of an earlier one."""
        self.used.add(None if trial.pflop is None else trial.pflop * PETA)

    def in_order(self, outcomes: Iterator[tuple[int, T]]) -> Iterator[tuple[int, T]]:
        """Outcomes by number, whatever the order in which workers finish: so that the same candidates are within the
        bound in each run. Without a bound as they come."""
        if self.max_pflop is None:
            yield from outcomes
            return
        early: dict[int, T] = {}
        following = 0
        for number, outcome in outcomes:
            early[number] = outcome
            while following in early:
                yield following, early.pop(following)
                following += 1

    def shortfall(self) -> Shortfall:
        """Why a search ended that reached its bound before its last trial."""
        sentence = f"evaluate.max_pflop ({self.max_pflop:g}) is reached, with {self.used.pflop:.3g} PFLOP used"
        return Shortfall("max_pflop reached", sentence)
