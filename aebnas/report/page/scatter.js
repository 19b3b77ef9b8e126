// All operating points over two selectable metrics.

const ROLES = {
  dominated: { name: "dominated", colour: "others", symbol: "circle", size: 4, opacity: 0.55 },
  infeasible: { name: "infeasible", colour: "over", symbol: "x-thin-open", size: 6, opacity: 0.7 },
  front: { name: "front", colour: "front", symbol: "circle", size: 8, opacity: 1 },
};
const PICKS = {
  retrained: { name: "retrained", colour: "retrained", symbol: "diamond", size: 12 },
  test: { name: "test set", colour: "test", symbol: "star", size: 14 },
};

const axis = (name) => ({ metric: byId(`${name}-axis`).value, log: byId(`${name}-log`).checked });
const scaled = (metric, value) => (run.metrics[metric].unit === "fraction" ? 100 * value : value);
const axisTitle = (metric) => {
  const { unit } = run.metrics[metric];
  const shown = unit === "fraction" ? "%" : unit;
  return labelOf(metric).toLowerCase().includes(shown.toLowerCase()) ? labelOf(metric) : `${labelOf(metric)} (${shown})`;
};

/** Fill the axis menus with the metrics; `redraw` is called when a selection changes. */
function prepareScatter(redraw) {
  for (const name of ["x", "y"]) {
    const chooser = byId(`${name}-axis`);
    for (const metric of Object.keys(run.metrics)) {
      chooser.append(element("option", { value: metric, textContent: labelOf(metric), title: run.metrics[metric].meaning }));
    }
    chooser.value = run.axes[name];
    chooser.addEventListener("change", redraw);
    byId(`${name}-log`).checked = name === "x";
    byId(`${name}-log`).addEventListener("change", redraw);
  }
  const left = run.points_total - run.points.id.length;
  if (left) byId("left-out").textContent = `${grouped(left)} of ${grouped(run.points_total)} points are not shown (dominated or infeasible ones).`;
}

/** Draw or redraw; `chosen` is the selected point, shown in the detail panel. */
async function drawScatter(chosen, onClick) {
  const x = axis("x"), y = axis("y"), { points } = run;
  const places = points.id.map((_, place) => place);
  const traces = Object.entries(ROLES).map(([role, look]) => {
    const members = places.filter((place) => points.role[place] === role);
    if (role === "front") members.sort((a, b) => points.metrics[x.metric][a] - points.metrics[x.metric][b]);
    return pointTrace(members, x, y, look);
  });
  const front = traces.at(-1);
  // transparent, small and last: of points within 3 pixels plotly selects the last trace's, so points of the front
  const hits = { ...front, name: "front, to click", showlegend: false, marker: { ...front.marker, size: 6, opacity: 0 } };
  front.mode = isObjectivePair(x.metric, y.metric) ? "lines+markers" : "markers";
  for (const [kind, look] of Object.entries(PICKS)) traces.push(pickTrace(kind, x, y, look));
  traces.push(hits);
  if (chosen !== null) {
    const ring = { colour: "chosen", symbol: "circle-open", size: 18, name: "selected" };
    const trace = pointTrace([chosen], x, y, ring);
    traces.push({ ...trace, marker: { ...trace.marker, line: { width: 3 } }, hoverinfo: "skip", hovertemplate: null });
  }
  const layout = plotLayout({
    hovermode: "closest",
    uirevision: [x.metric, y.metric, x.log, y.log].join(), // a new choice of point must not undo a zoom
    xaxis: scatterAxis(x, points),
    yaxis: scatterAxis(y, points),
  });
  const plot = byId("scatter");
  const isNew = !plot.data;
  await Plotly.react(plot, traces.filter((trace) => trace.x.length), layout, plotConfig);
  if (isNew) plot.on("plotly_click", (event) => onClick(event.points[0].customdata));
}

/** The front is drawn as a line if the two metrics shown are its objectives. */
const isObjectivePair = (x, y) => run.objectives.length === 2 && run.objectives.includes(x) && run.objectives.includes(y) && x !== y;

function pointTrace(places, x, y, look) {
  const { metrics } = run.points;
  return {
    type: "scatter",
    mode: "markers",
    name: look.name,
    x: places.map((place) => scaled(x.metric, metrics[x.metric][place])),
    y: places.map((place) => scaled(y.metric, metrics[y.metric][place])),
    customdata: places,
    text: places.map(hoverText),
    hovertemplate: "%{text}<extra></extra>",
    line: { shape: "hv", width: 1.5, color: colour(look.colour) },
    marker: { color: colour(look.colour), symbol: look.symbol, size: look.size, opacity: look.opacity ?? 1 },
  };
}

function pickTrace(kind, x, y, look) {
  const picks = run.picks.filter((pick) => pick.kind === kind && run.points.id.includes(pick.id));
  const places = picks.map((pick) => run.points.id.indexOf(pick.id));
  const value = (metric) => picks.map((pick) => scaled(metric, pick.metrics[metric]));
  const text = picks.map(
    (pick) => `<b>${pick.id}</b>, ${kind === "test" ? "on the test set" : "retrained, on the search split"}<br>accuracy ${percent(pick.metrics.accuracy)}, ${withUnit("avg_macs", pick.metrics.avg_macs)} MACs`,
  );
  const trace = pointTrace(places, x, y, look);
  trace.marker.line = { width: 1, color: colour("card") };
  return { ...trace, x: value(x.metric), y: value(y.metric), text };
}

function scatterAxis({ metric, log }, points) {
  const changes = { type: log ? "log" : "linear" };
  if (run.metrics[metric].unit === "fraction") changes.ticksuffix = " %";
  else changes.tickformat = ["ms", "mJ"].includes(run.metrics[metric].unit) ? "~g" : "~s"; // not "500m" for half a ms
  const values = points.metrics[metric].map((value) => scaled(metric, value)).filter((value) => !log || value > 0);
  const low = Math.min(...values), high = Math.max(...values);
  if (log && high < 100 * low) changes.dtick = "D2";
  const front = values.filter((_, place) => points.role[place] === "front");
  if (metric === "accuracy" && !log && front.length) {
    // without this limit a few points of very low accuracy would compress the front; a double click shows them
    const minimum = Math.max(low, Math.min(...front) - 15);
    if (minimum > low) changes.range = [minimum, high + 0.05 * (high - minimum)];
  }
  return plotAxis(axisTitle(metric), changes);
}

function hoverText(place) {
  const { points } = run;
  const shares = points.exit_shares[place].map((share) => percent(share, 0)).join(" / ");
  const architecture = wrapped(run.architectures[points.architecture[place]].text, 48).join("<br>");
  return (
    `<b>${points.id[place]}</b><br>accuracy ${percent(points.metrics.accuracy[place])}, ` +
    `${costsOf(points, place)}<br>exit shares: ${shares}<br>${architecture}`
  );
}

/** Average MACs, and the other costs among the objectives. */
function costsOf({ metrics }, place) {
  const others = run.objectives.filter((name) => metrics[name] && run.metrics[name].direction === "min" && name !== "avg_macs");
  const texts = others.map((name) => `${withUnit(name, metrics[name][place])} ${labelOf(name)}`);
  return [`${withUnit("avg_macs", metrics.avg_macs[place])} average MACs`, ...texts].join("<br>");
}

/** Lines of at most `width` characters, broken at spaces. */
function wrapped(text, width) {
  const lines = [];
  for (const word of text.split(" ")) {
    if (lines.length && `${lines.at(-1)} ${word}`.length <= width) lines[lines.length - 1] += ` ${word}`;
    else lines.push(word);
  }
  return lines;
}
