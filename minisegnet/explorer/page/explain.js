// Where does this number come from? One explainer for each kind of layer and each of its arrays.

import { finished } from "./explanation.js";
import {
  convY, convDx, convDweight, convDbias, transposedY, transposedDx, transposedDweight,
  linearY, linearDx, linearDweight, linearDbias,
} from "./explain_conv.js";
import {
  sharing, sharedY, sharedDx, maxPoolY, maxPoolDx, unpoolY, unpoolDx, sumY, sumDx, concatY, concatDx, forkY, forkDx,
  flattenY, flattenDx,
} from "./explain_maps.js";
import {
  gateOf, dropoutOf, curveY, sigmoidDx, tanhDx, identityY, identityDx, normY, normDx, normDweight, normDbias, lossDscores, lossP, lossValue,
} from "./explain_elements.js";

const gate = { y: gateOf("y"), dx: gateOf("dx") };
const EXPLAINERS = {
  Conv2d: { y: convY, dx: convDx, dweight: convDweight, dbias: convDbias },
  ConvTranspose2d: { y: transposedY, dx: transposedDx, dweight: transposedDweight, dbias: convDbias },
  Linear: { y: linearY, dx: linearDx, dweight: linearDweight, dbias: linearDbias },
  BatchNorm2d: { y: normY, dx: normDx, dweight: normDweight, dbias: normDbias },
  MaxPool2d: { y: maxPoolY, dx: maxPoolDx },
  unpool: { y: unpoolY, dx: unpoolDx },
  ReLU: gate,
  LeakyReLU: gate,
  Dropout: { y: dropoutOf("y"), dx: dropoutOf("dx") },
  Sigmoid: {
    y: curveY("sigmoid", "1 / (1 + exp(−x))", (x) => 1 / (1 + Math.exp(-x))),
    dx: sigmoidDx,
  },
  Tanh: { y: curveY("tanh", "tanh(x)", Math.tanh), dx: tanhDx },
  Identity: { y: identityY, dx: identityDx },
  Flatten: { y: flattenY, dx: flattenDx },
  fork: { y: forkY, dx: forkDx },
  sum: { y: sumY, dx: sumDx },
  concat: { y: concatY, dx: concatDx },
  CrossEntropyLoss: { dscores: lossDscores, p: lossP, value: lossValue },
  ...Object.fromEntries(sharing.map((kind) => [kind, { y: sharedY, dx: sharedDx }])),
};

// The explanation of one element of one array of a stop: see explanation.js.
export function explain(pass, stop, of, index) {
  const [base, branch] = split(of);
  const explainer = EXPLAINERS[stop.kind][base];
  return finished(pass, stop, of, index, explainer(pass, stop, index, branch));
}

// "dx.skip" is the array dx of the branch skip.
export function split(of) {
  const dot = of.indexOf(".");
  return dot < 0 ? [of, null] : [of.slice(0, dot), of.slice(dot + 1)];
}
