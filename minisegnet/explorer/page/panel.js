// A panel: a small window with numbers on a large array, a mini-map of the whole, and a strip with all its maps.

import { asMaps, toMap, fromMap, offset, range, isInside } from "./tensor.js";
import { meaning, palette, css, ink, isDark } from "./colours.js";
import { cellText, exponentFor, powerText, text, escape } from "./format.js";

const WINDOW = 9; // cells on a side
const THUMB = 30; // pixels of a thumbnail's side
const STEP = THUMB + 4;
const strips = new WeakMap(); // canvases with all maps of an array, by its data
const ranges = new WeakMap();

// Smallest and largest number of an array; computed once.
export function rangeOf(tensor) {
  if (!ranges.has(tensor.data)) ranges.set(tensor.data, range(tensor.data));
  return ranges.get(tensor.data);
}

// The scale of one map: that of the whole array, or its own.
function scaleOf(tensor, map, mode) {
  if (mode === "layer") return rangeOf(tensor);
  const { height, width } = asMaps(tensor.shape);
  return range(tensor.data, map * height * width, (map + 1) * height * width);
}

// Draw one map into a canvas, a pixel for each element.
export function drawMap(canvas, tensor, map, name, mode = "layer") {
  const { height, width } = asMaps(tensor.shape);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.putImageData(mapImage(context, tensor, map, name, mode), 0, 0);
}

function mapImage(context, tensor, map, name, mode) {
  const { height, width } = asMaps(tensor.shape);
  const [low, high] = scaleOf(tensor, map, mode);
  const kind = meaning(name);
  const [from, to] = kind === "value" ? [low, high] : [-Math.max(-low, high), Math.max(-low, high)];
  const colour = palette(kind, low, high);
  // 256 colours are computed once, and looked up for each pixel
  const table = Array.from({ length: 256 }, (_, k) => colour(from + ((to - from) * k) / 255));
  const image = context.createImageData(width, height);
  const { data } = image;
  const first = map * height * width;
  const steps = 255 / (to - from || 1);
  for (let i = 0, at = 0; i < height * width; i++, at += 4) {
    const entry = table[Math.round((tensor.data[first + i] - from) * steps)] ?? table[0];
    data[at] = entry[0];
    data[at + 1] = entry[1];
    data[at + 2] = entry[2];
    data[at + 3] = 255;
  }
  return image;
}

// ---------------------------------------------------------------- what a panel shows

// Which map of an array is shown: the one that the reader chose, or that of the term or element in question.
export function shownMap(tensor, name, state, lit, active) {
  const shape = tensor.shape;
  const chosen = state.channels[name];
  if (chosen !== undefined && chosen < asMaps(shape).count) return chosen;
  if (active) return toMap(shape, active)[0];
  const picked = state.picked(name);
  if (picked && isInside(shape, picked)) {
    const map = toMap(shape, picked)[0];
    if (!lit.length || lit.some((index) => toMap(shape, index)[0] === map)) return map;
  }
  return lit.length ? toMap(shape, lit[0])[0] : 0;
}

// The first row and column of the window: around the ring, what is framed, the active term, or the spot.
function windowAt(tensor, map, ring, framed, active, spot) {
  const { height, width } = asMaps(tensor.shape);
  const here = (index) => index && toMap(tensor.shape, index)[0] === map;
  let centre = toMap(tensor.shape, spot).slice(1);
  const places = framed.map((index) => toMap(tensor.shape, index));
  const span = (axis) => {
    const all = places.map((place) => place[axis]);
    return [Math.min(...all), Math.max(...all)];
  };
  if (here(ring)) centre = toMap(tensor.shape, ring).slice(1);
  else if (places.length) {
    const [rows, columns] = [span(1), span(2)];
    const isNear = rows[1] - rows[0] < WINDOW && columns[1] - columns[0] < WINDOW;
    if (isNear) centre = [(rows[0] + rows[1]) / 2, (columns[0] + columns[1]) / 2];
    else if (here(active)) centre = toMap(tensor.shape, active).slice(1);
    else centre = [rows[0] + 4, columns[0] + 4];
  } else if (here(active)) centre = toMap(tensor.shape, active).slice(1);
  const start = (middle, size) => Math.max(0, Math.min(Math.round(middle) - 4, size - WINDOW));
  return [start(centre[0], height), start(centre[1], width)];
}

