"""The reference backend: every op of the table in NumPy, written to be read.

One file per subject, backward directly below forward. `conv_loops` is the textbook version of `conv`: the same three
convolution passes as plain nested loops.
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
from .conv import (
    conv2d_backward_bias,
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
    assign,
    batch_norm_running,
    dropout_mask,
    from_host,
    multiply_into,
    nonzero,
    scale,
    sum_of_squares,
    to_host,
    total,
    weighted_total,
    zeros_like,
)
from .join import add_forward, concat_backward, concat_forward
from .linear import linear_backward_bias, linear_backward_input, linear_backward_weight, linear_forward
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
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool2d_forward,
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
    max_unpool2d_backward,
    max_unpool2d_forward,
)
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
from .update import adam_update, sgd_update
