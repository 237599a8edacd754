// What is looked at: one stop of the time line, and an element of its arrays. The address after # says it all.
//
//   #at=B5&view=gather&y=0,1,4,7&x=0,0,4,7&w=1,0,1,1&tab=pixel&pixel=4,7

import { isInside } from "./tensor.js";
import { viewsOf } from "./views.js";

export class State {
  constructor(pass, changed) {
    this.pass = pass;
    this.changed = changed; // function: draw again
    this.place = 0; // on the time line
    this.view = "forward";
    this.tab = "layer";
    this.pixel = null; // [row, column] of the prediction, that the tab "pixel" is about; null: the one that costs most
    // What the reader follows through the net: a channel, and a place as shares of the picture's height and width. Only
    // a pick changes it, so that a walk through small maps and back ends where it began.
    this.spot = { channel: 0, row: 0.5, column: 0.5 };
    this.picks = {}; // y, x, w, b: an index in y and dy, in x and dx, in the weight, in the bias
    this.isStored = false; // whether gather shows the kernel as it is stored, instead of turned as it lies over dy
    this.order = "position";
    this.scale = "layer";
    this.term = -1;
    this.channels = {}; // which map of an array is shown, where no element of it is picked
    this.settle();
  }

  get here() {
    return this.pass.timeline[this.place];
  }

  get views() {
    return viewsOf(this.here.stop, this.here.pass);
  }

  get current() {
    return this.views.find((view) => view.id === this.view) ?? this.views[0];
  }

  // The picked element of an array, of the arrays that the picks stand for.
  picked(name) {
    if (name === "value") return [];
    const [index, shape] = [this.picks[pickFor(name)], this.pass.shape(this.here.stop, name)];
    return isInside(shape, index) ? index : this.placed(shape); // of branches, each may have a size of its own
  }

  // The element of an array at the spot; of an array that is no map, the middle.
  placed(shape) {
    if (shape.length !== 4) return shape.map((size, axis) => (axis < 1 && shape.length > 1 ? 0 : Math.floor(size / 2)));
    const { channel, row, column } = this.spot;
    const inside = (share, size) => Math.min(size - 1, Math.floor(share * size + 1e-9));
    return [0, Math.min(channel, shape[1] - 1), inside(row, shape[2]), inside(column, shape[3])];
  }

  // Follow the middle of an element of a map from now on.
  follow(index, shape) {
    if (shape.length !== 4 || !isInside(shape, index)) return;
    this.spot = { channel: index[1], row: (index[2] + 0.5) / shape[2], column: (index[3] + 0.5) / shape[3] };
  }

  set(changes) {
    Object.assign(this, changes);
    this.settle();
    this.changed();
  }

  // Pick an element. A pick in a map moves the spot, and what lies there on the other side of the layer goes along.
  pick(name, index) {
    const slot = pickFor(name);
    const other = { x: "y", y: "x" }[slot];
    const shape = this.pass.shape(this.here.stop, name);
    this.picks = { ...this.picks, [slot]: [...index] };
    if (other && shape.length === 4) {
      this.follow(index, shape);
      delete this.picks[other];
    }
    this.term = -1;
    this.settle();
    this.changed();
  }

  // Go to a place of the time line. The spot stays; so does an element, in the same layer's other pass.
  go(place) {
    const target = Math.max(0, Math.min(this.pass.timeline.length - 1, place));
    if (this.here.stop !== this.pass.timeline[target].stop) this.picks = {};
    this.place = target;
    this.term = -1;
    this.channels = {};
    this.settle();
    this.changed();
  }

  // Make every pick an element that exists.
  settle() {
    const stop = this.here.stop;
    if (!this.views.some((view) => view.id === this.view)) this.view = this.views[0].id;
    const { of } = this.current;
    for (const slot of ["x", "y"]) { // of branches, which may have sizes of their own, it is the one in question
      const shapes = pickFor(of) === slot && of !== "value" ? [this.pass.shape(stop, of)] : shapesOf(stop, slot);
      const index = this.picks[slot];
      if (!index || !shapes.some((shape) => isInside(shape, index))) this.picks[slot] = this.placed(shapes[0]);
    }
    const weight = stop.shapes.weight;
    if (weight && (!this.picks.w || !isInside(weight, this.picks.w))) this.picks.w = firstWeight(stop, this.picks);
    if (stop.shapes.bias && (!this.picks.b || !isInside(stop.shapes.bias, this.picks.b))) {
      this.picks.b = [Math.min(this.picks.y[1] ?? 0, stop.shapes.bias[0] - 1)];
    }
  }

  // ---------------------------------------------------------------- address

  get address() {
    const parts = [`at=${this.here.id}`, `view=${this.view}`];
    for (const [slot, index] of Object.entries(this.picks)) if (index) parts.push(`${slot}=${index.join(",")}`);
    if (this.tab !== "layer") parts.push(`tab=${this.tab}`);
    if (this.tab === "pixel" && this.pixel) parts.push(`pixel=${this.pixel.join(",")}`);
    if (this.isStored) parts.push("kernel=stored");
    return `#${parts.join("&")}`;
  }

  // Take over what an address says; false, and nothing changes, if it names no stop.
  read(address) {
    const parts = new URLSearchParams(address.replace(/^#/, ""));
    const place = this.pass.timeline.findIndex((one) => one.id === parts.get("at"));
    if (place < 0) return false;
    this.place = place;
    this.view = parts.get("view") ?? "";
    this.tab = ["layer", "pixel", "nudge"].includes(parts.get("tab")) ? parts.get("tab") : "layer";
    this.isStored = parts.get("kernel") === "stored";
    this.pixel = parts.has("pixel") ? parts.get("pixel").split(",").map(Number) : null;
    this.picks = {};
    this.channels = {};
    this.term = -1;
    for (const slot of ["x", "y", "w", "b"]) {
      if (parts.has(slot)) this.picks[slot] = parts.get(slot).split(",").map(Number);
    }
    const slot = [pickFor(this.current.of), "y", "x"].find((one) => "xy".includes(one) && this.picks[one]);
    if (slot) for (const shape of shapesOf(this.here.stop, slot).reverse()) this.follow(this.picks[slot], shape);
    this.settle();
    this.changed();
    return true;
  }
}

// Which pick an array's element belongs to. What a layer's y is forward, its dy is backward.
export function pickFor(name) {
  const base = name.split(".")[0].replace(/^d(?=[xywb])/, "");
  return { x: "x", y: "y", weight: "w", bias: "b" }[base] ?? "y"; // scores, dscores and p of the loss: y
}

// The shapes that picks of x or y may have at a stop: of a fork or join those of its branches, of the loss the scores'.
function shapesOf(stop, side) {
  const { shapes, branches } = stop;
  const found = [side, ...(branches ?? []).map((branch) => `${side}.${branch}`)].filter((name) => name in shapes);
  return found.length ? found.map((name) => shapes[name]) : [shapes.scores];
}

function firstWeight(stop, { x, y }) {
  const shape = stop.shapes.weight;
  if (shape.length === 4) return [Math.min(y[1], shape[0] - 1), 0, Math.floor(shape[2] / 2), Math.floor(shape[3] / 2)];
  if (shape.length === 2) return [Math.min(y.at(-1), shape[0] - 1), Math.min(x.at(-1), shape[1] - 1)];
  return [Math.min(y[1] ?? 0, shape[0] - 1)];
}
