// Where does one dy go? The same products as in the sums of dx, ordered by their dy.

import { at, number, group, brackets } from "./explanation.js";
import { shifted } from "./explain_conv.js";
import { at as element } from "./tensor.js";
import { linksOf, pick } from "./links.js";

// { symbols, picked, groups, targets, note }: targets are the elements of dx that the products are added to.
export function scatter(pass, stop, index) {
  const [n, o, i, j] = index;
  const dy = at(pass, stop, "dy", [index]);
  if (stop.kind === "MaxPool2d") {
    const where = element(pass.array(stop, "argmax"), index);
    const W = stop.shapes.x[3];
    const target = [n, o, Math.floor(where / W), where % W];
    return {
      symbols: "dx[n,c, the switch of (i,j)] += dy[n,c,i,j]: all of it goes to the winner",
      picked: `dx${brackets(target)} += dy${brackets(index)}`,
      groups: [group([dy])], targets: [target], note: "the other pixels of the window get nothing",
    };
  }
  const [rows, columns] = linksOf(stop).map((links, axis) => pick(links, "out", [i, j][axis]));
  if (!stop.shapes.weight) {
    const pairs = rows.flatMap((row) => columns.map((column) => [row, column]));
    const share = number("share", pairs.map(([row, column]) => row.share * column.share));
    return {
      symbols: "dx[n,c,a,b] += dy[n,c,i,j] · share, for each pixel (a,b) that forward has read here",
      picked: `dx[${n},${o},a,b] += dy${brackets(index)} · share`,
      groups: [group([dy, share])], targets: pairs.map(([row, column]) => [n, o, row.inp, column.inp]),
      note: "the gradient is shared out by the same shares as the value was made",
    };
  }
  const { groups, in_channels: C, out_channels: O } = stop.config;
  const [inputs, outputs] = [C / groups, O / groups];
  const first = Math.floor(o / outputs) * inputs;
  const isTransposed = stop.kind === "ConvTranspose2d";
  const [targets, weights] = [[], []];
  for (let c = 0; c < inputs; c++) {
    for (const row of rows) {
      for (const column of columns) {
        targets.push([n, first + c, row.inp, column.inp]);
        weights.push([...(isTransposed ? [first + c, o % outputs] : [o, c]), row.tap, column.tap]);
      }
    }
  }
  return {
    symbols: isTransposed
      ? "dx[n,c,i,j] += dy[n,o,a,b] · weight[c,o,r,s],   i·stride + r·dilation = a + padding, j alike"
      : "dx[n,c,a,b] += dy[n,o,i,j] · weight[o,c,r,s],   a = i·stride + r·dilation − padding, b alike",
    picked: `dx[${n},${shifted(first, "c")},…] += dy${brackets(index)} · weight[${isTransposed
      ? `${shifted(first, "c")},${o % outputs}` : `${o},c`},r,s]`,
    groups: [group([dy, at(pass, stop, "weight", weights)])], targets,
    note: "each product is one term in the sum of the dx that it is added to",
  };
}
