// Cards of a convolution: patch × kernel = products, tap by tap. In backward three of them, side by side: gather (what
// makes this dx), scatter (where this dy goes), and dW (what all places of the map ask of this weight).

import { palette, css, ink, meaning } from "./colours.js";
import { cellText, exponentFor, powerText, text, signed, indexText } from "./format.js";
import { explain } from "./explain.js";
import { scatter } from "./scatter.js";
import { at } from "./tensor.js";
import { termsOf } from "./explanation.js";

export function hasCards(stop) {
  return stop.kind === "Conv2d" || stop.kind === "ConvTranspose2d";
}

export function cardsElement({ pass, state, explanation, onTerm, onView, onPick }) {
  const { stop, pass: which } = state.here;
  const element = document.createElement("section");
  element.className = "cards";
  const sum = (of, index) => (state.current.of === of ? explanation : explain(pass, stop, of, index));
  const { x, y } = state.picks;
  if (which === "F") {
    const isTurned = stop.kind === "ConvTranspose2d"; // each x is a stamp: seen from y, the kernel lies turned
    const html = tapsHtml(stop, sum("y", y), state, state.channels.x ?? x[1], isTurned);
    element.append(card("forward", "patch of x × kernel", html));
  } else {
    const out = state.channels.dy ?? y[1];
    const toward = state.channels.dx ?? x[1];
    const sent = state.current.of === "dy" ? explanation : scatter(pass, stop, y);
    const isTurned = stop.kind === "Conv2d" && !state.isStored;
    element.append(
      card("gather", `gather: what makes dx${indexText(x)}`, tapsHtml(stop, sum("dx", x), state, out, isTurned)),
      card("scatter", `scatter: where dy${indexText(y)} goes`, tapsHtml(stop, sent, state, toward, false)),
      card("weight", `dW: what asks w${indexText(state.picks.w)}`, slideHtml(pass, stop, state, sum("dweight", state.picks.w))),
    );
  }
  function card(id, title, html) {
    const box = document.createElement("section");
    box.className = `card ${state.view === id ? "chosen" : ""}`;
    box.dataset.card = id;
    box.innerHTML = `<button data-view="${id}" aria-pressed="${state.view === id}">${title}</button><div class="sum">${html}</div>`;
    return box;
  }
  element.addEventListener("click", (event) => {
    const id = event.target.closest(".card")?.dataset.card;
    const [tap, weight] = [event.target.closest("td[data-term]"), event.target.closest("td[data-weight]")];
    if (tap) {
      if (state.view !== id) onView(id);
      onTerm(Number(tap.dataset.term));
    }
    if (weight) onPick("dweight", weight.dataset.weight.split(",").map(Number));
  });
  return element;
}

const sign = (mark) => `<b class="sign">${mark}</b>`;
const big = (title, value) => `<figure><figcaption>${title}</figcaption><p class="big">${signed(value)}</p></figure>`;

