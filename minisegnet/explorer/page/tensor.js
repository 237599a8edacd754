// A tensor is { data, shape }: a typed array in row-major order, as NumPy keeps it. An index is a list of numbers.

export function sizeOf(shape) {
  return shape.reduce((product, n) => product * n, 1);
}

export function zeros(shape) {
  return { data: new Float64Array(sizeOf(shape)), shape: [...shape] };
}

// Where an element is in the typed array: ((n*C + c)*H + i)*W + j.
export function offset(shape, index) {
  let place = 0;
  for (let axis = 0; axis < shape.length; axis++) place = place * shape[axis] + index[axis];
  return place;
}

// The index of the element at a place of the typed array: the inverse of offset.
export function indexAt(shape, place) {
  const index = new Array(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = place % shape[axis];
    place = Math.floor(place / shape[axis]);
  }
  return index;
}

// The element with this index; an index outside is a mistake of this program, not of the reader.
export function at(tensor, index) {
  if (!isInside(tensor.shape, index)) throw new RangeError(`[${index}] is no element of an array of shape ${tensor.shape}`);
  return tensor.data[offset(tensor.shape, index)];
}

export function isInside(shape, index) {
  return index.length === shape.length && index.every((i, axis) => Number.isInteger(i) && i >= 0 && i < shape[axis]);
}

// Any tensor as maps: how many there are, and the height and width of each. A vector is a row of maps of one pixel.
export function asMaps(shape) {
  if (shape.length === 4) return { count: shape[0] * shape[1], height: shape[2], width: shape[3] };
  if (shape.length === 2) return { count: 1, height: shape[0], width: shape[1] };
  return { count: 1, height: 1, width: sizeOf(shape) };
}

// The map that an element is in: [number of the map, row, column], and back.
export function toMap(shape, index) {
  if (shape.length === 4) return [index[0] * shape[1] + index[1], index[2], index[3]];
  if (shape.length === 2) return [0, index[0], index[1]];
  return [0, 0, offset(shape, index)];
}

export function fromMap(shape, map, row, column) {
  if (shape.length === 4) return [Math.floor(map / shape[1]), map % shape[1], row, column];
  if (shape.length === 2) return [row, column];
  return indexAt(shape, column);
}

// Square root of the sum of squares.
export function norm(tensor) {
  let sum = 0;
  for (const value of tensor.data) sum += value * value;
  return Math.sqrt(sum);
}

// Smallest and largest value of a part of a typed array.
export function range(data, from = 0, to = data.length) {
  let low = Infinity, high = -Infinity;
  for (let i = from; i < to; i++) {
    if (data[i] < low) low = data[i];
    if (data[i] > high) high = data[i];
  }
  return [low, high];
}
