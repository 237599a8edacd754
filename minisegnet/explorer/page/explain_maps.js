// Pooling, resizing, unpooling, forks and joins: shares of pixels, switches, copies.

import { at, number, group, brackets } from "./explanation.js";
import { at as element, indexAt, offset } from "./tensor.js";
import { text } from "./format.js";
import { linksOf, pick, fitLinks } from "./links.js";

const SHARES = {
  AvgPool2d: "1 / (pixels in the window)",
  AdaptiveAvgPool2d: "1 / (pixels in the bin)",
  Upsample: "share of the input pixel in the output pixel",
  resize: "share of the input pixel in the output pixel",
};

export const sharing = Object.keys(SHARES);

function pairs(rows, columns, body) {
  return rows.flatMap((row) => columns.map((column) => body(row, column)));
}

export function sharedY(pass, stop, [n, c, i, j]) {
  const [rows, columns] = linksOf(stop).map((links, axis) => pick(links, "out", [i, j][axis]));
  const x = at(pass, stop, "x", pairs(rows, columns, (row, column) => [n, c, row.inp, column.inp]));
  const share = number("share", pairs(rows, columns, (row, column) => row.share * column.share));
  return {
    symbols: `y[n,c,i,j] = Σ_{a,b} x[n,c,a,b] · share, share = ${SHARES[stop.kind]}`,
    picked: `y${brackets(n, c, i, j)} = Σ_{a,b} x[${n},${c},a,b] · share`,
    groups: [group([x, share])],
    note: x.indices.length ? `the shares add up to ${text(share.values.reduce((sum, one) => sum + one, 0))}` : "this pixel was added as zero",
  };
}

export function sharedDx(pass, stop, [n, c, a, b]) {
  const [rows, columns] = linksOf(stop).map((links, axis) => pick(links, "inp", [a, b][axis]));
  const dy = at(pass, stop, "dy", pairs(rows, columns, (row, column) => [n, c, row.out, column.out]));
  const share = number("share", pairs(rows, columns, (row, column) => row.share * column.share));
  return {
    symbols: `dx[n,c,a,b] = Σ_{i,j} dy[n,c,i,j] · share, share = ${SHARES[stop.kind]}, as in forward`,
    picked: `dx${brackets(n, c, a, b)} = Σ_{i,j} dy[${n},${c},i,j] · share`,
    groups: [group([dy, share])],
    note: dy.indices.length ? "" : "no output pixel has used this one",
  };
}

// ---------------------------------------------------------------- switches

export function maxPoolY(pass, stop, index) {
  const [n, c, i, j] = index;
  const W = stop.shapes.x[3];
  const where = element(pass.array(stop, "argmax"), index);
  const [a, b] = [Math.floor(where / W), where % W];
  const [rows, columns] = linksOf(stop).map((links, axis) => pick(links, "out", [i, j][axis]));
  const seen = at(pass, stop, "x", pairs(rows, columns, (row, column) => [n, c, row.inp, column.inp]));
  const winner = at(pass, stop, "x", [[n, c, a, b]]);
  const ties = seen.values.filter((value) => value === winner.values[0]).length - 1;
  return {
    symbols: "y[n,c,i,j] = max over r,s of x[n,c,a,b],   a = i·stride + r·dilation − padding, b alike",
    picked: `y${brackets(index)} = max of ${seen.values.length} pixels = x[${n},${c},${a},${b}]`,
    groups: [group([winner])],
    note: `the largest is at row ${a}, column ${b}${ties ? `, the first of ${ties + 1} that are equal` : ""}; the switch remembers ${a}·${W} + ${b} = ${where}`,
    facts: { switch: where, ties },
    seen: group([seen], "the window"),
  };
}

// Places of the switches with a value, in one map.
function switches(pass, stop, shape, n, c, wanted) {
  const argmax = pass.array(stop, "argmax");
  const pixels = shape[2] * shape[3];
  const first = (n * shape[1] + c) * pixels;
  const found = [];
  for (let i = first; i < first + pixels; i++) if (argmax.data[i] === wanted) found.push(indexAt(shape, i));
  return found;
}

export function maxPoolDx(pass, stop, [n, c, a, b]) {
  const where = a * stop.shapes.x[3] + b;
  const [rows, columns] = linksOf(stop).map((links, axis) => pick(links, "inp", [a, b][axis]));
  const windows = rows.length * columns.length;
  const dy = at(pass, stop, "dy", switches(pass, stop, stop.shapes.y, n, c, where));
  return {
    symbols: "dx[n,c,a,b] = Σ dy[n,c,i,j] over the windows (i,j) whose switch is this pixel, a·W + b",
    picked: `dx${brackets(n, c, a, b)} = Σ dy[${n},${c},i,j] over the windows whose switch is ${where}`,
    groups: [group([dy])],
    note: `this pixel was seen by ${windows} window${windows === 1 ? "" : "s"} and won in ${dy.values.length}: only a winner gets gradient, and it gets all of it`,
    facts: { switch: where, windows, won: dy.values.length },
    seen: group([at(pass, stop, "x", [[n, c, a, b]])], "x of this pixel"),
  };
}

export function unpoolY(pass, stop, [n, c, a, b]) {
  const where = a * stop.shapes.y[3] + b;
  const last = switches(pass, stop, stop.shapes.x, n, c, where).at(-1);
  const symbols = "y[n,c,a,b] = x[n,c,i,j] where the switch of (i,j) is a·W + b, otherwise 0";
  const picked = `y${brackets(n, c, a, b)} = `;
  if (!last) {
    const note = "the pooling found no maximum here: zero";
    return { symbols, picked: `${picked}0: no switch is ${where}`, groups: [], note };
  }
  return {
    symbols, picked: `${picked}x${brackets(last)}`, groups: [group([at(pass, stop, "x", [last])])],
    note: `the pooling's window ${last[2]},${last[3]} had its maximum here`, facts: { switch: where },
  };
}

