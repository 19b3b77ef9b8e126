"""DART's efficiency score (DAES) of an early-exit method against the static network, a product of ratios.

Legend: time in any one unit, energy in any one unit; `static` is the network without early exits.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class EfficiencyScore:
    """A method against the static network. `accuracy` and `mean_alpha` are fractions.

    `power_efficiency` is the static network's energy over the method's. Raises ValueError for a ratio that isn't
    above 0 or a fraction outside [0, 1].
    """

    accuracy: float
    speedup: float
    power_efficiency: float
    mean_alpha: float

    def __post_init__(self) -> None:
        for name in ("accuracy", "mean_alpha"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], but got {getattr(self, name)}")
        for name in ("speedup", "power_efficiency"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, but got {getattr(self, name)}")

    @classmethod
    def measured(
        cls,
        accuracy: float,
        static_time: float,
        time: float,
        static_energy: float,
        energy: float,
        mean_alpha: float,
    ) -> "EfficiencyScore":
        """From times and energies per sample; without an energy model both can be MACs, and then say so."""
        return cls(accuracy, static_time / time, static_energy / energy, mean_alpha)

    @property
    def daes(self) -> float:
        """Difficulty-aware efficiency score: accuracy * speedup * power efficiency / (1 + mean alpha).

        Comparable only where alpha is normalised alike.
        """
        return self.accuracy * self.speedup * self.power_efficiency / (1 + self.mean_alpha)
