// Hypervolume over evaluations, and training curves.

const LOOKS = [["circle", "solid"], ["square", "dash"], ["diamond", "dot"], ["triangle-up", "dashdot"], ["cross", "longdash"], ["star", "solid"]];

function drawGrowth() {
  const { trials, hypervolume, front_points: frontPoints } = run.growth;
  const trace = {
    type: "scatter",
    mode: "lines",
    x: trials,
    y: hypervolume,
    text: frontPoints.map((count) => `${count} points on the front`),
    hovertemplate: "after %{x} evaluations<br>hypervolume %{y:.4f}<br>%{text}<extra></extra>",
    line: { shape: "hv", width: 2, color: colour("front") },
  };
  const layout = plotLayout({ showlegend: false, xaxis: plotAxis("evaluations"), yaxis: plotAxis("hypervolume") });
  return Plotly.react(byId("growth"), [trace], layout, plotConfig);
}

/** Groups of training curves: the exits of each subnet, and the loss of each training. */
function trainingGroups() {
  const exits = run.training.map((curve) => ({
    title: `${curve.title}: accuracy of each exit`,
    unit: "accuracy on the search split (%)",
    lines: Object.entries(curve.exits).map(([exit, values]) => ({
      name: exit.replace("exit", "exit "),
      x: curve.epoch,
      y: values.map((value) => (value === null ? null : 100 * value)),
    })),
  }));
  const known = new Map(run.training.map((curve) => [curve.title.split(", ")[0], curve]));
  const losses = [...known].map(([name, curve]) => ({
    title: `${name}: loss`,
    unit: "training loss",
    lines: [{ name: "loss", x: curve.epoch, y: curve.loss }],
  }));
  return [...exits, ...losses];
}

function prepareTraining(redraw) {
  byId("training-section").hidden = !run.training.length;
  trainingGroups().forEach(({ title }, number) => byId("training-group").append(element("option", { value: number, textContent: title })));
  byId("training-group").addEventListener("change", redraw);
}

function drawTraining() {
  if (!run.training.length) return null;
  const group = trainingGroups()[byId("training-group").value];
  const traces = group.lines.map((line, number) => {
    const [symbol, dash] = LOOKS[number % LOOKS.length], ink = colour(`series-${(number % LOOKS.length) + 1}`);
    return { ...line, type: "scatter", mode: "lines+markers", line: { color: ink, dash, width: 2 }, marker: { symbol, size: 7, color: ink }, hovertemplate: "epoch %{x}: %{y:.4g}" };
  });
  const layout = plotLayout({ showlegend: traces.length > 1, hovermode: "x unified", xaxis: plotAxis("epoch"), yaxis: plotAxis(group.unit) });
  return Plotly.react(byId("training"), traces, layout, plotConfig);
}
