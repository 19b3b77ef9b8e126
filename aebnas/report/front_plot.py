"""The fronts of several runs in one plot, distinguished by colour and by marker."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # before pyplot, since there may be no display

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from aebnas.core.atomic_files import write_atomically
from aebnas.core.metrics import METRICS, Objective, shown_axes
from aebnas.report.palette import COLOURS
from aebnas.strategies.front import FrontPoint

MARKERS = "os^Dv*PX<>"
LINES = ("-", "--", ":", "-.")


def draw_fronts(
    fronts: Mapping[str, Sequence[FrontPoint]], objectives: Sequence[Objective], title: str, path: Path
) -> None:
    """Write `front_figure` as an image."""
    figure = front_figure(fronts, objectives, title)
    write_atomically(path, lambda partial: figure.savefig(partial, dpi=130, metadata={"Software": None}))
    plt.close(figure)


def front_figure(fronts: Mapping[str, Sequence[FrontPoint]], objectives: Sequence[Objective], title: str) -> Figure:
    """Named fronts over two of the objectives (see `shown_axes`).

    Names and title are shown literally. With two objectives each front is drawn as a step function; with more, only as
    points.
    """
    y, x = shown_axes(objectives)
    scale_x, label_x = axis_scale(x)
    scale_y, label_y = axis_scale(y)
    figure, panel = plt.subplots(figsize=(8, 5), layout="constrained")
    for index, points in enumerate(fronts.values()):
        ordered = sorted((point.metrics for _, point in points), key=lambda metrics: metrics[x])
        panel.plot(
            [metrics[x] * scale_x for metrics in ordered],
            [metrics[y] * scale_y for metrics in ordered],
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=4.5,
            linewidth=1.2,
            linestyle=LINES[index // len(COLOURS) % len(LINES)] if len(objectives) == 2 else "none",
            drawstyle="steps-post",
            alpha=0.85,
        )
    panel.set_xscale("log")
    for axis in ("major", "minor"):
        getattr(panel.xaxis, f"set_{axis}_formatter")(lambda value, _: f"{value:g}")
    panel.tick_params(axis="x", which="minor", labelsize=7)
    panel.set_xlabel(label_x)
    panel.set_ylabel(label_y)
    panel.set_title(title, parse_math=False)
    panel.grid(alpha=0.3)
    legend = panel.legend(panel.get_lines(), ["front"] * len(fronts))
    for text, (name, points) in zip(legend.get_texts(), fronts.items(), strict=True):
        # set afterwards: legends leave out labels that begin with an underscore, and `$` is for formulas
        text.set_parse_math(False)
        text.set_text(f"{name}, {len(points)} points")
    return figure


def axis_scale(metric: str) -> tuple[float, str]:
    """The scale factor of a metric on an axis, and the label of the axis."""
    unit = METRICS[metric].unit
    if unit == "fraction":
        return 100.0, f"{metric} (%)"
    return (1.0, f"{metric} ({unit})") if unit in ("ms", "mJ") else (1e-6, f"{metric} (million {unit})")
