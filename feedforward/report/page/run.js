// The page of one run.

const COLOURS = ["#0072B2", "#D55E00"]; // training, test
const TRAINING = "training, mean during the epoch", TEST = "test, after the epoch";

function runPage(data) {
  const show = data.images ? tiles(data.images) : null;
  const network = data.network ? new Network(data.network) : null;
  window.network = network; // for tests, and for the curious
  if (data.drawing && network) drawingSection(network, data.drawing, data.classes);
  if (data.history.epoch.length) curvesOfRun(data);
  if (data.confusion) confusionSection(data, show);
  if (show && data.worst.length) worstSection(data, show);
  if (data.imageShape && network) weightsSection(network, data.imageShape);
  about(data);
  repetition(data);
}

function about(data) {
  section("Settings", "settings", listing(data.settings), ...data.messages.map((message) => make("p", {}, message)));
}

function repetition(data) {
  section("Repeat it", "repeat",
    make("p", {}, data.part ? "This command trained it, with the other runs of its comparison:" : "This command trained it:"),
    make("pre", {}, data.command),
    make("p", {}, `This one, from the folder of this page, trains ${data.part ? "them" : "it"} again and compares the bytes of the weights:`),
    make("pre", {}, data.repeat),
    make("details", {}, make("summary", {}, "Versions and machine"), listing(data.versions)));
}

function curvesOfRun(data) {
  const { history } = data;
  const panel = (title, names, text, tick) => {
    const lines = names.map(([name, label], k) => ({ name: label, colour: COLOURS[k], dashes: k ? "6 3" : undefined,
      y: history[name], columns: history })).filter((line) => line.y);
    return { title, lines: () => lines, isLoss: () => title === "loss", text, tick };
  };
  const panels = [panel("loss", [["loss", TRAINING], ["val_loss", TEST]], short, short),
    panel("accuracy", [["accuracy", TRAINING], ["val_accuracy", TEST]], percent, wholePercent)].filter(({ lines }) => lines().length);
  const host = section("Curves", "curves");
  new Curves(host, { panels, makeValues: (curves) => new Values(curves) });
}

// Make a rule for the sheet of images, and return a function that makes the element of one of them.
function tiles({ sheet, size: [height, width], columns, count }) {
  const zoom = Math.max(1, Math.round(56 / height)), rows = Math.ceil(count / columns);
  document.head.append(make("style", {}, `.tile { background-image: url(${sheet}); width: ${width * zoom}px; height: ${height * zoom}px;
    background-size: ${columns * width * zoom}px ${rows * height * zoom}px; }`));
  return (index, label) => make("span", { class: "tile", role: "img", "aria-label": label,
    style: `background-position: -${(index % columns) * width * zoom}px -${Math.floor(index / columns) * height * zoom}px` });
}

// An image with what the network says of it.
function example(show, [index, said, ofTrue], truth, answer) {
  const lines = truth === answer ? [`${truth}: ${probability(said)}`] : [`says ${answer}: ${probability(said)}`, `${truth}: ${probability(ofTrue)}`];
  return make("li", {}, show(index, `an image of ${truth}`), ...lines.flatMap((line) => [line, make("br")]));
}

