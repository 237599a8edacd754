// What is looked at: one stop of the time line, and an element of its arrays. The address after # says it all.
//
//   #at=B5&view=gather&y=0,1,4,7&x=0,0,4,7&w=1,0,1,1&tab=pixel&pixel=4,7

import { isInside } from "./tensor.js";
import { linksOf, hasLinks, pick } from "./links.js";
import { viewsOf } from "./views.js";

export class State {
  constructor(pass, changed) {
    this.pass = pass;
    this.changed = changed; // function: draw again
    this.place = 0; // on the time line
    this.view = "forward";
    this.tab = "layer";
    this.pixel = null; // [row, column] of the prediction, that the tab "pixel" is about; null: the one that costs most
    this.picks = {}; // y, x, w, b: an index in y and dy, in x and dx, in the weight, in the bias
    this.isRotated = false;
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
    return this.picks[pickFor(name)];
  }

  set(changes) {
    Object.assign(this, changes);
    this.settle();
    this.changed();
  }

  pick(name, index) {
    const slot = pickFor(name);
    this.picks = { ...this.picks, [slot]: [...index] };
    this.term = -1;
    this.settle();
    this.changed();
  }

  // Go to a place of the time line; the picked element goes along.
  go(place) {
    const target = Math.max(0, Math.min(this.pass.timeline.length - 1, place));
    const [from, to] = [this.here.stop, this.pass.timeline[target].stop];
    const { x, y } = this.picks;
    this.place = target;
    this.term = -1;
    this.channels = {};
    if (from !== to) {
      const isForward = to.number < 0 || (from.number >= 0 && to.number > from.number);
      this.picks = {};
      const [x0, y0] = [shapeOf(to, "x"), shapeOf(to, "y")];
      if (isForward) {
        const anchor = from.number < 0 ? x : y;
        this.picks.x = moved(anchor, shapeOf(from, "y"), x0);
        this.picks.y = this.partner("y") ?? moved(this.picks.x, x0, y0);
      } else {
        const anchor = from.number < 0 ? y : x;
        this.picks.y = moved(anchor, shapeOf(from, from.number < 0 ? "y" : "x"), y0);
        this.picks.x = this.partner("x") ?? moved(this.picks.y, y0, x0);
      }
    }
    this.settle();
    this.changed();
  }

  // The element on the other side of the layer that belongs to the picked one: under its window, or where its window is.
  // Where a layer treats each element by itself, it is the element of the same index.
  partner(side) {
    const stop = this.here.stop;
    const [from, to] = side === "y" ? ["inp", "out"] : ["out", "inp"];
    const known = this.picks[side === "y" ? "x" : "y"];
    const [mine, there] = [shapeOf(stop, side === "y" ? "x" : "y"), shapeOf(stop, side)];
    if (!known || !isInside(mine, known)) return null;
    if (!hasLinks(stop)) return isInside(there, known) && mine.length === there.length ? [...known] : null;
    if (known.length !== 4) return null;
    const place = linksOf(stop).map((links, axis) => {
      const found = pick(links, from, known[2 + axis]);
      return found[Math.floor(found.length / 2)]?.[to];
    });
    return place.includes(undefined) ? null : [0, Math.min(known[1], there[1] - 1), ...place];
  }

  // Make every pick an element that exists.
  settle() {
    const stop = this.here.stop;
    for (const slot of ["x", "y"]) {
      const shape = shapeOf(stop, slot);
      if (!this.picks[slot] || !isInside(shape, this.picks[slot])) this.picks[slot] = middle(shape);
    }
    const weight = stop.shapes.weight;
    if (weight && (!this.picks.w || !isInside(weight, this.picks.w))) this.picks.w = firstWeight(stop, this.picks);
    if (stop.shapes.bias && (!this.picks.b || !isInside(stop.shapes.bias, this.picks.b))) {
      this.picks.b = [Math.min(this.picks.y[1] ?? 0, stop.shapes.bias[0] - 1)];
    }
    if (!this.views.some((view) => view.id === this.view)) this.view = this.views[0].id;
  }

  // ---------------------------------------------------------------- address

  get address() {
    const parts = [`at=${this.here.id}`, `view=${this.view}`];
    for (const [slot, index] of Object.entries(this.picks)) if (index) parts.push(`${slot}=${index.join(",")}`);
    if (this.tab !== "layer") parts.push(`tab=${this.tab}`);
    if (this.tab === "pixel" && this.pixel) parts.push(`pixel=${this.pixel.join(",")}`);
    if (this.isRotated) parts.push("rotate=1");
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
    this.isRotated = parts.get("rotate") === "1";
    this.pixel = parts.has("pixel") ? parts.get("pixel").split(",").map(Number) : null;
    this.picks = {};
    this.channels = {};
    this.term = -1;
    for (const slot of ["x", "y", "w", "b"]) {
      if (parts.has(slot)) this.picks[slot] = parts.get(slot).split(",").map(Number);
    }
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

// The shape that picks of x or y have at a stop: of a fork or join that of its first branch, of the loss the scores'.
export function shapeOf(stop, side) {
  const { shapes, branches } = stop;
  return shapes[side] ?? shapes[`${side}.${branches[0]}`] ?? shapes.scores;
}

function middle(shape) {
  return shape.map((size, axis) => (axis < 2 && shape.length > 2 ? 0 : Math.floor(size / 2)));
}

function firstWeight(stop, { x, y }) {
  const shape = stop.shapes.weight;
  if (shape.length === 4) return [Math.min(y[1], shape[0] - 1), 0, Math.floor(shape[2] / 2), Math.floor(shape[3] / 2)];
  if (shape.length === 2) return [Math.min(y.at(-1), shape[0] - 1), Math.min(x.at(-1), shape[1] - 1)];
  return [Math.min(y[1] ?? 0, shape[0] - 1)];
}

// The element of another array at the same place of the picture.
function moved(index, from, to) {
  if (!index || index.length !== to.length || index.length !== 4) return middle(to);
  return index.map((i, axis) => {
    if (from[axis] === to[axis]) return i;
    return axis < 2 ? Math.min(i, to[axis] - 1) : Math.min(to[axis] - 1, Math.floor(((i + 0.5) * to[axis]) / from[axis]));
  });
}