// The terms of one map as grids of the kernel's shape: of the map `wanted`, or the first that has a part, as maps of
// other groups have none. Turned, the kernel lies as the window on dy does.
function tapsHtml(stop, explanation, state, wanted, isTurned) {
  const [kh, kw] = stop.config.kernel_size;
  const [group] = explanation.groups;
  const isScatter = Boolean(explanation.targets);
  if (!group) return "<p>nothing</p>";
  const source = group.factors[0];
  const weight = group.factors.find((factor) => factor.array === "weight");
  const maps = (explanation.targets ?? source.indices).map((index) => index[1]);
  const channel = maps.includes(wanted) ? wanted : maps[0] ?? wanted;
  const isDense = isSummary(stop, state, isScatter ? "scatter" : state.here.pass === "F" ? "forward" : "gather");
  const taps = new Map();
  weight.indices.forEach((index, t) => {
    if (maps[t] !== channel) return;
    const [row, column] = index.slice(2);
    const place = isTurned ? [kh - 1 - row, kw - 1 - column] : [row, column];
    taps.set(place.join(), { t, source: source.values[t], weight: weight.values[t], product: group.products[t] });
  });
  const grid = (title, field, kind) => {
    const values = [...taps.values()].map((tap) => tap[field]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const exponent = exponentFor(Math.max(-low, high));
    const colour = palette(kind, low, high);
    const cell = (row, column) => {
      const tap = taps.get(`${row},${column}`);
      if (!tap) return `<td class="hole" title="no term: padding, or a place between strides">${isDense ? "" : "·"}</td>`;
      const back = colour(tap[field]);
      const isActive = tap.t === state.term && (state.current.of === "dy") === isScatter && state.view !== "weight";
      return `<td data-term="${tap.t}" class="${isActive ? "active" : ""}" title="${text(tap[field], 7)}" `
        + `style="background:${css(back)};color:${ink(back)}">${isDense ? "" : cellText(tap[field], exponent)}</td>`;
    };
    return gridHtml(title + (exponent && !isDense ? ` ×${powerText(exponent)}` : ""), kh, kw, cell, field === "weight", isDense);
  };
  const kernel = grid(isTurned ? "w turned" : "w", "weight", "weight");
  const kind = isScatter || source.array.startsWith("d") ? "gradient" : "value";
  if (isScatter && !maps.length) return "<p>nowhere: all of it lies in the padding</p>";
  if (isScatter) return big("dy", source.values[0]) + sign("×") + kernel + sign("=") + grid(`onto dx, map ${channel}`, "product", kind);
  const partial = [...taps.values()].reduce((sum, tap) => sum + tap.product, 0);
  return grid(`${source.array}, map ${channel}`, "source", meaning(source.array)) + sign("×") + kernel + sign("=")
    + grid("products", "product", kind) + sign("→") + big(`sum, map ${channel}`, partial);
}

// Large kernels are drawn as pictures, without numbers; up to 5x5 the chosen card keeps its own.
function isSummary(stop, state, id) {
  const side = Math.max(...stop.config.kernel_size);
  return side > 5 || (side > 3 && state.view !== id);
}

function gridHtml(title, height, width, cell, isWeight, isDense) {
  const columns = Array.from({ length: width }, (_, column) => column);
  const rows = Array.from({ length: height }, (_, row) => `<tr>${columns.map((column) => cell(row, column)).join("")}</tr>`);
  return `<figure class="${isWeight ? "of-weight" : ""}"><figcaption>${title}</figcaption><table class="grid ${isDense ? "dense" : ""}" style="--side:${Math.floor(72 / Math.max(height, width))}px">${rows.join("")}</table></figure>`;
}

// The gradient of one kernel, and how far the sum of the chosen weight has come.
function slideHtml(pass, stop, state, explanation) {
  const [o, c, r, s] = state.picks.w;
  const dweight = pass.array(stop, "dweight");
  const [kh, kw] = stop.config.kernel_size;
  const all = [];
  for (let row = 0; row < kh; row++) for (let column = 0; column < kw; column++) all.push(at(dweight, [o, c, row, column]));
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const exponent = exponentFor(Math.max(-low, high));
  const isDense = isSummary(stop, state, "weight");
  const colour = palette("gradient", low, high);
  const cell = (row, column) => {
    const value = all[row * kw + column];
    const back = colour(value);
    return `<td data-weight="${o},${c},${row},${column}" class="${row === r && column === s ? "ring" : ""}" title="${text(value, 7)}" `
      + `style="background:${css(back)};color:${ink(back)}">${isDense ? "" : cellText(value, exponent)}</td>`;
  };
  const isChosen = state.current.of === "dweight" && state.term >= 0;
  const terms = isChosen ? termsOf(explanation, state.order) : [];
  const place = terms.findIndex((term) => term.t === state.term);
  const so = isChosen ? `${place + 1} of ${explanation.count} places: so far <b>${text(terms[place].running)}</b>`
    : `used at ${explanation.count} places; each adds its dy · x (“next term”)`;
  const title = `dw${exponent && !isDense ? ` ×${powerText(exponent)}` : ""}`;
  return `${gridHtml(title, kh, kw, cell, true, isDense)}<p class="slide">${so}</p>`;
}
