// Pooling, resizing, unpooling, forks and joins, forward and backward: shares of pixels, switches, copies.

import { zeros, sizeOf } from "./tensor.js";
import { linksOf, hasLinks, fitLinks } from "./links.js";

// ---------------------------------------------------------------- switches

export function maximum(stop, get) {
  const [x, [rows, columns]] = [get("x"), linksOf(stop)];
  const [, C, H, W] = x.shape;
  const [y, argmax] = [zeros(stop.shapes.y), zeros(stop.shapes.y)];
  const [, , P, Q] = y.shape;
  argmax.data.fill(-1);
  for (let c = 0; c < C; c++) {
    for (const row of rows) {
      for (const column of columns) {
        const value = x.data[(c * H + row.inp) * W + column.inp];
        const place = (c * P + row.out) * Q + column.out;
        const best = y.data[place];
        const isNew = argmax.data[place] < 0 || (Number.isNaN(value) && !Number.isNaN(best));
        if (isNew || value > best) { // not >=: of several that are equal, the first wins
          y.data[place] = value;
          argmax.data[place] = row.inp * W + column.inp;
        }
      }
    }
  }
  return { y, argmax };
}

export function maximumBack(stop, get) {
  const [dy, argmax, dx] = [get("dy"), get("argmax"), zeros(stop.shapes.x)];
  const [inside, pixels] = [dy.shape[2] * dy.shape[3], dx.shape[2] * dx.shape[3]];
  for (let i = 0; i < dy.data.length; i++) dx.data[Math.floor(i / inside) * pixels + argmax.data[i]] += dy.data[i];
  return { dx };
}

export function unpool(stop, get) {
  const [x, argmax, y] = [get("x"), get("argmax"), zeros(stop.shapes.y)];
  const [inside, pixels] = [x.shape[2] * x.shape[3], y.shape[2] * y.shape[3]];
  for (let i = 0; i < x.data.length; i++) y.data[Math.floor(i / inside) * pixels + argmax.data[i]] = x.data[i];
  return { y };
}

export function unpoolBack(stop, get) {
  const [dy, argmax, dx] = [get("dy"), get("argmax"), zeros(stop.shapes.x)];
  const [inside, pixels] = [dx.shape[2] * dx.shape[3], dy.shape[2] * dy.shape[3]];
  const last = new Map(); // of several values put at one place the last one is there
  const place = (i) => Math.floor(i / inside) * pixels + argmax.data[i];
  for (let i = 0; i < dx.data.length; i++) last.set(place(i), i);
  for (const [there, i] of last) dx.data[i] = dy.data[there];
  return { dx };
}

// ---------------------------------------------------------------- fixed shares: averages, resizing

export function shared(stop, get) {
  if (!hasLinks(stop)) throw new Error(`${stop.kind} can't be computed here`);
  return { y: spread(stop, get("x"), zeros(stop.shapes.y), "inp", "out") };
}

export function sharedBack(stop, get) {
  return { dx: spread(stop, get("dy"), zeros(stop.shapes.x), "out", "inp") };
}

function spread(stop, source, target, from, to) {
  const [rows, columns] = linksOf(stop);
  const [, C, H, W] = source.shape;
  const [, , P, Q] = target.shape;
  for (let c = 0; c < C; c++) {
    for (const row of rows) {
      for (const column of columns) {
        const value = source.data[(c * H + row[from]) * W + column[from]] * row.share * column.share;
        target.data[(c * P + row[to]) * Q + column[to]] += value;
      }
    }
  }
  return target;
}

// ---------------------------------------------------------------- forks and joins

export function fork(stop, get) {
  return Object.fromEntries(stop.branches.map((branch) => [`y.${branch}`, get("x")]));
}

export function forkBack(stop, get) {
  return { dx: added(stop.branches.map((branch) => get(`dy.${branch}`))) };
}

function added(tensors) {
  const total = zeros(tensors[0].shape);
  for (const { data } of tensors) for (let i = 0; i < data.length; i++) total.data[i] += data[i];
  return total;
}

// A branch's map padded or cropped to the size of the joint one, or back.
function fitted(tensor, shape, isBack) {
  if (shape.length !== 4 || (tensor.shape[2] === shape[2] && tensor.shape[3] === shape[3])) return tensor;
  const target = zeros(shape);
  const axes = [2, 3].map((axis) =>
    isBack ? fitLinks(shape[axis], tensor.shape[axis]) : fitLinks(tensor.shape[axis], shape[axis]));
  const [from, to] = isBack ? ["out", "inp"] : ["inp", "out"];
  for (let c = 0; c < shape[1]; c++) {
    for (const row of axes[0]) {
      for (const column of axes[1]) {
        const value = tensor.data[(c * tensor.shape[2] + row[from]) * tensor.shape[3] + column[from]];
        target.data[(c * shape[2] + row[to]) * shape[3] + column[to]] = value;
      }
    }
  }
  return target;
}

function jointShape(stop, branch) {
  const own = stop.shapes[`x.${branch}`];
  return own.length === 4 ? [own[0], own[1], ...stop.shapes.y.slice(2)] : own;
}

export function sum(stop, get) {
  return { y: added(stop.branches.map((branch) => fitted(get(`x.${branch}`), jointShape(stop, branch), false))) };
}

export function sumBack(stop, get) {
  const back = (branch) => [`dx.${branch}`, fitted(get("dy"), stop.shapes[`x.${branch}`], true)];
  return Object.fromEntries(stop.branches.map(back));
}

export function concat(stop, get) {
  const y = zeros(stop.shapes.y);
  let place = 0;
  for (const branch of stop.branches) {
    const part = fitted(get(`x.${branch}`), jointShape(stop, branch), false);
    y.data.set(part.data, place);
    place += part.data.length;
  }
  return { y };
}

export function concatBack(stop, get) {
  const [dy, found] = [get("dy").data, {}];
  let place = 0;
  for (const branch of stop.branches) {
    const shape = jointShape(stop, branch);
    const part = { data: dy.subarray(place, place + sizeOf(shape)), shape };
    found[`dx.${branch}`] = fitted(part, stop.shapes[`x.${branch}`], true);
    place += part.data.length;
  }
  return found;
}
