// Why is this pixel wrong? Its scores and loss, the trail of its gradient back to the picture, what it can see.

import { zeros, at, norm, fromMap, indexAt, isInside } from "./tensor.js";
import { pixelOf } from "./explain_elements.js";
import { runBackward, receptiveFields } from "./network.js";
import { sharesOf } from "./overview.js";
import { computing } from "./computing.js";
import { text, signed, percent, escape } from "./format.js";

// All that the page says about one pixel of the prediction, as numbers.
export function pixelFacts(pass, row, column) {
  const scores = pass.array(pass.loss, "scores");
  const index = (c) => (scores.shape.length === 4 ? [0, c, row, column] : [0, c]);
  const { label, w, isIgnored } = pixelOf(pass, index(0));
  const [p, dscores] = [pass.array(pass.loss, "p"), pass.array(pass.loss, "dscores")];
  const classes = Array.from({ length: scores.shape[1] }, (_, c) => ({
    name: pass.about.classes[c], score: at(scores, index(c)), p: at(p, index(c)), y: c === label ? 1 : 0,
    gradient: at(dscores, index(c)),
  }));
  const predicted = classes.reduce((best, one, c) => (one.score > classes[best].score ? c : best), 0);
  const weight = isIgnored ? 0 : w(label);
  const [loss, part] = ["−log p[t]", "parts"].map((name) => at(pass.array(pass.loss, name), index(0)));
  return { row, column, label, predicted, isIgnored, weight, loss, part, classes };
}

// The gradient of this pixel's loss alone, at every stop, with the field that it can and does come from.
export function trailOf(pass, row, column) {
  const all = pass.array(pass.loss, "dscores");
  const alone = zeros(all.shape);
  const isMap = all.shape.length === 4;
  for (let c = 0; c < all.shape[1]; c++) {
    const place = isMap ? (c * all.shape[2] + row) * all.shape[3] + column : c;
    alone.data[place] = all.data[place];
  }
  const grads = runBackward(pass, alone);
  const boxes = isMap ? receptiveFields(pass, row, column) : pass.stops.map(() => null);
  const picture = grads[0].dx;
  return { grads, boxes, picture, spread: picture.shape.length === 4 ? spreadOf(picture) : null };
}

// How much of the picture the gradient lies on: the fewest pixels that hold 90% of it (of its sizes).
export function spreadOf(dx) {
  const [, , H, W] = dx.shape;
  const sizes = new Float64Array(H * W);
  for (let i = 0; i < dx.data.length; i++) sizes[i % (H * W)] += Math.abs(dx.data[i]);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  let [held, count] = [0, 0];
  for (const size of sizes.sort().reverse()) {
    if (held >= 0.9 * total) break;
    held += size;
    count += 1;
  }
  return { total, count, side: Math.round(Math.sqrt(count)) };
}

// ---------------------------------------------------------------- drawing

export class PixelTab {
  constructor(pass, root, state, pictures) {
    Object.assign(this, { pass, root, state, pictures, trails: new Map() });
    root.addEventListener("click", (event) => {
      const row = event.target.closest("[data-stop]");
      if (row) this.follow(Number(row.dataset.stop));
    });
  }

  get pixel() {
    const { here, picks } = this.state;
    const scores = this.pass.loss.shapes.scores;
    if (scores.length !== 4) return [0, 0];
    if (here.stop === this.pass.loss) return picks.y.slice(2);
    const { pixel } = this.state;
    return pixel && isInside(scores, [0, 0, ...pixel]) ? pixel : this.costliest();
  }

  // The pixel with the largest part in the loss.
  costliest() {
    this.worst ??= this.findCostliest();
    return this.worst;
  }

  findCostliest() {
    const { shape, data } = this.pass.array(this.pass.loss, "parts");
    if (shape.length !== 4) return [0, 0];
    let best = 0;
    for (let i = 1; i < data.length; i++) if (data[i] > data[best]) best = i;
    return indexAt(shape, best).slice(2);
  }

