"""The CPU backend: Numba kernels for the ops that a training step spends its time in.

What is not here is taken from `reference`. The convolution is a ladder; each rung has one more idea than the last, and
all of them pass the same tests:

    1 loops      reference/conv_loops.py     what a convolution is
    2 windows    reference/conv.py           one NumPy sum of products over a view of all windows
    3 im2col     cpu/conv_im2col.py          the windows written out as a matrix, then BLAS
    4 parallel   cpu/conv_parallel.py        the loops again, compiled, along rows, on all cores
    5 micro      cpu/conv.py, micro.py       sums kept in vector registers, input rows kept in the cache

`kernels.use("cpu", conv="im2col")` takes another rung than the last.
"""

from .activation import relu_backward, relu_forward
from .conv import (
    conv2d_backward_bias,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
    conv_transpose2d_backward_input,
    conv_transpose2d_backward_weight,
    conv_transpose2d_forward,
)
from .join import add_forward, concat_forward
from .norm import (
    batch_norm_eval_backward,
    batch_norm_eval_forward,
    batch_norm_train_backward,
    batch_norm_train_forward,
)
from .pool import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
    max_unpool2d_backward,
    max_unpool2d_forward,
)
from .resize import (
    upsample_bilinear2d_backward,
    upsample_bilinear2d_forward,
    upsample_nearest2d_backward,
    upsample_nearest2d_forward,
)
from .softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from .update import adam_update, sgd_update
