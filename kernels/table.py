"""The op table: every op a backend may have, documented once.

An op is a plain function named `<op>_<pass>`: arrays in, arrays out. It validates, allocates and returns; it never
changes an array that it received (the two optimiser updates, whose purpose is to change the parameter, excepted).

Conventions that hold for all of them
    arrays    float32 or float64, never mixed in one call; any strides, any order, read-only or not
    x         (N, C, H, W): images, channels, rows, columns; N may be 0, the others not
    dy        the gradient of the loss with respect to y, of y's shape; likewise dx, dw, db
    stride, dilation, kernel        an int, or (vertical, horizontal)
    padding   an int, (vertical, horizontal), or for convolutions also ((top, bottom), (left, right))
    errors    ShapeError, ValueError, TypeError with what came and what was expected (see `shapes`)
    device    all arrays of a call are NumPy arrays, or all are on the GPU

The functions below have no bodies: they are the contract. A backend is a module with functions of the same names and
parameters; what it lacks is taken from `reference`.
"""

# ------------------------------------------------------------------ convolution


def conv2d_forward(x, w, b, stride, padding, dilation, groups):
    """y[n,o,i,j] = b[o] + sum over c,r,s of xp[n, c, i*stride + r*dilation, j*stride + s*dilation] * w[o,c,r,s].

    A cross-correlation (the kernel is not flipped); xp is x with zero padding. w (O, C/groups, kH, kW), b (O,) or
    None; returns y (N, O, H', W') with H' = floor((H + top + bottom - dilation*(kH - 1) - 1) / stride) + 1. With
    groups, output channel o sees the C/groups input channels of its own group.
    """


def conv2d_relu_forward(x, w, b, stride, padding, dilation, groups):
    """y = relu(conv2d(x)) in one pass: the numbers of conv2d_forward and then relu_forward.

    The two backward passes stay apart: relu_backward(dy, y), then those of conv2d.
    """


def conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups):
    """dx[n,c,a,b] = sum of dy[n,o,i,j] * w[o,c,r,s] over all o,i,j,r,s with i*stride + r*dilation - top = a, ...

    Returns dx of `x_shape`. Pixels that no window visited get 0.
    """


def conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups):
    """dw[o,c,r,s] = sum over n,i,j of dy[n,o,i,j] * xp[n, c, i*stride + r*dilation, j*stride + s*dilation].

    Returns dw of `w_shape`; zeros for an empty batch.
    """


def conv2d_backward_bias(dy):
    """db[o] = sum over n,i,j of dy[n,o,i,j], summed in float64. Returns db (O,)."""


def conv_transpose2d_forward(x, w, b, stride, padding, output_padding, dilation, groups):
    """The adjoint of conv2d: each x[n,c,i,j] adds x * w[c,o,r,s] at y[n, o, i*stride + r*dilation - padding, ...].

    w (C, O/groups, kH, kW), b (O,) or None; returns y (N, O, H', W') with
    H' = (H - 1)*stride - 2*padding + dilation*(kH - 1) + output_padding + 1.
    """


def conv_transpose2d_backward_input(dy, w, x_shape, stride, padding, output_padding, dilation, groups):
    """dx[n,c,i,j] = sum over o,r,s of dy[n, o, i*stride + r*dilation - padding, ...] * w[c,o,r,s]: conv2d of dy."""


def conv_transpose2d_backward_weight(dy, x, w_shape, stride, padding, output_padding, dilation, groups):
    """dw[c,o,r,s] = sum over n,i,j of x[n,c,i,j] * dy[n, o, i*stride + r*dilation - padding, ...]."""


# ------------------------------------------------------------------ pooling


def max_pool2d_forward(x, kernel, stride, padding, dilation, ceil_mode):
    """The largest value of each window, and where it was. Returns (y, argmax), both (N, C, H', W').

    argmax (int32) is the winner's flat position row*W + column in its plane of x: the "switch". Padding counts as
    -inf. Ties go to the first in row-major order, NaN wins over everything (the first of several).
    """


def max_pool2d_backward(dy, argmax, x_shape):
    """dx[n,c,p] = sum of dy over all windows whose switch is p. Returns dx of `x_shape`."""


def max_unpool2d_forward(x, argmax, y_shape):
    """Put x[n,c,i,j] at the position its switch names in y of `y_shape`, zeros elsewhere.

    Where several switches name one position, the last in row-major order is kept. IndexError for a switch outside y.
    """


def max_unpool2d_backward(dy, argmax):
    """dx[n,c,i,j] = dy at the switch's position; 0 for a value that a later one overwrote. Returns argmax's shape."""


def avg_pool2d_forward(x, kernel, stride, padding, ceil_mode, count_include_pad):
    """The mean of each window. Returns y (N, C, H', W').

    The divisor counts the window's pixels inside the image, plus those in the padding if count_include_pad; never
    the overflow of a last window in ceil_mode.
    """


def avg_pool2d_backward(dy, x_shape, kernel, stride, padding, ceil_mode, count_include_pad):
    """Each pixel gets dy/divisor from every window it was in. Returns dx of `x_shape`."""


