// Convolution, transposed convolution and the fully connected layer: each number is a sum of products.
// Every product x*w stands in the sum of exactly one y. Backward collects the same products in another order.

import { at, group, brackets } from "./explanation.js";
import { indexAt, sizeOf } from "./tensor.js";
import { linksOf, pick } from "./links.js";

// First input channel, first output channel, and the numbers of both, of the group that a channel is in.
function channels(stop, channel, side) {
  const { groups, in_channels: C, out_channels: O } = stop.config;
  const [inputs, outputs] = [C / groups, O / groups];
  const which = Math.floor(channel / (side === "in" ? inputs : outputs));
  return { firstIn: which * inputs, firstOut: which * outputs, inputs, outputs };
}

function place(base, letter, step, sign = "+") {
  const move = step === 1 ? letter : `${step}·${letter}`;
  return base || sign === "−" ? `${shownMinus(base)}${sign}${move}` : move;
}

function shownMinus(value) {
  return String(value).replace("-", "−");
}

// A channel counted from the first one of its group: c, or 4+c.
export function shifted(first, letter) {
  return first ? `${first}+${letter}` : letter;
}

// Call body(channel, row link, column link) in row-major order, and collect what it returns.
function overTaps(count, rows, columns, body) {
  const found = [];
  for (let k = 0; k < count; k++) for (const row of rows) for (const column of columns) found.push(body(k, row, column));
  return found;
}

function withBias(pass, stop, groups, o) {
  return stop.params.includes("bias") ? [...groups, group([at(pass, stop, "bias", [[o]])], "bias")] : groups;
}

export function convY(pass, stop, [n, o, i, j]) {
  const { firstIn, inputs } = channels(stop, o, "out");
  const [rows, columns] = linksOf(stop).map((links, axis) => pick(links, "out", [i, j][axis]));
  const x = overTaps(inputs, rows, columns, (c, row, column) => [n, firstIn + c, row.inp, column.inp]);
  const w = overTaps(inputs, rows, columns, (c, row, column) => [o, c, row.tap, column.tap]);
  const { stride: [sh, sw], dilation: [dh, dw], pads, kernel_size: [kh, kw] } = stop.config;
  const where = `${place(i * sh - pads[0][0], "r", dh)},${place(j * sw - pads[1][0], "s", dw)}`;
  const hasBias = stop.params.includes("bias");
  const outside = kh * kw - rows.length * columns.length;
  return {
    symbols: `y[n,o,i,j] = Σ_{c,r,s} x[n,c,a,b] · weight[o,c,r,s]${hasBias ? " + bias[o]" : ""},   a = i·stride + r·dilation − padding, b alike`,
    picked: `y${brackets(n, o, i, j)} = Σ_{c,r,s} x[${n},${shifted(firstIn, "c")},${where}] · weight[${o},c,r,s]${hasBias ? ` + bias[${o}]` : ""}`,
    groups: withBias(pass, stop, [group([at(pass, stop, "x", x), at(pass, stop, "weight", w)], "products")], o),
    note: outside ? `${outside} of the kernel's ${kh * kw} places lie in the padding, where x is 0` : "",
  };
}

export function convDx(pass, stop, [n, c, a, b]) {
  const { firstIn, firstOut, outputs } = channels(stop, c, "in");
  const [rows, columns] = linksOf(stop).map((links, axis) => pick(links, "inp", [a, b][axis]));
  const dy = overTaps(outputs, rows, columns, (o, row, column) => [n, firstOut + o, row.out, column.out]);
  const w = overTaps(outputs, rows, columns, (o, row, column) => [firstOut + o, c - firstIn, row.tap, column.tap]);
  const { stride: [sh, sw], dilation: [dh, dw], pads, kernel_size: [kh, kw] } = stop.config;
  const [up, left] = [a + pads[0][0], b + pads[1][0]];
  const isPlain = sh === 1 && sw === 1;
  const where = isPlain ? `${place(up, "r", dh, "−")},${place(left, "s", dw, "−")}` : "i,j";
  const condition = isPlain ? "" : `   with i·${sh} + r·${dh} = ${up}, j·${sw} + s·${dw} = ${left}`;
  const out = shifted(firstOut, "o");
  const missing = kh * kw - rows.length * columns.length;
  return {
    symbols: "dx[n,c,a,b] = Σ_{o,r,s} dy[n,o,i,j] · weight[o,c,r,s], i·stride + r·dilation = a + padding, j alike",
    picked: `dx${brackets(n, c, a, b)} = Σ_{o,r,s} dy[${n},${out},${where}] · weight[${out},${c - firstIn},r,s]${condition}`,
    groups: [group([at(pass, stop, "dy", dy), at(pass, stop, "weight", w)])],
    note: !dy.length ? "no window has this pixel under its kernel: the stride steps over it"
      : missing ? `only ${rows.length * columns.length} of the kernel's ${kh * kw} places have a window for this pixel: at the border, or between strides, fewer terms arrive`
        : "gather reads with w turned (r): the same dx",
  };
}

