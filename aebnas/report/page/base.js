// Shared by all parts of the page: the run, formatting of values, creation of elements, colours.

/** The payload, see `aebnas/report/payload.py`; set before anything is drawn. */
let run;

const byId = (id) => document.getElementById(id);

/** An element with properties and children (elements or text). */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Text in a gzip-packed, base64-written element of the page. */
async function unpack(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(unpacked).text();
}

/** What a pick's record was measured on, by its kind. */
const MEASURED = { retrained: "retrained, search split", calibrated: "calibrated, search split", test: "test set" };

const percent = (share, digits = 2) => `${(100 * share).toFixed(digits)} %`;
const grouped = (value) => Math.round(value).toLocaleString("en-US");
const interval = (low, high) => `${(100 * low).toFixed(1)} to ${percent(high, 1)}`;
/** The label of a metric: `avg_macs` becomes `avg MACs`. */
const labelOf = (name) => name.replaceAll("_", " ").replace("macs", "MACs").replace(/ (ms|mj)(?=@|$)/, "").replace("@", ", ");

/** A value of a metric with its unit. */
function withUnit(metric, value) {
  const { unit } = run.metrics[metric];
  if (unit === "fraction") return percent(value);
  if (unit === "bytes") return value < 1e6 ? `${(value / 1e3).toFixed(1)} kB` : `${(value / 1e6).toFixed(2)} MB`;
  if (unit === "ms" || unit === "mJ") return `${value.toPrecision(4)} ${unit}`;
  if (unit === "MACs") return `${(value / 1e6).toPrecision(4)} M`;
  return Number.isInteger(value) ? grouped(value) : value.toPrecision(5);
}

/** A colour of the style sheet in the present mode, light or dark. */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const narrow = () => matchMedia("(max-width: 66rem)").matches;
const coarse = matchMedia("(pointer: coarse)").matches;
const buttons = [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]];
const plotConfig = { displaylogo: false, responsive: true, modeBarButtons: buttons };

/** The common layout of all plots; dragging is off on touch screens, so that a finger scrolls the page. */
function plotLayout(changes) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("text"), family: "system-ui, sans-serif", size: 12 },
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("muted"), activecolor: colour("accent") },
    legend: { orientation: "h", x: 0, yref: "container", y: 0, yanchor: "bottom", itemsizing: "constant", font: { size: 11 } },
    margin: { l: 62, r: 12, t: 32, b: 48 },
    dragmode: coarse ? false : "zoom",
    ...changes,
  };
}

/** An axis in the page's colours. */
function plotAxis(title, changes = {}) {
  const lines = { gridcolor: colour("grid"), linecolor: colour("line"), zerolinecolor: colour("grid") };
  return { title: { text: title, standoff: 8 }, automargin: true, ...lines, ...changes };
}
