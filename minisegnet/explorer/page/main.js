// Puts the page together: reads the pass, listens to keys and clicks, draws what the state says.

import { readPass } from "./data.js";
import { State, pickFor } from "./state.js";
import { explain } from "./explain.js";
import { scatter } from "./scatter.js";
import { keepingFocus } from "./focus.js";
import { Overview, LEGEND, SYMBOLS } from "./overview.js";
import { LayerTab } from "./layer_tab.js";
import { PixelTab } from "./pixel.js";
import { NudgeTab } from "./nudge_tab.js";
import { drawPictures } from "./pictures.js";
import { formulaHtml, nextTerm } from "./terms.js";
import { text, escape } from "./format.js";

const find = (id) => document.getElementById(id);
const pass = readPass(document);
const state = new State(pass, () => schedule());
const pictures = drawPictures(pass, find("pictures"), pickPixel);
const slider = find("slider");
slider.max = pass.timeline.length - 1;
const tabs = {};
let [waiting, playing, written] = [false, null, ""];

function schedule() {
  if (waiting) return;
  waiting = true;
  queueMicrotask(() => {
    waiting = false;
    draw();
  });
}

// The sum behind the picked element of the view that is shown.
function explanation() {
  const { stop } = state.here;
  const { of } = state.current;
  if (of === "dy") return scatter(pass, stop, state.picks.y);
  return explain(pass, stop, of, state.picked(of));
}

function draw() {
  keepingFocus(redraw);
}

function redraw() {
  const { stop, id, pass: which } = state.here;
  const found = explanation();
  slider.value = state.place;
  slider.setAttribute("aria-valuetext", `${id}: ${stop.name}`);
  const at = which === "L" ? "between the passes" : `<b>${id}</b> of ${pass.stops.length} · ${which === "F" ? "forward" : "backward"}`;
  find("said").innerHTML = `${at} · loss ${text(pass.array(pass.loss, "value").data[0], 5)}`
    + ` · <b>${escape(stop.name)}</b> <span class="soft">${escape(shortened(stop.label))}</span>`;
  find("turn").textContent = which === "F" ? "to backward" : which === "B" ? "to forward" : "to the last layer";
  find("scale").textContent = `colours: ${state.scale === "layer" ? "whole array" : "each map"}`;
  document.body.dataset.pass = which;
  tabs.overview.update();
  find("formula").innerHTML = formulaHtml(found);
  for (const button of document.querySelectorAll("#tabs [data-tab]")) {
    button.setAttribute("aria-selected", button.dataset.tab === state.tab);
    button.tabIndex = button.dataset.tab === state.tab ? 0 : -1;
    find(button.dataset.tab).hidden = button.dataset.tab !== state.tab;
  }
  find("sum").hidden = state.tab !== "layer";
  find("views").innerHTML = state.tab === "layer" ? viewButtons() : "";
  if (state.tab === "layer") tabs.layer.update(found);
  else tabs[state.tab].update();
  pictures.mark(placeInPicture());
  if (state.address !== location.hash) {
    written = state.address;
    history.replaceState(null, "", written);
  }
}

// Numbers of single precision, such as 0.699999988079071, as somebody has written them: 0.7.
function shortened(label) {
  return label.replace(/\d+\.\d{7,}/g, (digits) => String(Number(Number(digits).toPrecision(6))));
}

function viewButtons() {
  const buttons = state.views.map((view, k) => `<button data-view="${escape(view.id)}" aria-pressed="${view.id === state.view}" title="${escape(view.hint ?? "")} (${k + 1})">${escape(view.title)}</button>`);
  const isTurned = state.here.stop.kind === "Conv2d" && state.here.pass === "B";
  const rotate = isTurned ? `<button id="rotate" aria-pressed="${state.isStored}" title="gather with the kernel as it is stored, or turned by 180° (r)">w as stored</button>` : "";
  return (buttons.length > 1 ? buttons.join("") : "") + rotate;
}

// What is marked on the pictures: [row, column] as shares of height and width.
function placeInPicture() {
  if (state.tab === "layer") return [state.spot.row, state.spot.column];
  const scores = pass.loss.shapes.scores;
  return tabs.pixel.pixel.map((i, axis) => (i + 0.5) / (scores[2 + axis] ?? 1));
}

