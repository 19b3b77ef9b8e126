"""The image of an online adaptation: how coefficients moved while the stream passed.

Legend: u updates, e exits, k classes.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # before pyplot: it runs where there is no screen

import numpy as np
from matplotlib import pyplot as plt

from aebnas.core.atomic_files import write_atomically
from aebnas.policies.analysis.adaptation_replay import Replay

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""The Okabe-Ito palette, which the colour-blind can distinguish, too."""


def plot_trajectories(replay: Replay, path: Path) -> None:
    """Write an image of the coefficients over the samples seen: one colour an exit, its mean over classes thick.

    Raises ValueError for a stream too short for an update.
    """
    if not len(replay.seen_u):
        raise ValueError("the stream must be long enough for an update, but none was made")
    figure, panel = plt.subplots(figsize=(8, 5), layout="constrained")
    for exit_, part_uk in enumerate(np.moveaxis(replay.coefficients_uek, 1, 0)):
        colour = COLOURS[exit_ % len(COLOURS)]
        panel.plot(replay.seen_u, part_uk, color=colour, linewidth=0.6, alpha=0.5)
        panel.plot(replay.seen_u, part_uk.mean(1), color=colour, linewidth=2, label=f"exit {exit_ + 1}, mean")
    panel.axhline(1.0, color="#B0B0B0", linewidth=0.8, zorder=0)
    panel.set_xlabel("samples seen")
    panel.set_ylabel("coefficient of the threshold")
    panel.set_title(f"{len(replay.seen_u)} updates; thin lines: one class each")
    panel.grid(alpha=0.3)
    panel.legend(loc="best")

    def save(partial: Path) -> None:
        figure.savefig(partial, dpi=130, metadata={"Software": None})

    write_atomically(path, save)
    plt.close(figure)
