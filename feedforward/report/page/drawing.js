// A canvas on which a digit is drawn, and what the network says while it is.

const SIDE = 280; // pixels of the canvas
const PEN = 22; // width of a stroke

// How a drawing becomes an image as in the dataset: its size, the size of the digit within it, and how it is placed.
const FORMS = {
  mnist: { size: 28, inner: 20, place: "mass" }, // 20 by 20 pixels, the centre of mass in the middle
  digits: { size: 8, inner: 8, place: "box" }, // as high as the image
};

// The pixels of a drawing as the network takes them, from 0 to 1; null if nothing is drawn.
function image(canvas, form) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, SIDE, SIDE);
  let [left, top, right, bottom] = [SIDE, SIDE, -1, -1];
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      if (data[4 * (y * SIDE + x)] > 40) {
        [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
      }
    }
  }
  if (right < 0) return null;
  const scale = Math.max(right - left + 1, bottom - top + 1) / form.inner; // pixels of the canvas in one of the image
  let [x0, y0] = [(left + right + 1) / 2, (top + bottom + 1) / 2];
  let pixels = sample(data, x0, y0, scale, form.size);
  if (form.place === "mass") {
    let [sum, sx, sy] = [0, 0, 0];
    pixels.forEach((value, i) => {
      sum += value;
      sx += value * ((i % form.size) + 0.5);
      sy += value * (Math.floor(i / form.size) + 0.5);
    });
    [x0, y0] = [x0 + (sx / sum - form.size / 2) * scale, y0 + (sy / sum - form.size / 2) * scale];
    pixels = sample(data, x0, y0, scale, form.size);
  }
  return pixels;
}

// The means of squares of the canvas around a centre, each `scale` wide.
function sample(data, x0, y0, scale, size) {
  const out = new Float64Array(size * size), parts = 6;
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      let sum = 0;
      for (let a = 0; a < parts; a++) {
        for (let b = 0; b < parts; b++) {
          const y = Math.floor(y0 + (i + (a + 0.5) / parts - size / 2) * scale);
          const x = Math.floor(x0 + (j + (b + 0.5) / parts - size / 2) * scale);
          if (x >= 0 && y >= 0 && x < SIDE && y < SIDE) sum += data[4 * (y * SIDE + x)];
        }
      }
      out[i * size + j] = sum / (255 * parts * parts);
    }
  }
  return out;
}

function showPixels(canvas, pixels, size) {
  const context = canvas.getContext("2d"), shown = context.createImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    const grey = Math.round(255 * (pixels ? pixels[i] : 0));
    shown.data.set([grey, grey, grey, 255], 4 * i);
  }
  context.putImageData(shown, 0, 0);
}

function drawingSection(network, name, classes) {
  const form = FORMS[name];
  const canvas = make("canvas", { width: SIDE, height: SIDE, tabindex: 0, role: "application", id: "canvas",
    "aria-label": "Drawing area. Arrow keys move the pen, space puts it down and lifts it, Delete clears.",
    "aria-describedby": "answer" });
  const pen = make("span", { class: "pen", hidden: true });
  const seen = make("canvas", { width: form.size, height: form.size, class: "seen", style: "width:112px;height:112px",
    role: "img", "aria-label": "The image as the network sees it" });
  const answer = make("p", { class: "answer", id: "answer" }), status = make("p", { class: "unseen", role: "status" });
  const answers = table(["digit", "probability", ""], classes.map((text) => [text, "–", ""]), { class: "numbers" });
  const rows = [...answers.tBodies[0].rows], shares = rows.map((row) => row.cells[1]), bars = classes.map(() => make("span", { class: "bar" }));
  rows.forEach((row, k) => {
    row.cells[2].className = "bars";
    row.cells[2].append(bars[k]);
  });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let stroking = null, cursor = { x: SIDE / 2, y: SIDE / 4 }, down = false;

  function classify() {
    const pixels = image(canvas, form);
    showPixels(seen, pixels, form.size);
    const outputs = pixels ? network.predict(pixels) : classes.map(() => 0);
    const best = outputs.indexOf(Math.max(...outputs));
    answer.textContent = pixels ? `The network says ${classes[best]} (${probability(outputs[best])}).` : "Draw a digit.";
    outputs.forEach((value, k) => {
      shares[k].textContent = pixels ? probability(value) : "–";
      bars[k].style.width = `${100 * value}%`;
      bars[k].style.visibility = pixels ? "visible" : "hidden";
      bars[k].style.background = k === best ? "#D55E00" : "#0072B2";
    });
  }

  function stroke(from, to) {
    Object.assign(context, { lineWidth: PEN, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x + 0.01, to.y);
    context.stroke();
    classify();
  }

  function place(event) {
    const box = canvas.getBoundingClientRect(), border = canvas.clientLeft;
    return { x: ((event.clientX - box.left - border) / canvas.clientWidth) * SIDE,
      y: ((event.clientY - box.top - border) / canvas.clientHeight) * SIDE };
  }

  function showPen(text) {
    pen.hidden = false;
    pen.className = down ? "pen down" : "pen";
    Object.assign(pen.style, { left: `${(100 * cursor.x) / SIDE}%`, top: `${(100 * cursor.y) / SIDE}%` });
    if (text) status.textContent = text;
  }

  function clear() {
    context.fillStyle = "#000";
    context.fillRect(0, 0, SIDE, SIDE);
    [stroking, down] = [null, false];
    classify();
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pen.hidden = true;
    stroking = place(event);
    stroke(stroking, stroking);
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (stroking === null) return;
    const next = place(event);
    stroke(stroking, next);
    stroking = next;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      stroking = null;
      status.textContent = answer.textContent;
    });
  }
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] };
    if (event.key === " ") {
      down = !down;
      if (down) stroke(cursor, cursor);
      showPen(down ? "The pen is down." : `The pen is up. ${answer.textContent}`);
    } else if (event.key in moves) {
      const inside = (value) => Math.min(SIDE, Math.max(0, value));
      const next = { x: inside(cursor.x + moves[event.key][0]), y: inside(cursor.y + moves[event.key][1]) };
      if (down) stroke(cursor, next);
      cursor = next;
      showPen();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
      showPen("All is cleared.");
    } else return;
    event.preventDefault();
  });
  canvas.addEventListener("blur", () => { pen.hidden = true; });
  section("Draw a digit", "draw",
    make("p", {}, `Draw one digit, large and upright, with the mouse, a finger or the keyboard. The network of this run answers while you draw. Your drawing is scaled and centred as the images of ${name} are.`),
    make("p", { class: "note" }, "The network always answers with one of its classes, even if you draw something else, and a high probability can be wrong."),
    make("div", { class: "drawing" },
      make("div", {}, make("div", { class: "paper" }, canvas, pen),
        make("p", { class: "note" }, "Keys: arrows move the pen, space puts it down and lifts it, Delete clears."),
        make("button", { type: "button", onclick: clear }, "Clear")),
      make("div", {}, make("p", { class: "note" }, `What the network sees: ${form.size} × ${form.size} pixels`), seen),
      make("div", { class: "answers" }, answer, status, answers)));
  clear();
}
