// The whole net computed again: forward after a change, and backward from one pixel.

import { forward, backward } from "./compute.js";
import { crossEntropy } from "./compute_loss.js";
import { linksOf, hasLinks, fitLinks } from "./links.js";

// All values of a forward pass: a list of { y, ... } for each stop.
//   base     the values of another pass, from which all is taken that the change does not reach
//   change   { stop, name, tensor }: an array of a stop that is to be another one
export function runForward(pass, base = null, change = null) {
  const values = [];
  const isNew = new Set();
  for (const stop of pass.stops) {
    const isChanged = change !== null && change.stop === stop;
    const sources = Object.entries(stop.sources).filter(([name]) => name.split(".")[0] === "x");
    if (base && !isChanged && !sources.some(([, [number]]) => isNew.has(number))) {
      values.push(base[stop.number]);
      continue;
    }
    isNew.add(stop.number);
    const get = (name) => {
      if (isChanged && name === change.name) return change.tensor;
      if (name in stop.sources && name.split(".")[0] === "x") {
        const [number, there] = stop.sources[name];
        return values[number][there];
      }
      return name === "argmax" ? values[stop.pool].argmax : pass.array(stop, name); // where unpooling puts things
    };
    values.push(forward(stop, get));
  }
  return values;
}

export function lossOf(pass, values) {
  return crossEntropy(pass.loss, values.at(-1).y, pass.array(pass.loss, "target"), pass.classWeights);
}

// The gradient of whatever has the gradient dscores on the scores: a list of { dx, dy, ... } for each stop.
export function runBackward(pass, dscores) {
  const grads = pass.stops.map(() => ({}));
  for (const stop of [...pass.stops].reverse()) {
    const get = (name) => {
      if (name.split(".")[0] !== "dy") return pass.array(stop, name);
      const [number, there] = stop.sources[name];
      return number < 0 ? dscores : grads[number][there];
    };
    const found = backward(stop, get);
    for (const name of pass.names(stop, "dy")) found[name] = get(name);
    grads[stop.number] = found;
  }
  return grads;
}

// Which pixels of each map can have a part in one pixel of the scores: a list of [top, left, bottom, right] for each
// stop's x, all inclusive. null where nothing can. Statistics over whole maps, as batch normalisation takes in
// training, are left out: with them every pixel has a part.
export function receptiveFields(pass, row, column) {
  const boxes = pass.stops.map(() => null);
  const wanted = new Map([[pass.stops.length - 1, { y: [row, column, row, column] }]]);
  for (const stop of [...pass.stops].reverse()) {
    const mine = wanted.get(stop.number);
    if (!mine) continue;
    for (const name of pass.names(stop, "x")) {
      const box = back(pass, stop, name, union(Object.values(mine)));
      if (!box) continue;
      boxes[stop.number] = boxes[stop.number] ? union([boxes[stop.number], box]) : box;
      if (!stop.sources[name]) continue;
      const [number, there] = stop.sources[name];
      const found = wanted.get(number) ?? {};
      found[there] = box;
      wanted.set(number, found);
    }
  }
  return boxes;
}

function union(boxes) {
  const column = (k) => boxes.map((box) => box[k]);
  return [Math.min(...column(0)), Math.min(...column(1)), Math.max(...column(2)), Math.max(...column(3))];
}

// The box of a stop's x that can have a part in a box of its y; null where nothing can.
function back(pass, stop, name, [top, left, bottom, right]) {
  const [x, y] = [stop.shapes[name], stop.shapes.y ?? stop.shapes.x];
  if (x.length !== 4) return [0, 0, 0, 0];
  if (y.length !== 4) return [0, 0, x[2] - 1, x[3] - 1];
  const [axes, from, to] = linksBack(pass, stop, x, y);
  if (!axes) return [top, left, bottom, right];
  const span = (links, first, last) => {
    const found = links.filter((link) => link[from] >= first && link[from] <= last).map((link) => link[to]);
    return found.length ? [Math.min(...found), Math.max(...found)] : null;
  };
  const [rows, columns] = [span(axes[0], top, bottom), span(axes[1], left, right)];
  return rows && columns ? [rows[0], columns[0], rows[1], columns[1]] : null;
}

// [links of rows and columns, their side toward y, their side toward x]; no links where y[i] is made of x[i]. Unpooling
// reads the links of its pooling the other way: what came from a window can go to each of its pixels.
function linksBack(pass, stop, x, y) {
  if (stop.kind === "unpool") return [linksOf(pass.stops[stop.pool]), "inp", "out"];
  if (hasLinks(stop)) return [linksOf(stop), "out", "inp"];
  const isFitted = x[2] !== y[2] || x[3] !== y[3];
  return [isFitted ? [2, 3].map((k) => fitLinks(x[k], y[k])) : null, "out", "inp"];
}
