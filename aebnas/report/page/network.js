// The drawing of a network: boxes and lines at the places computed by `aebnas/report/drawing.py`.

const ROW_PX = 62, BOX_WIDTH = 1.1, BOX_HEIGHT = 0.76, COLUMN = 1.4, LANE = 0.72;

/** Draw the network of a point, with the shares and accuracies of its exits. */
function drawNetwork(place) {
  const { points } = run;
  const architecture = run.architectures[points.architecture[place]];
  const { rows, boxes, lines } = architecture.drawing;
  const [skips, skipsBranches] = [0, 1].map((column) => lines.some((line) => line.skips && boxes[line.to].column === column));
  const total = boxes.reduce((sum, box) => sum + box.macs, 0);
  const text = { showarrow: false, font: { size: 11, color: colour("text") } };
  const labels = boxes.map((box) => ({ ...text, x: boxX(box), y: -box.row, text: boxText(box, place).join("<br>") }));
  const arrows = [], shapes = [];
  for (const line of lines) addLine(boxes[line.from], boxes[line.to], line.skips, shapes, arrows);
  for (const box of boxes) {
    const x = boxX(box), half = BOX_WIDTH / 2, unused = box.kind === "exit" && points.exit_shares[place][box.exit] === 0;
    const line = { color: colour(unused ? "line" : "muted"), width: 1, dash: unused ? "dot" : "solid" };
    const fillcolor = colour(`box-${box.kind}`);
    shapes.push({ type: "rect", x0: x - half, x1: x + half, y0: -box.row - BOX_HEIGHT / 2, y1: -box.row + BOX_HEIGHT / 2, line, fillcolor });
  }
  const hover = {
    type: "scatter",
    mode: "markers",
    x: boxes.map(boxX),
    y: boxes.map((box) => -box.row),
    marker: { size: 40, opacity: 0 },
    text: boxes.map((box) => `<b>${labelOf(box.name)}</b><br>output ${box.shape.join(" × ")}<br>${grouped(box.macs)} MACs (${percent(box.macs / total, 1)} of all)<br>${grouped(box.params)} parameters`),
    hovertemplate: "%{text}<extra></extra>",
  };
  const hidden = { visible: false, fixedrange: true };
  const layout = plotLayout({
    height: (rows + 0.3) * ROW_PX,
    margin: { l: 4, r: 4, t: 4, b: 4 },
    dragmode: false,
    hovermode: "closest",
    showlegend: false,
    shapes,
    annotations: [...arrows, ...labels],
    xaxis: { ...hidden, range: [skips ? -LANE - 0.15 : -0.6, COLUMN + (skipsBranches ? LANE + 0.15 : 0.6)] },
    yaxis: { ...hidden, range: [-rows + 0.4, 0.55] },
  });
  const plot = byId("network");
  plot.hidden = false;
  plot.style.height = `${layout.height}px`;
  byId("network-text").textContent = architecture.text;
  return Plotly.react(plot, [hover], layout, { ...plotConfig, displayModeBar: false });
}

const boxX = (box) => COLUMN * box.column;

/** Lines of text in a box: its op and output shape, or the share and accuracy of its exit. */
function boxText(box, place) {
  if (box.kind !== "exit") {
    const [first, ...rest] = box.label.split(", ");
    return [`<b>${first}</b>`, ...(rest.length ? [rest.join(", ")] : []), box.shape.join(" × ")];
  }
  const { points } = run;
  const share = points.exit_shares[place][box.exit], right = points.exit_accuracy[place][box.exit];
  const used = points.thresholds[place][box.exit] !== null;
  const leave = used ? `${percent(share, 1)} leave` : "never";
  return [`<b>exit ${box.exit + 1}</b>`, leave, ...(right === null ? [] : [`${percent(right, 1)} correct`])];
}

/** A line from one box to another: down a column, across to the other column, or beside the boxes in between. */
function addLine(from, to, skips, shapes, arrows) {
  const half = BOX_WIDTH / 2, rise = BOX_HEIGHT / 2, bent = { color: colour("muted"), width: 1.2 };
  const arrow = (ax, ay, x, y) =>
    arrows.push({ ax, ay, x, y, axref: "x", ayref: "y", xref: "x", yref: "y", text: "", showarrow: true, arrowhead: 2, arrowsize: 1, arrowwidth: 1.2, arrowcolor: colour("muted") });
  const straight = (x0, y0, x1, y1) => shapes.push({ type: "line", x0, y0, x1, y1, line: bent });
  if (from.column !== to.column) {
    const middle = COLUMN / 2, towards = from.column < to.column ? half : -half;
    if (from.row === to.row) return arrow(boxX(from) + towards, -from.row, boxX(to) - towards, -to.row);
    straight(boxX(from) + towards, -from.row, middle, -from.row);
    straight(middle, -from.row, middle, -to.row);
    return arrow(middle, -to.row, boxX(to) - towards, -to.row);
  }
  const side = to.column ? 1 : -1, lane = boxX(from) + side * LANE;
  if (!skips) return arrow(boxX(from), -from.row - rise, boxX(to), -to.row + rise);
  straight(boxX(from) + side * half, -from.row, lane, -from.row);
  straight(lane, -from.row, lane, -to.row);
  return arrow(lane, -to.row, boxX(to) + side * half, -to.row);
}
