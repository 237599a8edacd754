// The net as its diagram: a row for each size of map, the way down on the left, the way up on the right, skips as
// lines; in each box the map that is strongest there.

import { asMaps, norm } from "./tensor.js";
import { drawMap } from "./panel.js";
import { percent, escape } from "./format.js";

export const SYMBOLS = {
  Conv2d: "C", ConvTranspose2d: "T", BatchNorm2d: "N", ReLU: "R", LeakyReLU: "R", MaxPool2d: "P", AvgPool2d: "A",
  AdaptiveAvgPool2d: "A", unpool: "U", Upsample: "↑", resize: "↑", fork: "Y", concat: "‖", sum: "+", Identity: "=",
  Dropout: "D", Linear: "L", Flatten: "F", Sigmoid: "S", Tanh: "T",
};
const SMALLEST = 23; // pixels, of a box
export const LEGEND = [
  ["C", "convolution"], ["N", "batch norm"], ["R", "ReLU"], ["P", "max pool"], ["A", "average"], ["T", "transposed conv."],
  ["U", "unpool"], ["↑", "enlarge"], ["Y", "fork"], ["‖", "concat"], ["+", "sum"], ["=", "identity"], ["D", "dropout"],
  ["L", "linear"], ["F", "flatten"],
];

function mainShape(stop) {
  return stop.shapes.y ?? stop.shapes.x;
}

function pixels(stop) {
  const shape = mainShape(stop);
  return shape.length === 4 ? shape[2] * shape[3] : 1;
}

// Rows of stops: [{ size, left: [stop, ...], right: [...] }], the largest maps first. A row holds at most `most` boxes.
export function layOut(stops, most) {
  const sizes = [...new Set(stops.map(pixels))].sort((a, b) => b - a);
  const deepest = stops.findIndex((stop) => pixels(stop) === sizes.at(-1));
  const rows = [];
  for (const size of sizes) {
    const mine = stops.filter((stop) => pixels(stop) === size);
    const shape = mainShape(mine[0]);
    const label = shape.length === 4 ? `${shape[2]}×${shape[3]}` : "vector";
    const [left, right] = [mine.filter((stop) => stop.number <= deepest), mine.filter((stop) => stop.number > deepest)];
    const isBottom = size === sizes.at(-1);
    if (left.length + right.length <= most) {
      rows.push({ label, left: isBottom ? [...left, ...right] : left, right: isBottom ? [] : right });
      continue;
    }
    const mineRows = [];
    for (let k = 0; k < left.length; k += most) mineRows.push({ left: left.slice(k, k + most), right: [] });
    const fits = mineRows.length > 0 && mineRows.at(-1).left.length + right.length <= most;
    if (fits) mineRows.at(-1).right = right;
    else for (let k = 0; k < right.length; k += most) mineRows.push({ left: right.slice(k, k + most), right: [] });
    rows.push(...mineRows.map((row, k) => ({ label: k ? "" : label, ...row })));
  }
  return rows;
}

export class Overview {
  constructor(pass, root, state) {
    Object.assign(this, { pass, root, state, drawn: new Map() });
    root.addEventListener("click", (event) => {
      const box = event.target.closest(".box");
      if (box) this.open(Number(box.dataset.stop));
    });
    this.build();
    new ResizeObserver(() => {
      if (Math.abs(root.clientWidth - this.width) > 40) this.build();
    }).observe(root);
  }

  // The stop in the pass that is being shown.
  open(number) {
    const isBack = this.state.here.pass === "B";
    const last = this.pass.stops.length;
    this.state.go(isBack ? 2 * last - number : number);
  }

  build() {
    const { pass, root } = this;
    this.width = root.clientWidth;
    const longest = Math.max(...layOut(pass.stops, Infinity).map((row) => row.left.length + row.right.length));
    const inner = Math.max(320, this.width) - 84;
    const most = Math.max(10, Math.floor(inner / (SMALLEST + 6)) - 1);
    const rows = layOut(pass.stops, most);
    const columns = Math.min(most, longest) + 1;
    const gap = rows.length > 4 ? 4 : 8;
    const tallest = Math.max(120, (innerHeight > 900 ? 0.26 : 0.15) * innerHeight) / rows.length - gap;
    const size = Math.max(rows.length > 4 ? SMALLEST : 26, Math.min(64, Math.floor(inner / columns) - gap, tallest));
    const step = size + gap;
    this.places = new Map();
    rows.forEach((row, r) => {
      const span = columns * step;
      const free = span - (row.left.length + row.right.length) * step;
      const isBottom = r === rows.length - 1 && rows.length > 2 && !row.right.length;
      const start = isBottom ? free / 2 : row.right.length ? Math.min(r * step, free / 2) : 0;
      const right = span - start - row.right.length * step;
      row.left.forEach((stop, k) => this.places.set(stop.number, [76 + start + k * step, 12 + r * step]));
      row.right.forEach((stop, k) => this.places.set(stop.number, [76 + right + k * step, 12 + r * step]));
    });
    const width = Math.max(...[...this.places.values()].map(([x]) => x)) + size + 10;
    const height = rows.length * step + 14;
    const boxes = pass.stops.map((stop) => {
      const [x, y] = this.places.get(stop.number);
      const name = `${stop.number + 1}: ${stop.name}, ${stop.label}`;
      return `<button class="box" data-stop="${stop.number}" tabindex="-1" title="${escape(name)}" aria-label="${escape(name)}" `
        + `style="left:${x}px;top:${y}px;width:${size}px;height:${size}px"><canvas></canvas><b>${SYMBOLS[stop.kind] ?? "?"}</b></button>`;
    });
    const labels = rows.map((row, r) => `<span class="size" style="top:${12 + r * step + size / 2 - 10}px">${row.label}</span>`);
    root.innerHTML = `<div class="canvas" style="width:${width}px;height:${height}px"><svg width="${width}" height="${height}" aria-hidden="true"></svg>${labels.join("")}${boxes.join("")}</div>`;
    this.size = size;
    this.drawn.clear();
    this.update();
  }