export function unpoolDx(pass, stop, index) {
  const [n, c, i, j] = index;
  const where = element(pass.array(stop, "argmax"), index);
  const W = stop.shapes.y[3];
  const [a, b] = [Math.floor(where / W), where % W];
  const last = switches(pass, stop, stop.shapes.x, n, c, where).at(-1);
  const symbols = "dx[n,c,i,j] = dy[n,c,a,b], where a·W + b is the switch of (i,j)";
  if (last[2] !== i || last[3] !== j) {
    const note = `x${brackets(last)}, put at the same place later, replaced this value: it had no effect`;
    return { symbols, picked: `dx${brackets(index)} = 0`, groups: [], note, facts: { switch: where } };
  }
  return {
    symbols, picked: `dx${brackets(index)} = dy[${n},${c},${a},${b}]`,
    groups: [group([at(pass, stop, "dy", [[n, c, a, b]])])],
    note: `forward put this value at row ${a}, column ${b}: the gradient comes back from there`, facts: { switch: where },
  };
}

// ---------------------------------------------------------------- forks and joins

// The element of a branch's map that lies on an element of the joint one ("inp"), or the reverse ("out"); null for
// what was cropped away or added.
function fitted(stop, branch, index, wanted) {
  if (stop.shapes.y.length !== 4) return index;
  const places = [2, 3].map((axis) => {
    const links = fitLinks(stop.shapes[`x.${branch}`][axis], stop.shapes.y[axis]);
    return pick(links, wanted === "inp" ? "out" : "inp", index[axis])[0]?.[wanted];
  });
  return places.includes(undefined) ? null : [index[0], index[1], ...places];
}

// First channel of each branch in y: { skip: 0, coarse: 8 }.
export function firstChannels(stop) {
  let first = 0;
  return Object.fromEntries(stop.branches.map((branch) => {
    const mine = first;
    first += stop.shapes[`x.${branch}`][1];
    return [branch, mine];
  }));
}

export function sumY(pass, stop, index) {
  const found = stop.branches
    .map((branch) => [branch, fitted(stop, branch, index, "inp")]).filter(([, place]) => place)
    .map(([branch, place]) => group([at(pass, stop, `x.${branch}`, [place])], branch));
  const picked = found.map((each) => `x.${each.name}${brackets(each.factors[0].indices[0])}`).join(" + ");
  return { symbols: "y = Σ over the branches of their results", picked: `y${brackets(index)} = ${picked}`, groups: found };
}

export function sumDx(pass, stop, index, branch) {
  const symbols = "dx.branch = dy: a sum copies its gradient to every branch";
  return handedBack(pass, stop, branch, index, index, symbols);
}

export function concatY(pass, stop, index) {
  const [n, channel, ...rest] = index;
  const first = firstChannels(stop);
  const branch = stop.branches.findLast((name) => channel >= first[name]);
  const place = fitted(stop, branch, [n, channel - first[branch], ...rest], "inp");
  const symbols = "y[n, first + c, i, j] = x.branch[n,c,i,j], first: the channels of the branches before";
  const picked = `y${brackets(index)} = `;
  if (!place) return { symbols, picked: `${picked}0`, groups: [], note: "padding: the branch's map is smaller" };
  return {
    symbols, picked: `${picked}x.${branch}${brackets(place)}`, note: `a channel of ${branch}`,
    groups: [group([at(pass, stop, `x.${branch}`, [place])])],
  };
}

export function concatDx(pass, stop, index, branch) {
  const [n, channel, ...rest] = index;
  const joint = [n, firstChannels(stop)[branch] + channel, ...rest];
  const symbols = "dx.branch[n,c,i,j] = dy[n, first + c, i, j]: joining is undone by splitting";
  return handedBack(pass, stop, branch, index, joint, symbols);
}

function handedBack(pass, stop, branch, index, joint, symbols) {
  const place = fitted(stop, branch, joint, "out");
  const picked = `dx.${branch}${brackets(index)} = `;
  if (!place) return { symbols, picked: `${picked}0`, groups: [], note: "forward cropped this pixel away" };
  return { symbols, picked: `${picked}dy${brackets(place)}`, groups: [group([at(pass, stop, "dy", [place])])] };
}

export function forkY(pass, stop, index, branch) {
  const picked = `y.${branch}${brackets(index)} = x${brackets(index)}`;
  return { symbols: "y.branch = x: every branch is given the same", picked, groups: [group([at(pass, stop, "x", [index])])] };
}

export function forkDx(pass, stop, index) {
  const found = stop.branches.map((branch) => group([at(pass, stop, `dy.${branch}`, [index])], branch));
  const picked = stop.branches.map((branch) => `dy.${branch}${brackets(index)}`).join(" + ");
  return {
    symbols: "dx = Σ over the branches of what comes back from them: x acts on the loss by all of these ways",
    picked: `dx${brackets(index)} = ${picked}`, groups: found,
  };
}

// ---------------------------------------------------------------- reshaping

export function flattenY(pass, stop, index) {
  const place = indexAt(stop.shapes.x, offset(stop.shapes.y, index));
  const picked = `y${brackets(index)} = x${brackets(place)}`;
  return { symbols: "y = x, reshaped", picked, groups: [group([at(pass, stop, "x", [place])])] };
}

export function flattenDx(pass, stop, index) {
  const place = indexAt(stop.shapes.y, offset(stop.shapes.x, index));
  const picked = `dx${brackets(index)} = dy${brackets(place)}`;
  return { symbols: "dx = dy, reshaped back", picked, groups: [group([at(pass, stop, "dy", [place])])] };
}
