"""The GPU backend: every op of the table as kernels written by hand with numba-cuda. Arrays are Numba's device arrays.

How a gradient becomes a grid of threads: each number of the result belongs to one thread (or to one block, which adds
up in a tree). The thread gathers all that flows into its number; no two threads write to one place, so nothing depends
on who is first, and the same bits come out every time. The convolution is a ladder here too:

    1 plain    conv_plain.py          one thread for each number, reading all it needs from memory
    2 tiles    conv_tiles.py          a block reads an image tile and the weights once, into shared memory
    3 gemm     conv.py, gemm.py ...   a matrix product without a matrix: each thread keeps 8x8 sums in registers

`launch` starts kernels, `arrays` makes and checks arrays, `memory` keeps their memory for reuse, `transfer` copies
batches ahead of use, `faults` tells of bad labels, `reduce` adds up. All work goes into one queue; only what returns
a number to Python waits for it.

Without a GPU: NUMBA_ENABLE_CUDASIM=1, set before Python starts, runs the same kernels as Python threads, slowly; there
`print` and a debugger work inside a kernel.
"""

from .activation import (
    dropout_backward,
    dropout_forward,
    leaky_relu_backward,
    leaky_relu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from .arrays import assign, from_host, to_host, zeros_like
from .conv import (
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
    conv2d_relu_forward,
    conv_transpose2d_backward_input,
    conv_transpose2d_backward_weight,
    conv_transpose2d_forward,
)
from .housekeeping import (
    add_into,
    add_sign_into,
    batch_norm_running,
    dropout_mask,
    multiply_into,
    nonzero,
    scale,
    sum_of_squares,
    weighted_total,
)
from .join import add_forward, concat_backward, concat_forward
from .linear import linear_backward_input, linear_backward_weight, linear_forward
from .mean_pool import (
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool2d_forward,
    avg_pool2d_backward,
    avg_pool2d_forward,
)
from .norm import (
    batch_norm_eval_backward,
    batch_norm_eval_forward,
    batch_norm_relu_eval_backward,
    batch_norm_relu_eval_forward,
    batch_norm_relu_train_backward,
    batch_norm_relu_train_forward,
    batch_norm_train_backward,
    batch_norm_train_forward,
)
from .pool import max_pool2d_backward, max_pool2d_forward, max_unpool2d_backward, max_unpool2d_forward
from .reduce import total
from .resize import (
    fit2d_backward,
    fit2d_forward,
    upsample_bilinear2d_backward,
    upsample_bilinear2d_forward,
    upsample_nearest2d_backward,
    upsample_nearest2d_forward,
)
from .softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    softmax_forward,
)
from .sums import conv2d_backward_bias, linear_backward_bias
from .update import adam_update, sgd_update
