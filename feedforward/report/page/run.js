// The page of one run.

const COLOURS = ["#0072B2", "#D55E00"]; // training, test

function runPage(data) {
  about(data);
  if (data.history.epoch.length) curvesOfRun(data);
  const show = data.images ? tiles(data.images) : null;
  const network = data.network ? new Network(data.network) : null;
  window.network = network; // for tests, and for the curious
  if (data.drawing && network) drawingSection(network, FORMS[data.drawing], data.classes);
  if (data.confusion) confusionSection(data, show);
  if (show && data.worst.length) worstSection(data, show);
  if (data.imageShape && network) weightsSection(network, data.imageShape);
  repetition(data);
}

function about(data) {
  section("Settings", "settings", listing(data.settings));
  for (const message of data.messages) document.querySelector("#settings").append(make("p", {}, message));
}

function repetition(data) {
  section("Repeat it", "repeat", make("p", {}, "This command trained it:"), scrolling("The command that trained it", make("pre", {}, data.command)),
    make("p", {}, "This one trains it again from the folder of this page, and compares the bytes:"),
    scrolling("The command that repeats it", make("pre", {}, data.repeat)), listing(data.versions));
}

function curvesOfRun(data) {
  const { history } = data;
  const panel = (title, names, text, tick) => {
    const lines = names.map(([name, label], k) => ({ name: label, colour: COLOURS[k], dashes: k ? "6 3" : undefined,
      y: history[name], columns: history })).filter((line) => line.y);
    return { title, lines: () => lines, isLoss: () => title === "loss", text, tick };
  };
  const panels = [panel("loss", [["loss", "training"], ["val_loss", "test"]], short, short),
    panel("accuracy", [["accuracy", "training"], ["val_accuracy", "test"]], percent, wholePercent)].filter(({ lines }) => lines().length);
  const host = section("Curves", "curves");
  host.append(make("p", { class: "note" }, data.note));
  new Curves(host, { panels });
}

// Make a rule for the sheet of images, and return a function that makes the element of one of them.
function tiles({ sheet, size: [height, width], columns, count }) {
  const zoom = Math.max(1, Math.round(56 / height)), rows = Math.ceil(count / columns);
  document.head.append(make("style", {}, `.tile { background-image: url(${sheet}); width: ${width * zoom}px; height: ${height * zoom}px;
    background-size: ${columns * width * zoom}px ${rows * height * zoom}px; }`));
  return (index, label) => make("span", { class: "tile", role: "img", "aria-label": label,
    style: `background-position: -${(index % columns) * width * zoom}px -${Math.floor(index / columns) * height * zoom}px` });
}

function confusionSection({ confusion, classes, images }, show) {
  const { counts, cells } = confusion, total = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const shown = make("div", { "aria-live": "polite" });
  let pressed = null;
  const open = (button, i, j) => {
    if (pressed) pressed.setAttribute("aria-pressed", "false");
    pressed = button;
    button.setAttribute("aria-pressed", "true");
    const found = cells[`${i},${j}`] || [];
    const what = i === j ? `${classes[i]}, classified correctly` : `${classes[i]}, classified as ${classes[j]}`;
    shown.replaceChildren(make("p", {}, `${counts[i][j]} of ${total[i]} test images: ${what}`
      + (found.length < counts[i][j] ? ` (${found.length} of them are shown)` : "")),
    make("ul", { class: "images" }, ...found.map(([index, probability]) =>
      make("li", {}, show(index, `${what}, probability ${percent(probability, 0)}`), percent(probability, 0)))));
  };
  const cell = (i, j) => {
    const count = counts[i][j], share = total[i] ? count / total[i] : 0;
    const shade = count ? 0.12 + 0.88 * share ** 0.6 : 0;
    const style = `background: color-mix(in srgb, #0b4f8a ${Math.round(100 * shade)}%, white); color: ${shade > 0.5 ? "#fff" : "#1b1b1b"}`;
    if (!count || !show) return make("span", { style }, String(count));
    const button = make("button", { type: "button", style, "aria-pressed": "false", "aria-label": `${classes[i]} classified as ${classes[j]}: ${count}`,
      onclick: () => open(button, i, j) }, String(count));
    return button;
  };
  const grid = make("table", { class: "confusion numbers" },
    make("caption", {}, "Rows: the true class. Columns: what the network says."),
    make("thead", {}, make("tr", {}, make("td"), ...classes.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...classes.map((name, i) => make("tr", {}, make("th", { scope: "row" }, name),
      ...classes.map((_, j) => make("td", {}, cell(i, j)))))));
  section("Confusion matrix of the test data", "confusion",
    make("p", {}, show ? "Choose a cell to see its images, those with the lowest probability of the true class first." : ""),
    scrolling("Confusion matrix", grid), shown);
}

function worstSection({ worst, classes }, show) {
  section("The worst errors", "worst",
    make("p", {}, "The test images whose true class got the lowest probability."),
    make("ul", { class: "images" }, ...worst.map(([index, truth, predicted, probability]) => {
      const text = `${classes[truth]}, classified as ${classes[predicted]} with ${percent(probability, 0)}`;
      return make("li", {}, show(index, text), `${classes[truth]} → ${classes[predicted]}`, make("br"), percent(probability, 0));
    })));
}

// Each hidden unit's weights as an image: blue is negative, white zero, orange positive.
function weightsSection(network, [height, width]) {
  const { W, n_in, n_out } = network.first;
  if (n_in !== height * width) return;
  const zoom = Math.max(1, Math.round(56 / height)), units = Math.min(n_out, 100);
  const images = [];
  for (let unit = 0; unit < units; unit++) {
    const canvas = make("canvas", { width, height, style: `width:${width * zoom}px;height:${height * zoom}px`, role: "img", "aria-label": `Weights of unit ${unit + 1}` });
    const context = canvas.getContext("2d"), shown = context.createImageData(width, height);
    let largest = 1e-12;
    for (let i = 0; i < n_in; i++) largest = Math.max(largest, Math.abs(W[i * n_out + unit]));
    for (let i = 0; i < n_in; i++) {
      const value = W[i * n_out + unit] / largest, end = value < 0 ? [0, 114, 178] : [213, 94, 0];
      shown.data.set([...end.map((colour) => Math.round(255 + (colour - 255) * Math.abs(value))), 255], 4 * i);
    }
    context.putImageData(shown, 0, 0);
    images.push(make("li", {}, canvas));
  }
  section("Weights of the first layer", "weights",
    make("p", {}, `Each image is a hidden unit: orange pixels excite it, blue ones inhibit it. ${units < n_out ? `The first ${units} of ${n_out} are shown.` : ""}`),
    make("ul", { class: "images weights" }, ...images));
}
