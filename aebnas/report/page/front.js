// The front as a table that can be sorted by any column; a row opens the detail panel.

let sorted = { column: 1, down: true };

/** Columns: title, value to sort by, text. */
function frontColumns() {
  const { points } = run;
  const metrics = Object.keys(run.metrics).map((name) => ({
    title: labelOf(name),
    value: (place) => points.metrics[name][place],
    text: (place) => withUnit(name, points.metrics[name][place]),
  }));
  const [accuracy, ...costs] = metrics;
  return [
    { title: "id", value: (place) => points.id[place] },
    accuracy,
    { title: "95 % interval", value: (place) => points.accuracy_low[place], text: (place) => interval(points.accuracy_low[place], points.accuracy_high[place]) },
    ...costs,
    { title: "exits", value: (place) => points.exit_shares[place].length, text: (place) => points.exit_shares[place].length },
    { title: "exit shares", value: (place) => points.exit_shares[place][0], text: (place) => points.exit_shares[place].map((share) => percent(share, 0)).join(" / ") },
    { title: "criterion", value: (place) => points.criterion[place], text: (place) => points.criterion[place] },
  ];
}

/** Draw the table in its order; `onChoose(place)` is called when a row is selected. */
function drawFront(chosen, onChoose) {
  const columns = frontColumns(), { points } = run;
  const places = points.id.map((_, place) => place).filter((place) => points.role[place] === "front");
  const { value } = columns[sorted.column];
  const compare = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
  places.sort((a, b) => (sorted.down ? compare(b, a) : compare(a, b)));
  const titles = columns.map(({ title }, column) => {
    const button = element("button", { type: "button", textContent: title });
    button.addEventListener("click", () => {
      sorted = { column, down: sorted.column === column ? !sorted.down : column > 0 };
      drawFront(chosen, onChoose);
      byId("front").querySelectorAll("th button")[column].focus();
    });
    const order = column === sorted.column ? (sorted.down ? "descending" : "ascending") : "none";
    return element("th", { scope: "col", "aria-sort": order }, button);
  });
  const rows = places.map((place) => {
    const opener = element("button", { type: "button", className: "link mono", textContent: points.id[place] });
    const cells = columns.slice(1).map(({ text }) => element("td", { textContent: text(place) }));
    const row = element("tr", { id: `row-${place}` }, element("td", {}, opener), ...cells);
    row.addEventListener("click", () => onChoose(place)); // a key press on the button clicks the row, too
    return row;
  });
  byId("front").replaceChildren(element("thead", {}, element("tr", {}, ...titles)), element("tbody", {}, ...rows));
  markRow(chosen);
}

/** Mark the row of the selected point, if it is on the front. */
function markRow(chosen) {
  byId("front").querySelector("tr[aria-current]")?.removeAttribute("aria-current");
  byId(`row-${chosen}`)?.setAttribute("aria-current", "true");
}
