// Each class of a pick on the test set, and which classes are taken for which.

const WORST_LISTED = 30;
const NUMBERED_UP_TO = 12;

/** Parts of `evaluate`'s result on classes; none in runs of earlier versions. */
function classParts(pick) {
  const { classes } = pick.evaluation;
  if (!classes) return [];
  const labels = classes.name.map((_, label) => label);
  const worst = labels.filter((label) => classes.samples[label]).sort((a, b) => classes.accuracy[a] - classes.accuracy[b]);
  const listed = labels.length <= WORST_LISTED ? labels : worst.slice(0, WORST_LISTED);
  const title = listed.length < labels.length ? `the ${listed.length} least accurate of ${grouped(labels.length)} classes` : "classes";
  const rows = listed.map((label) => ({
    class: classes.name[label], images: classes.samples[label], accuracy: shareText(classes.accuracy[label]),
    "95 % interval": classes.accuracy[label] === null ? null : interval(classes.accuracy_low[label], classes.accuracy_high[label]),
    precision: shareText(classes.precision[label]), F1: shareText(classes.f1[label]),
    "mean exit": classes.mean_exit[label] === null ? null : (classes.mean_exit[label] + 1).toFixed(2),
  }));
  return [recordTable(title, rows), confusionPart(classes)];
}

const shareText = (share) => (share === null ? null : percent(share, 1));

/** The confusion matrix as a heat map, drawn when it is opened: shares of each class. */
function confusionPart(classes) {
  const plot = element("div", { className: "plot tall", role: "figure", "aria-label": "Confusion matrix: rows are classes, columns predictions" });
  const part = element("details", { className: "confusion" }, element("summary", { textContent: "confusion matrix" }), plot);
  part.addEventListener("toggle", () => { if (part.open) drawConfusion(plot, classes); });
  part.redraw = () => (part.open ? drawConfusion(plot, classes) : null);
  return part;
}

function drawConfusion(plot, classes) {
  const count = classes.name.length, { confusion } = classes;
  const shares = classes.name.map(() => new Array(count).fill(null)), texts = classes.name.map(() => new Array(count).fill(""));
  confusion.class.forEach((label, cell) => {
    const predicted = confusion.predicted[cell], images = confusion.count[cell];
    shares[label][predicted] = (100 * images) / classes.samples[label];
    texts[label][predicted] = grouped(images);
  });
  const few = count <= NUMBERED_UP_TO;
  const names = uniqueNames(classes.name.map(literal));
  const step = Math.ceil(count / 25);
  const everyStep = (values) => values.filter((_, label) => label % step === 0);
  const cut = classes.name.map((name) => literal(name.length > 16 ? `${name.slice(0, 15)}…` : name));
  const ticks = { type: "category", tickmode: "array", tickvals: everyStep(names), ticktext: everyStep(cut), showgrid: false, zeroline: false };
  const trace = {
    type: "heatmap", x: names, y: names, z: shares, text: texts,
    texttemplate: few ? "%{text}" : undefined, zmin: 0, zmax: 100, hoverongaps: false,
    colorscale: [[0, colour("card")], [0.02, colour("accent-soft")], [1, colour("front")]], colorbar: { ticksuffix: " %", thickness: 12 },
    hovertemplate: "%{y}<br>predicted %{x}<br>%{text} images, %{z:.1f} % of the class<extra></extra>",
  };
  const layout = plotLayout({
    xaxis: plotAxis("predicted", ticks), yaxis: plotAxis("class", { ...ticks, autorange: "reversed" }), margin: { l: 100, r: 12, t: 12, b: 90 },
  });
  return Plotly.react(plot, [trace], layout, plotConfig);
}

/** Text that plotly shows as it is. */
const literal = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** Names of categories, which must differ: equal ones are followed by the number of their class. */
const uniqueNames = (names) => names.map((name, label) => (names.indexOf(name) === label ? name : `${name} (${label})`));

/** Draw the open matrices again, in the present colours. */
const drawConfusions = () => [...document.querySelectorAll("details.confusion")].map((part) => part.redraw());
