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
parameters; what it lacks is taken from `reference`. Their examples call `ops`, a backend:

>>> import numpy as np, kernels
>>> with kernels.use("reference") as ops:  # or ops = kernels.ops_for(x), the one that owns the array x
...     print(ops.relu_forward(np.array([-1.0, 2.0])))
[0. 2.]
"""

# ------------------------------------------------------------------ convolution


def conv2d_forward(x, w, b, stride, padding, dilation, groups):
    """y[n,o,i,j] = b[o] + sum over c,r,s of xp[n, c, i*stride + r*dilation, j*stride + s*dilation] * w[o,c,r,s].

    A cross-correlation (the kernel is not flipped); xp is x with zero padding. w (O, C/groups, kH, kW), b (O,) or
    None; returns y (N, O, H', W') with H' = floor((H + top + bottom - dilation*(kH - 1) - 1) / stride) + 1. With
    groups, output channel o sees the C/groups input channels of its own group.

    >>> x, w = np.arange(9.0).reshape(1, 1, 3, 3), np.array([[[[1.0, 0.0], [0.0, 10.0]]]])
    >>> ops.conv2d_forward(x, w, None, 1, 0, 1, 1)  # x[i, j] + 10*x[i + 1, j + 1]
    array([[[[40., 51.],
             [73., 84.]]]])
    """


def conv2d_relu_forward(x, w, b, stride, padding, dilation, groups):
    """y = relu(conv2d(x)) in one pass: the numbers of conv2d_forward and then relu_forward, shapes as there.

    The two backward passes stay apart: relu_backward(dy, y), then those of conv2d.

    >>> x, w = np.arange(9.0).reshape(1, 1, 3, 3), np.array([[[[1.0, 0.0], [0.0, 10.0]]]])
    >>> ops.conv2d_relu_forward(x, w, np.array([-60.0]), 1, 0, 1, 1)
    array([[[[ 0.,  0.],
             [13., 24.]]]])
    """


def conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups):
    """dx[n,c,a,b] = sum of dy[n,o,i,j] * w[o,c,r,s] over all o,i,j,r,s with i*stride + r*dilation - top = a, ...

    dy (N, O, H', W'), w as in forward; returns dx of `x_shape` (N, C, H, W). Pixels that no window visited get 0.

    >>> dy, w = np.array([[[[1.0, 2.0], [3.0, 4.0]]]]), np.array([[[[1.0, 0.0], [0.0, 10.0]]]])
    >>> ops.conv2d_backward_input(dy, w, (1, 1, 3, 3), 1, 0, 1, 1)  # dy[a, b] + 10*dy[a - 1, b - 1]
    array([[[[ 1.,  2.,  0.],
             [ 3., 14., 20.],
             [ 0., 30., 40.]]]])
    """


def conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups):
    """dw[o,c,r,s] = sum over n,i,j of dy[n,o,i,j] * xp[n, c, i*stride + r*dilation, j*stride + s*dilation].

    dy (N, O, H', W'), x (N, C, H, W); returns dw of `w_shape`, zeros for an empty batch.

    >>> dy, x = np.array([[[[1.0, 0.0], [0.0, 10.0]]]]), np.arange(9.0).reshape(1, 1, 3, 3)
    >>> ops.conv2d_backward_weight(dy, x, (1, 1, 2, 2), 1, 0, 1, 1)  # x[r, s] + 10*x[r + 1, s + 1]
    array([[[[40., 51.],
             [73., 84.]]]])
    """


def conv2d_backward_bias(dy):
    """db[o] = sum over n,i,j of dy[n,o,i,j], summed in float64. dy (N, O, H', W'); returns db (O,).

    >>> ops.conv2d_backward_bias(np.arange(8.0).reshape(1, 2, 2, 2))  # 0 + 1 + 2 + 3, 4 + 5 + 6 + 7
    array([ 6., 22.])
    """


def conv_transpose2d_forward(x, w, b, stride, padding, output_padding, dilation, groups):
    """The adjoint of conv2d: each x[n,c,i,j] adds x * w[c,o,r,s] at y[n, o, i*stride + r*dilation - padding, ...].

    w (C, O/groups, kH, kW), b (O,) or None; returns y (N, O, H', W') with
    H' = (H - 1)*stride - 2*padding + dilation*(kH - 1) + output_padding + 1.

    >>> x, w = np.array([[[[1.0, 10.0]]]]), np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> ops.conv_transpose2d_forward(x, w, None, 2, 0, 0, 1, 1)
    array([[[[ 1.,  2., 10., 20.],
             [ 3.,  4., 30., 40.]]]])
    """


def conv_transpose2d_backward_input(dy, w, x_shape, stride, padding, output_padding, dilation, groups):
    """dx[n,c,i,j] = sum over o,r,s of dy[n, o, i*stride + r*dilation - padding, ...] * w[c,o,r,s]: conv2d of dy.

    dy (N, O, H', W'), w as in forward; returns dx of `x_shape` (N, C, H, W).

    >>> dy, w = np.array([[[[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]]]]), np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> ops.conv_transpose2d_backward_input(dy, w, (1, 1, 1, 2), 2, 0, 0, 1, 1)  # 1 + 2 + 3 + 4, and 1
    array([[[[10.,  1.]]]])
    """


def conv_transpose2d_backward_weight(dy, x, w_shape, stride, padding, output_padding, dilation, groups):
    """dw[c,o,r,s] = sum over n,i,j of x[n,c,i,j] * dy[n, o, i*stride + r*dilation - padding, ...].

    dy (N, O, H', W'), x (N, C, H, W); returns dw of `w_shape`.

    >>> dy, x = np.arange(8.0).reshape(1, 1, 2, 4), np.array([[[[1.0, 10.0]]]])
    >>> ops.conv_transpose2d_backward_weight(dy, x, (1, 1, 2, 2), 2, 0, 0, 1, 1)  # 0 + 10*2, 1 + 10*3, ...
    array([[[[20., 31.],
             [64., 75.]]]])
    """


# ------------------------------------------------------------------ pooling


def max_pool2d_forward(x, kernel, stride, padding, dilation, ceil_mode):
    """The largest value of each window, and where it was. Returns (y, argmax), both (N, C, H', W').

    argmax (int32) is the winner's flat position row*W + column in its plane of x: the "switch". Padding counts as
    -inf. Ties go to the first in row-major order, NaN wins over everything (the first of several).
    H' = floor((H + 2*padding - dilation*(kernel - 1) - 1) / stride) + 1; with ceil_mode rounded up, but a last window
    that would begin in the padding below is left out.

    >>> x = np.array([[[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 9.0, 7.0]]]])
    >>> ops.max_pool2d_forward(x, 2, 2, 0, 1, False)
    (array([[[[5., 9.]]]]), array([[[[1, 6]]]], dtype=int32))
    """


def max_pool2d_backward(dy, argmax, x_shape):
    """dx[n,c,p] = sum of dy over all windows whose switch is p.

    dy and argmax (N, C, H', W'); returns dx of `x_shape` (N, C, H, W).

    >>> ops.max_pool2d_backward(np.array([[[[1.0, 2.0]]]]), np.array([[[[1, 6]]]]), (1, 1, 2, 4))
    array([[[[0., 1., 0., 0.],
             [0., 0., 2., 0.]]]])
    """


def max_unpool2d_forward(x, argmax, y_shape):
    """Put x[n,c,i,j] at the position its switch names in y of `y_shape`, zeros elsewhere.

    x and argmax (N, C, H', W'). Where several switches name one position, the last in row-major order is kept.
    IndexError for a switch outside y.

    >>> ops.max_unpool2d_forward(np.array([[[[5.0, 9.0]]]]), np.array([[[[1, 6]]]]), (1, 1, 2, 4))
    array([[[[0., 5., 0., 0.],
             [0., 0., 9., 0.]]]])
    """


def max_unpool2d_backward(dy, argmax):
    """dx[n,c,i,j] = dy at the switch's position; 0 for a value that a later one overwrote. Returns argmax's shape.

    >>> ops.max_unpool2d_backward(np.arange(8.0).reshape(1, 1, 2, 4), np.array([[[[1, 6]]]]))
    array([[[[1., 6.]]]])
    """


def avg_pool2d_forward(x, kernel, stride, padding, ceil_mode, count_include_pad):
    """The mean of each window: sum / divisor. Returns y (N, C, H', W'), with H' as in max_pool2d_forward.

    The divisor counts the window's pixels inside the image, plus those in the padding if count_include_pad; never
    the overflow of a last window in ceil_mode.

    >>> ops.avg_pool2d_forward(np.arange(8.0).reshape(1, 1, 2, 4), 2, 2, 0, False, True)  # (0 + 1 + 4 + 5)/4, ...
    array([[[[2.5, 4.5]]]])
    """


def avg_pool2d_backward(dy, x_shape, kernel, stride, padding, ceil_mode, count_include_pad):
    """Each pixel gets dy/divisor from every window it was in. Returns dx of `x_shape`.

    >>> ops.avg_pool2d_backward(np.array([[[[4.0, 8.0]]]]), (1, 1, 2, 4), 2, 2, 0, False, True)
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.]]]])
    """


def adaptive_avg_pool2d_forward(x, size):
    """The mean of size[0] x size[1] bins; bin i covers rows floor(i*H/size[0]) to ceil((i+1)*H/size[0]) - 1.

    Columns likewise; bins may overlap. Returns y (N, C, *size).

    >>> ops.adaptive_avg_pool2d_forward(np.arange(5.0).reshape(1, 1, 1, 5), (1, 2))  # (0 + 1 + 2)/3, (2 + 3 + 4)/3
    array([[[[1., 3.]]]])
    """


def adaptive_avg_pool2d_backward(dy, x_shape):
    """Each pixel gets dy/area from every bin it was in (bins may overlap). Returns dx of `x_shape`.

    >>> ops.adaptive_avg_pool2d_backward(np.array([[[[3.0, 6.0]]]]), (1, 1, 1, 5))  # the middle one is in both bins
    array([[[[1., 1., 3., 2., 2.]]]])
    """


# ------------------------------------------------------------------ resizing


def upsample_nearest2d_forward(x, size, scale):
    """y[..., i, j] = x[..., floor(i*scale[0]), floor(j*scale[1])], scale in input pixels per output pixel.

    `size` is y's (H', W'); returns y (N, C, *size). The source index is computed in float32, as PyTorch does.

    >>> ops.upsample_nearest2d_forward(np.array([[[[1.0, 2.0]]]]), (2, 4), (0.5, 0.5))
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.]]]])
    """


def upsample_nearest2d_backward(dy, x_shape, scale):
    """Each pixel gets the sum of dy over its copies. Returns dx of `x_shape`.

    >>> ops.upsample_nearest2d_backward(np.arange(8.0).reshape(1, 1, 2, 4), (1, 1, 1, 2), (0.5, 0.5))  # 0 + 1 + 4 + 5
    array([[[[10., 18.]]]])
    """


def upsample_bilinear2d_forward(x, size, scale, align_corners):
    """Each y is a mean of the four nearest pixels of x, weighted by closeness; the weights sum to one.

    Source row of output row i: (i + 0.5)*scale - 0.5, at least 0; with align_corners i*(H - 1)/(H' - 1) instead
    (`scale` is not used then). Rows and columns beyond the border repeat it. Returns y (N, C, *size).

    >>> ops.upsample_bilinear2d_forward(np.array([[[[1.0, 2.0]]]]), (1, 4), (1.0, 0.5), False)
    array([[[[1.  , 1.25, 1.75, 2.  ]]]])
    """


def upsample_bilinear2d_backward(dy, x_shape, scale, align_corners):
    """Each dy is shared out to its four pixels by the same four weights. Returns dx of `x_shape`.

    >>> dy = np.array([[[[0.0, 4.0, 0.0, 0.0]]]])  # of y[1] = 0.75*x[0] + 0.25*x[1]
    >>> ops.upsample_bilinear2d_backward(dy, (1, 1, 1, 2), (1.0, 0.5), False)
    array([[[[3., 1.]]]])
    """


def fit2d_forward(x, size):
    """Pad with zeros or crop, half on each side (the odd row below, the odd column right). Returns y (N, C, *size).

    >>> ops.fit2d_forward(np.array([[[[1.0, 2.0]]]]), (1, 5))
    array([[[[0., 1., 2., 0., 0.]]]])
    """


def fit2d_backward(dy, x_shape):
    """The same, back to x's size: what was cropped gets 0, what was padded is dropped. Returns dx of `x_shape`.

    >>> ops.fit2d_backward(np.arange(5.0).reshape(1, 1, 1, 5), (1, 1, 1, 2))
    array([[[[1., 2.]]]])
    """


# ------------------------------------------------------------------ element by element


def relu_forward(x):
    """y = max(x, 0) for x of any shape; NaN stays NaN.

    >>> ops.relu_forward(np.array([-1.0, 2.0]))
    array([0., 2.])
    """


def relu_backward(dy, y):
    """dx = 0 where y <= 0, else dy: the derivative at 0 is 0, and a NaN in y lets dy pass, as in PyTorch.

    >>> ops.relu_backward(np.array([5.0, 6.0]), np.array([0.0, 2.0]))
    array([0., 6.])
    """


def leaky_relu_forward(x, slope):
    """y = x where x > 0, else slope*x, for x of any shape.

    >>> ops.leaky_relu_forward(np.array([-1.0, 2.0]), 0.1)
    array([-0.1,  2. ])
    """


def leaky_relu_backward(dy, x, slope):
    """dx = dy where x > 0, else slope*dy.

    >>> ops.leaky_relu_backward(np.array([5.0, 6.0]), np.array([-1.0, 2.0]), 0.1)
    array([0.5, 6. ])
    """


def sigmoid_forward(x):
    """y = 1 / (1 + exp(-x)), without overflow, for x of any shape.

    >>> ops.sigmoid_forward(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """


def sigmoid_backward(dy, y):
    """dx = dy * y * (1 - y).

    >>> ops.sigmoid_backward(np.array([8.0]), np.array([0.5]))
    array([2.])
    """


def tanh_forward(x):
    """y = tanh(x) for x of any shape.

    >>> ops.tanh_forward(np.array([-100.0, 0.0, 100.0]))
    array([-1.,  0.,  1.])
    """


def tanh_backward(dy, y):
    """dx = dy * (1 - y**2).

    >>> ops.tanh_backward(np.array([8.0]), np.array([0.5]))
    array([6.])
    """


def dropout_forward(x, keep, scale):
    """y = x*scale where keep (bool, x's shape) is true, else 0; x may have any shape.

    >>> ops.dropout_forward(np.array([1.0, 2.0, 3.0]), np.array([True, False, True]), 1.5)
    array([1.5, 0. , 4.5])
    """


def dropout_backward(dy, keep, scale):
    """dx = dy*scale where keep is true, else 0.

    >>> ops.dropout_backward(np.array([1.0, 2.0, 3.0]), np.array([True, False, True]), 1.5)
    array([1.5, 0. , 4.5])
    """


# ------------------------------------------------------------------ probabilities


def softmax_forward(x, dim):
    """y = exp(x) / sum of exp(x) along axis `dim`; the maximum is subtracted first, so nothing overflows.

    x of any shape; returns y of x's shape, whose sum along `dim` is 1.

    >>> ops.softmax_forward(np.array([[1000.0, 1000.0], [0.0, 1000.0]]), 1)
    array([[0.5, 0.5],
           [0. , 1. ]])
    """


def softmax_backward(dy, y, dim):
    """dx = y * (dy - sum along dim of dy*y).

    >>> ops.softmax_backward(np.array([1.0, 0.0]), np.array([0.5, 0.5]), 0)  # the sum is 0.5
    array([ 0.25, -0.25])
    """


def log_softmax_forward(x, dim):
    """y = x - log(sum of exp(x)) along axis `dim`, without overflow; x of any shape, y of the same.

    >>> ops.log_softmax_forward(np.array([0.0, 1000.0]), 0)
    array([-1000.,     0.])
    """


def log_softmax_backward(dy, y, dim):
    """dx = dy - exp(y) * sum along dim of dy.

    >>> ops.log_softmax_backward(np.array([1.0, 0.0]), np.log([0.5, 0.5]), 0)
    array([ 0.5, -0.5])
    """


def softmax_cross_entropy_forward(scores, target, weight, ignore_index, label_smoothing):
    """Per-element loss of scores (N, C, ...) against integer labels target (N, ...). Returns (losses, p).

    p = softmax(scores) along axis 1, of scores' shape. With e = label_smoothing, t the label and w = weight (C,) or
    all ones, losses has target's shape:
    losses = (1-e) * w[t] * -log p[t]  +  e/C * sum over c of w[c] * -log p[c]; 0 where target is ignore_index.
    IndexError for a label that is neither ignored nor in 0..C-1.

    >>> scores, target = np.log([[1.0, 3.0], [1.0, 1.0]]), np.array([1, 255])
    >>> losses, p = ops.softmax_cross_entropy_forward(scores, target, None, 255, 0.0)
    >>> p
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    >>> np.exp(-losses)  # the probability of the right class
    array([0.75, 1.  ])
    """


def softmax_cross_entropy_backward(dlosses, p, target, weight, ignore_index, label_smoothing):
    """dscores = dlosses * (p * sum over c of q[c] - q), q = (1-e)*w[t]*onehot(t) + e/C*w; 0 where ignored.

    Without weights and smoothing this is dlosses * (p - onehot(t)). dlosses has target's shape or is a number;
    returns dscores of p's shape.

    >>> p = np.array([[0.25, 0.75], [0.5, 0.5]])
    >>> ops.softmax_cross_entropy_backward(1.0, p, np.array([1, 255]), None, 255, 0.0)
    array([[ 0.25, -0.25],
           [ 0.  ,  0.  ]])
    """


# ------------------------------------------------------------------ fully connected, normalisation


def linear_forward(x, w, b):
    """y = x @ w.T + b. x (..., I), w (O, I), b (O,) or None; returns y (..., O).

    >>> ops.linear_forward(np.array([[1.0, 2.0]]), np.array([[1.0, 10.0], [3.0, 0.0]]), np.array([0.0, 0.5]))
    array([[21. ,  3.5]])
    """


def linear_backward_input(dy, w):
    """dx = dy @ w. dy (..., O), w (O, I); returns dx (..., I).

    >>> ops.linear_backward_input(np.array([[1.0, 2.0]]), np.array([[1.0, 10.0], [3.0, 0.0]]))
    array([[ 7., 10.]])
    """


def linear_backward_weight(dy, x):
    """dw = dy.T @ x, summed over all leading axes. dy (..., O), x (..., I); returns dw (O, I).

    >>> ops.linear_backward_weight(np.array([[1.0, 2.0]]), np.array([[10.0, 20.0]]))
    array([[10., 20.],
           [20., 40.]])
    """


def linear_backward_bias(dy):
    """db = sum of dy over all leading axes, summed in float64. dy (..., O); returns db (O,).

    >>> ops.linear_backward_bias(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """


def batch_norm_train_forward(x, weight, bias, eps):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, per channel. Returns (y, mean, var), both (C,).

    mean and (biased) var are taken over N, H, W, and are float64, on the GPU x's dtype. weight, bias (C,) or None.

    >>> ops.batch_norm_train_forward(np.array([[[[1.0, 3.0]]]]), np.array([10.0]), np.array([5.0]), 0.0)
    (array([[[[-5., 15.]]]]), array([2.]), array([1.]))
    """


def batch_norm_train_backward(dy, x, weight, mean, var, eps):
    """Returns (dx, dweight, dbias), with x^ = (x - mean)/sqrt(var + eps), and m values per channel:

    dbias = sum dy,  dweight = sum dy*x^,  dx = weight/sqrt(var + eps) * (dy - dbias/m - x^*dweight/m).
    dx has x's shape, dweight and dbias (C,), also where weight is None.

    >>> dy, x = np.array([[[[1.0, 0.0, 0.0, 0.0]]]]), np.array([[[[1.0, 1.0, 3.0, 3.0]]]])  # x^ is -1, -1, 1, 1
    >>> ops.batch_norm_train_backward(dy, x, None, np.array([2.0]), np.array([1.0]), 0.0)
    (array([[[[ 0.5, -0.5,  0. ,  0. ]]]]), array([-1.]), array([1.]))
    """


def batch_norm_eval_forward(x, weight, bias, mean, var, eps):
    """y = (x - mean) / sqrt(var + eps) * weight + bias with given mean and var (C,): an affine map per channel.

    >>> mean, var = np.array([1.0]), np.array([4.0])
    >>> ops.batch_norm_eval_forward(np.array([[[[1.0, 3.0]]]]), np.array([10.0]), np.array([5.0]), mean, var, 0.0)
    array([[[[ 5., 15.]]]])
    """


def batch_norm_eval_backward(dy, x, weight, mean, var, eps):
    """Returns (dx, dweight, dbias): dx = dy * weight/sqrt(var + eps), dbias = sum dy, dweight = sum dy*x^.

    dx has x's shape, dweight and dbias (C,); x^ as in batch_norm_train_backward.

    >>> dy, x, mean, var = np.array([[[[1.0, 1.0]]]]), np.array([[[[1.0, 3.0]]]]), np.array([1.0]), np.array([4.0])
    >>> ops.batch_norm_eval_backward(dy, x, np.array([10.0]), mean, var, 0.0)
    (array([[[[5., 5.]]]]), array([1.]), array([2.]))
    """


def batch_norm_relu_train_forward(x, weight, bias, eps):
    """y = relu(batch norm of x), without a pass for the ReLU. Returns (y, mean, var) like batch_norm_train_forward.

    >>> ops.batch_norm_relu_train_forward(np.array([[[[1.0, 3.0]]]]), np.array([10.0]), np.array([5.0]), 0.0)
    (array([[[[ 0., 15.]]]]), array([2.]), array([1.]))
    """


def batch_norm_relu_train_backward(dy, y, x, weight, mean, var, eps):
    """batch_norm_train_backward of relu_backward(dy, y), whose result is never written out. y is forward's.

    >>> dy, x = np.array([[[[9.0, 9.0, 1.0, 0.0]]]]), np.array([[[[1.0, 1.0, 3.0, 3.0]]]])
    >>> y = np.array([[[[0.0, 0.0, 1.0, 1.0]]]])  # so that of dy 0, 0, 1, 0 is left
    >>> ops.batch_norm_relu_train_backward(dy, y, x, None, np.array([2.0]), np.array([1.0]), 0.0)
    (array([[[[ 0. ,  0. ,  0.5, -0.5]]]]), array([1.]), array([1.]))
    """


def batch_norm_relu_eval_forward(x, weight, bias, mean, var, eps):
    """y = relu(batch norm of x) with given mean and var (C,).

    >>> mean, var = np.array([2.0]), np.array([4.0])
    >>> ops.batch_norm_relu_eval_forward(np.array([[[[1.0, 3.0]]]]), None, None, mean, var, 0.0)
    array([[[[0. , 0.5]]]])
    """


def batch_norm_relu_eval_backward(dy, y, x, weight, mean, var, eps):
    """batch_norm_eval_backward of relu_backward(dy, y): (dx, dweight, dbias).

    >>> dy, y, x = np.array([[[[9.0, 1.0]]]]), np.array([[[[0.0, 0.5]]]]), np.array([[[[1.0, 3.0]]]])
    >>> ops.batch_norm_relu_eval_backward(dy, y, x, None, np.array([2.0]), np.array([4.0]), 0.0)
    (array([[[[0. , 0.5]]]]), array([0.5]), array([1.]))
    """


# ------------------------------------------------------------------ joining


def add_forward(arrays):
    """The sum of a list of arrays of one shape.

    >>> ops.add_forward([np.array([1.0, 2.0]), np.array([10.0, 20.0])])
    array([11., 22.])
    """


def concat_forward(arrays):
    """Join a list of arrays (N, C_i, ...) along the channels: (N, C_1 + C_2 + ..., ...).

    >>> ops.concat_forward([np.array([[1.0]]), np.array([[2.0, 3.0]])])
    array([[1., 2., 3.]])
    """


def concat_backward(dy, channels):
    """Split dy along the channels into a list of arrays (N, channels[i], ...), the inverse of concat_forward.

    >>> ops.concat_backward(np.array([[1.0, 2.0, 3.0]]), [1, 2])
    [array([[1.]]), array([[2., 3.]])]
    """


# ------------------------------------------------------------------ optimiser updates (these change `value` in place)


def sgd_update(value, grad, velocity, lr, momentum, weight_decay, nesterov):
    """One step of gradient descent; value and velocity are changed in place. All arrays have value's shape.

    g = grad + weight_decay*value;  velocity = momentum*velocity + g;  value -= lr*(velocity, or with nesterov
    g + momentum*velocity). A zero velocity gives PyTorch's first step (velocity = g). velocity is None without
    momentum: value -= lr*g.

    >>> value, velocity = np.array([1.0]), np.array([1.0])
    >>> ops.sgd_update(value, np.array([1.0]), velocity, 0.1, 0.9, 0.0, False)
    >>> velocity, value
    (array([1.9]), array([0.81]))
    """


def adam_update(value, grad, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    """One step of Adam, or of AdamW if decoupled; value, m and v are changed in place. step counts from 1.

    L2: g = grad + weight_decay*value; decoupled: g = grad and value *= 1 - lr*weight_decay first.
    m = beta1*m + (1-beta1)*g;  v = beta2*v + (1-beta2)*g**2;
    value -= lr * (m/(1-beta1**step)) / (sqrt(v/(1-beta2**step)) + eps).

    >>> value, m, v = np.array([1.0]), np.array([0.0]), np.array([0.0])
    >>> ops.adam_update(value, np.array([8.0]), m, v, 1, 0.1, 0.5, 0.75, 1e-8, 0.0, False)
    >>> m, v, value.round(6)
    (array([4.]), array([16.]), array([0.9]))
    """


OPS = {name: op for name, op in globals().items() if callable(op) and not name.startswith("_")}


# ------------------------------------------------------------------ housekeeping
# What layers, losses and optimisers do with whole arrays, so that they need not know where the arrays are. Functions
# that return a Python number wait for the GPU; no others do.


def to_host(array):
    """A copy as a NumPy array.

    >>> a = np.array([1.0, 2.0])
    >>> copy = ops.to_host(a)
    >>> copy, copy is a
    (array([1., 2.]), False)
    """


def from_host(array):
    """A copy of a NumPy array where this backend computes.

    >>> a = np.array([1.0, 2.0])
    >>> copy = ops.from_host(a)  # for `cuda` on the GPU, for the others another NumPy array
    >>> copy, copy is a
    (array([1., 2.]), False)
    """


def zeros_like(array):
    """A new array of zeros, of the same shape and dtype.

    >>> ops.zeros_like(np.array([1.0, 2.0]))
    array([0., 0.])
    """


def assign(target, source):
    """target[...] = source, in place. source may be a NumPy array whatever the device.

    >>> target = np.zeros(2)
    >>> ops.assign(target, np.array([1.0, 2.0]))
    >>> target
    array([1., 2.])
    """


def add_into(total, array):
    """total += array, in place.

    >>> total = np.array([1.0, 2.0])
    >>> ops.add_into(total, np.array([10.0, 20.0]))
    >>> total
    array([11., 22.])
    """


def scale(array, factor):
    """array *= factor, in place.

    >>> array = np.array([1.0, 2.0])
    >>> ops.scale(array, 10.0)
    >>> array
    array([10., 20.])
    """


def multiply_into(array, factors):
    """array *= factors, an array of its shape, in place.

    >>> array = np.array([1.0, 2.0])
    >>> ops.multiply_into(array, np.array([0.0, 10.0]))
    >>> array
    array([ 0., 20.])
    """


def add_sign_into(total, array, factor):
    """total += factor * sign(array), in place: the gradient of factor * sum of |array|.

    >>> total = np.zeros(3)
    >>> ops.add_sign_into(total, np.array([-7.0, 0.0, 2.0]), 0.5)
    >>> total
    array([-0.5,  0. ,  0.5])
    """


def nonzero(array):
    """1 where an element is not 0, else 0, in the array's dtype.

    >>> ops.nonzero(np.array([-7.0, 0.0, 2.0]))
    array([1., 0., 1.])
    """


def total(array):
    """The sum of all elements, as a float; summed in float64, on the GPU in two stages.

    >>> ops.total(np.array([[1.0, 2.0], [3.0, 4.0]]))
    10.0
    """


def weighted_total(losses, target, weight, ignore_index):
    """(sum of losses, sum of weight[target] over the elements that are not ignored), two floats.

    losses and target have one shape, weight is (C,), or None for all ones. On the GPU this is the one wait of a
    training step.

    >>> ops.weighted_total(np.array([1.0, 2.0, 0.0]), np.array([0, 1, 255]), np.array([1.0, 10.0]), 255)
    (3.0, 11.0)
    """


def sum_of_squares(arrays):
    """The sum of the squares of all elements of a list of arrays, as a float.

    >>> ops.sum_of_squares([np.array([1.0, 2.0]), np.array([[3.0]])])
    14.0
    """


def dropout_mask(shape, p, rng):
    """keep (bool, `shape`): each element is False with probability p. rng is a numpy.random.Generator, which moves on.

    >>> keep = ops.dropout_mask((100, 100), 0.25, np.random.default_rng(0))
    >>> keep.dtype, round(float(keep.mean()), 2)
    (dtype('bool'), 0.75)
    """


def batch_norm_running(running_mean, running_var, mean, var, momentum, count):
    """New running statistics: (1 - momentum)*running + momentum*batch, of a batch with `count` values per channel.

    The batch's var is the biased one; var*count/(count - 1) enters. Returns (running_mean, running_var), both (C,).

    >>> batch = np.array([1.0]), np.array([1.0])  # mean and var of the two values 0 and 2
    >>> ops.batch_norm_running(np.array([0.0]), np.array([1.0]), *batch, 0.1, 2)  # 0.9*0 + 0.1*1, 0.9*1 + 0.1*2
    (array([0.1]), array([1.1]))
    """


HOUSEKEEPING = {
    name: op
    for name, op in globals().items()
    if callable(op) and not name.startswith("_") and name not in OPS and name != "OPS"
}


class OpTable:
    """The ops and the housekeeping of one backend as attributes: `table.conv2d_forward(...)`.

    Each op is taken from the first of `modules` that has it, so a backend lists itself first and `reference` last.
    Raises ValueError for an op that none of them has.

    >>> from types import SimpleNamespace
    >>> from kernels import reference
    >>> mine = SimpleNamespace(relu_forward=lambda x: x * (x > 0))
    >>> table = OpTable("mine", mine, reference)
    >>> table.relu_forward is mine.relu_forward, table.relu_backward is reference.relu_backward
    (True, True)
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
