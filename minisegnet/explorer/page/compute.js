// Forward and backward of every layer in plain JavaScript, in double precision. No drawing here.
//
//   forward(stop, get)     { y } from get("x") and the layer's own arrays
//   backward(stop, get)    { dx } from get("dy")
//   gradients(stop, get)   { dweight, dbias }
//
// get(name) gives an array of the stop; a layer with branches has x.NAME or y.NAME for each of them.

import { zeros } from "./tensor.js";
import {
  convolve, convolveBack, convolveGradients, linear, linearBack, linearGradients,
} from "./compute_conv.js";
import { normalise, normaliseBack, normGradients } from "./compute_norm.js";
import {
  maximum, maximumBack, unpool, unpoolBack, shared, sharedBack, fork, forkBack, sum, sumBack, concat, concatBack,
} from "./compute_maps.js";

export function forward(stop, get) {
  return (FORWARD[stop.kind] ?? shared)(stop, get);
}

export function backward(stop, get) {
  return (BACKWARD[stop.kind] ?? sharedBack)(stop, get);
}

export function gradients(stop, get) {
  return GRADIENTS[stop.kind](stop, get);
}

const FORWARD = {
  Conv2d: convolve, ConvTranspose2d: convolve, Linear: linear, BatchNorm2d: normalise, MaxPool2d: maximum, unpool,
  ReLU: gate, LeakyReLU: gate, Sigmoid: each((x) => 1 / (1 + Math.exp(-x))), Tanh: each(Math.tanh),
  Dropout: drop, Identity: copy, Flatten: copy, fork, sum, concat,
};
const BACKWARD = {
  Conv2d: convolveBack, ConvTranspose2d: convolveBack, Linear: linearBack, BatchNorm2d: normaliseBack,
  MaxPool2d: maximumBack, unpool: unpoolBack, ReLU: gateBack, LeakyReLU: gateBack,
  Sigmoid: slope((y) => y * (1 - y)), Tanh: slope((y) => 1 - y * y),
  Dropout: dropBack, Identity: copyBack, Flatten: copyBack, fork: forkBack, sum: sumBack, concat: concatBack,
};
const GRADIENTS = {
  Conv2d: convolveGradients, ConvTranspose2d: convolveGradients, Linear: linearGradients, BatchNorm2d: normGradients,
};

// ---------------------------------------------------------------- each element by itself

function mapped(tensor, body) {
  return { data: Float64Array.from(tensor.data, body), shape: tensor.shape };
}

function each(body) {
  return (stop, get) => ({ y: mapped(get("x"), body) });
}

function slope(body) {
  return (stop, get) => ({ dx: mapped(get("dy"), (dy, i) => dy * body(get("y").data[i])) });
}

function gate(stop, get) {
  const below = stop.config.negative_slope ?? 0;
  return { y: mapped(get("x"), (x) => (x > 0 ? x : below * x)) };
}

function gateBack(stop, get) {
  const [x, below] = [get("x").data, stop.config.negative_slope ?? 0];
  return { dx: mapped(get("dy"), (dy, i) => (x[i] > 0 ? dy : below * dy)) };
}

function dropped(tensor, stop, get) {
  if (!stop.arrays.keep) return tensor;
  const keep = get("keep").data;
  return mapped(tensor, (value, i) => (value * keep[i]) / (1 - stop.config.p));
}

function drop(stop, get) {
  return { y: dropped(get("x"), stop, get) };
}

function dropBack(stop, get) {
  return { dx: dropped(get("dy"), stop, get) };
}

function copy(stop, get) {
  return { y: { data: get("x").data, shape: stop.shapes.y } };
}

function copyBack(stop, get) {
  return { dx: { data: get("dy").data, shape: stop.shapes.x } };
}

// ---------------------------------------------------------------- the loss

// Probabilities over the classes, axis 1.
export function softmax(scores) {
  const p = zeros(scores.shape);
  const C = scores.shape[1];
  const pixels = scores.data.length / C;
  for (let i = 0; i < pixels; i++) {
    let largest = -Infinity;
    for (let c = 0; c < C; c++) largest = Math.max(largest, scores.data[c * pixels + i]);
    let total = 0;
    for (let c = 0; c < C; c++) total += p.data[c * pixels + i] = Math.exp(scores.data[c * pixels + i] - largest);
    for (let c = 0; c < C; c++) p.data[c * pixels + i] /= total;
  }
  return p;
}

// −log p of each pixel's label, a map; 0 where the label is the ignored one.
export function costs(p, target, ignored) {
  const [N, C, ...sides] = p.shape;
  const found = zeros([N, 1, ...sides]);
  const pixels = found.data.length;
  for (let i = 0; i < pixels; i++) if (target.data[i] !== ignored) found.data[i] = -Math.log(p.data[target.data[i] * pixels + i]);
  return found;
}

// The cross-entropy of scores, as minisegnet/losses/cross_entropy.py defines it.
export function crossEntropy(loss, scores, target, weight) {
  const { ignore_index: ignored, label_smoothing: e, reduction } = loss.config;
  const C = scores.shape[1];
  const pixels = scores.data.length / C;
  let [total, weights] = [0, 0];
  for (let i = 0; i < pixels; i++) {
    const t = target.data[i];
    if (t === ignored) continue;
    let largest = -Infinity;
    for (let c = 0; c < C; c++) largest = Math.max(largest, scores.data[c * pixels + i]);
    let exps = 0;
    for (let c = 0; c < C; c++) exps += Math.exp(scores.data[c * pixels + i] - largest);
    const minusLog = (c) => largest + Math.log(exps) - scores.data[c * pixels + i];
    const w = (c) => (weight ? weight.data[c] : 1);
    total += (1 - e) * w(t) * minusLog(t);
    for (let c = 0; e && c < C; c++) total += (e / C) * w(c) * minusLog(c);
    weights += w(t);
  }
  if (reduction === "sum") return total;
  return weights ? total / weights : 0;
}
