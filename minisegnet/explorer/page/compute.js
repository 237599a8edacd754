// Forward and backward of every layer in plain JavaScript, in double precision. No drawing here. The loss is in
// compute_loss.js.
//
//   forward(stop, get)     { y } from get("x") and the layer's own arrays
//   backward(stop, get)    { dx } from get("dy")
//   gradients(stop, get)   { dweight, dbias }
//
// get(name) gives an array of the stop; a layer with branches has x.NAME or y.NAME for each of them.

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

// How much a ReLU lets through at x. A NaN is not below 0: it passes, as in minisegnet.
export function openness(stop, x) {
  if (stop.kind === "LeakyReLU") return x > 0 ? 1 : stop.config.negative_slope;
  return x <= 0 ? 0 : 1;
}

function gate(stop, get) {
  return { y: mapped(get("x"), (x) => dropping(x, openness(stop, x))) };
}

function gateBack(stop, get) {
  const x = get("x").data;
  return { dx: mapped(get("dy"), (dy, i) => dropping(dy, openness(stop, x[i]))) };
}

// value · factor, where a factor of 0 stands for "not at all": of infinity and NaN, too, nothing is left.
export function dropping(value, factor) {
  return factor === 0 ? 0 : value * factor;
}

function dropped(tensor, stop, get) {
  if (!stop.arrays.keep) return tensor;
  const keep = get("keep").data;
  return mapped(tensor, (value, i) => dropping(value, keep[i] ? 1 / (1 - stop.config.p) : 0));
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
