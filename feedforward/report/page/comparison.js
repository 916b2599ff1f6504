// The page of a comparison: a race of the optimizers.

const METRICS = { loss: "training loss", accuracy: "training accuracy", val_loss: "test loss", val_accuracy: "test accuracy" };

function comparisonPage(data) {
  about(data);
  const present = Object.fromEntries(Object.entries(METRICS).filter(([name]) => data.runs.some((run) => run.history[name])));
  if (data.runs.some((run) => run.history.epoch.length)) raceSection(data, present);
  resultsSection(data);
  repetition(data);
}

function raceSection(data, present) {
  const host = section("The race", "race");
  host.append(make("p", { class: "note" }, data.note));
  let metric = "accuracy" in present ? "accuracy" : Object.keys(present)[0];
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
    values: (curves) => new Ranking(curves, panel, isLoss()),
  };
  new Curves(host, { panels: [panel], race });
}

// The optimizers in the order of their values at the position, the best first; each can be hidden.
class Ranking {
  constructor(curves, panel, isLoss) {
    Object.assign(this, { curves, panel, isLoss });
    this.entries = panel.lines().map((line) => {
      const box = make("input", { type: "checkbox", onchange: () => {
        curves.hidden[box.checked ? "delete" : "add"](line.name);
        curves.redraw();
      } });
      box.checked = !curves.hidden.has(line.name);
      const value = make("td"), bar = make("span", { class: "bar" });
      const row = make("tr", {}, make("th", { scope: "row" }, make("label", {}, box, " ", named(line))), value,
        make("td", { class: "bars" }, bar));
      return { line, row, value, bar };
    });
    this.table = table(["optimizer", panel.title, ""], [], { class: "numbers" });
    this.order = [];
  }

  update() {
    const { axis, at } = this.curves, worst = this.isLoss ? Infinity : -Infinity;
    for (const entry of this.entries) entry.now = valueAt(entry.line, axis, at);
    const order = [...this.entries].sort((a, b) => (this.isLoss ? 1 : -1) * ((a.now ?? worst) - (b.now ?? worst)) || 0);
    const largest = Math.max(...this.entries.map(({ now }) => now ?? 0)) || 1;
    for (const { now, value, bar, line } of order) {
      value.textContent = this.panel.text(now);
      Object.assign(bar.style, { width: `${(8 * (now ?? 0)) / largest}rem`, background: line.colour });
    }
    if (order.every((entry, k) => entry === this.order[k])) return;
    const focused = document.activeElement;
    this.table.tBodies[0].append(...order.map(({ row }) => row));
    if (this.table.contains(focused)) focused.focus();
    this.order = order;
  }
}

function resultsSection(data) {
  const name = ({ name: text, folders }) => make("span", {}, text, ...folders.map((folder, k) => make("span", {}, " ",
    make("a", { href: `${folder}/report.html`, "aria-label": `The page of ${folder}` }, folders.length > 1 ? `run ${k + 1}` : "page"))));
  section("Results", "results", scrolling("Table of the results", table(["optimizer", ...data.columns.slice(1)],
    data.runs.map((run) => [name(run), ...run.results]), { class: "numbers" })),
  make("p", { class: "note" }, data.resultsNote));
}
