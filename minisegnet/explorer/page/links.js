// Which input pixel has a part in which output pixel: the same table as minisegnet/trace/links.py.
// A link says: output `out` reads input `inp`, through row (or column) `tap` of the kernel, with the factor `share`.
//
//   forward    y[i]  = sum over the links with out = i of x[inp] * (weight[tap] or share)
//   backward   dx[a] = sum over the links with inp = a of dy[out] * (weight[tap] or share)

export function pick(links, column, value) {
  return links.filter((link) => link[column] === value);
}

function windows(size, count, kernel, stride, before, dilation = 1) {
  const found = [];
  for (let i = 0; i < count; i++) {
    for (let r = 0; r < kernel; r++) {
      const place = i * stride + r * dilation - before;
      if (place >= 0 && place < size) found.push({ out: i, inp: place, tap: r, share: 1 });
    }
  }
  return found;
}

// Windows that share out evenly. What hangs over the padding never counts; padding may.
function averages(size, count, kernel, stride, pad, countPadding) {
  return windows(size, count, kernel, stride, pad).map((link) => {
    let start = link.out * stride - pad;
    let end = Math.min(start + kernel, size + pad);
    if (!countPadding) [start, end] = [Math.max(start, 0), Math.min(end, size)];
    return { ...link, share: 1 / (end - start) };
  });
}

function bins(size, count) {
  const found = [];
  for (let i = 0; i < count; i++) {
    const [first, end] = [Math.floor((i * size) / count), Math.ceil(((i + 1) * size) / count)];
    for (let a = first; a < end; a++) found.push({ out: i, inp: a, tap: 0, share: 1 / (end - first) });
  }
  return found;
}

function nearest(size, count, scale) {
  const found = [];
  for (let i = 0; i < count; i++) {
    const isWhole = count === size || count === 2 * size;
    const place = isWhole ? (i * size) / count : Math.fround(i) * Math.fround(scale);
    found.push({ out: i, inp: Math.min(Math.floor(Math.fround(place)), size - 1), tap: 0, share: 1 });
  }
  return found;
}

function bilinear(size, count, scale, alignCorners) {
  const found = [];
  for (let i = 0; i < count; i++) {
    let place = Math.max((i + 0.5) * scale - 0.5, 0);
    if (alignCorners) place = count > 1 ? (i * (size - 1)) / (count - 1) : 0;
    if (count === size) place = i;
    const low = Math.min(Math.floor(place), size - 1);
    const t = low + 1 < size ? Math.min(place - low, 1) : 0;
    if (t < 1) found.push({ out: i, inp: low, tap: 0, share: 1 - t });
    if (t > 0) found.push({ out: i, inp: low + 1, tap: 0, share: t });
  }
  return found;
}

// Zeros added or pixels cropped, evenly on both sides; the odd one at the end.
export function fitLinks(size, count) {
  const missing = Math.floor(Math.abs(count - size) / 2);
  const first = count >= size ? missing : -missing;
  const found = [];
  for (let i = 0; i < count; i++) {
    if (i - first >= 0 && i - first < size) found.push({ out: i, inp: i - first, tap: 0, share: 1 });
  }
  return found;
}

const GEOMETRY = {
  Conv2d: (c, axis, size, count) =>
    windows(size, count, c.kernel_size[axis], c.stride[axis], c.pads[axis][0], c.dilation[axis]),
  // here y is the larger side, which the windows slide over
  ConvTranspose2d: (c, axis, size, count) =>
    windows(count, size, c.kernel_size[axis], c.stride[axis], c.padding[axis], c.dilation[axis])
      .map((link) => ({ ...link, out: link.inp, inp: link.out })),
  MaxPool2d: (c, axis, size, count) =>
    windows(size, count, c.kernel_size[axis], c.stride[axis], c.padding[axis], c.dilation[axis]),
  AvgPool2d: (c, axis, size, count) =>
    averages(size, count, c.kernel_size[axis], c.stride[axis], c.padding[axis], c.count_include_pad),
  AdaptiveAvgPool2d: (c, axis, size, count) => bins(size, count),
  Upsample: resize,
  resize,
};

function resize(config, axis, size, count) {
  if (config.mode === "pad") return fitLinks(size, count);
  const scale = config.scale_factor ? 1 / config.scale_factor[axis] : size / count;
  if (config.mode === "nearest") return nearest(size, count, scale);
  return bilinear(size, count, scale, config.align_corners);
}

export function hasLinks(stop) {
  return stop.kind in GEOMETRY;
}

// [links of the rows, links of the columns] of a stop that works on maps.
export function linksOf(stop) {
  if (!stop.links) {
    const [x, y] = [stop.shapes.x, stop.shapes.y];
    stop.links = [0, 1].map((axis) => GEOMETRY[stop.kind](stop.config, axis, x[2 + axis], y[2 + axis]));
  }
  return stop.links;
}