def adaptive_avg_pool2d_forward(x, size):
    """The mean of size[0] x size[1] bins; bin i covers rows floor(i*H/size[0]) to ceil((i+1)*H/size[0])."""


def adaptive_avg_pool2d_backward(dy, x_shape):
    """Each pixel gets dy/area from every bin it was in (bins may overlap). Returns dx of `x_shape`."""


# ------------------------------------------------------------------ resizing


def upsample_nearest2d_forward(x, size, scale):
    """y[..., i, j] = x[..., floor(i*scale[0]), floor(j*scale[1])], scale in input pixels per output pixel.

    `size` is y's (H', W'). The source index is computed in float32, as PyTorch does.
    """


def upsample_nearest2d_backward(dy, x_shape, scale):
    """Each pixel gets the sum of dy over its copies. Returns dx of `x_shape`."""


def upsample_bilinear2d_forward(x, size, scale, align_corners):
    """Each y is a mean of the four nearest pixels of x, weighted by closeness; the weights sum to one.

    Source row of output row i: (i + 0.5)*scale - 0.5, at least 0; with align_corners i*(H - 1)/(H' - 1) instead
    (`scale` is not used then). Rows and columns beyond the border repeat it.
    """


def upsample_bilinear2d_backward(dy, x_shape, scale, align_corners):
    """Each dy is shared out to its four pixels by the same four weights. Returns dx of `x_shape`."""


def fit2d_forward(x, size):
    """Pad with zeros or crop, half on each side (the odd row below, the odd column right). Returns y (N, C, *size)."""


def fit2d_backward(dy, x_shape):
    """The same, back to x's size: what was cropped gets 0, what was padded is dropped. Returns dx of `x_shape`."""


# ------------------------------------------------------------------ element by element


def relu_forward(x):
    """y = max(x, 0); NaN stays NaN."""


def relu_backward(dy, y):
    """dx = 0 where y <= 0, else dy: the derivative at 0 is 0, and a NaN in y lets dy pass, as in PyTorch."""


def leaky_relu_forward(x, slope):
    """y = x where x > 0, else slope*x."""


def leaky_relu_backward(dy, x, slope):
    """dx = dy where x > 0, else slope*dy."""


def sigmoid_forward(x):
    """y = 1 / (1 + exp(-x)), without overflow."""


def sigmoid_backward(dy, y):
    """dx = dy * y * (1 - y)."""


def tanh_forward(x):
    """y = tanh(x)."""


def tanh_backward(dy, y):
    """dx = dy * (1 - y**2)."""


def dropout_forward(x, keep, scale):
    """y = x*scale where keep (bool, x's shape) is true, else 0."""


def dropout_backward(dy, keep, scale):
    """dx = dy*scale where keep is true, else 0."""


# ------------------------------------------------------------------ probabilities


def softmax_forward(x, dim):
    """y = exp(x) / sum of exp(x) along axis `dim`; the maximum is subtracted first, so nothing overflows."""


def softmax_backward(dy, y, dim):
    """dx = y * (dy - sum along dim of dy*y)."""


def log_softmax_forward(x, dim):
    """y = x - log(sum of exp(x)) along axis `dim`, without overflow."""


def log_softmax_backward(dy, y, dim):
    """dx = dy - exp(y) * sum along dim of dy."""


def softmax_cross_entropy_forward(scores, target, weight, ignore_index, label_smoothing):
    """Per-element loss of scores (N, C, ...) against integer labels target (N, ...). Returns (losses, p).

    p = softmax(scores) along axis 1. With e = label_smoothing, t the label and w = weight (C,) or all ones:
    losses = (1-e) * w[t] * -log p[t]  +  e/C * sum over c of w[c] * -log p[c]; 0 where target is ignore_index.
    IndexError for a label that is neither ignored nor in 0..C-1.
    """


def softmax_cross_entropy_backward(dlosses, p, target, weight, ignore_index, label_smoothing):
    """dscores = dlosses * (p * sum over c of q[c] - q), q = (1-e)*w[t]*onehot(t) + e/C*w; 0 where ignored.

    Without weights and smoothing this is dlosses * (p - onehot(t)). dlosses has target's shape or is a number.
    """


# ------------------------------------------------------------------ fully connected, normalisation


def linear_forward(x, w, b):
    """y = x @ w.T + b. x (..., I), w (O, I), b (O,) or None; returns y (..., O)."""


def linear_backward_input(dy, w):
    """dx = dy @ w."""


def linear_backward_weight(dy, x):
    """dw = dy.T @ x, summed over all leading axes."""


def linear_backward_bias(dy):
    """db = sum of dy over all leading axes, summed in float64."""


