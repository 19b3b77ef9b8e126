// Unpacks the page's data and plotting library, draws everything, and redraws what a selection changes.

let chosen = null;

/** Show a point in the detail panel; on a narrow screen, scroll there. */
async function choose(place) {
  chosen = place;
  markRow(place);
  await Promise.all([drawDetail(place), drawScatter(place, choose)]);
  if (narrow()) {
    byId("detail-title").focus({ preventScroll: true });
    byId("detail").scrollIntoView({ block: "start" });
  }
}

/** Draw all plots in the present colours. */
async function drawAll() {
  const plots = [drawGrowth(), drawTraining(), ...drawConfusions()];
  if (run.points.id.length) plots.push(drawScatter(chosen, choose));
  if (chosen !== null) plots.push(drawDetail(chosen));
  await Promise.all(plots);
}

async function start() {
  run = JSON.parse(await unpack("payload"));
  const library = element("script", { textContent: await unpack("plotly") });
  document.head.append(library);
  if (run.points.id.length) {
    prepareScatter(() => drawScatter(chosen, choose));
    const first = run.points.id.indexOf(run.named.knee);
    chosen = first < 0 ? 0 : first;
    drawFront(chosen, choose);
  }
  prepareTraining(drawTraining);
  drawFacts();
  await drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  const old = typeof DecompressionStream === "undefined";
  byId("problem").textContent = old ? "This page requires DecompressionStream, which this browser lacks; use a browser from 2023 or later." : `The page could not be drawn: ${error.message}`;
  byId("problem").hidden = false;
  throw error;
});
