// The layer at work: panels with windows on its arrays, and the table of terms.

import { panelElement } from "./panel.js";
import { cardsElement, hasCards } from "./cards.js";
import { termsElement, termAt } from "./terms.js";
import { pickFor } from "./state.js";
import { toMap } from "./tensor.js";
import { classTable, pixelFacts } from "./pixel.js";
import { text } from "./format.js";

const TITLES = {
  x: "in", y: "out", dy: "= ∂L/∂y", dx: "= ∂L/∂x", weight: "weights", dweight: "= ∂L/∂weight", dbias: "= ∂L/∂bias",
  scores: "", dscores: "= ∂L/∂scores", p: "= softmax", "−log p[t]": "t: the label",
};

export class LayerTab {
  constructor(pass, root, state) {
    Object.assign(this, { pass, root, state });
  }

  update(explanation) {
    const { pass, root, state } = this;
    const { stop } = state.here;
    const view = state.current;
    const panels = document.createElement("div");
    panels.className = "panels";
    for (const name of this.shown(view, explanation)) {
      panels.append(name === "classes" ? this.classes() : this.panel(name, explanation));
    }
    const terms = termsElement({
      explanation, state,
      onTerm: (term) => state.set({ term, channels: {} }),
      onOrder: () => state.set({ order: state.order === "position" ? "size" : "position" }),
    });
    // three panels take the whole width, and the terms lie below them
    root.classList.toggle("wide", panels.childElementCount > 2 || stop === pass.loss);
    root.classList.toggle("with-cards", hasCards(stop));
    root.replaceChildren(panels, terms);
    if (hasCards(stop)) root.append(this.cards(explanation));
    const extra = this.extra(explanation);
    if (extra) terms.append(extra);
  }

  // The panels of a view: of the branches that a concat joins, the one that the element came from.
  shown(view, explanation) {
    if (this.state.here.stop.kind !== "concat" || view.of !== "y") return view.panels;
    const from = explanation.groups[0]?.factors[0].array ?? view.panels[0];
    return view.panels.filter((name) => name === "y" || name === from);
  }

  panel(name, explanation) {
    const { pass, state } = this;
    const tensor = pass.array(state.here.stop, name);
    const isAsked = name === state.current.of;
    const ring = isAsked ? state.picked(name) : null;
    const { lit, active } = this.litIn(name, explanation);
    return panelElement({
      name, tensor, ring, lit, active, hasPlace: "xy".includes(pickFor(state.current.of)), state, title: TITLES[name] ?? TITLES[name.split(".")[0]] ?? "",
      onPick: (array, index) => state.pick(array, index),
      onMap: (array, map) => this.show(array, map),
    });
  }

  cards(explanation) {
    const { pass, state } = this;
    return cardsElement({
      pass, state, explanation,
      onTerm: (term) => state.set({ term }),
      onView: (view) => state.set({ view, term: -1 }),
      onPick: (name, index) => state.pick(name, index),
    });
  }

  // The elements of an array that stand in the sum, and that of the chosen term.
  litIn(name, explanation) {
    let lit = explanation.targets && name === "dx" ? explanation.targets : [];
    const groups = explanation.seen ? [explanation.seen, ...explanation.groups] : explanation.groups;
    for (const group of groups) {
      for (const factor of group.factors) if (factor.array === name && factor.indices) lit = lit.concat(factor.indices);
    }
    const chosen = termAt(explanation, this.state.term);
    let active = null;
    if (chosen) {
      const factor = chosen.group.factors.find((one) => one.array === name && one.indices);
      if (factor) active = factor.indices[chosen.t];
      if (explanation.targets && name === "dx") active = explanation.targets[chosen.t];
    }
    return { lit, active };
  }

  // Another map of an array; of the array in question, the same place in that map.
  show(name, map) {
    const { state, pass } = this;
    const shape = pass.shape(state.here.stop, name);
    if (name === state.current.of) {
      const [, row, column] = toMap(shape, state.picked(name));
      delete state.channels[name];
      state.pick(name, [0, map % shape[1], row, column]);
    } else state.set({ channels: { ...state.channels, [name]: map }, term: -1 });
  }

  classes() {
    const { picks } = this.state;
    const scores = this.pass.loss.shapes.scores;
    const [row, column] = scores.length === 4 ? picks.y.slice(2) : [0, 0];
    const element = document.createElement("section");
    const facts = pixelFacts(this.pass, row, column);
    element.innerHTML = `<h3>softmax and cross-entropy at pixel ${row}, ${column}</h3>${classTable(facts, this.pass.about, false)}`;
    return element;
  }

  // What a kind of layer makes obvious besides its terms.
  extra(explanation) {
    const { stop, pass: which } = this.state.here;
    const lines = [];
    if (explanation.groups.length > 1 && stop.kind === "BatchNorm2d" && which === "B") {
      const size = (group) => group.products.reduce((sum, product) => sum + product, 0);
      const sizes = explanation.groups.map((group) => [group.name, size(group)]);
      const largest = Math.max(...sizes.map(([, value]) => Math.abs(value))) || 1;
      lines.push(`<h3>three ways back</h3>${sizes.map(([name, value]) => `<div class="way"><span>${name}</span><i class="bar"><i class="${value < 0 ? "negative" : "positive"}" style="width:${(100 * Math.abs(value)) / largest}%"></i></i><b>${text(value)}</b></div>`).join("")}`);
      const dx = this.pass.array(stop, "dx");
      const c = explanation.index[1] ?? 0;
      const m = dx.data.length / dx.shape[1];
      let [total, size_] = [0, 0];
      for (let i = c * m; i < (c + 1) * m; i++) [total, size_] = [total + dx.data[i], size_ + Math.abs(dx.data[i])];
      lines.push(`<p>All dx of channel ${c} sum to ${text(total, 3)}, their sizes to ${text(size_, 3)}: moving all x together changes no x̂.</p>`);
    }
    if (!lines.length) return null;
    const element = document.createElement("section");
    element.className = "extra";
    element.innerHTML = lines.join("");
    return element;
  }
}
