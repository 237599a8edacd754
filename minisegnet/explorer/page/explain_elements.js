// Layers that treat each element by itself, batch normalisation, and the loss.

import { at, number, group, brackets } from "./explanation.js";
import { at as element, indexAt } from "./tensor.js";
import { openness } from "./compute.js";
import { statistics } from "./compute_norm.js";

const short = (value) => Number(value.toPrecision(6)).toString().replace("-", "−");

// y = x · factor, or dx = dy · factor.
function scaled(pass, stop, index, of, symbols, name, value, note = "") {
  const array = of === "y" ? "x" : "dy";
  const source = at(pass, stop, array, [index]);
  const where = brackets(index);
  const isNothing = value === 0 && !Number.isFinite(source.values[0]); // 0 · infinity: nothing is let through, not NaN
  const groups = isNothing ? [] : [group([source, number(name, value)])];
  return { symbols, picked: `${of}${where} = ${array}${where} · ${short(value)}`, groups, note };
}

export function gateOf(of) {
  return (pass, stop, index) => {
    const x = element(pass.array(stop, "x"), index);
    const open = openness(stop, x);
    const state = open === 1 ? "open" : open ? `letting ${short(open)} of it through` : "shut";
    const compared = Number.isNaN(x) ? "is no number" : x > 0 ? "> 0" : "≤ 0";
    const note = `x${brackets(index)} = ${short(x)} ${compared}: the gate is ${state}`;
    const rule = `1 where x > 0, otherwise ${stop.kind === "LeakyReLU" ? "negative_slope" : "0"}`;
    const symbols = of === "y" ? `y = x · gate, gate = ${rule}` : `dx = dy · gate, the gate of the forward pass: ${rule}`;
    const found = scaled(pass, stop, index, of, symbols, "gate", open, note);
    return { ...found, seen: group([at(pass, stop, "x", [index])], "x, which decides about the gate") };
  };
}

export function dropoutOf(of) {
  return (pass, stop, index) => {
    const isOn = pass.has(stop, "keep");
    const isKept = isOn && element(pass.array(stop, "keep"), index);
    const factor = !isOn ? 1 : isKept ? 1 / (1 - stop.config.p) : 0;
    const note = !isOn ? "inference, or p = 0: nothing is dropped" : isKept ? "kept, and enlarged" : "dropped in this pass";
    const symbols = of === "y" ? "y = x · keep / (1 − p)" : "dx = dy · keep / (1 − p), with the same keep as in forward";
    return scaled(pass, stop, index, of, symbols, "keep / (1 − p)", factor, note);
  };
}

export function curveY(name, formula, curve) {
  return (pass, stop, index) => {
    const x = element(pass.array(stop, "x"), index);
    const where = brackets(index);
    return {
      symbols: `y = ${formula}`, picked: `y${where} = ${name}(x${where}), x${where} = ${short(x)}`,
      groups: [group([number(`${name}(x)`, curve(x))])], facts: { x },
    };
  };
}

export function sigmoidDx(pass, stop, index) {
  const [dy, y] = [at(pass, stop, "dy", [index]), at(pass, stop, "y", [index])];
  const where = brackets(index);
  return {
    symbols: "dx = dy · y · (1 − y)", picked: `dx${where} = dy${where} · y${where} · (1 − y${where})`,
    groups: [group([dy, y, number("1 − y", 1 - y.values[0])])],
  };
}

export function tanhDx(pass, stop, index) {
  const [dy, y] = [at(pass, stop, "dy", [index]), at(pass, stop, "y", [index])];
  const where = brackets(index);
  return {
    symbols: "dx = dy · (1 − y²)", picked: `dx${where} = dy${where} · (1 − y${where}²)`,
    groups: [group([dy], "dy"), group([dy, y, number("−y", -y.values[0])], "−dy · y²")],
  };
}

export function identityY(pass, stop, index) {
  const picked = `y${brackets(index)} = x${brackets(index)}`;
  return { symbols: "y = x", picked, groups: [group([at(pass, stop, "x", [index])])] };
}

export function identityDx(pass, stop, index) {
  const picked = `dx${brackets(index)} = dy${brackets(index)}`;
  return { symbols: "dx = dy", picked, groups: [group([at(pass, stop, "dy", [index])])] };
}

// ---------------------------------------------------------------- batch normalisation

// What a channel's pixels have in common: their indices, mean, standard deviation, weight.
export function channelOf(pass, stop, c) {
  const [N, , H, W] = stop.shapes.x;
  const pixels = [];
  for (let n = 0; n < N; n++) for (let i = 0; i < H; i++) for (let j = 0; j < W; j++) pixels.push([n, c, i, j]);
  const get = (name) => pass.array(stop, name);
  const { mean, variance } = pass.has(stop, "mean") ? { mean: get("mean"), variance: get("var") } : statistics(stop, get);
  const std = Math.sqrt(variance.data[c] + stop.config.eps);
  const x = pass.array(stop, "x");
  const scale = [number("1/std", 1 / std)];
  if (stop.params.includes("weight")) scale.unshift(at(pass, stop, "weight", [[c]]));
  return { pixels, mean: mean.data[c], std, scale, count: pixels.length, normed: (index) => (element(x, index) - mean.data[c]) / std };
}

