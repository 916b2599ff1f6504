// The page of a comparison: a race of the optimizers.

const METRICS = { loss: "training loss", accuracy: "training accuracy", val_loss: "test loss", val_accuracy: "test accuracy" };

function comparisonPage(data) {
  const present = Object.fromEntries(Object.entries(METRICS).filter(([name]) => data.runs.some((run) => run.history[name])));
  resultsSection(data);
  if (data.runs.some((run) => run.history.epoch.length)) raceSection(data, present);
  about(data);
  document.querySelector("#settings").append(make("details", {}, make("summary", {}, "The settings of each optimizer"),
    scrolling("Table of the optimizers", table(["optimizer", "settings"], data.runs.map((run) => [run.name, run.settings]), { class: "each" }))));
  repetition(data);
}

function resultsSection(data) {
  const name = ({ name: text, folders, seeds }) => make("span", {}, ...(folders.length === 1
    ? [make("a", { href: `${folders[0]}/report.html` }, text)]
    : [text, ...folders.flatMap((folder, k) => [" ", make("a", { href: `${folder}/report.html`, "aria-label": `${text}, seed ${seeds[k]}` }, `seed ${seeds[k]}`)])]));
  section("Results", "results", scrolling("Table of the results", table(data.columns,
    data.runs.map((run) => [name(run), ...run.results]), { class: "numbers" })),
  make("p", { class: "note" }, data.resultsNote));
}

function raceSection(data, present) {
  const host = section("The race", "race", make("p", { class: "note" }, data.note));
  let metric = "val_loss" in present ? "val_loss" : Object.keys(present)[0];
  const isLoss = () => metric.endsWith("loss");
  const panel = { title: present[metric], isLoss, text: (value) => (isLoss() ? short(value) : percent(value)),
    tick: (value) => (isLoss() ? short(value) : wholePercent(value)),
    lines: () => data.runs.filter((run) => run.history[metric] && run.history.epoch.length)
      .map((run) => ({ name: run.name, colour: run.colour, dashes: run.dashes, y: run.history[metric], columns: run.history })) };
  const race = {
    controls: (curves) => {
      const [label, select] = choice("Show", present, (value) => {
        metric = value;
        panel.title = present[value];
        curves.set({});
      });
      select.value = metric;
      return [label];
    },
  };
  new Curves(host, { panels: [panel], race, makeValues: (curves) => new Ranking(curves, panel, isLoss()) });
}

// The optimizers in the order of their values at the position, the best first; each can be hidden.
class Ranking {
  constructor(curves, panel, isLoss) {
    Object.assign(this, { curves, panel, isLoss });
    this.entries = panel.lines().map((line) => {
      const box = make("input", { type: "checkbox", onchange: () => {
        curves.hidden[box.checked ? "delete" : "add"](line.name);
        row.className = box.checked ? "" : "dim";
        curves.redraw();
      } });
      box.checked = !curves.hidden.has(line.name);
      const value = make("td"), bar = make("span", { class: "bar" });
      const row = make("tr", { class: box.checked ? "" : "dim" }, make("th", { scope: "row" }, make("label", {}, box, " ", named(line))),
        value, make("td", { class: "bars" }, bar));
      return { line, row, value, bar };
    });
    this.table = table(["the best first", `${panel.title}${isLoss ? ", lower is better" : ""}`, ""], [], { class: "numbers" });
    this.order = [];
  }

  update() {
    const { axis, at } = this.curves, worst = this.isLoss ? Infinity : -Infinity;
    for (const entry of this.entries) {
      entry.now = valueAt(entry.line, axis, at);
      entry.ended = at > last(entry.line.columns[axis]) + 1e-9;
    }
    const order = [...this.entries].sort((a, b) => (this.isLoss ? 1 : -1) * ((a.now ?? worst) - (b.now ?? worst)) || 0);
    const largest = Math.max(...this.entries.map(({ now }) => now ?? 0)) || 1;
    for (const { now, value, bar, line, ended } of order) {
      value.textContent = this.panel.text(now) + (ended ? " (has ended)" : "");
      Object.assign(bar.style, { width: `${(8 * (now ?? 0)) / largest}rem`, background: line.colour });
    }
    if (order.every((entry, k) => entry === this.order[k])) return;
    const focused = document.activeElement;
    this.table.tBodies[0].append(...order.map(({ row }) => row));
    if (this.table.contains(focused)) focused.focus();
    this.order = order;
  }
}
