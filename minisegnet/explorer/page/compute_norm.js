// Batch normalisation, forward and backward.

import { zeros } from "./tensor.js";

// Mean and variance of each channel: of this picture in training, otherwise the running ones.
export function statistics(stop, get) {
  if (!stop.training) return { mean: get("mean"), variance: get("var") };
  const x = get("x");
  const C = x.shape[1];
  const m = x.data.length / C;
  const [mean, variance] = [zeros([C]), zeros([C])];
  for (let c = 0; c < C; c++) {
    let total = 0;
    for (let i = c * m; i < (c + 1) * m; i++) total += x.data[i];
    mean.data[c] = total / m;
    let squares = 0;
    for (let i = c * m; i < (c + 1) * m; i++) squares += (x.data[i] - mean.data[c]) ** 2;
    variance.data[c] = squares / m;
  }
  return { mean, variance };
}

export function normalise(stop, get) {
  const [x, { mean, variance }] = [get("x"), statistics(stop, get)];
  const y = zeros(x.shape);
  const isAffine = stop.params.includes("weight");
  const m = x.data.length / x.shape[1];
  for (let c = 0; c < x.shape[1]; c++) {
    const scale = (isAffine ? get("weight").data[c] : 1) / Math.sqrt(variance.data[c] + stop.config.eps);
    const shift = isAffine ? get("bias").data[c] : 0;
    for (let i = c * m; i < (c + 1) * m; i++) y.data[i] = (x.data[i] - mean.data[c]) * scale + shift;
  }
  return { y };
}

export function normaliseBack(stop, get) {
  const [dy, x, { mean, variance }] = [get("dy"), get("x"), statistics(stop, get)];
  const dx = zeros(dy.shape);
  const m = dy.data.length / dy.shape[1];
  for (let c = 0; c < dy.shape[1]; c++) {
    const std = Math.sqrt(variance.data[c] + stop.config.eps);
    const scale = (stop.params.includes("weight") ? get("weight").data[c] : 1) / std;
    let [sum, alike] = [0, 0];
    if (stop.training) {
      for (let i = c * m; i < (c + 1) * m; i++) {
        sum += dy.data[i];
        alike += (dy.data[i] * (x.data[i] - mean.data[c])) / std;
      }
    }
    for (let i = c * m; i < (c + 1) * m; i++) {
      const normed = stop.training ? (x.data[i] - mean.data[c]) / std : 0;
      dx.data[i] = scale * (dy.data[i] - sum / m - (normed * alike) / m);
    }
  }
  return { dx };
}

export function normGradients(stop, get) {
  const [dy, x, { mean, variance }] = [get("dy"), get("x"), statistics(stop, get)];
  const [dweight, dbias] = [zeros([x.shape[1]]), zeros([x.shape[1]])];
  const m = x.data.length / x.shape[1];
  for (let i = 0; i < x.data.length; i++) {
    const c = Math.floor(i / m);
    dbias.data[c] += dy.data[i];
    dweight.data[c] += (dy.data[i] * (x.data[i] - mean.data[c])) / Math.sqrt(variance.data[c] + stop.config.eps);
  }
  return { dweight, dbias };
}
