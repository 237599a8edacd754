"""Winograd's transforms of tiles, emitted as vector code: `lanes` neighbouring tiles at a time, one in each lane.

A tile of 4x4 outputs of a 3x3 convolution needs 6x6 inputs. In one dimension: four outputs y of three weights g over
six inputs d are y = Aᵀ [(G g) * (B d)], where * multiplies element by element: 6 products instead of 12. In two
dimensions the matrices act on rows and on columns, and 36 products do the work of 144:

    U = G g Gᵀ      V = B d Bᵀ      Y = Aᵀ (U * V) A

Summed over the input channels, each of the 36 entries of U * V is an entry of a matrix product. Backward is the chain
rule through these lines: with Z = A dY Aᵀ the gradient of U is Z * V, and that of g is Gᵀ (Z * V) G.

The matrices come from polynomials at the points 0, 1, -1, 2, -2 and infinity. Points of opposite sign share their even
and their odd part, which halves the additions.

The price: rounding errors are about ten times those of the direct sum, and relative to the largest number of a tile;
an infinity or NaN spreads to the whole tile, as NaN.

Source: Winograd, Arithmetic complexity of computations (1980); Lavin and Gray, Fast algorithms for convolutional neural
networks (2016).
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .micro import INT, Emitter, data

STEP, TILE, TERMS = 4, 6, 36  # outputs and inputs of a tile along each axis; products for a tile
B = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0]], float)
B = np.concatenate([B, [[0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]])
G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
A = np.array([[1, 0, 0, 0], [1, 1, 1, 1], [1, -1, 1, -1], [1, 2, 4, 8], [1, -2, 4, -8], [0, 0, 0, 1]], float)


class TileEmitter(Emitter):
    """Adds to the vector instructions what transforms of tiles are made of."""

    def constant(self, number):
        return self.repeat(ir.Constant(self.element, float(number)))

    def combine(self, coefficients, vectors):
        """Σ coefficient * vector, or None where all are 0."""
        total, b = None, self.builder
        for k, v in sorted(zip(coefficients, vectors, strict=True), key=lambda pair: pair[0] != 1):  # a 1 to start with
            if k == 0 or v is None:
                continue
            if total is None:
                total = v if k == 1 else b.fmul(self.constant(k), v)
            elif abs(k) == 1:
                total = b.fadd(total, v) if k == 1 else b.fsub(total, v)
            else:
                total = b.call(self.fma, [self.constant(k), v, total])
        return total

    def apply(self, matrix, vectors):
        """matrix @ vectors. Neighbouring rows that differ in the signs of odd columns only share what they can."""
        signs, results = (-1) ** np.arange(matrix.shape[1]), []
        while len(results) < len(matrix):
            row = matrix[len(results)]
            pair = len(results) + 1 < len(matrix) and np.array_equal(matrix[len(results) + 1], row * signs)
            if not pair:
                results.append(self.combine(row, vectors))
                continue
            even, odd = self.combine(row * (signs > 0), vectors), self.combine(row * (signs < 0), vectors)
            results += [self.builder.fadd(even, odd), self.builder.fsub(even, odd)]
        return results

    def apply_transposed(self, matrix, vectors):
        """matrix.T @ vectors, with sums and differences of the same pairs of rows."""
        signs, vectors, rows = (-1) ** np.arange(matrix.shape[1]), list(vectors), matrix.copy()
        for i in range(len(matrix) - 1):
            if np.array_equal(matrix[i + 1], matrix[i] * signs):
                x, y = vectors[i], vectors[i + 1]
                vectors[i], vectors[i + 1] = self.builder.fadd(x, y), self.builder.fsub(x, y)
                rows[i], rows[i + 1] = matrix[i] * (signs > 0), matrix[i] * (signs < 0)
        return [self.combine(column, vectors) for column in rows.T]

    def load_columns(self, pointer, columns):
        """For each of the first `columns` columns of a tile a vector of that column in `lanes` tiles."""
        n = self.count
        if n == 1:
            return [self.load(self.at(pointer, p)) for p in range(columns)]
        even, odd = list(range(0, 2 * n, 2)), list(range(1, 2 * n, 2))
        v = [self.load(self.at(pointer, p * n)) for p in range(STEP)]
        halves = [[self.pick(v[p], v[p + 1], lanes) for p in (0, 2)] for lanes in (even, odd)]
        (first, third), (second, fourth) = ([self.pick(*half, lanes) for lanes in (even, odd)] for half in halves)
        found = [first, second, third, fourth]
        for p in range(STEP, columns):  # the first columns of the next tile: one lane further, and a last one
            last = self.repeat(self.builder.load(self.at(pointer, STEP * n + p - STEP)))
            found.append(self.pick(found[p - STEP], last, list(range(1, n + 1))))
        return found

    def store_columns(self, columns, pointer):
        """The inverse for four columns: neighbouring tiles side by side again."""
        n = self.count
        if n > 1:
            low = [i // 2 + i % 2 * n for i in range(n)]
            high = [i + n // 2 for i in low]
            first, second, third, fourth = columns
            halves = [[self.pick(first, third, lanes), self.pick(second, fourth, lanes)] for lanes in (low, high)]
            columns = [self.pick(*half, lanes) for half in halves for lanes in (low, high)]
        for p, vector in enumerate(columns):
            self.store(vector, self.at(pointer, p * n))


def tiles_in(matrix):
    """The intrinsic into(v, v0, v_step, x, x0, pitch).

    v[v0 + (TILE*i + j)*v_step + l] = (matrix X matrixᵀ)[i, j], X the square at x[x0 + l*STEP] of rows `pitch` apart,
    for l < lanes.
    """

    @intrinsic
    def into(typing, v, v0, v_step, x, x0, pitch):
        i = types.int64
        signature = types.void(v, i, i, x, i, i)

        def generate(context, builder, signature, args):
            emit = TileEmitter(builder, signature.args[0].dtype)
            v, x = (emit.at(data(context, builder, signature, args, i), args[i + 1]) for i in (0, 3))
            size, rows = matrix.shape[1], []
            for r in range(size):
                row = emit.at(x, builder.mul(args[5], ir.Constant(INT, r)))
                rows.append(emit.apply(matrix, emit.load_columns(row, size)))
            for j in range(TILE):
                for i, vector in enumerate(emit.apply(matrix, [row[j] for row in rows])):
                    emit.store(vector, emit.at(v, builder.mul(args[2], ir.Constant(INT, TILE * i + j))))
            return context.get_dummy_value()

        return signature, generate

    return into


@intrinsic
def tiles_out(typing, y, y0, pitch, m, m0, m_step, bias, o, floor):
    """Y = max(Aᵀ M A + bias[o], floor), the square at y[y0 + l*STEP]; M[i, j] = m[m0 + (TILE*i + j)*m_step + l]."""
    i = types.int64
    signature = types.void(y, i, i, m, i, i, bias, i, y.dtype)

    def generate(context, builder, signature, args):
        emit = TileEmitter(builder, signature.args[0].dtype)
        y, m, b = (emit.at(data(context, builder, signature, args, i), args[at]) for i, at in ((0, 1), (3, 4), (6, 7)))
        shift, floor = emit.repeat(builder.load(b)), emit.repeat(args[8])
        columns = []
        for j in range(TILE):
            terms = [emit.load(emit.at(m, builder.mul(args[5], ir.Constant(INT, TILE * i + j)))) for i in range(TILE)]
            columns.append(emit.apply_transposed(A, terms))
        for r in range(STEP):
            row = emit.apply_transposed(A, [column[r] for column in columns])
            values = [emit.at_least(floor, builder.fadd(value, shift)) for value in row]
            emit.store_columns(values, emit.at(y, builder.mul(args[2], ir.Constant(INT, r))))
        return context.get_dummy_value()

    return signature, generate
