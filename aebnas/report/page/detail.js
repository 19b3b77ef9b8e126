// The panel of the selected point.

/** Show a point in the panel. */
function drawDetail(place) {
  const { points } = run;
  byId("detail-title").textContent = points.id[place];
  byId("detail-body").replaceChildren(
    badges(place),
    metricList(place),
    element("h3", { textContent: `Exits, criterion ${run.points.criterion[place]}` }),
    exitTable(place),
    ...pickLists(points.id[place]),
    element("h3", { textContent: "Export" }),
    ...exportCommand(place),
    element("h3", { textContent: "Network" }),
  );
  return drawNetwork(place);
}

function badges(place) {
  const id = run.points.id[place], role = run.points.role[place];
  const names = Object.entries(run.named).filter(([, named]) => named === id).map(([rule]) => rule);
  const words = [role === "front" ? "on the front" : ROLES[role].name, ...names, `trial ${run.points.trial[place]}`];
  return element("ul", { className: "badges" }, ...words.map((word) => element("li", { textContent: word })));
}

function metricList(place) {
  const list = element("dl", { className: "metrics" });
  const { points } = run;
  for (const [name, { meaning }] of Object.entries(run.metrics)) {
    const value = element("dd", { textContent: withUnit(name, points.metrics[name][place]) });
    if (name === "accuracy") {
      const bounds = interval(points.accuracy_low[place], points.accuracy_high[place]);
      value.append(element("small", { textContent: `${bounds} (95 %)` }));
    }
    list.append(element("div", { title: meaning }, element("dt", { textContent: labelOf(name) }), value));
  }
  return list;
}

function exitTable(place) {
  const { points } = run;
  const { sites } = run.architectures[points.architecture[place]].drawing;
  const titles = ["exit", "after", "stops if", "share", "accuracy"];
  const rows = points.exit_shares[place].map((share, exit) => {
    const right = points.exit_accuracy[place][exit];
    const bar = element("td", { className: "share" }, element("i"), element("span", { textContent: percent(share, 1) }));
    bar.firstChild.style.width = `${100 * share}%`;
    const cells = [exit + 1, labelOf(sites[exit]), stopRule(points.thresholds[place], exit)];
    return element("tr", {}, ...cells.map((text) => element("td", { textContent: text })), bar, element("td", { textContent: right === null ? "–" : percent(right, 1) }));
  });
  return element("div", { className: "scroll" }, plainTable(titles, rows));
}

/** The last exit has no threshold: samples that reach it always leave. */
function stopRule(thresholds, exit) {
  if (exit === thresholds.length) return "always";
  return thresholds[exit] === null ? "never" : `> ${thresholds[exit].toPrecision(4)}`;
}

/** Metrics of this point after retraining and calibration, and on the test set. */
function pickLists(id) {
  return run.picks.filter((pick) => pick.id === id).flatMap((pick) => [
    element("h3", { textContent: MEASURED[pick.kind] }),
    element("p", { className: "hint", textContent: `N = ${grouped(pick.samples)}; weights ${pick.source}${pick.pflop ? `, training compute ${pick.pflop.toPrecision(3)} PFLOP` : ""}.` }),
    element("dl", { className: "metrics" },
      ...[
        ["accuracy", percent(pick.metrics.accuracy), `${interval(pick.accuracy_low, pick.accuracy_high)} (95 %)`],
        ...["balanced_accuracy", "worst_class_accuracy"].filter((name) => name in pick.metrics).map((name) => [labelOf(name), percent(pick.metrics[name]), ""]),
        ["avg MACs", withUnit("avg_macs", pick.metrics.avg_macs), ""],
        ["exit shares", pick.exit_shares.map((share) => percent(share, 0)).join(" / "), ""],
        ["exit accuracies", pick.exit_accuracy.map((right) => (right === null ? "–" : percent(right, 0))).join(" / "), ""],
      ].map(([name, value, small]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }, element("small", { textContent: small })))),
    ),
  ]);
}

function exportCommand(place) {
  const id = run.points.id[place];
  if (run.points.role[place] !== "front") {
    return [element("p", { className: "hint", textContent: "Only points on the front can be exported." })];
  }
  const quoted = /^[\w.\/-]+$/.test(run.folder) ? run.folder : `'${run.folder.replaceAll("'", "'\\''")}'`;
  const command = element("code", { className: "command", textContent: `aebnas export ${quoted} --pick ${id} --out exported/${id}` });
  const button = element("button", { type: "button", className: "copy", textContent: "Copy" });
  button.addEventListener("click", async () => {
    button.textContent = (await copied(command)) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 2500);
  });
  return [element("div", { className: "command-line" }, command, button)];
}

/** Copy an element's text. Where a page opened from a file has no access to the clipboard, copy by selection. */
async function copied(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}

/** A table with a head, from titles and rows. */
function plainTable(titles, rows) {
  const head = element("tr", {}, ...titles.map((title) => element("th", { scope: "col", textContent: title })));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
}