export function convDweight(pass, stop, [o, c, r, s]) {
  const { firstIn } = channels(stop, o, "out");
  const [rows, columns] = linksOf(stop).map((links, axis) => pick(links, "tap", [r, s][axis]));
  const dy = overTaps(1, rows, columns, (n, row, column) => [n, o, row.out, column.out]);
  const x = overTaps(1, rows, columns, (n, row, column) => [n, firstIn + c, row.inp, column.inp]);
  const { stride: [sh, sw], dilation: [dh, dw], pads } = stop.config;
  const shift = (move) => (move ? (move < 0 ? shownMinus(move) : `+${move}`) : "");
  const where = `${place("", "i", sh)}${shift(r * dh - pads[0][0])},${place("", "j", sw)}${shift(s * dw - pads[1][0])}`;
  return {
    symbols: "dweight[o,c,r,s] = Σ_{n,i,j} dy[n,o,i,j] · x[n,c,a,b],   a = i·stride + r·dilation − padding, b alike",
    picked: `dweight${brackets(o, c, r, s)} = Σ_{n,i,j} dy[n,${o},i,j] · x[n,${firstIn + c},${where}]`,
    groups: [group([at(pass, stop, "dy", dy), at(pass, stop, "x", x)])],
  };
}

export function convDbias(pass, stop, [o]) {
  const [N, , H, W] = stop.shapes.y;
  const dy = [];
  for (let n = 0; n < N; n++) for (let i = 0; i < H; i++) for (let j = 0; j < W; j++) dy.push([n, o, i, j]);
  return {
    symbols: "dbias[o] = Σ_{n,i,j} dy[n,o,i,j]",
    picked: `dbias[${o}] = Σ_{n,i,j} dy[n,${o},i,j]`,
    groups: [group([at(pass, stop, "dy", dy)])],
  };
}

export function transposedY(pass, stop, [n, o, a, b]) {
  const { firstIn, firstOut, inputs } = channels(stop, o, "out");
  const [rows, columns] = linksOf(stop).map((links, axis) => pick(links, "out", [a, b][axis]));
  const x = overTaps(inputs, rows, columns, (c, row, column) => [n, firstIn + c, row.inp, column.inp]);
  const w = overTaps(inputs, rows, columns, (c, row, column) => [firstIn + c, o - firstOut, row.tap, column.tap]);
  const { stride: [sh, sw], dilation: [dh, dw], padding: [ph, pw] } = stop.config;
  const [hasBias, c] = [stop.params.includes("bias"), shifted(firstIn, "c")];
  return {
    symbols: `y[n,o,a,b] = Σ_{c,r,s} x[n,c,i,j] · weight[c,o,r,s]${hasBias ? " + bias[o]" : ""}   i·stride + r·dilation = a + padding, j alike: a convolution's backward`,
    picked: `y${brackets(n, o, a, b)} = Σ_{c,r,s} x[${n},${c},i,j] · weight[${c},${o - firstOut},r,s]${hasBias ? ` + bias[${o}]` : ""}   with i·${sh} + r·${dh} = ${a + ph}, j·${sw} + s·${dw} = ${b + pw}`,
    groups: withBias(pass, stop, [group([at(pass, stop, "x", x), at(pass, stop, "weight", w)], "products")], o),
    note: x.length ? "" : "no input's stamp reaches this pixel",
  };
}

