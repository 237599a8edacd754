// An explanation: one number of the pass, taken apart into the terms of its sum. As minisegnet/trace/explanation.py.
//
//   at(pass, stop, "dy", indices)     a factor: elements of an array, one for each term
//   number("1/m", value)              a factor that stands in no array
//   group([factor, ...], name)        terms of one kind: the products of their factors
//
// An explainer gets (pass, stop, index) and returns { symbols, picked, groups, note, facts, seen }.

import { at as element } from "./tensor.js";

export function at(pass, stop, array, indices) {
  const tensor = pass.array(stop, array);
  return { array, indices, values: indices.map((index) => element(tensor, index)) };
}

// value: one for all terms, or a list with one for each; indices: the elements that it belongs to, if any.
export function number(name, value, indices = null) {
  return { array: name, indices, values: Array.isArray(value) ? value : [value] };
}

export function group(factors, name = "") {
  const count = factors.reduce((most, factor) => (factor.values.length === 1 ? most : factor.values.length), 1);
  const isEmpty = factors.some((factor) => factor.values.length === 0);
  const long = (list) => (list.length === 1 && count > 1 ? new Array(count).fill(list[0]) : list);
  const all = factors.map(({ array, indices, values }) => ({
    array, indices: indices && long(indices), values: long(values),
  }));
  const products = new Array(isEmpty ? 0 : count);
  for (let t = 0; t < products.length; t++) products[t] = all.reduce((product, factor) => product * factor.values[t], 1);
  return { name, factors: all, products };
}

// [0,1,4,7], for formulas.
export function brackets(...index) {
  return `[${index.flat().join(",")}]`;
}

// Every number in a sum has about this relative error from being computed in single precision.
export const TOLERANCE = 1e-5;

// Whether two numbers are the same up to a tolerance; NaN is the same as NaN, infinity as infinity of the same sign.
function isSame(a, b, tolerance) {
  return Number.isFinite(a) && Number.isFinite(b) ? Math.abs(a - b) <= tolerance : Object.is(a, b);
}

// The finished explanation: with the total, the size of its terms, and whether it agrees with the array's number.
export function finished(pass, stop, of, index, found) {
  const products = found.groups.flatMap((each) => each.products);
  const total = products.reduce((sum, product) => sum + product, 0);
  const size = products.reduce((sum, product) => sum + Math.abs(product), 0);
  const tensor = pass.array(stop, of);
  const recorded = element(tensor, index);
  return {
    note: "", facts: {}, seen: null, ...found, stop, of, index, total, recorded,
    count: products.length,
    isRecorded: pass.isRecorded(stop, of),
    agrees: isSame(total, recorded, TOLERANCE * size + 1e-37),
  };
}

// Terms one by one, in the order of the sum or by size: { group, t, product, running }.
export function termsOf(explanation, order = "position") {
  const terms = [];
  for (const each of explanation.groups) each.products.forEach((product, t) => terms.push({ group: each, t, product }));
  if (order === "size") terms.sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
  let running = 0;
  for (const term of terms) term.running = running += term.product;
  return terms;
}
