// Elements of the page, and numbers as text.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// A section with a heading, added to the page.
function section(title, id, ...children) {
  const heading = make("h2", { id: `${id}-heading` }, title);
  const made = make("section", { id, "aria-labelledby": `${id}-heading` }, heading, ...children);
  document.querySelector("main").append(made);
  return made;
}

// A part that scrolls sideways if the screen is narrow; the keyboard reaches it, too.
function scrolling(label, child) {
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, child);
}

function choice(label, names, onchange) {
  const id = `choose-${label.toLowerCase().replace(" ", "-")}`;
  const select = make("select", { id, onchange: () => onchange(select.value) },
    ...Object.entries(names).map(([value, text]) => make("option", { value }, text)));
  return [make("span", { class: "pair" }, make("label", { for: id }, label), select), select];
}

// Four digits, without an exponent if that is short.
function short(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-4) return value.toExponential(2);
  return size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
}

function percent(value, digits = 2) {
  return value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits)} %`;
}

// A probability; one that is nearly 1 is not rounded to 100 %.
function probability(value) {
  return value > 0.9995 ? "> 99.9 %" : percent(value, 1);
}

function wholePercent(value) {
  return percent(value, Math.abs(100 * value - Math.round(100 * value)) < 1e-6 ? 0 : 1);
}

function table(head, rows, attributes = {}) {
  return make("table", attributes,
    make("thead", {}, make("tr", {}, ...head.map((text) => (text ? make("th", { scope: "col" }, text) : make("td"))))),
    make("tbody", {}, ...rows.map(([first, ...cells]) => make("tr", {}, make("th", { scope: "row" }, first),
      ...cells.map((cell) => make("td", {}, cell))))));
}

// Names and values, as a table without a head.
function listing(rows) {
  return make("table", { class: "settings" }, make("tbody", {}, ...rows.map(([name, value]) =>
    make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value)))));
}
