"""`report.html`: one file that opens with no network, the front to hover over and the protocol below."""

from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from aebnas.files import write_text
from aebnas.front import FrontPoint
from aebnas.report.plots import FRONT_COLOUR, GREY, axes
from aebnas.trial import OperatingPoint, Trial
from aebnas.workspace import Workspace

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 1rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-size: .85rem; } td, th { padding: .2rem .6rem; text-align: right; }
th { border-bottom: 1px solid #888; } .scroll { overflow-x: auto; } td:first-child { white-space: nowrap; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #ddd; } .js-plotly-plot { background: #fff; } }
"""

PLOTLY = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}


def write_html(workspace: Workspace, trials: Sequence[Trial], points: Sequence[FrontPoint]) -> None:
    """Write the report from the run's trials, metrics file and protocol."""
    folder = workspace.run.folder
    parts = [
        f"<h1>{escape(workspace.run.name)}</h1>",
        f"<p>{len(trials):,} trials, {len(points)} operating points on the front. "
        f"Figures of the search split, N = {len(workspace.splits.search):,}.</p>",
        _scatter(workspace, trials, points).to_html(full_html=False, include_plotlyjs=True, config=PLOTLY),
        "<h2>Front</h2><div class=scroll>" + _front_table(points) + "</div>",
    ]
    metrics = folder / "train_epoch_metrics.csv"
    if metrics.exists():
        parts += [
            "<h2>Supernet training</h2>",
            _training(pd.read_csv(metrics)).to_html(full_html=False, include_plotlyjs=False, config=PLOTLY),
        ]
    protocol = workspace.run.read_json("protocol.json")
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in protocol.items())
    parts.append(f"<h2>Protocol</h2><div class=scroll><table>{rows}</table></div>")
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(workspace.run.name)} - aebnas</title><style>{STYLE}</style></head><body>"
    )
    write_text(folder / "report.html", head + "\n".join(parts) + "</body></html>\n")


def _scatter(workspace: Workspace, trials: Sequence[Trial], points: Sequence[FrontPoint]) -> go.Figure:
    y, x = axes(workspace)
    on_front = {point.id for _, point in points}
    rest = [(t, p) for t in trials for p in t.points if p.id not in on_front]
    ordered = sorted(points, key=lambda pair: pair[1].metrics[x])
    figure = go.Figure(
        [
            _markers("dominated", rest, x, y, {"color": GREY, "size": 5}, "markers"),
            _markers("front", ordered, x, y, {"color": FRONT_COLOUR, "size": 8}, "lines+markers"),
        ]
    )
    figure.update_layout(template="simple_white", xaxis_title=x, yaxis_title=y, height=560)
    return figure


def _markers(name: str, pairs: Sequence[FrontPoint], x: str, y: str, marker: dict[str, Any], mode: str) -> go.Scatter:
    return go.Scatter(
        name=name,
        mode=mode,
        marker=marker,
        line={"shape": "hv"},
        x=[point.metrics[x] for _, point in pairs],
        y=[point.metrics[y] for _, point in pairs],
        text=[_hover(trial, point) for trial, point in pairs],
        hovertemplate="%{text}<extra></extra>",
    )


def _hover(trial: Trial, point: OperatingPoint) -> str:
    shares = " / ".join(f"{100 * share:.0f}%" for share in point.exit_shares)
    m = point.metrics
    return (
        f"<b>{point.id}</b><br>accuracy {100 * m['accuracy']:.2f}%, {m['avg_macs'] / 1e6:.3g}M MACs<br>"
        f"leaving at exits {shares}<br>{escape(str(trial.architecture))}"
    )


def _front_table(points: Sequence[FrontPoint]) -> str:
    rows = [
        {
            "id": point.id,
            "accuracy %": f"{100 * point.metrics['accuracy']:.2f}",
            "avg MACs (M)": f"{point.metrics['avg_macs'] / 1e6:.3f}",
            "taken only (M)": f"{point.metrics['avg_macs_taken_only'] / 1e6:.3f}",
            "params": f"{point.metrics['params']:,.0f}",
            "criterion": point.policy.criterion,
            "exit shares %": " / ".join(f"{100 * share:.0f}" for share in point.exit_shares),
            "architecture": str(trial.architecture),
        }
        for trial, point in points
    ]
    return pd.DataFrame(rows).to_html(index=False, border=0)


def _training(metrics: pd.DataFrame) -> go.Figure:
    figure = go.Figure()
    for subnet, rows in metrics.groupby("subnet"):
        for column in [c for c in rows.columns if c.startswith("exit") and rows[c].notna().any()]:
            label = f"{subnet}, {column.removesuffix('_accuracy')}"
            figure.add_scatter(x=rows["epoch"], y=rows[column], name=label, mode="lines")
    figure.update_layout(template="simple_white", xaxis_title="epoch", yaxis_title="accuracy (search split)")
    return figure
