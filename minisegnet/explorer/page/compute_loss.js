// The cross-entropy of one picture, as minisegnet/losses/cross_entropy.py defines it, in double precision.

import { zeros } from "./tensor.js";

// −log p of every class: log Σ_k exp(scores[k]) − scores[c]. Finite for any finite scores, even where p is rounded to 0.
export function minusLogs(scores) {
  const found = zeros(scores.shape);
  const C = scores.shape[1];
  const pixels = scores.data.length / C;
  for (let i = 0; i < pixels; i++) {
    let [largest, total] = [-Infinity, 0];
    for (let c = 0; c < C; c++) largest = Math.max(largest, scores.data[c * pixels + i]);
    for (let c = 0; c < C; c++) total += Math.exp(scores.data[c * pixels + i] - largest);
    for (let c = 0; c < C; c++) found.data[c * pixels + i] = Math.log(total) - (scores.data[c * pixels + i] - largest);
  }
  return found;
}

// Probabilities over the classes, axis 1.
export function softmax(scores) {
  return { data: minusLogs(scores).data.map((value) => Math.exp(-value)), shape: scores.shape };
}

// A map of one class: body(label, pixel) of each pixel that has a label, 0 for the ignored ones.
function ofPixels([N, , ...sides], target, ignored, body) {
  const found = zeros([N, 1, ...sides]);
  target.data.forEach((t, i) => {
    if (t !== ignored) found.data[i] = body(t, i);
  });
  return found;
}

// −log p of each pixel's label, a map.
export function labelCosts(loss, logs, target) {
  const pixels = target.data.length;
  return ofPixels(logs.shape, target, loss.config.ignore_index, (t, i) => logs.data[t * pixels + i]);
}

// What each pixel adds to the loss, a map: weighted, smoothed and, for a mean, divided by the sum of weights.
export function pixelParts(loss, logs, target, weight) {
  const { ignore_index: ignored, label_smoothing: e, reduction } = loss.config;
  const [C, pixels] = [logs.shape[1], target.data.length];
  const w = (c) => (weight ? weight.data[c] : 1);
  let weights = 0;
  for (const t of target.data) if (t !== ignored) weights += w(t);
  const share = reduction === "sum" ? 1 : weights ? 1 / weights : 0;
  return ofPixels(logs.shape, target, ignored, (t, i) => {
    let total = (1 - e) * w(t) * logs.data[t * pixels + i];
    for (let c = 0; e && c < C; c++) total += (e / C) * w(c) * logs.data[c * pixels + i];
    return total * share;
  });
}

export function crossEntropy(loss, scores, target, weight) {
  return pixelParts(loss, minusLogs(scores), target, weight).data.reduce((sum, part) => sum + part, 0);
}