  trail(row, column) {
    const key = `${row},${column}`;
    if (!this.trails.has(key)) {
      this.trails.clear(); // each holds a gradient of every layer
      this.trails.set(key, trailOf(this.pass, row, column));
    }
    return this.trails.get(key);
  }

  // Go to a stop of the backward pass, to the element where this pixel's gradient is strongest.
  follow(number) {
    const [row, column] = this.state.pixel = this.pixel;
    const grads = this.trail(row, column).grads[number];
    const name = "dx" in grads ? "dx" : Object.keys(grads).find((key) => key.startsWith("dx"));
    const { data, shape } = grads[name];
    let best = 0;
    for (let i = 0; i < data.length; i++) if (Math.abs(data[i]) > Math.abs(data[best])) best = i;
    const [height, width] = shape.length === 4 ? shape.slice(2) : [1, data.length];
    const map = Math.floor(best / (height * width));
    const inside = best % (height * width);
    const index = fromMap(shape, map, Math.floor(inside / width), inside % width);
    this.state.tab = "layer";
    this.state.go(2 * this.pass.stops.length - number);
    this.state.pick("dx", index);
  }

  update() {
    const [row, column] = this.state.pixel = this.pixel;
    if (this.trails.has(`${row},${column}`)) this.draw(row, column);
    else computing(this.pass, this.root, () => this.draw(row, column));
  }

  draw(row, column) {
    const facts = pixelFacts(this.pass, row, column);
    const { grads, boxes, picture, spread } = this.trail(row, column);
    const names = this.pass.about.classes;
    const isWrong = !facts.isIgnored && facts.predicted !== facts.label;
    const said = facts.isIgnored ? "It has no label (void): it is silent, and sends no gradient."
      : isWrong ? `The net says <b>${escape(names[facts.predicted])}</b>, the truth is <b>${escape(names[facts.label])}</b>: it is wrong.`
        : this.pass.about.hasTruth ? `The net says <b>${escape(names[facts.predicted])}</b>, and that is right.`
          : `The net says <b>${escape(names[facts.predicted])}</b>; there is no mask, so that is taken as true.`;
    this.root.innerHTML = `
      <section class="facts"><h3>pixel ${row}, ${column}</h3><p>${said}
        ${facts.isIgnored ? "" : `Its loss is −log p = ${text(facts.loss)}, weight ${text(facts.weight)}: a part of ${text(facts.part)} in the whole loss${this.pass.loss.config.label_smoothing ? ", with the smoothing’s share" : ""}.`}</p>
        ${classTable(facts, this.pass.about, true)}</section>
      <section class="field"><h3>what it can see, and what it looks at</h3><div class="maps"></div><p class="words"></p></section>
      <section class="trail"><h3>the trail of its gradient, from the loss back to the picture</h3>
        <p class="soft">The number is the length of <b>this pixel's</b> gradient there, the bar its logarithm. A click goes to the layer, which shows the gradient of the <b>whole</b> loss.</p>
        <div class="scroll" tabindex="0">${trailRows(this.pass, grads)}</div></section>`;
    const box = boxes[0];
    const words = this.root.querySelector(".words");
    if (!spread) words.textContent = "This net gives one answer for the whole picture.";
    else {
      this.root.querySelector(".maps").append(fieldCanvas(this.pictures.picture, box, [row, column], null),
        fieldCanvas(null, box, [row, column], picture));
      const size = box ? `${box[2] - box[0] + 1}×${box[3] - box[1] + 1}` : "0";
      const isBatch = this.pass.stops.some((stop) => stop.training);
      const isLess = box && !isBatch && spread.count < (box[2] - box[0] + 1) * (box[3] - box[1] + 1);
      words.innerHTML = (isBatch
        ? `Through the batch's mean and variance it <b>can</b> see the whole picture; without them, the ${size} pixels of the frame. `
        : `It <b>can</b> see ${size} pixels of the picture (the frame; theoretical receptive field). `)
        + (spread.total ? `${isLess ? "It <b>looks</b> at less: " : ""}90% of its gradient lies on ${spread.count} pixels, as many as a square of ${spread.side}×${spread.side} has (effective receptive field, second picture: the brighter, the more gradient).` : "No gradient arrives.");
    }
  }
}

