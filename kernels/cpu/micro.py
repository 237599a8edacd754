"""The inner loops of all convolutions, emitted as vector code for this machine.

A compiler turns a plain loop into vector instructions, but it does not keep a whole tile of results in registers while
it walks through a kernel's taps, and that is where the speed is. So these loops are written as LLVM instructions;
everything above them is ordinary @njit code.

    dot_tile      R outputs x V vectors of pixels:   y[o][v] = bias[o] + sum over taps k of w[k][o] * x[offset[k] + v]
    inner_tile    R rows x S taps:                   c[r][k] += sum over pixels p of a[r][p] * x[offset[k] + p]

R*V multiply-adds share V vector loads and R loads of a single number, and their sums never leave the registers. That
ratio, and enough independent sums to hide the latency of a multiply-add, is all the art there is.

How many lanes and registers there are is asked of the host: AVX-512, AVX2 or NEON; anything else computes with scalars.
Source: Goto and van de Geijn, Anatomy of high-performance matrix multiplication (2008).
"""

import os
from typing import NamedTuple

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

INT, LANE = ir.IntType(64), ir.IntType(32)


class Machine(NamedTuple):
    """A vector unit: its name, the bytes in one register, and the tile that its registers hold."""

    name: str
    vector_bytes: int
    pixels_tile: tuple  # (R, V) of dot_tile
    inner_tile: tuple  # (R, S) of inner_tile; R*S is a multiple of the lanes, so that sums of lanes fill vectors


MACHINES = {
    "avx512": Machine("avx512", 64, (8, 3), (4, 4)),  # 32 registers, 24 of them for sums
    "avx2": Machine("avx2", 32, (4, 3), (4, 2)),  # 16 registers, 12 of them for sums
    "neon": Machine("neon", 16, (4, 4), (4, 4)),  # 32 registers, 16 of them for sums
    "scalar": Machine("scalar", 0, (2, 2), (2, 2)),
}
FORCED = os.environ.get("MINISEGNET_SIMD")  # one of these names, to try another machine's code


def this_machine():
    """The Machine to compute with: the host's, or the forced one."""
    if FORCED:
        if FORCED not in MACHINES:
            raise ValueError(f"MINISEGNET_SIMD={FORCED!r} is unknown; expected one of {', '.join(MACHINES)}")
        return MACHINES[FORCED]
    has = llvmlite.binding.get_host_cpu_features()
    for name, features in (("avx512", ["avx512f"]), ("avx2", ["avx2", "fma"]), ("neon", ["neon"])):
        if all(has.get(feature) for feature in features):
            return MACHINES[name]
    return MACHINES["scalar"]


MACHINE = this_machine()


