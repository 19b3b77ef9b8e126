// Parts of the page without plots: the head, picks, failures, protocol and environment.

function drawFacts() {
  const { trials, points, growth } = run;
  const front = points.role.filter((role) => role === "front").length;
  byId("summary").textContent =
    `Search on ${run.data}: ${run.objectives.map(labelOf).join(", ")}` +
    `${run.constraints.length ? `; ${run.constraints.join(", ")}` : ""}. ` +
    `Metrics are those of the search split (N = ${grouped(run.samples)}), on which the front was selected, so its accuracies are optimistic.` +
    [run.ended_early, run.nothing_feasible].filter(Boolean).map((reason) => ` The search ended: ${reason}.`).join("");
  const figures = [
    [grouped(trials.total), `evaluations${trials.failed ? `, ${grouped(trials.failed)} failed` : ""}`],
    [grouped(run.points_total), "operating points"],
    [grouped(front), "on the front"],
  ];
  if (front) figures.push([percent(Math.max(...frontValues("accuracy"))), "best accuracy"]);
  if (growth.hypervolume.length) figures.push([growth.hypervolume.at(-1).toFixed(4), "hypervolume"]);
  byId("figures").append(...figures.map(([value, name]) => element("li", {}, element("strong", { textContent: value }), element("span", { textContent: name }))));
  drawPicks();
  drawPolicies();
  drawRelaxed();
  drawMeasured();
  drawFailures();
  byId("protocol").append(...factRows(run.protocol));
  byId("environment").append(...factRows({ ...run.environment, seconds: run.seconds, "training compute (PFLOP)": run.pflop }));
}

const frontValues = (metric) => run.points.metrics[metric].filter((_, place) => run.points.role[place] === "front");

function drawPicks() {
  byId("picks-section").hidden = !run.picks.length;
  const rows = run.picks.map((pick) => {
    const texts = [
      MEASURED[pick.kind], percent(pick.metrics.accuracy), interval(pick.accuracy_low, pick.accuracy_high), grouped(pick.samples),
      withUnit("avg_macs", pick.metrics.avg_macs), pick.exit_shares.map((share) => percent(share, 0)).join(" / "), pick.source,
    ];
    const id = element("td", { className: "mono", textContent: pick.id });
    return element("tr", {}, id, ...texts.map((text) => element("td", { textContent: text })));
  });
  const titles = ["id", "measured", "accuracy", "95 % interval", "N", "avg MACs", "exit shares", "weights and thresholds"];
  byId("picks").append(...plainTable(titles, rows).children);
}

function drawRelaxed() {
  const { caption, heads, rows } = run.relaxed;
  byId("relaxed-section").hidden = !rows.length;
  byId("relaxed-hint").textContent = caption;
  const lines = rows.map((texts) => element("tr", {}, ...texts.map((text) => element("td", { textContent: text }))));
  byId("relaxed").append(...plainTable(heads, lines).children);
}

function drawMeasured() {
  byId("measured-section").hidden = !run.measured.length;
  for (const { id, where, rows } of run.measured) {
    const lines = rows.map((texts) => element("tr", {}, ...texts.map((text) => element("td", { textContent: text }))));
    const table = plainTable(["", "measured", "predicted"], lines);
    const title = element("h3", {}, element("span", { className: "mono", textContent: id }));
    const scroll = element("div", { className: "scroll", role: "region", "aria-label": `measured ${id}`, tabIndex: 0 }, table);
    byId("measured").append(title, element("p", { className: "hint", textContent: where }), scroll);
  }
}

function drawFailures() {
  byId("failures-section").hidden = !run.failures.length;
  const rows = run.failures.map(([reason, count]) => element("tr", {}, element("td", { textContent: reason }), element("td", { textContent: count })));
  byId("failures").append(...plainTable(["reason", "trials"], rows).children);
}

function factRows(facts) {
  return Object.entries(facts).map(([name, value]) => {
    const head = element("th", { scope: "row", textContent: labelOf(name) });
    return element("tr", {}, head, element("td", { textContent: asText(value) }));
  });
}

function asText(value) {
  if (value === null) return "none";
  if (Array.isArray(value)) return value.join(", ") || "none";
  if (typeof value === "object") return Object.entries(value).map(([name, part]) => `${name} ${typeof part === "number" ? part.toLocaleString("en-US") : part}`).join(", ");
  return String(value);
}
