"""Four numbers at a time: loads and stores of 16 bytes (float32) or twice 16 (float64).

A thread's request to memory costs an instruction and a slot in a queue whether it is for 4 bytes or for 16. The numbers
must lie one after the other, the first at a multiple of 16 bytes. From shared memory the compiler merges four loads
into one by itself where it knows this (`ALIGNMENT`); of an array in global memory it can't know, so `four` and
`put_four` tell it. In the simulator they are what they mean.
"""

from llvmlite import ir
from numba import types

from .launch import SIMULATED

ALIGNMENT = None if SIMULATED else 16  # of shared arrays: cuda.shared.array(SIZE, dtype, alignment=ALIGNMENT)

if SIMULATED:

    def four(array, index):
        """(array[index], ..., array[index + 3]) of a flat array; index is a multiple of 4."""
        return tuple(array[int(index) + q] for q in range(4))

    def put_four(array, index, a, b, c, d):
        """array[index : index + 4] = a, b, c, d of a flat array; index is a multiple of 4."""
        array[int(index) : int(index) + 4] = a, b, c, d

else:
    from numba.cuda.extending import intrinsic

    def pointer_to_four(context, builder, array_type, array, index):
        data = context.make_array(array_type)(context, builder, array).data
        number = context.get_data_type(array_type.dtype)
        place = builder.gep(data, [builder.zext(index, ir.IntType(64))])
        return builder.bitcast(place, ir.VectorType(number, 4).as_pointer())

    @intrinsic
    def four(typing_context, array, index):
        def generate(context, builder, signature, arguments):
            place = pointer_to_four(context, builder, array, *arguments)
            loaded = builder.load(place, align=16)
            parts = [builder.extract_element(loaded, ir.Constant(ir.IntType(32), q)) for q in range(4)]
            return context.make_tuple(builder, signature.return_type, parts)

        return types.UniTuple(array.dtype, 4)(array, index), generate

    @intrinsic
    def put_four(typing_context, array, index, a, b, c, d):
        def generate(context, builder, signature, arguments):
            place = pointer_to_four(context, builder, array, *arguments[:2])
            vector = ir.Constant(place.type.pointee, ir.Undefined)
            for q, value in enumerate(arguments[2:]):
                vector = builder.insert_element(vector, value, ir.Constant(ir.IntType(32), q))
            builder.store(vector, place, align=16)
            return context.get_dummy_value()

        number = array.dtype
        return types.void(array, index, number, number, number, number), generate