export function normY(pass, stop, index) {
  const { mean, std, scale, count, normed } = channelOf(pass, stop, index[1]);
  const where = brackets(index);
  const centred = number("x − mean", element(pass.array(stop, "x"), index) - mean, [index]);
  const groups = [group([centred, ...scale], "scaled")];
  const isAffine = stop.params.includes("weight");
  if (isAffine) groups.push(group([at(pass, stop, "bias", [[index[1]]])], "bias"));
  return {
    symbols: `y = ${isAffine ? "weight · x̂ + bias,   x̂ = " : ""}(x − mean) / std,   std = √(var + eps)`,
    picked: `y${where} = (x${where} ${mean < 0 ? "+" : "−"} ${short(Math.abs(mean))}) / ${short(std)}${isAffine ? ` · weight[${index[1]}] + bias[${index[1]}]` : ""}`,
    groups, seen: group([at(pass, stop, "x", [index])], "x"),
    note: stop.training ? "mean and variance of this batch" : "the running mean and variance: constants",
    facts: { mean, std, "x̂": normed(index), m: count },
  };
}

export function normDx(pass, stop, index) {
  const { pixels, mean, std, scale, count, normed } = channelOf(pass, stop, index[1]);
  const value = group([at(pass, stop, "dy", [index]), ...scale], "by the value");
  const isAffine = stop.params.includes("weight");
  const [factor, ours] = isAffine ? ["weight / std", `weight[${index[1]}] / ${short(std)}`] : ["1 / std", `1 / ${short(std)}`];
  const picked = `dx${brackets(index)} = ${ours} · dy${brackets(index)}`;
  const facts = { mean, "x̂": normed(index) };
  const seen = group([at(pass, stop, "x", [index])], "x of the forward pass");
  if (!stop.training) {
    const note = "the running mean and variance are constants: only one way leads back";
    return { symbols: `dx = ${factor} · dy`, picked, groups: [value], note, facts, seen };
  }
  const [dy, share] = [at(pass, stop, "dy", pixels), number("−1/m", -1 / count)];
  const all = number("x̂", pixels.map(normed), pixels);
  return {
    symbols: `dx = ${factor} · (dy − (Σ dy)/m − x̂ · (Σ dy·x̂)/m), sums over the channel's m values`,
    picked: `${picked} − by the mean − by the variance, each over m = ${count} values`,
    groups: [
      value,
      group([dy, ...scale, share], "by the mean"),
      group([dy, all, number("x̂ of this one", normed(index)), ...scale, share], "by the variance"),
    ],
    facts, seen,
  };
}

export function normDweight(pass, stop, [c]) {
  const { pixels, normed } = channelOf(pass, stop, c);
  return {
    symbols: "dweight[c] = Σ_{n,i,j} dy · x̂",
    picked: `dweight[${c}] = Σ_{n,i,j} dy[n,${c},i,j] · x̂[n,${c},i,j]`,
    groups: [group([at(pass, stop, "dy", pixels), number("x̂", pixels.map(normed), pixels)])],
  };
}

export function normDbias(pass, stop, [c]) {
  const { pixels } = channelOf(pass, stop, c);
  return {
    symbols: "dbias[c] = Σ_{n,i,j} dy", picked: `dbias[${c}] = Σ_{n,i,j} dy[n,${c},i,j]`,
    groups: [group([at(pass, stop, "dy", pixels)])],
  };
}

// ---------------------------------------------------------------- softmax and cross-entropy

// What the loss says about one pixel: its place among the targets, label, weight and the mean's divisor. The mean of
// nothing is 0: where the weights sum to 0, so does each pixel's share.
export function pixelOf(pass, index) {
  const loss = pass.loss;
  const [n, c, ...rest] = index;
  const target = pass.array(loss, "target");
  const weight = pass.classWeights;
  const w = (label) => (weight ? weight.data[label] : 1);
  let sum = 0;
  for (const label of target.data) if (label !== loss.config.ignore_index) sum += w(label);
  const label = element(target, [n, ...rest]);
  const isMean = loss.config.reduction === "mean";
  const share = !isMean ? 1 : sum ? 1 / sum : 0;
  const divisor = weight ? "Σ w[t]" : "pixels kept";
  return { label, c, w, isIgnored: label === loss.config.ignore_index, sum, share, isMean, divisor };
}