// Which of the elements in the sum get a frame in this map. Where they fill the window, frames would say nothing: then
// it is the one at the spot alone, if the number in question belongs to a place.
function framedIn(tensor, map, lit, spot, hasPlace) {
  const here = lit.filter((index) => toMap(tensor.shape, index)[0] === map);
  const { height, width } = asMaps(tensor.shape);
  const isAll = here.length > 1 && here.length >= height * width;
  if (!isAll && here.length <= WINDOW * WINDOW) return here;
  return hasPlace ? here.filter((index) => index.join() === spot.join()).slice(0, 1) : [];
}

// The largest size of a number in the window: what the power of ten over it goes by.
function largestIn(tensor, map, top, left) {
  const { height, width } = asMaps(tensor.shape);
  let largest = 0;
  for (let i = top; i < Math.min(top + WINDOW, height); i++) {
    for (let j = left; j < Math.min(left + WINDOW, width); j++) {
      largest = Math.max(largest, Math.abs(tensor.data[(map * height + i) * width + j]));
    }
  }
  return largest;
}

// The element of a panel.
//   name, tensor      the array
//   title             words for it
//   ring              the element in question, or null
//   lit               elements that have a part in it
//   hasPlace          whether the element in question lies at a place of the picture, as a weight does not
//   active            the element of the chosen term, or null
export function panelElement({ name, tensor, title, ring, lit, active, hasPlace, state, onPick, onMap }) {
  const element = document.createElement("section");
  const kind = meaning(name);
  element.className = `panel ${kind} ${/^d?weight|^d?bias/.test(name) ? "of-weight" : /^d?x|^scores/.test(name) ? "of-input" : ""}`;
  element.dataset.array = name;
  const { count, height, width } = asMaps(tensor.shape);
  const map = shownMap(tensor, name, state, ring ? [ring] : lit, active);
  const [low, high] = scaleOf(tensor, map, state.scale);
  const spot = state.placed(tensor.shape);
  const framed = framedIn(tensor, map, lit, fromMap(tensor.shape, map, ...toMap(tensor.shape, spot).slice(1)), hasPlace);
  const [top, left] = windowAt(tensor, map, ring, framed, active, spot);
  const exponent = exponentFor(largestIn(tensor, map, top, left));
  const factor = exponent ? ` <b class="power">× ${powerText(exponent)}</b>` : "";
  element.innerHTML = `
    <h3><b>${escape(name)}</b> ${escape(title)} <span class="soft">${mapWords(tensor.shape, map)}</span>${factor}</h3>
    <div class="window">${gridHtml({ tensor, map, top, left, kind, ring, focus: state.picked(name), framed, active, low, high, exponent, name })}</div>
    <div class="below"><div class="legend"><span>${text(low, 2)}</span><i class="bar ${kind}"></i><span>${text(high, 2)}</span></div></div>`;
  const below = element.querySelector(".below");
  if (count > 1 && tensor.shape.length === 4 && kind !== "weight" && name !== "dweight") {
    below.prepend(strip({ tensor, map, name, state, onMap }));
  }
  if (height > WINDOW || width > WINDOW) below.prepend(miniMap({ tensor, map, top, left, name, state, onPick }));
  element.querySelector("table").addEventListener("click", (event) => {
    const cell = event.target.closest("td[data-at]");
    if (cell) onPick(name, cell.dataset.at.split(",").map(Number));
  });
  return element;
}

function mapWords(shape, map) {
  if (shape.length !== 4) return `${shape.join("×")}`;
  const [, C, H, W] = shape;
  return `map ${map % C} of 0–${C - 1} · ${H}×${W}`;
}

