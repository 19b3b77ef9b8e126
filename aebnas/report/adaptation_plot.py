"""The plot of an online adaptation: coefficients over the samples of the stream.

Legend: u updates, e exits, k classes.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # before pyplot, since there may be no display

import numpy as np
from matplotlib import pyplot as plt

from aebnas.core.atomic_files import write_atomically
from aebnas.policies.analysis.adaptation_replay import Replay
from aebnas.report.palette import COLOURS, GREY


def plot_trajectories(replay: Replay, path: Path) -> None:
    """Plot the coefficients over the samples seen: a colour per exit, with a thick line for its mean over classes.

    Raises ValueError if the stream was too short for an update.
    """
    if not len(replay.seen_u):
        raise ValueError("the stream must be long enough for one update, but got 0 updates")
    figure, panel = plt.subplots(figsize=(8, 5), layout="constrained")
    for exit_, part_uk in enumerate(np.moveaxis(replay.coefficients_uek, 1, 0)):
        colour = COLOURS[exit_ % len(COLOURS)]
        panel.plot(replay.seen_u, part_uk, color=colour, linewidth=0.6, alpha=0.5)
        panel.plot(replay.seen_u, part_uk.mean(1), color=colour, linewidth=2, label=f"exit {exit_ + 1}, mean")
    panel.axhline(1.0, color=GREY, linewidth=0.8, zorder=0)
    panel.set_xlabel("samples seen")
    panel.set_ylabel("coefficient of the threshold")
    panel.set_title(f"{len(replay.seen_u)} updates; thin lines: one per class")
    panel.grid(alpha=0.3)
    panel.legend(loc="best")

    def save(partial: Path) -> None:
        figure.savefig(partial, dpi=130, metadata={"Software": None})

    write_atomically(path, save)
    plt.close(figure)
