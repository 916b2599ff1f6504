// The curves of one run or several: panels with one position, and a table of the values there.

const AXES = { epoch: "epochs", seconds: "seconds of training", passes: "passes over the training data" };

class Curves {
  // `panels` have a title and a function that gives the lines, with x for an axis; `race` sorts, plays and chooses.
  constructor(host, { panels, groups, race }) {
    Object.assign(this, { panels, groups, race, axis: "epoch", log: false, replay: false, hidden: new Set() });
    this.charts = panels.map(({ title }) => new Chart(title, (at) => this.move(at)));
    const axes = Object.fromEntries(Object.entries(AXES).filter(([name]) => this.lines().every((line) => line.columns[name])));
    const [axisLabel] = choice("Against", axes, (value) => this.set({ axis: value }));
    const log = make("input", { type: "checkbox", onchange: () => this.set({ log: log.checked }) });
    this.slider = make("input", { type: "range", min: 0, max: 1000, value: 1000, step: 1, oninput: () => this.move((this.slider.value / 1000) * this.right) });
    this.play = race ? make("button", { type: "button", onclick: () => this.toggle() }, "Play") : null;
    this.position = make("output", {});
    this.readout = make("div", {});
    host.append(make("div", { class: "controls" }, ...(race ? race.controls(this) : []), axisLabel,
      make("label", {}, log, "logarithmic loss")));
    host.append(make("div", { class: "panels" }, ...this.charts.map((chart) => chart.figure)));
    host.append(make("div", { class: "controls" }, this.play, make("label", { class: "long" }, "Position", this.slider), this.position));
    host.append(scrolling("Values at the position of the slider", this.readout));
    this.set({});
  }

  lines() {
    return this.panels.flatMap((panel) => panel.lines());
  }

  set(changes) {
    Object.assign(this, changes);
    const xs = this.lines().map((line) => line.columns[this.axis]);
    this.right = Math.max(...xs.map((x) => x[x.length - 1] ?? 0)) || 1;
    this.at = this.right;
    this.values = this.race ? this.race.values(this) : new Values(this);
    this.readout.replaceChildren(this.values.table);
    this.redraw();
  }

  redraw() {
    this.panels.forEach((panel, k) => {
      const lines = panel.lines().filter((line) => !this.hidden.has(line.name))
        .map((line) => ({ ...line, x: line.columns[this.axis] }));
      this.charts[k].caption.textContent = panel.title;
      this.charts[k].show({ lines, right: this.right, text: panel.tick, label: AXES[this.axis], log: this.log && panel.isLoss(), at: this.at,
        description: `${panel.title} against ${AXES[this.axis]}. The table below has the values at the position of the slider.` });
    });
    this.move(this.at);
  }

  move(at, replay = false) {
    this.at = at;
    this.slider.value = Math.round((1000 * at) / this.right);
    const text = this.axis === "epoch" ? `epoch ${Math.floor(at + 1e-9)}` : `${short(at)} ${this.axis}`;
    this.position.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
    for (const chart of this.charts) chart.move(at, replay);
    this.values.update();
  }

  toggle() {
    if (this.timer) return this.pause();
    this.play.textContent = "Pause";
    let at = this.at >= this.right ? 0 : this.at;
    const step = this.right / 300;
    this.timer = setInterval(() => {
      at = Math.min(this.right, at + step);
      this.move(at, true);
      if (at >= this.right) this.pause();
    }, 40);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "Play";
  }
}

// A table of the values of each line at the position.
class Values {
  constructor(curves) {
    this.curves = curves;
    const lines = curves.lines();
    this.names = [...new Set(lines.map((line) => line.name))];
    this.table = table(["", ...curves.panels.map((panel) => panel.title)], this.names.map((name) =>
      [named(lines.find((line) => line.name === name)), ...curves.panels.map(() => "")]), { class: "numbers" });
  }

  update() {
    const { panels, axis, at } = this.curves;
    [...this.table.tBodies[0].rows].forEach((row, i) => panels.forEach((panel, k) => {
      const line = panel.lines().find(({ name }) => name === this.names[i]);
      row.cells[k + 1].textContent = panel.text(line ? valueAt(line, axis, at) : null);
    }));
  }
}

function valueAt(line, axis, at) {
  const i = before({ x: line.columns[axis] }, at);
  return i === null ? null : line.y[i];
}

// A name beside the line that is drawn for it.
function named(line) {
  return make("span", {}, draw("svg", { class: "swatch", viewBox: "0 0 30 10", "aria-hidden": "true" },
    draw("line", { x1: 0, x2: 30, y1: 5, y2: 5, stroke: line.colour, "stroke-width": 3, "stroke-dasharray": line.dashes })), ` ${line.name}`);
}
