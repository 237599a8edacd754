// What there is to see of each kind of layer: views, and the panels of each.
//
//   { id, title, hint, of, panels }   of: the array whose elements are explained ("dy": where one goes to)
//
// A panel names an array; "classes" is a table of scores and probabilities.

import { hasLinks } from "./links.js";

const CONVOLUTIONS = ["Conv2d", "ConvTranspose2d"];

export function viewsOf(stop, pass) {
  if (pass === "L") return lossViews();
  return pass === "F" ? forwardViews(stop) : backwardViews(stop);
}

function lossViews() {
  return [
    { id: "dscores", title: "p − y", hint: "where the gradient begins", of: "dscores", panels: ["dscores", "classes"] },
    { id: "p", title: "softmax", hint: "scores become probabilities", of: "p", panels: ["scores", "p", "classes"] },
    { id: "value", title: "the loss", hint: "a mean over pixels", of: "value", panels: ["−log p[t]", "classes"] },
  ];
}

function forwardViews(stop) {
  if (stop.kind === "fork") {
    return stop.branches.map((name) => ({ id: `to ${name}`, title: `to ${name}`, of: `y.${name}`, panels: ["x", `y.${name}`] }));
  }
  const sources = stop.branches.length ? stop.branches.map((name) => `x.${name}`) : ["x"];
  const more = stop.kind === "Linear" ? ["weight"] : [];
  return [{ id: "forward", title: "forward", of: "y", panels: [...sources, "y", ...more] }];
}

function backwardViews(stop) {
  if (stop.kind === "fork") {
    const panels = [...stop.branches.map((name) => `dy.${name}`), "dx"];
    return [{ id: "gather", title: "gather", hint: "the branches' gradients add up", of: "dx", panels }];
  }
  if (stop.branches.length) {
    return stop.branches.map((name) => (
      { id: `to ${name}`, title: `back to ${name}`, of: `dx.${name}`, panels: ["dy", `dx.${name}`] }));
  }
  const needs = { MaxPool2d: ["x"], ReLU: ["x"], LeakyReLU: ["x"], BatchNorm2d: ["x"], Linear: ["weight"] }[stop.kind] ?? [];
  const isConvolution = CONVOLUTIONS.includes(stop.kind);
  const views = [{
    id: "gather", title: "gather", hint: "what makes this dx", of: "dx",
    panels: ["dy", "dx", ...needs],
  }];
  if (hasLinks(stop)) {
    views.push({
      id: "scatter", title: "scatter", hint: "where this dy goes", of: "dy", panels: ["dy", "dx"],
    });
  }
  if (stop.shapes.weight) views.push({ id: "weight", title: "dW", hint: "the gradient of a weight", of: "dweight", panels: isConvolution ? ["dy", "x"] : ["dy", "x", "dweight"] });
  if (stop.shapes.bias) views.push({ id: "bias", title: "db", hint: "the gradient of a bias", of: "dbias", panels: ["dy", "dbias"] });
  return views;
}