def lanes(dtype):
    """How many numbers of `dtype` (a NumPy or Numba one) a vector register holds."""
    bits = dtype.bitwidth if hasattr(dtype, "bitwidth") else 8 * dtype.itemsize
    return max(1, 8 * MACHINE.vector_bytes // bits)


class Emitter:
    """Writes vector instructions for one element type into a function that Numba is building."""

    def __init__(self, builder, numba_float):
        self.builder, self.count = builder, lanes(numba_float)
        self.element = ir.FloatType() if numba_float == types.float32 else ir.DoubleType()
        self.bytes = numba_float.bitwidth // 8
        self.vector = ir.VectorType(self.element, self.count) if self.count > 1 else self.element
        shape = f"v{self.count}" if self.count > 1 else ""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self.fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.{shape}f{8 * self.bytes}")

    def at(self, pointer, index):
        return self.builder.gep(pointer, [index if isinstance(index, ir.Value) else ir.Constant(INT, index)])

    def load(self, pointer):
        """A vector from an address that need not be a multiple of its size."""
        value = self.builder.load(self.builder.bitcast(pointer, self.vector.as_pointer()))
        value.align = self.bytes
        return value

    def store(self, vector, pointer):
        self.builder.store(vector, self.builder.bitcast(pointer, self.vector.as_pointer())).align = self.bytes

    def repeat(self, number):
        """A vector with the same number in each lane."""
        if self.count == 1:
            return number
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(nothing, number, ir.Constant(LANE, 0))
        everywhere = ir.Constant(ir.VectorType(LANE, self.count), [0] * self.count)
        return self.builder.shuffle_vector(first, nothing, everywhere)

    def at_least(self, floor, vector):
        """The larger of the two in each lane; a NaN in vector stays."""
        return self.builder.select(self.builder.fcmp_ordered(">", floor, vector), floor, vector)

    def pick(self, a, b, lanes):
        """A vector of some lanes of a and b, one after the other."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(LANE, self.count), lanes))

    def sum_lanes(self, vectors):
        """In lane l the sum of all lanes of vectors[l]: halves are added to halves until one vector is left."""
        even, odd = list(range(0, 2 * self.count, 2)), list(range(1, 2 * self.count, 2))
        while len(vectors) > 1:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self.builder.fadd(self.pick(x, y, even), self.pick(x, y, odd)) for x, y in pairs]
        return vectors[0]

    def sum_loop(self, count, first, body):
        """sums = first; for p in range(count): sums = body(p, sums), all in registers. Returns the last sums."""
        b = self.builder
        before, loop, after = b.block, b.append_basic_block("loop"), b.append_basic_block("done")
        b.cbranch(b.icmp_signed(">", count, ir.Constant(INT, 0)), loop, after)
        b.position_at_end(loop)
        p = b.phi(INT)
        running = [b.phi(self.vector) for _ in first]
        added = body(p, running)
        following = b.add(p, ir.Constant(INT, 1))
        for phi, start, value in zip([p, *running], [ir.Constant(INT, 0), *first], [following, *added], strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(value, loop)
        b.cbranch(b.icmp_signed("<", following, count), loop, after)
        b.position_at_end(after)
        results = [b.phi(self.vector) for _ in first]
        for phi, start, value in zip(results, first, added, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(value, loop)
        return results


def data(context, builder, signature, args, index):
    """The address of the first number of an array among the arguments."""
    return cgutils.create_struct_proxy(signature.args[index])(context, builder, value=args[index]).data


def dot_tile(rows, vectors):
    """The intrinsic dot(y, y0, y_step, w, w0, x, x0, x_step, offsets, taps, bias, b0, floor).

    y[y0 + o*y_step + v*lanes + l] = bias[b0 + o] + sum over k < taps of
    w[w0 + k*rows + o] * x[x0 + offsets[k] + v*x_step + l], for o < rows, v < vectors, but at least floor: 0 makes it a
    ReLU, -inf changes nothing. Arrays are flat and contiguous.
    """

    @intrinsic
    def dot(typing, y, y0, y_step, w, w0, x, x0, x_step, offsets, taps, bias, b0, floor):
        i = types.int64
        signature = types.void(y, i, i, w, i, x, i, i, offsets, i, bias, i, y.dtype)

        def generate(context, builder, signature, args):
            emit = Emitter(builder, signature.args[0].dtype)
            y, w, x, offsets, bias = (data(context, builder, signature, args, i) for i in (0, 3, 5, 8, 10))
            y, w, x, bias = (emit.at(a, args[i]) for a, i in ((y, 1), (w, 4), (x, 6), (bias, 11)))
            steps = [builder.mul(args[7], ir.Constant(INT, v)) for v in range(vectors)]

            def tap(k, sums):
                pixels = emit.at(x, builder.load(emit.at(offsets, k)))
                loaded = [emit.load(emit.at(pixels, step)) for step in steps]
                weights = emit.at(w, builder.mul(k, ir.Constant(INT, rows)))
                repeated = [emit.repeat(builder.load(emit.at(weights, o))) for o in range(rows)]
                pairs = [(weight, pixel) for weight in repeated for pixel in loaded]
                return [builder.call(emit.fma, [a, b, c]) for (a, b), c in zip(pairs, sums, strict=True)]

            start = [emit.repeat(builder.load(emit.at(bias, o))) for o in range(rows) for _ in range(vectors)]
            sums = emit.sum_loop(args[9], start, tap)
            floor = emit.repeat(args[12])
            for o in range(rows):
                row = emit.at(y, builder.mul(args[2], ir.Constant(INT, o)))
                for v in range(vectors):
                    emit.store(emit.at_least(floor, sums[o * vectors + v]), emit.at(row, v * emit.count))
            return context.get_dummy_value()

        return signature, generate

    return dot


def inner_tile(rows, columns):
    """The intrinsic inner(c, c0, a, a0, a_step, x, x0, offsets, k0, vectors).

    c[c0 + r*columns + k] += sum over p < vectors*lanes of a[a0 + r*a_step + p] * x[x0 + offsets[k0 + k] + p], for
    r < rows, k < columns. Arrays are flat and contiguous.
    """

    @intrinsic
    def inner(typing, c, c0, a, a0, a_step, x, x0, offsets, k0, vectors):
        i = types.int64
        signature = types.void(c, i, a, i, i, x, i, offsets, i, i)

        def generate(context, builder, signature, args):
            emit = Emitter(builder, signature.args[0].dtype)
            c, a, x, table = (emit.at(data(context, builder, signature, args, i), args[i + 1]) for i in (0, 2, 5, 7))
            rows_of_a = [emit.at(a, builder.mul(args[4], ir.Constant(INT, r))) for r in range(rows)]
            rows_of_x = [emit.at(x, builder.load(emit.at(table, k))) for k in range(columns)]

            def vector(p, sums):
                start = builder.mul(p, ir.Constant(INT, emit.count))
                right = [emit.load(emit.at(row, start)) for row in rows_of_x]
                left = [emit.load(emit.at(row, start)) for row in rows_of_a]
                pairs = [(x, y) for x in left for y in right]
                return [builder.call(emit.fma, [x, y, total]) for (x, y), total in zip(pairs, sums, strict=True)]

            zero = emit.repeat(ir.Constant(emit.element, 0.0))
            sums = emit.sum_loop(args[9], [zero] * (rows * columns), vector)
            for k in range(0, len(sums), emit.count):
                place = emit.at(c, k)
                emit.store(builder.fadd(emit.load(place), emit.sum_lanes(sums[k : k + emit.count])), place)
            return context.get_dummy_value()

        return signature, generate

    return inner