  // Light the stop at work, and draw the maps of the pass shown.
  update() {
    const { stop, pass: which } = this.state.here;
    for (const box of this.root.querySelectorAll(".box")) {
      const isHere = Number(box.dataset.stop) === stop.number;
      box.classList.toggle("here", isHere);
      box.tabIndex = isHere ? 0 : -1;
      if (isHere) box.setAttribute("aria-current", "step");
      else box.removeAttribute("aria-current");
    }
    this.root.classList.toggle("backward", which === "B");
    this.wires(which === "B");
    this.thumbnails(which === "B" ? "B" : "F");
    const here = this.root.querySelector(".here");
    if (here && this.root.scrollWidth > this.root.clientWidth) this.root.scrollLeft = here.offsetLeft - this.root.clientWidth / 2;
    if (here && this.root.scrollHeight > this.root.clientHeight) this.root.scrollTop = here.offsetTop - this.root.clientHeight / 2;
  }

  thumbnails(which) {
    if (this.drawn.get("which") === `${which}`) return;
    this.drawn.set("which", which);
    const boxes = [...this.root.querySelectorAll(".box")];
    if (which === "B") boxes.reverse();
    const work = (deadline) => {
      if (this.drawn.get("which") !== which) return;
      while (boxes.length && (deadline.didTimeout || deadline.timeRemaining() > 4)) this.thumbnail(boxes.shift(), which);
      if (boxes.length) later(work);
    };
    later(work);
  }

  thumbnail(box, which) {
    const stop = this.pass.stops[Number(box.dataset.stop)];
    const wanted = which === "F" ? "y" : "dx";
    const name = this.pass.names(stop, wanted)[0];
    const tensor = this.pass.array(stop, name);
    drawMap(box.querySelector("canvas"), tensor, strongest(tensor), name, "map");
  }

  // Lines between the boxes; in backward also the share of the gradient that arrives over each branch of a fork.
  wires(isBack) {
    const svg = this.root.querySelector("svg");
    const half = this.size / 2;
    const lines = [];
    for (const stop of this.pass.stops) {
      for (const [name, [number]] of Object.entries(stop.sources)) {
        if (name.split(".")[0] !== "x") continue;
        const [[x1, y1], [x2, y2]] = [this.places.get(number), this.places.get(stop.number)];
        const [a, b, c, d] = [x1 + half, y1 + half, x2 + half, y2 + half];
        const isSkip = stop.number - number > 1;
        let path = `M${a},${b} L${c},${d}`;
        if (b === d && isSkip && Math.abs(c - a) > 2 * this.size) path = `M${a},${b} C${a + 20},${b - half - 8} ${c - 20},${d - half - 8} ${c},${d}`;
        else if (b !== d) path = `M${a},${b} C${a},${(b + d) / 2} ${c},${(b + d) / 2} ${c},${d}`;
        lines.push(`<path class="${isSkip ? "skip" : ""}" d="${path}"/>`);
      }
    }
    svg.innerHTML = lines.join("");
    for (const label of this.root.querySelectorAll(".part")) label.remove();
    if (isBack) for (const stop of this.pass.stops) if (stop.kind === "fork") this.shares(stop);
  }

  // At the first stop of each branch: the share of the gradient that comes back to the fork over it.
  shares(fork) {
    sharesOf(this.pass, fork).forEach((share, k) => {
      const branch = fork.branches[k];
      const [next] = fork.sources[`dy.${branch}`];
      const label = document.createElement("i");
      label.className = "part";
      label.title = `${branch}: its share, in %, of the gradient that arrives at the fork before it`;
      label.textContent = percent(share);
      this.root.querySelector(`[data-stop="${next}"]`).append(label);
    });
  }
}

// How much of the gradient comes back over each branch of a fork: by the length of the gradients.
export function sharesOf(pass, fork, get = (name) => pass.array(fork, name)) {
  const norms = fork.branches.map((branch) => norm(get(`dy.${branch}`)));
  const total = norms.reduce((sum, one) => sum + one, 0);
  return norms.map((one) => (total ? one / total : 0));
}

// The map of an array with the largest sum of squares.
function strongest(tensor) {
  const { count, height, width } = asMaps(tensor.shape);
  let [best, most] = [0, -1];
  for (let map = 0; map < count; map++) {
    let sum = 0;
    for (let i = map * height * width; i < (map + 1) * height * width; i++) sum += tensor.data[i] ** 2;
    if (sum > most) [best, most] = [map, sum];
  }
  return best;
}

function later(work) {
  if ("requestIdleCallback" in window) requestIdleCallback(work, { timeout: 300 });
  else setTimeout(() => work({ didTimeout: true, timeRemaining: () => 0 }), 10);
}
