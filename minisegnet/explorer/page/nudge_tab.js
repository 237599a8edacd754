// The tab in which a weight or a pixel is changed.

import { Nudger } from "./nudge.js";
import { computing } from "./computing.js";
import { isInside } from "./tensor.js";
import { text, signed, indexText, escape } from "./format.js";

export class NudgeTab {
  constructor(pass, root, state) {
    Object.assign(this, { pass, root, state, nudger: new Nudger(pass), results: [], name: "weight", said: "" });
    this.build();
    root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.apply(this.step);
    });
    root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-times]");
      if (button) this.apply(this.step * Number(button.dataset.times));
    });
    root.addEventListener("change", (event) => {
      if (event.target.name === "what") {
        this.name = event.target.value;
        this.update();
      }
      if (event.target.name === "index") {
        this.choose(event.target.value);
      }
    });
  }

  // What stands in the field: NaN for nothing.
  get step() {
    return this.root.querySelector("[name=step]").valueAsNumber;
  }

  // The number to change: [stop, name, index].
  get target() {
    const { here, picks } = this.state;
    const first = this.pass.stops[0];
    const names = here.stop.params ?? [];
    if (!names.includes(this.name) || here.stop.number < 0) {
      return this.chosen(first, "x", here.stop === first ? picks.x : this.state.placed(first.shapes.x));
    }
    return this.chosen(here.stop, this.name, this.name === "weight" ? picks.w : picks.b);
  }

  // What was typed counts until another number is picked, or another stop is gone to.
  chosen(stop, name, index) {
    this.offered = `${this.state.here.id} ${name} ${index}`;
    if (this.typed?.instead !== this.offered) this.typed = null;
    return [stop, name, this.typed ? this.typed.index : index];
  }

  // The element whose index was typed; or words that say why there is none.
  choose(typed) {
    const [stop, name] = this.target;
    const shape = stop.shapes[name];
    const index = typed.split(",").map((part) => (part.trim() ? Number(part) : NaN));
    if (isInside(shape, index)) this.typed = { index, instead: this.offered };
    else this.said = `“${typed}” is no element: ${name} has the shape ${shape.join("×")}, so type ${shape.length} whole `
      + `number${shape.length === 1 ? "" : "s"} from ${shape.map(() => 0).join()} to ${shape.map((size) => size - 1).join()}`;
    this.update();
  }

  apply(step) {
    const [stop, name, index] = this.target;
    if (!Number.isFinite(step) || step === 0) {
      this.said = "type a number that is not 0 as the step";
      this.update();
      return;
    }
    computing(this.pass, this.root.querySelector(".said"), () => {
      const result = this.nudger.nudge(stop, name, index, step);
      const words = name === "x" ? `pixel ${indexText(index)}` : `${stop.name} ${name}${indexText(index)}`;
      this.results = [{ ...result, words }, ...this.results].slice(0, 8);
      this.update(step);
    });
  }

  // What stays; `update` fills it in, so that the field in which somebody types is never replaced.
  build() {
    const heads = ["changed", "by", "gradient × step", "true change", "true / predicted", "loss", "pixels that flip", "ms"];
    this.root.innerHTML = `
      <section><h3>change one number, and compute the net again</h3>
      <form novalidate>
        <label>what <select name="what"></select></label>
        <label>which element <input name="index" size="10"></label>
        <p class="is"></p>
        <label>add <input name="step" type="number" step="any"></label>
        <button type="submit">nudge</button>
        <button type="button" data-times="0.1">a tenth of that</button>
        <button type="button" data-times="10">ten times that</button>
      </form>
      <p class="said wrong" role="alert"></p>
      <p class="soft">The gradient speaks of small steps. Take smaller ones, and true / predicted goes to 1, though kinks
        of ReLU and max pool may disturb it on the way; take large ones, and the curve bends away.</p></section>
      <section class="scroll"><table class="results"><thead><tr>${heads.map((head) => `<th>${head}</th>`).join("")}</tr></thead>
        <tbody></tbody></table><p class="soft none">nothing was changed yet</p></section>`;
  }

  update(step = null) {
    const { here } = this.state;
    const [stop, name, index] = this.target;
    const value = this.nudger.value(stop, name, index);
    const gradient = this.nudger.gradient(stop, name, index);
    const names = [...(here.stop.number < 0 ? [] : here.stop.params), "x"];
    const usual = Number((-Math.sign(gradient || 1) * Math.max(0.01, Math.abs(value) * 0.1)).toPrecision(2));
    const words = (one) => (one === "x" ? "a pixel of the picture (x of the net)" : `${escape(here.stop.name)}: ${one}`);
    const find = (selector) => this.root.querySelector(selector);
    find("[name=what]").innerHTML = names
      .map((one) => `<option value="${one}" ${one === name ? "selected" : ""}>${words(one)}</option>`).join("");
    find("[name=index]").value = index.join(",");
    find("[name=step]").value = step ?? usual;
    find(".is").innerHTML = `It is <b>${text(value, 5)}</b>; its gradient is <b>${signed(gradient, 5)}</b>: the loss should `
      + `change by ${signed(gradient, 3)} for each 1 that is added.`;
    find(".said").textContent = this.said;
    find(".results tbody").innerHTML = this.results.map(resultHtml).join("");
    find(".none").hidden = this.results.length > 0;
    this.said = "";
  }
}

function resultHtml({ words, step, predicted, change, before, loss, flipped, ms }) {
  const ratio = predicted ? text(change / predicted, 4) : "–";
  return `<tr><td>${escape(words)}</td><td>${signed(step)}</td><td>${signed(predicted)}</td>`
    + `<td data-change="${change}">${signed(change)}</td><td>${ratio}</td>`
    + `<td>${text(before, 6)} → ${text(loss, 6)}</td><td>${flipped}</td><td>${Math.round(ms)}</td></tr>`;
}
