// The curves of one run or several: panels with one position, and a table of the values there.

const AXES = { epoch: "epochs", seconds: "seconds of training", passes: "passes over the training data" };
const CALM = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
const FRAME = CALM ? 1000 : 40; // milliseconds between two moments of a race
const FRAMES = CALM ? 12 : 250; // of a race

class Curves {
  // `panels` have a title and functions that give the lines, with their columns, and texts of values; `race` plays.
  constructor(host, { panels, race, makeValues }) {
    Object.assign(this, { panels, makeValues, axis: "epoch", log: false, hidden: new Set() });
    this.charts = panels.map(({ title }) => new Chart(title, (at) => this.timer || this.moveTo(at)));
    const axes = Object.fromEntries(Object.entries(AXES).filter(([name]) => this.lines().every((line) => line.columns[name])));
    const [axisChoice] = choice("Horizontal axis", axes, (value) => this.setAxis(value));
    this.logBox = make("input", { type: "checkbox", onchange: () => this.set({ log: this.logBox.checked }) });
    this.slider = make("input", { type: "range", min: 0, step: 1, oninput: () => this.moveTo(this.stops[this.slider.value]) });
    this.play = race ? make("button", { type: "button", onclick: () => (this.timer ? this.pause() : this.start()) }, "Play") : null;
    this.position = make("span", { class: "position" });
    this.readout = make("div", {});
    host.append(make("div", { class: "controls" }, ...(race ? race.controls(this) : []), axisChoice,
      make("label", {}, this.logBox, "logarithmic scale for the loss")),
    make("div", { class: "panels" }, ...this.charts.map((chart) => chart.figure)),
    make("div", { class: "controls" }, this.play, make("label", { class: "long" }, "Position", this.slider), this.position),
    scrolling("Values at the position of the slider", this.readout));
    this.set({});
    this.moveTo(this.right);
  }

  lines() {
    return this.panels.flatMap((panel) => panel.lines());
  }

  // Take new settings, and keep the position.
  set(changes) {
    this.pause();
    Object.assign(this, changes);
    this.values = this.makeValues(this);
    this.readout.replaceChildren(this.values.table);
    this.logBox.disabled = !this.panels.some((panel) => panel.isLoss());
    this.redraw();
  }

  // Take another axis, on which the position is the same moment of the line that is longest on the present one.
  setAxis(axis) {
    const longest = this.lines().reduce((a, b) => (last(a.columns[this.axis]) >= last(b.columns[this.axis]) ? a : b));
    const i = before({ x: longest.columns[this.axis] }, this.at);
    this.at = this.at >= this.right ? Infinity : i === null ? 0 : longest.columns[axis][i];
    this.set({ axis });
  }

  redraw() {
    const xs = this.lines().filter((line) => !this.hidden.has(line.name)).map((line) => line.columns[this.axis]);
    this.stops = [...new Set([0, ...xs.flat()])].sort((a, b) => a - b);
    this.right = last(this.stops) || 1;
    this.slider.max = this.stops.length - 1;
    this.panels.forEach((panel, k) => {
      const lines = panel.lines().filter((line) => !this.hidden.has(line.name))
        .map((line) => ({ ...line, x: line.columns[this.axis] }));
      this.charts[k].caption.textContent = panel.title;
      this.charts[k].show({ lines, right: this.right, text: panel.tick, label: AXES[this.axis],
        log: this.log && panel.isLoss(), at: 0, description: `${panel.title} against ${AXES[this.axis]}. ${summaryOf(panel)}` });
    });
    this.move(Math.min(this.at ?? this.right, this.right));
  }

  moveTo(at) {
    this.pause();
    this.move(at);
  }

  // Go to the last recorded moment that is not after `at`.
  move(at) {
    const i = before({ x: this.stops }, at) ?? 0;
    this.at = this.stops[i];
    const text = this.axis === "epoch" ? `epoch ${this.at} of ${this.right}` : `${short(this.at)} of ${short(this.right)} ${this.axis}`;
    if (text !== this.position.textContent) {
      this.position.textContent = text;
      this.slider.setAttribute("aria-valuetext", text);
    }
    this.slider.value = i;
    for (const chart of this.charts) chart.move(this.at);
    this.values.update();
  }

  start() {
    let at = this.at >= this.right ? 0 : this.at;
    this.play.textContent = "Pause";
    this.move(at);
    this.timer = setInterval(() => {
      at = Math.min(this.right, at + this.right / FRAMES);
      this.move(at);
      if (at >= this.right) this.pause();
    }, FRAME);
  }

  pause() {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "Play";
  }
}

function last(values) {
  return values[values.length - 1] ?? 0;
}

// A sentence about each line of a panel, for those who do not see it.
function summaryOf(panel) {
  return panel.lines().slice(0, 4).map((line) => {
    const values = line.y.filter((y) => y !== null);
    return values.length ? `${line.name} goes from ${panel.text(values[0])} to ${panel.text(last(values))}.` : "";
  }).join(" ");
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
