// Passes over the whole net: where they take seconds, the page says so before it is busy.

import { sizeOf } from "./tensor.js";

const MANY = 5e6; // numbers in the maps of a pass, beyond which a pass takes seconds

// Do the work; in a large net after "computing …" has been drawn into `root`, which the work draws anew.
export function computing(pass, root, work) {
  const size = pass.stops.reduce((sum, stop) => sum + sizeOf(stop.shapes.y ?? stop.shapes.x), 0);
  if (size <= MANY) {
    work();
    return;
  }
  root.innerHTML = '<p role="status">computing …</p>';
  setTimeout(work, 50); // by then the words are on the screen
}
