// Results of `calibrate` and `evaluate` on the picks' policies, in tables that open one by one.

function drawPolicies() {
  const described = run.picks.filter((pick) => pick.evaluation || pick.kind === "calibrated");
  byId("policies-section").hidden = !described.length;
  byId("policies").append(...described.flatMap((pick) => (pick.kind === "calibrated" ? calibratedParts(pick) : evaluatedParts(pick))));
}

function calibratedParts(pick) {
  const exits = pick.exits.map((exit, place) => ({
    exit: place + 1, "accuracy if all stop here": exit.accuracy_alone, temperature: exit.temperature,
    "ECE before": exit.ece_before, ECE: exit.reliability.ece, "threshold": stopRule(pick.policy.thresholds, place),
  }));
  const notes = pick.promise ? [pick.promise.promise, ...pick.notes] : pick.notes;
  return [policyHead(pick), ...notes.map((text) => element("p", { className: "hint", textContent: text })), recordTable("exits over all of calibrate", exits)];
}

function evaluatedParts(pick) {
  const { evaluation } = pick;
  const { description } = evaluation;
  const costs = Object.entries(description.costs).map(([cost, spread]) => ({ cost, ...spread, "saving against no branches": evaluation.saving[cost] }));
  const quality = { "left too early": description.premature_rate, "correct only by leaving early": description.rescued_rate, ECE: description.ece };
  if (evaluation.ece_before !== undefined) quality["ECE without temperatures"] = evaluation.ece_before;
  const exits = (evaluation.exits ?? []).map((exit, place) => ({ exit: place + 1, ...exit })); // absent in earlier runs
  const depths = (description.class_depth ?? []).map((depth, label) => ({ "class number": label, "mean exit": depth === null ? null : depth + 1 })); // in earlier runs only
  const adaptation = Object.entries(evaluation.adaptation).map(([name, value]) => ({ "online adaptation": name, value }));
  const warnings = evaluation.warnings.length
    ? [element("ul", {}, ...evaluation.warnings.map((text) => element("li", { textContent: text })))]
    : [element("p", { className: "hint", textContent: "No warnings." })];
  return [
    policyHead(pick), ...warnings,
    recordTable("predictions", [{ ...Object.fromEntries(Object.entries(description.top_accuracy ?? {}).map(([k, share]) => [`top-${k}`, share])), ...quality }]),
    recordTable("exits over all images", exits),
    recordTable("cost per sample", costs),
    recordTable("at budgets", evaluation.budgets),
    ...classParts(pick),
    recordTable("mean exit by class", depths),
    recordTable(`requests at random times (${evaluation.traffic.unit})`, evaluation.traffic.queue),
    recordTable("skewed classes", evaluation.traffic.skewed ? [evaluation.traffic.skewed] : []),
    recordTable("corrupted images", evaluation.corruptions),
    recordTable("out-of-distribution images", evaluation.ood),
    recordTable("online adaptation on a stream whose second half is blurred", adaptation),
  ].filter(Boolean);
}

const policyHead = (pick) => element("h3", { textContent: `${pick.id}: ${MEASURED[pick.kind]}; ${pick.source}` });

/** A table of records with equal keys, closed at first; null if there are none. */
function recordTable(title, records) {
  if (!records.length) return null;
  const names = Object.keys(records[0]);
  const rows = records.map((record) => element("tr", {}, ...names.map((name) => element("td", { textContent: recordValue(record[name]) }))));
  const table = element("div", { className: "scroll" }, plainTable(names.map(labelOf), rows));
  return element("details", {}, element("summary", { textContent: title }), table);
}

function recordValue(value) {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.map((share) => percent(share, 0)).join(" / ");
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return grouped(value);
  return Number(value.toPrecision(4)).toString();
}
