"""The compute that a training has used so far, and its bound."""

from typing import Any

PETA = 1e15
"""FLOP of one PFLOP."""


class ComputeMeter:
    """Adds up FLOP; its state is part of a checkpoint, so that the sum survives a resume.

    `flop` is None where it isn't known: a training that an earlier version began has not counted its first epochs.
    """

    def __init__(self) -> None:
        self.flop: float | None = 0.0

    def add(self, flop: float | None) -> None:
        """Add the compute of some work; None where it isn't known."""
        self.flop = None if self.flop is None or flop is None else self.flop + flop

    @property
    def pflop(self) -> float | None:
        """The sum in PFLOP; None where it isn't known."""
        return None if self.flop is None else self.flop / PETA

    def share_of(self, max_pflop: float | None) -> float:
        """The share of a bound that is used, from 0; 0 where there is no bound or the sum isn't known."""
        return 0.0 if max_pflop is None or self.pflop is None else self.pflop / max_pflop

    def reached(self, max_pflop: float | None) -> bool:
        """Whether a bound is used up; None is no bound."""
        return self.share_of(max_pflop) >= 1.0

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` reads."""
        return {"flop": self.flop}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved sum."""
        self.flop = state["flop"]