// A click into one of the pictures: the pixel of the scores there.
function pickPixel(row, column) {
  const [, C] = pass.loss.shapes.scores;
  const target = pass.array(pass.loss, "target");
  const label = target.data[row * target.shape.at(-1) + column];
  const place = pass.stops.length;
  if (state.place !== place) state.go(place);
  state.pick("dscores", [0, label >= 0 && label < C ? label : 0, row, column]);
  state.set({ tab: "pixel", pixel: [row, column] });
}

// The page opens on the first layer, at the pixel that costs most.
function begin() {
  state.follow([0, 0, ...tabs.pixel.costliest()], pass.loss.shapes.scores);
  state.set({ picks: {} });
}

// ---------------------------------------------------------------- acts

const acts = {
  back: () => state.go(state.place - 1),
  on: () => state.go(state.place + 1),
  first: () => state.go(0),
  last: () => state.go(pass.timeline.length - 1),
  turn: () => state.go(2 * pass.stops.length - state.place === state.place ? state.place + 1 : 2 * pass.stops.length - state.place),
  rotate: () => state.set({ isStored: !state.isStored }),
  order: () => state.set({ order: state.order === "position" ? "size" : "position" }),
  scale: () => state.set({ scale: state.scale === "layer" ? "map" : "layer" }),
  term: () => state.set({ term: nextTerm(explanation(), state) }),
  help: () => find("about").showModal(),
  play: () => (playing ? stopPlaying() : startPlaying()),
  inward: () => along(1),
  outward: () => along(-1),
};

function startPlaying() {
  find("play").textContent = "pause";
  playing = setInterval(() => {
    if (state.place === pass.timeline.length - 1) stopPlaying();
    else acts.on();
  }, 900);
}

function stopPlaying() {
  clearInterval(playing);
  playing = null;
  find("play").textContent = "play";
}

// Along the branch: to the stop that takes this one's y (of a fork, its last branch), or to where its x comes from.
function along(direction) {
  const { stop, pass: which } = state.here;
  if (which === "L") return;
  const base = direction > 0 ? "dy" : "x";
  const names = Object.keys(stop.sources).filter((name) => name.split(".")[0] === base);
  if (!names.length) return;
  const [number] = stop.sources[names.at(-1)];
  const last = pass.stops.length;
  state.go(number < 0 ? last : which === "B" ? 2 * last - number : number);
}

// Move the picked element of an array by so many rows, columns and channels.
function move(rows, columns, channels, of = state.current.of) {
  const index = [...state.picked(of)];
  const shape = pass.shape(state.here.stop, of);
  const change = [...new Array(Math.max(0, shape.length - 3)).fill(0), channels, rows, columns].slice(-shape.length);
  const isWhole = shape.length === 4 && pickFor(of) === "w";
  if (isWhole && channels) {
    const place = index[0] * shape[1] + index[1] + channels;
    if (place < 0 || place >= shape[0] * shape[1]) return;
    [index[0], index[1]] = [Math.floor(place / shape[1]), place % shape[1]];
  } else index.forEach((i, axis) => (index[axis] = Math.max(0, Math.min(shape[axis] - 1, i + change[axis]))));
  delete state.channels[of];
  state.pick(of, index);
}