export function lossDscores(pass, loss, index) {
  const { label, c, w, isIgnored, sum, share, isMean, divisor } = pixelOf(pass, index);
  const dvalue = pass.array(loss, "dvalue").data[0];
  const e = loss.config.label_smoothing;
  const [where, p] = [brackets(index), at(pass, loss, "p", [index])];
  const end = `dloss = dL/dvalue${isMean ? ` / ${divisor}` : ""}`;
  const symbols = e
    ? `dscores[c] = dloss · (p[c] · Σ_k q[k] − q[c]), q[c] = (1 − e)·w[t]·(c = t) + e/C·w[c], ${end}`
    : `dscores[c] = dloss · w[t] · (p[c] − y[c]), y[c] = 1 for the label, otherwise 0, ${end}`;
  if (isIgnored) {
    const note = "the target is the ignored label (void): this pixel is silent";
    return { symbols, picked: `dscores${where} = 0`, groups: [], note, facts: { p: p.values[0] } };
  }
  const y = c === label ? 1 : 0;
  const scale = [number("dL/dvalue", dvalue), ...(isMean ? [number(`1 / ${divisor}`, share)] : [])];
  const asked = e ? [number("1 − e", 1 - e)] : [];
  const weight = number("w[t]", w(label));
  const groups = [group([p, ...asked, weight, ...scale], "p"), group([number("−y", -y), ...asked, weight, ...scale], "−y")];
  if (e) {
    const C = loss.shapes.scores[1];
    const every = number("e / C", e / C);
    let total = 0;
    for (let k = 0; k < C; k++) total += w(k);
    groups.push(group([p, every, number("Σ_k w[k]", total), ...scale], "smoothing, p"));
    groups.push(group([number("−w[c]", -w(c)), every, ...scale], "smoothing, −y"));
  }
  return {
    symbols, groups,
    picked: `dscores${where} = ${short(dvalue * share)} · ${short(w(label))} · (${short(p.values[0])} − ${y})${e ? " and the smoothing's share" : ""}`,
    note: `the label is ${label}, ${pass.about.classes[label] ?? ""}`,
    facts: { p: p.values[0], y, "p − y": p.values[0] - y, "class weight": w(label), [divisor]: sum },
  };
}

export function lossP(pass, loss, index) {
  const [n, , ...rest] = index;
  const C = loss.shapes.scores[1];
  const scores = at(pass, loss, "scores", Array.from({ length: C }, (_, c) => [n, c, ...rest]));
  const largest = Math.max(...scores.values);
  const exps = scores.values.map((score) => Math.exp(score - largest));
  const total = exps.reduce((sum, value) => sum + value, 0);
  return {
    symbols: "p[c] = exp(scores[c] − m) / Σ_k exp(scores[k] − m), m: the largest score, which cancels",
    picked: `p${brackets(index)} = exp(${short(scores.values[index[1]])} ${largest < 0 ? "+" : "−"} ${short(Math.abs(largest))}) / ${short(total)}`,
    groups: [group([number("exp(scores[c] − m)", exps[index[1]]), number("1 / Σ exp(scores[k] − m)", 1 / total)])],
    seen: group([scores], "the scores"),
  };
}

// The loss: each pixel's −log p of its label, weighted, over the divisor of the mean. Smoothing adds the other classes.
export function lossValue(pass, loss) {
  const target = pass.array(loss, "target");
  const C = loss.shapes.scores[1];
  const e = loss.config.label_smoothing;
  const kept = [];
  target.data.forEach((label, i) => label !== loss.config.ignore_index && kept.push(i));
  const places = kept.map((i) => indexAt(target.shape, i));
  const scoreAt = ([n, ...rest], c) => [n, c, ...rest];
  const { w, sum, share, isMean, divisor } = pixelOf(pass, scoreAt(places[0] ?? target.shape.map(() => 0), 0));
  const ofLabel = at(pass, loss, "−log p[t]", places.map((place) => scoreAt(place, 0)));
  const mean = isMean ? [number(`1 / ${divisor}`, share)] : [];
  const labels = kept.map((i) => target.data[i]);
  const asked = e ? [number("1 − e", 1 - e)] : [];
  const groups = [group([ofLabel, ...asked, number("w[t]", labels.map(w)), ...mean], "the label")];
  for (let c = 0; e && c < C; c++) {
    const indices = places.map((place) => scoreAt(place, c));
    groups.push(group([number("e / C", e / C), number("w[c]", w(c)), at(pass, loss, "−log p", indices), ...mean], `smoothing, class ${c}`));
  }
  const one = e ? "(1 − e) · w[t] · −log p[t] + e/C · Σ_c w[c] · −log p[c]" : "w[t] · −log p[t]";
  return {
    symbols: `value = Σ over pixels of ${one}${isMean ? ` / ${divisor}` : ""}`,
    picked: `value = sum over ${kept.length} pixels${isMean ? ` / ${short(sum)}` : ""}`,
    groups, note: "by size (o), the costliest come first",
    facts: { [divisor]: sum, "ignored pixels": target.data.length - kept.length },
  };
}
