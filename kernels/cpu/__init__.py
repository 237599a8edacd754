"""The CPU backend: Numba kernels for the ops that a training step spends its time in.

What is not here is taken from `reference`. The convolution is a ladder; each rung has one more idea than the last, and
all of them pass the same tests:

    1 loops      reference/conv_loops.py     what a convolution is                                            0.002
    2 windows    reference/conv.py           one NumPy sum of products over a view of all windows            38
    3 im2col     cpu/conv_im2col.py          the windows written out as a matrix, then BLAS                  69
    4 parallel   cpu/conv_parallel.py        the loops again, compiled, along rows, on all cores             15
    5 micro      cpu/conv.py, micro.py       sums kept in vector registers, rows in the cache               110
    6 winograd   cpu/winograd.py             3x3: tiles transformed, a quarter of the products does         189
                 cpu/dilated.py              dilated: pixels d apart side by side, no products with padding

The last column is GFLOP/s forward, 32 to 32 channels at 4x88x120 (loops: one map of 11x15), with two threads of an AMD
EPYC: `minisegnet bench ops --rung NAME --only "conv 3x3 forward"`.

`kernels.use("cpu", conv="im2col")` takes another rung than the last. The last one rounds about ten times as coarsely as
the one before, relative to the largest number among 6x6 pixels, and where one of them is infinite or NaN it gives NaN;
with dilation these are pixels d apart.

Compiling. A kernel is compiled for one type of number when it is first called with it, for the processor it runs on
(`jit`). If that takes more than a second in sum, a line on stderr says so. The result is kept on disk (`cache`), in
$NUMBA_CACHE_DIR or else in __pycache__ beside the source, and is loaded from there in milliseconds. After any edit in
this folder everything is compiled anew. Damaged files are replaced; where nothing can be written, every process
compiles; one RuntimeWarning tells of either.

Threads. The work over images, channels or blocks is shared by as many threads as the process may use cores, or as
NUMBA_NUM_THREADS says, or `kernels.set_num_threads(n)`. One thread computes each number, always in the same order, so
the results are the same bits on any number of threads. They wait asleep, and the kernels don't call BLAS (only the
rungs below `parallel` do), so the two take no cores from each other. Several Python threads may call kernels at once.

Processes. Kernels work in spawned processes and, where a process may be forked, before and after it has computed.
"""

from .activation import relu_backward, relu_forward
from .conv import (
    conv2d_backward_bias,
    conv_transpose2d_backward_input,
    conv_transpose2d_backward_weight,
    conv_transpose2d_forward,
)
from .dilated import conv2d_backward_input, conv2d_backward_weight, conv2d_forward, conv2d_relu_forward
from .join import add_forward, concat_forward
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
from .pool import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
    max_unpool2d_backward,
    max_unpool2d_forward,
)
from .products import linear_backward_input, linear_backward_weight, linear_forward
from .resize import (
    upsample_bilinear2d_backward,
    upsample_bilinear2d_forward,
    upsample_nearest2d_backward,
    upsample_nearest2d_forward,
)
from .softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from .update import adam_update, sgd_update