function confusionSection({ confusion, classes }, show) {
  const { counts, cells } = confusion, total = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const worst = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => j !== i)));
  const status = make("p", { role: "status" }), list = make("ul", { class: "images" });
  let pressed = null;
  const open = (button, i, j) => {
    if (pressed) pressed.setAttribute("aria-pressed", "false");
    if (pressed === button) {
      pressed = null;
      status.textContent = "";
      list.replaceChildren();
      return;
    }
    pressed = button;
    button.setAttribute("aria-pressed", "true");
    const found = cells[`${i},${j}`] || [];
    const what = i === j ? `of class ${classes[i]} are classified correctly` : `of class ${classes[i]} are classified as ${classes[j]}`;
    status.textContent = `${counts[i][j]} of ${total[i]} test images ${what}`
      + (found.length < counts[i][j] ? `; the ${found.length} with the lowest output for ${classes[i]}:` : ":");
    list.replaceChildren(...found.map((entry) => example(show, entry, classes[i], classes[j])));
  };
  const cell = (i, j) => {
    const count = counts[i][j], share = i === j ? count / (total[i] || 1) : count / worst;
    const shade = count ? (i === j ? 0.75 + 0.25 * share ** 4 : 0.12 + 0.5 * share) : 0;
    const style = `background: color-mix(in srgb, ${i === j ? "#0b4f8a" : "#D55E00"} ${Math.round(100 * shade)}%, white); color: ${i === j && count ? "#fff" : "#1b1b1b"}`;
    if (!count || !show) return make("span", { style }, String(count));
    const button = make("button", { type: "button", style, "aria-pressed": "false", "aria-label": `${classes[i]} classified as ${classes[j]}: ${count}`,
      onclick: () => open(button, i, j) }, String(count));
    return button;
  };
  const grid = make("table", { class: "confusion" },
    make("caption", {}, "Rows: the true class. Columns: what the network says. Blue: correct. Orange: errors, the darker the more."),
    make("thead", {}, make("tr", {}, make("td"), ...classes.map((name) => make("th", { scope: "col" }, name)), make("th", { scope: "col" }, "correct"))),
    make("tbody", {}, ...classes.map((name, i) => make("tr", {}, make("th", { scope: "row" }, name),
      ...classes.map((_, j) => make("td", {}, cell(i, j))), make("td", { class: "share" }, total[i] ? percent(counts[i][i] / total[i], 1) : "–")))));
  section("Confusion matrix of the test data", "confusion",
    show ? make("p", {}, "Choose a cell to see its images; choose it again to close them.") : null,
    scrolling("Confusion matrix", grid), status, list);
}

function worstSection({ worst, classes }, show) {
  section("The worst errors", "worst",
    make("p", {}, "The test images whose true class got the lowest output: what the network says, and its output for the true class."),
    make("ul", { class: "images" }, ...worst.map(([index, truth, answer, said, ofTrue]) =>
      example(show, [index, said, ofTrue], classes[truth], classes[answer]))));
}

// Each hidden unit's weights as an image: blue is negative, white zero, orange positive.
function weightsSection(network, [height, width]) {
  const { W, n_in, n_out } = network.first;
  if (n_in !== height * width) return;
  const zoom = Math.max(1, Math.round(56 / height)), units = Math.min(n_out, 100);
  const images = [];
  for (let unit = 0; unit < units; unit++) {
    const canvas = make("canvas", { width, height, style: `width:${width * zoom}px;height:${height * zoom}px` });
    const context = canvas.getContext("2d"), shown = context.createImageData(width, height);
    let largest = 1e-12;
    for (let i = 0; i < n_in; i++) largest = Math.max(largest, Math.abs(W[i * n_out + unit]));
    for (let i = 0; i < n_in; i++) {
      const value = W[i * n_out + unit] / largest, end = value < 0 ? [0, 114, 178] : [213, 94, 0];
      shown.data.set([...end.map((colour) => Math.round(255 + (colour - 255) * Math.abs(value))), 255], 4 * i);
    }
    context.putImageData(shown, 0, 0);
    images.push(canvas);
  }
  section("Weights of the first layer", "weights",
    make("details", { open: window.innerWidth > 640 }, make("summary", {}, `The weights of ${units < n_out ? `the first ${units} of ` : ""}${n_out} hidden units`),
      make("p", {}, "Orange is positive, blue negative, white zero. The strongest colour of each image is its largest weight. An image that looks random belongs to a unit that has learned little."),
      make("div", { class: "images weights", role: "img", "aria-label": `${units} images, each of the weights from all pixels to one hidden unit` }, ...images)));
}