def batch_norm_train_forward(x, weight, bias, eps):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, per channel. Returns (y, mean, var), both (C,).

    mean and (biased) var are taken over N, H, W, and are float64, on the GPU x's dtype. weight, bias (C,) or None.
    """


def batch_norm_train_backward(dy, x, weight, mean, var, eps):
    """Returns (dx, dweight, dbias), with x^ = (x - mean)/sqrt(var + eps), and m values per channel:

    dbias = sum dy,  dweight = sum dy*x^,  dx = weight/sqrt(var + eps) * (dy - dbias/m - x^*dweight/m).
    """


def batch_norm_eval_forward(x, weight, bias, mean, var, eps):
    """y = (x - mean) / sqrt(var + eps) * weight + bias with given mean and var (C,): an affine map per channel."""


def batch_norm_eval_backward(dy, x, weight, mean, var, eps):
    """Returns (dx, dweight, dbias): dx = dy * weight/sqrt(var + eps), dbias = sum dy, dweight = sum dy*x^."""


def batch_norm_relu_train_forward(x, weight, bias, eps):
    """y = relu(batch norm of x), without a pass for the ReLU. Returns (y, mean, var) like batch_norm_train_forward."""


def batch_norm_relu_train_backward(dy, y, x, weight, mean, var, eps):
    """batch_norm_train_backward of relu_backward(dy, y), whose result is never written out. y is forward's."""


def batch_norm_relu_eval_forward(x, weight, bias, mean, var, eps):
    """y = relu(batch norm of x) with given mean and var."""


def batch_norm_relu_eval_backward(dy, y, x, weight, mean, var, eps):
    """batch_norm_eval_backward of relu_backward(dy, y)."""


# ------------------------------------------------------------------ joining


def add_forward(arrays):
    """The sum of a list of arrays of one shape."""


def concat_forward(arrays):
    """Join a list of arrays (N, C_i, ...) along the channels."""


def concat_backward(dy, channels):
    """Split dy along the channels into a list of arrays (N, channels[i], ...), the inverse of concat_forward."""


# ------------------------------------------------------------------ optimiser updates (these change `value` in place)


def sgd_update(value, grad, velocity, lr, momentum, weight_decay, nesterov):
    """One step of gradient descent; value and velocity are changed in place.

    g = grad + weight_decay*value;  velocity = momentum*velocity + g;  value -= lr*(velocity, or with nesterov
    g + momentum*velocity). A zero velocity gives PyTorch's first step (velocity = g). velocity is None without
    momentum: value -= lr*g.
    """


def adam_update(value, grad, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    """One step of Adam, or of AdamW if decoupled; value, m and v are changed in place. step counts from 1.

    L2: g = grad + weight_decay*value; decoupled: g = grad and value *= 1 - lr*weight_decay first.
    m = beta1*m + (1-beta1)*g;  v = beta2*v + (1-beta2)*g**2;
    value -= lr * (m/(1-beta1**step)) / (sqrt(v/(1-beta2**step)) + eps).
    """


OPS = {name: op for name, op in globals().items() if callable(op) and not name.startswith("_")}


# ------------------------------------------------------------------ housekeeping
# What layers, losses and optimisers do with whole arrays, so that they need not know where the arrays are. Functions
# that return a Python number wait for the GPU; no others do.


def to_host(array):
    """A copy as a NumPy array."""


def from_host(array):
    """A copy of a NumPy array where this backend computes."""


def zeros_like(array):
    """A new array of zeros."""


def assign(target, source):
    """target[...] = source, in place. source may be a NumPy array whatever the device."""


def add_into(total, array):
    """total += array, in place."""


def scale(array, factor):
    """array *= factor, in place."""


def multiply_into(array, factors):
    """array *= factors, an array of its shape, in place."""


def add_sign_into(total, array, factor):
    """total += factor * sign(array), in place: the gradient of factor * sum of |array|."""


def nonzero(array):
    """1 where an element is not 0, else 0, in the array's dtype."""


def total(array):
    """The sum of all elements, as a float; summed in float64, on the GPU in two stages."""


def weighted_total(losses, target, weight, ignore_index):
    """(sum of losses, sum of weight[target] over the elements that are not ignored), two floats.

    weight (C,), or None for all ones. On the GPU this is the one wait of a training step.
    """


def sum_of_squares(arrays):
    """The sum of the squares of all elements of a list of arrays, as a float."""


def dropout_mask(shape, p, rng):
    """keep (bool): each element is False with probability p. rng is a numpy.random.Generator, which moves on."""


def batch_norm_running(running_mean, running_var, mean, var, momentum, count):
    """New running statistics: (1 - momentum)*running + momentum*batch, of a batch with `count` values per channel.

    The batch's var is the biased one; var*count/(count - 1) enters. Returns (running_mean, running_var).
    """


HOUSEKEEPING = {
    name: op
    for name, op in globals().items()
    if callable(op) and not name.startswith("_") and name not in OPS and name != "OPS"
}


class OpTable:
    """The ops and the housekeeping of one backend as attributes: `table.conv2d_forward(...)`.

    Each op is taken from the first of `modules` that has it, so a backend lists itself first and `reference` last.
    """

    __slots__ = ("name", *OPS, *HOUSEKEEPING)

    def __init__(self, name, *modules):
        self.name = name
        for op in (*OPS, *HOUSEKEEPING):
            owner = next((module for module in modules if hasattr(module, op)), None)
            if owner is None:
                raise ValueError(f"no module of the backend {name!r} has the op {op}")
            setattr(self, op, getattr(owner, op))

    def __repr__(self):
        return f"OpTable({self.name!r})"