export function transposedDx(pass, stop, [n, c, i, j]) {
  const { firstIn, firstOut, outputs } = channels(stop, c, "in");
  const [rows, columns] = linksOf(stop).map((links, axis) => pick(links, "inp", [i, j][axis]));
  const dy = overTaps(outputs, rows, columns, (o, row, column) => [n, firstOut + o, row.out, column.out]);
  const w = overTaps(outputs, rows, columns, (o, row, column) => [c, o, row.tap, column.tap]);
  const { stride: [sh, sw], dilation: [dh, dw], padding: [ph, pw] } = stop.config;
  const where = `${place(i * sh - ph, "r", dh)},${place(j * sw - pw, "s", dw)}`;
  return {
    symbols: "dx[n,c,i,j] = Σ_{o,r,s} dy[n,o,a,b] · weight[c,o,r,s],   a = i·stride + r·dilation − padding, b alike: a convolution of dy",
    picked: `dx${brackets(n, c, i, j)} = Σ_{o,r,s} dy[${n},${shifted(firstOut, "o")},${where}] · weight[${c},o,r,s]`,
    groups: [group([at(pass, stop, "dy", dy), at(pass, stop, "weight", w)])],
  };
}

export function transposedDweight(pass, stop, [c, o, r, s]) {
  const { firstOut } = channels(stop, c, "in");
  const [rows, columns] = linksOf(stop).map((links, axis) => pick(links, "tap", [r, s][axis]));
  const x = overTaps(1, rows, columns, (n, row, column) => [n, c, row.inp, column.inp]);
  const dy = overTaps(1, rows, columns, (n, row, column) => [n, firstOut + o, row.out, column.out]);
  return {
    symbols: "dweight[c,o,r,s] = Σ_{n,i,j} x[n,c,i,j] · dy[n,o,a,b],   a = i·stride + r·dilation − padding, b alike",
    picked: `dweight${brackets(c, o, r, s)} = Σ_{n,i,j} x[n,${c},i,j] · dy[n,${firstOut + o},…]`,
    groups: [group([at(pass, stop, "x", x), at(pass, stop, "dy", dy)])],
  };
}

// ---------------------------------------------------------------- fully connected

const upTo = (count, body) => Array.from({ length: count }, (_, i) => body(i));

// body(index of a sample) for all samples: all axes of an array but the last are samples.
function samples(shape, body) {
  const sides = shape.slice(0, -1);
  return upTo(sizeOf(sides), (place) => body(indexAt(sides, place)));
}

export function linearY(pass, stop, index) {
  const [n, o] = [index.slice(0, -1), index.at(-1)];
  const count = stop.shapes.weight[1];
  const factors = [
    at(pass, stop, "x", upTo(count, (i) => [...n, i])), at(pass, stop, "weight", upTo(count, (i) => [o, i])),
  ];
  const hasBias = stop.params.includes("bias");
  return {
    symbols: `y[n,o] = Σ_i x[n,i] · weight[o,i]${hasBias ? " + bias[o]" : ""}`,
    picked: `y${brackets(index)} = Σ_i x${brackets(n, "i")} · weight[${o},i]${hasBias ? ` + bias[${o}]` : ""}`,
    groups: withBias(pass, stop, [group(factors, "products")], o),
  };
}

export function linearDx(pass, stop, index) {
  const [n, i] = [index.slice(0, -1), index.at(-1)];
  const count = stop.shapes.weight[0];
  const factors = [
    at(pass, stop, "dy", upTo(count, (o) => [...n, o])), at(pass, stop, "weight", upTo(count, (o) => [o, i])),
  ];
  return {
    symbols: "dx[n,i] = Σ_o dy[n,o] · weight[o,i]",
    picked: `dx${brackets(index)} = Σ_o dy${brackets(n, "o")} · weight[o,${i}]`,
    groups: [group(factors)],
  };
}

export function linearDweight(pass, stop, [o, i]) {
  const { x, y } = stop.shapes;
  const factors = [
    at(pass, stop, "dy", samples(y, (n) => [...n, o])), at(pass, stop, "x", samples(x, (n) => [...n, i])),
  ];
  return {
    symbols: "dweight[o,i] = Σ_n dy[n,o] · x[n,i]: for each sample an outer product",
    picked: `dweight[${o},${i}] = Σ_n dy[n,${o}] · x[n,${i}]`,
    groups: [group(factors)],
  };
}

export function linearDbias(pass, stop, [o]) {
  return {
    symbols: "dbias[o] = Σ_n dy[n,o]",
    picked: `dbias[${o}] = Σ_n dy[n,${o}]`,
    groups: [group([at(pass, stop, "dy", samples(stop.shapes.y, (n) => [...n, o]))])],
  };
}
