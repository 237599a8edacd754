// Nudge: change one number, compute the net again, and see whether the gradient had foretold it. No drawing here.

import { at, offset } from "./tensor.js";
import { runForward, lossOf } from "./network.js";

export class Nudger {
  constructor(pass) {
    this.pass = pass;
    this.base = null;
  }

  // The pass as it is, once more in double precision: what all changes are compared with.
  start() {
    if (!this.base) {
      const values = runForward(this.pass);
      this.base = { values, loss: lossOf(this.pass, values) };
    }
    return this.base;
  }

  // What can be changed: elements of the layer's parameters, and of the picture (the net's x).
  value(stop, name, index) {
    return at(this.pass.array(stop, name), index);
  }

  gradient(stop, name, index) {
    return at(this.pass.array(stop, `d${name}`), index);
  }

  // Change one element by `step`: { gradient, predicted, change, loss, before, flipped, ms }.
  nudge(stop, name, index, step) {
    const began = performance.now();
    const { values, loss: before } = this.start();
    const old = this.pass.array(stop, name);
    const tensor = { data: Float64Array.from(old.data), shape: old.shape };
    tensor.data[offset(old.shape, index)] += step;
    const made = runForward(this.pass, values, { stop, name, tensor });
    const loss = lossOf(this.pass, made);
    const gradient = this.gradient(stop, name, index);
    return {
      gradient, predicted: gradient * step, change: loss - before, loss, before, step,
      flipped: differing(values.at(-1).y, made.at(-1).y), ms: performance.now() - began,
    };
  }
}

// In how many pixels two arrays of scores have another largest class.
function differing(a, b) {
  const C = a.shape[1];
  const pixels = a.data.length / C;
  const best = (scores, i) => {
    let most = 0;
    for (let c = 1; c < C; c++) if (scores[c * pixels + i] > scores[most * pixels + i]) most = c;
    return most;
  };
  let count = 0;
  for (let i = 0; i < pixels; i++) count += best(a.data, i) !== best(b.data, i);
  return count;
}