// Scores, probabilities and gradient of each class; `gradient` says whether the page shows it nowhere else.
export function classTable(facts, about, gradient) {
  const rows = facts.classes.map((one, c) => {
    const note = [c === facts.label ? "truth" : "", c === facts.predicted ? "net" : ""].filter(Boolean).join(", ");
    const cells = [text(one.score, 3), `<i class="share" style="width:${100 * one.p}%"></i>${text(one.p, 3)}`, one.y,
      signed(facts.isIgnored ? 0 : one.p - one.y, 3), ...(gradient ? [signed(one.gradient, 3)] : []), note];
    return `<tr class="${c === facts.label ? "truth" : ""}"><td><i class="swatch" style="background:rgb(${about.colours[c]})"></i>`
      + `${escape(one.name)}</td>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  });
  const heads = ["class", "score", "p", "y", "p − y", ...(gradient ? ["dscores"] : []), ""];
  return `<div class="scroll" tabindex="0"><table class="classes"><tr>${heads.map((head) => `<th>${head}</th>`).join("")}</tr>${rows.join("")}</table></div>`;
}

function trailRows(pass, grads) {
  const sizes = pass.stops.map((stop) => Math.hypot(...pass.names(stop, "dx").map((name) => norm(grads[stop.number][name]))));
  const largest = Math.max(...sizes) || 1;
  return [...pass.stops].reverse().map((stop) => {
    const size = sizes[stop.number];
    const length = size > 0 ? Math.max(1, 100 + 20 * Math.log10(size / largest)) : 0;
    const shares = stop.kind === "fork" ? sharesOf(pass, stop, (name) => grads[stop.number][name]) : [];
    const said = stop.branches.length && stop.kind === "fork"
      ? stop.branches.map((name, k) => `${name} ${percent(shares[k])}`).join(", ") : "";
    return `<button data-stop="${stop.number}"><span>B${stop.number + 1}</span><span class="name">${escape(stop.name)}</span>
      <i class="bar"><i style="width:${length}%"></i></i><span>${text(size, 3)}</span>${said ? `<span class="said">${escape(said)}</span>` : ""}</button>`;
  }).join("");
}

// The picture, or the sizes of its gradient, with the frame of what the pixel can see and a cross on the pixel.
function fieldCanvas(picture, box, [row, column], dx) {
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  const { width, height } = picture ?? { width: dx.shape[3], height: dx.shape[2] };
  const scale = Math.max(2, Math.floor(190 / Math.max(width, height)));
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  if (picture) context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  else {
    const [, C, H, W] = dx.shape;
    const sizes = new Float64Array(H * W);
    for (let i = 0; i < dx.data.length; i++) sizes[i % (H * W)] += Math.abs(dx.data[i]) / C;
    const most = sizes.reduce((a, b) => Math.max(a, b), 0) || 1;
    for (let i = 0; i < H * W; i++) {
      const light = Math.sqrt(sizes[i] / most);
      context.fillStyle = `rgb(${Math.round(30 + 225 * light)},${Math.round(30 + 145 * light)},${Math.round(40 + 40 * light)})`;
      context.fillRect((i % W) * scale, Math.floor(i / W) * scale, scale, scale);
    }
  }
  canvas.setAttribute("aria-label", picture ? "the picture, with the frame of what the pixel can see" : "where on the picture its gradient arrives");
  context.lineWidth = 2;
  if (box) {
    context.strokeStyle = "#ffffff";
    context.strokeRect(box[1] * scale + 1, box[0] * scale + 1, (box[3] - box[1] + 1) * scale - 2, (box[2] - box[0] + 1) * scale - 2);
  }
  for (const [colour, wide] of [["#000000", 5], ["#ffffff", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = wide;
    context.strokeRect(column * scale - 1, row * scale - 1, scale + 2, scale + 2);
  }
  return canvas;
}
