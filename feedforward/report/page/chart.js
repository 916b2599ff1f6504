// A chart of lines against epochs, seconds or passes, with a vertical line at the cursor.

const MARGIN = { left: 58, right: 12, top: 10, bottom: 36 };
const HEIGHT = 260;

// Round numbers from low to high, about `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((size) => size >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

// Powers of ten from low to high; with few of them, also 2 and 5 times each.
function logTicks(low, high) {
  const found = [], factors = Math.log10(high / low) < 2 ? [1, 2, 5] : [1];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  }
  return found;
}

class Chart {
  // `lines` have a name, a colour, dashes, and arrays x and y; y may hold null.
  constructor(title, onmove) {
    this.svg = draw("svg", { role: "img" });
    this.caption = make("figcaption", {}, title);
    this.figure = make("figure", {}, this.caption, this.svg);
    this.svg.addEventListener("pointermove", (event) => this.follow(event, onmove));
    this.svg.addEventListener("pointerdown", (event) => this.follow(event, onmove));
    new ResizeObserver(() => this.options && this.show(this.options)).observe(this.figure);
  }

  follow(event, onmove) {
    const box = this.svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * this.width;
    const share = (at - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right);
    onmove(this.right * Math.min(1, Math.max(0, share)));
  }

  // Draw the axes and the lines.
  show(options) {
    const { lines, right, label, log, description, text } = options;
    this.options = options;
    this.right = right;
    this.width = Math.max(280, this.figure.clientWidth || 600);
    const values = lines.flatMap((line) => line.y).filter((y) => y !== null && (!log || y > 0));
    let low = Math.min(...values), high = Math.max(...values);
    if (!values.length) [low, high] = [0, 1];
    if (log) [low, high] = [low * 0.9, high * 1.1];
    else {
      const space = (high - low || Math.abs(high) || 1) * 0.05;
      [low, high] = [low >= 0 && low - space < 0 ? 0 : low - space, high + space];
    }
    const bottom = HEIGHT - MARGIN.bottom, scale = (value) => (log ? Math.log(value) : value);
    this.x = (x) => MARGIN.left + (x / right) * (this.width - MARGIN.left - MARGIN.right);
    this.y = (y) => bottom - ((scale(y) - scale(low)) / (scale(high) - scale(low))) * (bottom - MARGIN.top);
    const parts = [];
    for (const tick of log ? logTicks(low, high) : ticks(low, high, 5)) {
      parts.push(draw("line", { x1: MARGIN.left, x2: this.width - MARGIN.right, y1: this.y(tick), y2: this.y(tick), stroke: "#e3e3e3" }),
        draw("text", { x: MARGIN.left - 6, y: this.y(tick) + 4, "text-anchor": "end" }, text(tick)));
    }
    for (const tick of ticks(0, right, Math.max(3, Math.floor(this.width / 90)))) {
      parts.push(draw("text", { x: this.x(tick), y: bottom + 16, "text-anchor": "middle" }, short(tick)));
    }
    parts.push(draw("line", { x1: MARGIN.left, x2: this.width - MARGIN.right, y1: bottom, y2: bottom, stroke: "#767676" }),
      draw("text", { x: (MARGIN.left + this.width - MARGIN.right) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, label));
    const path = (line, opacity) => draw("path", { fill: "none", stroke: line.colour, "stroke-width": 2, opacity,
      "stroke-dasharray": line.dashes, "stroke-linejoin": "round" });
    this.paths = lines.map((line) => path(line, 1));
    this.later = lines.map((line) => path(line, 0.25));
    this.dots = lines.map((line) => draw("circle", { r: 3.5, fill: line.colour }));
    this.line = draw("line", { y1: MARGIN.top, y2: bottom, stroke: "#767676", "stroke-dasharray": "3 3" });
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute("aria-label", description);
    if (!lines.length) parts.push(draw("text", { x: this.width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "all are hidden"));
    this.svg.replaceChildren(...parts, this.line, ...this.later, ...this.paths, ...this.dots);
    this.options.lines.forEach((line, k) => this.later[k].setAttribute("d", this.path(line, Infinity)));
    this.move(options.at);
  }

  // The path of a line up to a place.
  path(line, at) {
    let path = "", pen = "M";
    for (let i = 0; i < line.x.length && line.x[i] <= at + 1e-9; i++) {
      if (line.y[i] === null || (this.options.log && line.y[i] <= 0)) { pen = "M"; continue; }
      path += `${pen}${this.x(line.x[i]).toFixed(1)} ${this.y(line.y[i]).toFixed(1)}`;
      pen = "L";
    }
    return path;
  }

  // Put the position at a place; what comes later is faint.
  move(at) {
    this.options.at = at;
    this.line.setAttribute("x1", this.x(at));
    this.line.setAttribute("x2", this.x(at));
    this.options.lines.forEach((line, k) => {
      const end = before(line, at);
      this.paths[k].setAttribute("d", this.path(line, at));
      const shown = end !== null && line.y[end] !== null && !(this.options.log && line.y[end] <= 0);
      this.dots[k].setAttribute("visibility", shown ? "visible" : "hidden");
      if (shown) {
        this.dots[k].setAttribute("cx", this.x(line.x[end]));
        this.dots[k].setAttribute("cy", this.y(line.y[end]));
      }
    });
  }
}

// The index of the last point of a line that is not after `at`; null if there is none.
function before(line, at) {
  let found = null;
  for (let i = 0; i < line.x.length && line.x[i] <= at + 1e-9; i++) found = i;
  return found;
}