const KEYS = {
  ArrowLeft: acts.back, ArrowRight: acts.on, Home: acts.first, End: acts.last, " ": acts.play, ArrowDown: acts.inward,
  ArrowUp: acts.outward, b: acts.turn, r: acts.rotate, o: acts.order, s: acts.scale, t: acts.term, "?": acts.help,
  l: () => state.set({ tab: "layer" }), p: () => state.set({ tab: "pixel" }), n: () => state.set({ tab: "nudge" }),
  PageUp: () => move(0, 0, 1), PageDown: () => move(0, 0, -1),
};
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || find("about").open) return;
  const { target } = event;
  if (target.matches("input:not([type=range]), select, textarea")) return;
  if (target.matches("button") && [" ", "Enter"].includes(event.key)) return;
  const grid = target.closest(".panel[data-array] table[role=grid]");
  if ((event.shiftKey || grid) && MOVES[event.key]) {
    event.preventDefault();
    move(...MOVES[event.key], 0, event.shiftKey ? undefined : grid.closest(".panel").dataset.array);
    return;
  }
  if (target.closest("#tabs") && target.matches("[role=tab]") && MOVES[event.key]) {
    event.preventDefault();
    const all = [...document.querySelectorAll("[role=tab]")];
    const next = all[(all.indexOf(target) + (event.key === "ArrowRight" ? 1 : all.length - 1)) % all.length];
    state.set({ tab: next.dataset.tab });
    next.focus();
    return;
  }
  const view = state.views[Number(event.key) - 1];
  const act = KEYS[event.key] ?? (view && (() => state.set({ view: view.id, term: -1 })));
  if (!act) return;
  event.preventDefault();
  if (playing && event.key !== " ") stopPlaying();
  act();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.go) state.go(state.place + Number(button.dataset.go));
  else if (button.dataset.tab) state.set({ tab: button.dataset.tab });
  else if (button.dataset.view) state.set({ view: button.dataset.view, term: -1 });
  else if (acts[button.id]) acts[button.id]();
});

slider.addEventListener("input", () => state.go(Number(slider.value)));
addEventListener("hashchange", () => {
  if (location.hash !== written) state.read(location.hash);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  tabs.overview.drawn.clear();
  draw();
});

// ---------------------------------------------------------------- words that stay

const notes = pass.about.notes.join(". ");
Object.assign(find("notes"), { textContent: notes, title: notes });
const signs = LEGEND.filter(([sign]) => pass.stops.some((stop) => SYMBOLS[stop.kind] === sign));
find("signs").innerHTML = signs.map(([sign, name]) => `<b>${sign}</b> ${name}`).join(" · ");
find("signs").title = find("signs").textContent;

find("about").innerHTML = `<form method="dialog"><button>close</button></form>
  <h2 id="about-title">How to read this page</h2>
  <p>One picture went forward through the net, its loss was taken, and the gradient went back. Every number asks to be picked: where does it come from?</p>
  <p>${pass.about.notes.map(escape).join(". ")}.</p>
  <dl class="colours"><dt class="value"></dt><dd>values of the forward pass: low grey, high teal</dd>
  <dt class="gradient"></dt><dd>gradients: negative blue, zero neutral, positive orange</dd>
  <dt class="weight"></dt><dd>weights: violet, with a violet frame; inputs have a teal one</dd></dl>
  <p>The element in question has a heavy ring, its terms a thin one, the chosen term a dotted one.</p>
  <h2>Keys</h2>
  <dl><dt>← →</dt><dd>one stop back, on</dd><dt>Home End</dt><dd>first, last stop</dd><dt>space</dt><dd>play</dd>
  <dt>↑ ↓</dt><dd>along the branch: back to the input, on to the output</dd><dt>b</dt><dd>this layer in the other pass</dd>
  <dt>shift + arrows</dt><dd>move the picked element (in a grid: arrows alone)</dd><dt>Page ↑ ↓</dt><dd>next, previous channel</dd>
  <dt>1 2 3 4</dt><dd>the views of a layer</dd><dt>r</dt><dd>gather's kernel as stored, or turned</dd><dt>t</dt><dd>next term</dd><dt>o</dt><dd>order of the terms</dd>
  <dt>s</dt><dd>scale of the colours</dd><dt>l p n</dt><dd>this layer, the pixel, nudge</dd></dl>
  <h2>Layers</h2><p class="layers">${LEGEND.map(([sign, name]) => `<span><b>${sign}</b> ${name}</span>`).join(" ")}</p>
  <p class="soft">minisegnet ${escape(pass.about.version)}. The address of this page holds the view: send it.</p>`;

tabs.overview = new Overview(pass, find("overview"), state);
tabs.layer = new LayerTab(pass, find("layer"), state);
tabs.pixel = new PixelTab(pass, find("pixel"), state, pictures);
tabs.nudge = new NudgeTab(pass, find("nudge"), state);
if (!state.read(location.hash)) begin();
draw();
document.body.dataset.ready = "1";
