// The recorded pass: decodes arrays when they are first asked for, and derives those that did not travel.

import { forward, backward, gradients } from "./compute.js";
import { softmax, minusLogs, labelCosts, pixelParts } from "./compute_loss.js";

const KINDS = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array };

export class Pass {
  constructor(manifest, text) {
    this.about = manifest;
    this.text = text; // function: the base64 text of an array
    this.decoded = new Map();
    this.derived = new Map();
    this.stops = manifest.stops;
    this.loss = manifest.loss;
    this.stops.forEach((stop, number) => Object.assign(stop, { number }));
    this.loss.number = -1;
    const last = this.stops.length;
    this.timeline = [
      ...this.stops.map((stop, k) => ({ id: `F${k + 1}`, pass: "F", stop })),
      { id: "loss", pass: "L", stop: this.loss },
      ...this.stops.map((_, k) => ({ id: `B${last - k}`, pass: "B", stop: this.stops[last - 1 - k] })),
    ];
  }

  decode(key) {
    if (!this.decoded.has(key)) {
      const { dtype, shape } = this.about.arrays[key];
      const binary = atob(this.text(key));
      const bytes = new Uint8Array(binary.length);
      for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
      this.decoded.set(key, { data: new KINDS[dtype](bytes.buffer), shape });
    }
    return this.decoded.get(key);
  }

  get classWeights() {
    return this.has(this.loss, "weight") ? this.array(this.loss, "weight") : null;
  }

  // Whether an array of a stop is as it was recorded: sent with the page, or made from such ones by copying alone.
  isRecorded(stop, name) {
    if (stop.arrays[name]) return true;
    if (stop.sources[name]) return this.isRecorded(...this.source(stop, name));
    if (stop === this.loss) return name === "scores" && this.isRecorded(this.stops.at(-1), "y");
    const base = name.split(".")[0];
    if (!this.about.copies[base]?.includes(stop.kind)) return false;
    return this.names(stop, base === "y" ? "x" : "dy").every((one) => this.isRecorded(stop, one));
  }

  // [stop, name] of the array that this one is: its x forward, its dy backward.
  source(stop, name) {
    const [number, there] = stop.sources[name];
    return [number < 0 ? this.loss : this.stops[number], there];
  }

  has(stop, name) {
    return name in stop.shapes;
  }

  // Any array of a stop by name: x, y, dy, dx, a parameter, its gradient, argmax.
  array(stop, name) {
    if (stop.arrays[name]) return this.decode(stop.arrays[name]);
    if (stop.sources[name]) return this.array(...this.source(stop, name));
    const key = `${stop.number} ${name}`;
    if (!this.derived.has(key)) this.derive(stop, name);
    return this.derived.get(key);
  }

  derive(stop, name) {
    const get = (wanted) => this.array(stop, wanted);
    const keep = (found) => {
      for (const [made, tensor] of Object.entries(found)) this.derived.set(`${stop.number} ${made}`, tensor);
    };
    if (stop === this.loss) keep(this.ofLoss(name, get));
    else if (name.split(".")[0] === "y") keep(forward(stop, get));
    else if (name.split(".")[0] === "dx") keep(backward(stop, get));
    else keep(gradients(stop, get));
    if (!this.derived.has(`${stop.number} ${name}`)) throw new Error(`${stop.name} has no array ${name}`);
  }

  ofLoss(name, get) {
    if (name === "scores") return { scores: this.array(this.stops.at(-1), "y") };
    if (name === "p") return { p: softmax(get("scores")) };
    if (name === "−log p") return { [name]: minusLogs(get("scores")) };
    if (name === "−log p[t]") return { [name]: labelCosts(this.loss, get("−log p"), get("target")) };
    if (name === "parts") return { parts: pixelParts(this.loss, get("−log p"), get("target"), this.classWeights) };
    return {};
  }

  shape(stop, name) {
    return stop.shapes[name] ?? this.array(stop, name).shape;
  }

  // Names of a stop's arrays of one kind: ["x"], or ["x.skip", "x.coarse"] for what has branches.
  names(stop, base) {
    return Object.keys(stop.shapes).filter((name) => name === base || name.startsWith(`${base}.`));
  }
}

export function readPass(document) {
  const manifest = JSON.parse(document.getElementById("manifest").textContent);
  return new Pass(manifest, (key) => document.getElementById(key).textContent);
}