// focus: the element that the keyboard is on, if the window shows it; otherwise that is the first cell
function gridHtml({ tensor, map, top, left, kind, ring, focus, framed, active, low, high, exponent, name }) {
  const { height, width } = asMaps(tensor.shape);
  const colour = palette(kind, low, high);
  const isLit = new Set(framed.map((index) => offset(tensor.shape, index)));
  const [ringAt, activeAt] = [ring, active].map((index) => (index ? offset(tensor.shape, index) : -1));
  const columns = Array.from({ length: Math.min(WINDOW, width) }, (_, k) => left + k);
  const rows = Array.from({ length: Math.min(WINDOW, height) }, (_, k) => top + k);
  const [, row, column] = toMap(tensor.shape, focus);
  const isShown = toMap(tensor.shape, focus)[0] === map && rows.includes(row) && columns.includes(column);
  const focusAt = offset(tensor.shape, isShown ? focus : fromMap(tensor.shape, map, top, left));
  const cell = (i, j) => {
    const index = fromMap(tensor.shape, map, i, j);
    const place = offset(tensor.shape, index);
    const value = tensor.data[place];
    const back = colour(value);
    const classes = [place === ringAt ? "ring" : "", isLit.has(place) ? "lit" : "", place === activeAt ? "active" : ""];
    return `<td role="gridcell" class="${classes.join(" ").trim()}" tabindex="${place === focusAt ? 0 : -1}" data-at="${index}" `
      + `title="${escape(name)}[${index}] = ${text(value, 7)}" style="background:${css(back)};color:${ink(back)}">`
      + `${cellText(value, exponent)}</td>`;
  };
  const head = `<tr><th></th>${columns.map((j) => `<th scope="col">${j}</th>`).join("")}</tr>`;
  const body = rows.map((i) => `<tr><th scope="row">${i}</th>${columns.map((j) => cell(i, j)).join("")}</tr>`);
  return `<table class="grid" role="grid" aria-label="${escape(name)}">${head}${body.join("")}</table>`;
}

// The whole map, with the window's frame on it; a click moves the element there.
function miniMap({ tensor, map, top, left, name, state, onPick }) {
  const { height, width } = asMaps(tensor.shape);
  const box = document.createElement("div");
  box.className = "mini";
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `all of this map of ${name}; the frame is the window with numbers`);
  drawMap(canvas, tensor, map, name, state.scale);
  const frame = document.createElement("i");
  const percent = (part, whole) => `${(100 * part) / whole}%`;
  Object.assign(frame.style, {
    left: percent(left, width), top: percent(top, height),
    width: percent(Math.min(WINDOW, width), width), height: percent(Math.min(WINDOW, height), height),
  });
  box.style.aspectRatio = `${width} / ${height}`;
  box.append(canvas, frame);
  box.addEventListener("click", (event) => {
    const area = box.getBoundingClientRect();
    const row = Math.min(height - 1, Math.floor(((event.clientY - area.top) / area.height) * height));
    const column = Math.min(width - 1, Math.floor(((event.clientX - area.left) / area.width) * width));
    onPick(name, fromMap(tensor.shape, map, row, column));
  });
  return box;
}

// All maps of an array side by side, to choose one.
function strip({ tensor, map, name, state, onMap }) {
  const { count, height, width } = asMaps(tensor.shape);
  const box = document.createElement("div");
  box.className = "strip";
  box.tabIndex = 0;
  box.setAttribute("role", "slider");
  box.setAttribute("aria-label", `channel of ${name}`);
  box.setAttribute("aria-valuemin", 0);
  box.setAttribute("aria-valuemax", count - 1);
  box.setAttribute("aria-valuenow", map);
  const drawn = thumbnails(tensor, name, state.scale);
  const canvas = document.createElement("canvas"); // a copy: two panels may show the same array
  [canvas.width, canvas.height] = [drawn.width, drawn.height];
  canvas.getContext("2d").drawImage(drawn, 0, 0);
  const frame = document.createElement("i");
  frame.style.left = `${map * STEP}px`;
  box.append(canvas, frame);
  box.addEventListener("click", (event) => {
    onMap(name, Math.min(count - 1, Math.floor((event.clientX - canvas.getBoundingClientRect().left) / STEP)));
  });
  box.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    onMap(name, Math.max(0, Math.min(count - 1, map + move)));
  });
  requestAnimationFrame(() => {
    box.scrollLeft = map * STEP - box.clientWidth / 2;
  });
  return box;
}

// All maps of an array in one canvas; drawn once for each scale and theme.
function thumbnails(tensor, name, mode) {
  const key = `${mode} ${meaning(name)} ${isDark()}`;
  const drawn = strips.get(tensor.data) ?? new Map();
  strips.set(tensor.data, drawn);
  if (drawn.has(key)) return drawn.get(key);
  const { count, height, width } = asMaps(tensor.shape);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [count * STEP, STEP];
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  const one = document.createElement("canvas");
  [one.width, one.height] = [width, height];
  const scale = THUMB / Math.max(width, height);
  for (let k = 0; k < count; k++) {
    one.getContext("2d").putImageData(mapImage(context, tensor, k, name, mode), 0, 0);
    context.drawImage(one, k * STEP + 2, 2, width * scale, height * scale);
  }
  drawn.set(key, canvas);
  return canvas;
}
