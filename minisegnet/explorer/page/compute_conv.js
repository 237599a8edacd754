// Convolution, transposed convolution and the fully connected layer, forward and backward, in plain loops.

import { zeros } from "./tensor.js";
import { linksOf } from "./links.js";

// Links with the same tap lie in a row: { out, inp } of the first one, the steps between them, and their number.
function runs(links) {
  const found = new Map();
  for (const { out, inp, tap } of links) {
    const run = found.get(tap);
    if (!run) found.set(tap, { tap, out, inp, outStep: 1, inpStep: 1, count: 1 });
    else {
      if (run.count === 1) [run.outStep, run.inpStep] = [out - run.out, inp - run.inp];
      run.count += 1;
    }
  }
  return [...found.values()];
}

// Call body(y's first place, x's first place, weight's place) once for each pair of channels and tap, and for each row
// of the map. The innermost loop, over the columns, is the body's own: it is what takes the time.
function eachRow(stop, body) {
  const isTransposed = stop.kind === "ConvTranspose2d";
  const [, C, H, W] = stop.shapes.x;
  const [, O, P, Q] = stop.shapes.y;
  const [rows, columns] = linksOf(stop).map(runs);
  const groups = stop.config.groups;
  const [inputs, outputs] = [C / groups, O / groups];
  const [kh, kw] = stop.config.kernel_size;
  for (let o = 0; o < O; o++) {
    const first = Math.floor(o / outputs) * inputs;
    for (let c = first; c < first + inputs; c++) {
      const kernel = isTransposed ? c * outputs + (o % outputs) : o * inputs + (c - first);
      for (const row of rows) {
        for (const column of columns) {
          const w = (kernel * kh + row.tap) * kw + column.tap;
          for (let m = 0; m < row.count; m++) {
            const y = (o * P + row.out + m * row.outStep) * Q + column.out;
            const x = (c * H + row.inp + m * row.inpStep) * W + column.inp;
            body(y, x, w, column);
          }
        }
      }
    }
  }
}

export function convolve(stop, get) {
  const [x, weight, y] = [get("x").data, get("weight").data, zeros(stop.shapes.y)];
  const out = y.data;
  if (stop.params.includes("bias")) {
    const bias = get("bias").data;
    const pixels = out.length / bias.length;
    for (let i = 0; i < out.length; i++) out[i] = bias[Math.floor(i / pixels)];
  }
  eachRow(stop, (a, b, w, { count, outStep, inpStep }) => {
    const factor = weight[w];
    for (let k = 0; k < count; k++, a += outStep, b += inpStep) out[a] += factor * x[b];
  });
  return { y };
}

export function convolveBack(stop, get) {
  const [dy, weight, dx] = [get("dy").data, get("weight").data, zeros(stop.shapes.x)];
  const back = dx.data;
  eachRow(stop, (a, b, w, { count, outStep, inpStep }) => {
    const factor = weight[w];
    for (let k = 0; k < count; k++, a += outStep, b += inpStep) back[b] += factor * dy[a];
  });
  return { dx };
}

export function convolveGradients(stop, get) {
  const [dy, x, dweight] = [get("dy").data, get("x").data, zeros(stop.shapes.weight)];
  eachRow(stop, (a, b, w, { count, outStep, inpStep }) => {
    let total = 0;
    for (let k = 0; k < count; k++, a += outStep, b += inpStep) total += dy[a] * x[b];
    dweight.data[w] += total;
  });
  if (!stop.params.includes("bias")) return { dweight };
  const dbias = zeros(stop.shapes.bias);
  const pixels = dy.length / dbias.data.length;
  for (let i = 0; i < dy.length; i++) dbias.data[Math.floor(i / pixels)] += dy[i];
  return { dweight, dbias };
}

// ---------------------------------------------------------------- fully connected

export function linear(stop, get) {
  const [x, weight, y] = [get("x"), get("weight"), zeros(stop.shapes.y)];
  const [O, I] = weight.shape;
  const bias = stop.params.includes("bias") ? get("bias").data : null;
  for (let n = 0; n < y.data.length / O; n++) {
    for (let o = 0; o < O; o++) {
      let total = bias ? bias[o] : 0;
      for (let i = 0; i < I; i++) total += x.data[n * I + i] * weight.data[o * I + i];
      y.data[n * O + o] = total;
    }
  }
  return { y };
}

export function linearBack(stop, get) {
  const [dy, weight, dx] = [get("dy"), get("weight"), zeros(stop.shapes.x)];
  const [O, I] = weight.shape;
  for (let n = 0; n < dy.data.length / O; n++) {
    for (let o = 0; o < O; o++) {
      for (let i = 0; i < I; i++) dx.data[n * I + i] += dy.data[n * O + o] * weight.data[o * I + i];
    }
  }
  return { dx };
}

export function linearGradients(stop, get) {
  const [dy, x, dweight] = [get("dy"), get("x"), zeros(stop.shapes.weight)];
  const [O, I] = dweight.shape;
  const dbias = zeros([O]);
  for (let n = 0; n < dy.data.length / O; n++) {
    for (let o = 0; o < O; o++) {
      dbias.data[o] += dy.data[n * O + o];
      for (let i = 0; i < I; i++) dweight.data[o * I + i] += dy.data[n * O + o] * x.data[n * I + i];
    }
  }
  return stop.params.includes("bias") ? { dweight, dbias } : { dweight };
}
