// The formula line and the table of terms.

import { pickFor } from "./state.js";
import { termsOf } from "./explanation.js";
import { text, signed, indexText, escape } from "./format.js";

const ROW = 26; // pixels
const SPELT = 2; // products that the formula line spells out

// Symbols, then the picked indices, then the numbers, ending in the array's value.
export function formulaHtml(explanation) {
  const facts = Object.entries(explanation.facts ?? {}).map(([name, value]) => `${escape(name)} = ${text(Number(value), 5)}`);
  const notes = [explanation.note, facts.join(", ")].filter(Boolean).map(escape).join(" · ");
  return `<p class="symbols">${escape(explanation.symbols)}</p>
    <p class="picked">${escape(explanation.picked)}</p>
    <p><span class="numbers">${escape(numbersLine(explanation))}</span>${notes ? ` <span class="note">${notes}</span>` : ""}</p>`;
}

function numbersLine(explanation) {
  const terms = [];
  for (const group of explanation.groups) {
    for (let t = 0; t < group.products.length && terms.length <= SPELT + 1; t++) {
      terms.push(group.factors.map((factor) => text(factor.values[t])).join("·"));
    }
  }
  if (explanation.targets) {
    const count = explanation.targets.length;
    return `${terms[0] ?? "nothing"}${count > 1 ? `, and so on: ${count} products` : ""}`;
  }
  const shown = explanation.count <= SPELT + 1 ? terms : [...terms.slice(0, SPELT), `… (${explanation.count - SPELT} more)`];
  const result = `= ${text(explanation.recorded, 6)}`;
  const isAlone = terms.length === 1 && explanation.count === 1 && !terms[0].includes("·"); // a sum of one number: that is it
  return shown.length && !isAlone ? `= ${shown.join(" + ").replaceAll("+ −", "− ")} ${result}` : result;
}

// The last line: whether the terms add up.
export function verdict(explanation) {
  if (explanation.targets) return `${explanation.targets.length === 1 ? "one product, a term of one dx" : `${explanation.targets.length} products, each a term of another dx`}`;
  const source = explanation.isRecorded ? "recorded" : "computed for the whole array";
  const sign = explanation.agrees ? "✓ the same to 1e-5 of Σ|terms|" : "✗ NOT the same";
  const count = `${explanation.count} term${explanation.count === 1 ? "" : "s"}`;
  return `sum of ${count}: ${text(explanation.total, 7)} · ${source}: ${text(explanation.recorded, 7)} · ${sign}`;
}

export function termsElement({ explanation, state, onTerm, onOrder }) {
  const element = document.createElement("section");
  element.className = "terms";
  const seen = explanation.seen ? `<p class="seen">${escape(explanation.seen.name)}: ${explanation.seen.factors[0].values.map((value) => text(value, 3)).join(", ")}</p>` : "";
  element.innerHTML = `
    <h3>terms <span class="soft">${explanation.count ?? explanation.targets.length}</span>
      <button class="order" title="sort the terms (o)">${state.order === "position" ? "by position" : "by size"}</button>
      <button class="step" title="next term (t)">next term</button></h3>${seen}
    <div class="list ${explanation.count === 0 ? "empty" : ""}" tabindex="0" role="listbox" aria-label="terms of the sum; up and down choose one" ${state.term < 0 ? "" : `aria-activedescendant="term-${state.term}"`}><div class="rows"></div></div>
    <p class="verdict ${explanation.agrees === false ? "wrong" : ""}" role="status" title="up to rounding in single precision: the difference is below 1e-5 times the sum of the terms’ sizes">${verdict(explanation)}</p>`;
  const terms = termsOf(explanation, state.order);
  const [list, rows] = [element.querySelector(".list"), element.querySelector(".rows")];
  for (const group of explanation.groups) group.columns ??= columnsOf(group);
  const columns = explanation.groups.map((group) => group.columns);
  const factors = Math.max(1, ...columns.map((one) => one.length));
  rows.style.height = `${(terms.length + 1) * ROW}px`;
  rows.style.setProperty("--factors", factors);
  const head = columns.find((one) => one.length === factors) ?? [];
  const wanted = terms.findIndex((term) => flat(explanation, term) === state.term);
  const fill = () => {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
    const last = Math.min(terms.length, first + Math.ceil((list.clientHeight || 400) / ROW) + 8);
    const title = `<div class="row head" style="top:0">${head.map(headHtml).join("")}`
      + (explanation.targets ? "<span>to dx</span><span>product</span></div>"
        : '<span>product</span><span title="the running sum: of this term and all above it">so far</span></div>');
    rows.innerHTML = title + terms.slice(first, last).map((term, k) => rowHtml(explanation, term, first + k, state)).join("");
  };
  list.addEventListener("scroll", fill);
  rows.addEventListener("click", (event) => {
    const row = event.target.closest(".row[data-term]");
    if (row) onTerm(Number(row.dataset.term));
  });
  list.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (!move || !terms.length) return;
    event.preventDefault();
    event.stopPropagation();
    const next = Math.max(0, Math.min(terms.length - 1, wanted + move));
    onTerm(flat(explanation, terms[next]));
  });
  element.querySelector(".order").addEventListener("click", onOrder);
  element.querySelector(".step").addEventListener("click", () => onTerm(nextTerm(explanation, state)));
  fill();
  requestAnimationFrame(() => {
    const top = Math.max(0, wanted) * ROW;
    if (wanted >= 0 && (top < list.scrollTop || top > list.scrollTop + list.clientHeight - 3 * ROW)) list.scrollTop = top - 2 * ROW;
    fill();
  });
  return element;
}

function headHtml({ name, indices, short }) {
  const title = indices ? `${name}: index and value; of a map's index, the leading 0, the number of the picture, is left out` : name;
  return `<span title="${escape(title)}">${escape(short ?? name)}</span>`;
}

// The number of the term after the chosen one, in the order shown; from the last one back to the first.
export function nextTerm(explanation, state) {
  const terms = termsOf(explanation, state.order);
  const now = terms.findIndex((term) => flat(explanation, term) === state.term);
  return terms.length ? flat(explanation, terms[(now + 1) % terms.length]) : -1;
}

// A term's number among all terms of all groups.
function flat(explanation, { group, t }) {
  let before = 0;
  for (const each of explanation.groups) {
    if (each === group) return before + t;
    before += each.products.length;
  }
  return -1;
}

// A term by its number: its group and its place in it.
export function termAt(explanation, wanted) {
  let left = wanted;
  for (const group of explanation.groups) {
    if (left >= 0 && left < group.products.length) return { group, t: left };
    left -= group.products.length;
  }
  return null;
}

// The columns of a group: its factors, with all that are the same in every term made one, their product.
function columnsOf(group) {
  const isSame = (factor) =>
    factor !== group.factors[0] && factor.values.length > 0 && factor.values.every((value) => value === factor.values[0]);
  const changing = group.factors.filter((factor) => !isSame(factor));
  const same = group.factors.filter(isSame);
  const columns = changing.map(({ array, indices, values }) => ({ name: array, indices, values }));
  if (!same.length) return columns;
  const values = same.reduce((product, factor) => product * factor.values[0], 1);
  const name = same.map((factor) => factor.array + (factor.indices ? indexText(factor.indices[0]) : "")).join(" · ");
  const short = same.length > 1 ? "constant" : name;
  return [...columns, { name: `${name}, the same in all terms`, short, indices: null, values: group.products.map(() => values) }];
}

// There is one picture only: of the index of a map's element, 0,c,i,j, the last three say it all.
function shortIndex(name, index) {
  return (index.length === 4 && pickFor(name) !== "w" ? index.slice(1) : index).join();
}

function rowHtml(explanation, term, place, state) {
  const { group, t } = term;
  const most = Math.max(...explanation.groups.map((one) => one.columns.length));
  const heads = explanation.groups.find((one) => one.columns.length === most).columns.map((column) => column.name);
  const cells = group.columns.map(({ name, indices, values }) => {
    const whose = heads.includes(name) ? "" : `${escape(name)} `; // branches have names of their own
    const index = indices ? `<small>${whose}${shortIndex(name, indices[t])}</small> ` : "";
    return `<span>${index}${signed(values[t], 3)}</span>`;
  });
  const isLastConstant = group.columns.at(-1)?.indices === null; // it stands below the word "constant", at the end
  while (cells.length < most) cells.splice(isLastConstant ? -1 : cells.length, 0, "<span></span>");
  const number = flat(explanation, term);
  const end = explanation.targets
    ? `<span><small>${shortIndex("dx", explanation.targets[t])}</small></span><span>${signed(term.product, 3)}</span>`
    : `<span>${signed(term.product, 3)}</span><span>${text(term.running)}</span>`;
  const name = group.name ? ` title="${escape(group.name)}"` : "";
  const which = explanation.groups.indexOf(group);
  const classes = `row g${which && 1 + ((which - 1) % 3)} ${number === state.term ? "active" : ""}`;
  return `<div id="term-${number}" class="${classes}" role="option" aria-selected="${number === state.term}" `
    + `data-term="${number}"${name} style="top:${(place + 1) * ROW}px">${cells.join("")}${end}</div>`;
}
