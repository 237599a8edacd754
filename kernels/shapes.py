"""Sizes and checks that every backend shares: what goes in, how large what comes out will be.

An op calls one of these functions first. They raise `ShapeError` (wrong shape), `ValueError` (bad value) or
`TypeError` (bad type) before anything is computed.
"""

import operator

import numpy as np

from .errors import ShapeError

# ------------------------------------------------------------------ normalising arguments


def pair(value, name="value", minimum=1):
    """An int for both directions, or (vertical, horizontal), as a tuple of two ints of at least `minimum`.

    >>> pair(3), pair((1, 2))
    ((3, 3), (1, 2))
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    try:
        result = tuple(operator.index(v) for v in values)
    except TypeError:
        raise TypeError(f"{name} must be an integer or a pair of integers, got {value!r}") from None
    if len(result) != 2:
        raise ValueError(f"{name} must be one integer or two (vertical, horizontal), got {value!r}")
    if min(result) < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    return result


def pads(value):
    """Padding as ((top, bottom), (left, right)), from an int, (vertical, horizontal), or that form itself.

    >>> pads(1), pads((1, 2)), pads(((0, 1), (0, 1)))
    (((1, 1), (1, 1)), ((1, 1), (2, 2)), ((0, 1), (0, 1)))
    """
    if isinstance(value, (tuple, list)) and any(isinstance(side, (tuple, list)) for side in value):
        if len(value) != 2:
            raise ValueError(f"padding must be ((top, bottom), (left, right)), got {value!r}")
        vertical, horizontal = value
        return pair(vertical, "padding", 0), pair(horizontal, "padding", 0)
    vertical, horizontal = pair(value, "padding", 0)
    return (vertical, vertical), (horizontal, horizontal)


def same_dtype(**arrays):
    """The one floating dtype that all arrays share (None entries are skipped); otherwise a TypeError.

    >>> same_dtype(x=np.zeros(2, np.float32), w=np.zeros(3, np.float32), b=None)
    dtype('float32')
    """
    arrays = {name: array for name, array in arrays.items() if array is not None}
    check_one_device(arrays)
    dtypes = {name: array.dtype for name, array in arrays.items()}
    for name, dtype in dtypes.items():
        if dtype not in (np.float32, np.float64):
            raise TypeError(
                f"{name} is {dtype}, but only float32 and float64 are computed with; "
                f"convert it: {name}.astype(np.float32)"
            )
    if len(set(dtypes.values())) > 1:
        got = ", ".join(f"{name} is {dtype}" for name, dtype in dtypes.items())
        raise TypeError(f"{got}: dtypes are never mixed; convert the data or call net.astype(dtype)")
    return next(iter(dtypes.values()))


def check_one_device(arrays):
    """Raise TypeError if some of these (a dict by name) are NumPy arrays and some are on the GPU."""
    hosts = {name: isinstance(array, np.ndarray) for name, array in arrays.items()}
    if len(set(hosts.values())) > 1:
        got = ", ".join(f"{name} is {'a NumPy array' if host else 'on the GPU'}" for name, host in hosts.items())
        raise TypeError(f"{got}: devices are never mixed; use kernels.to_device(array) or net.to(device)")


def check_shape(name, array, expected):
    """Raise ShapeError unless array.shape is `expected`."""
    if array.shape != tuple(expected):
        raise ShapeError(f"{name} has shape {array.shape}, expected {tuple(expected)}")


def check_rank(name, array, rank, letters):
    """Raise ShapeError unless the array has `rank` axes; `letters` names them, as in "(N, C, H, W)"."""
    if array.ndim != rank:
        hint = ""
        if letters == "(N, C, H, W)" and array.ndim in (2, 3):
            hint = "; a single image needs a batch axis: image[None] (and a grey one a channel axis too)"
        raise ShapeError(f"{name} has shape {array.shape}, expected {letters}{hint}")


# ------------------------------------------------------------------ sizes


def window_count(size, kernel, stride, pad, dilation, axis):
    """How many windows fit along one axis: floor((size + pad - dilation*(kernel - 1) - 1) / stride) + 1.

    `pad` is both sides together.

    >>> window_count(7, 3, 2, 2, 1, "height")
    4
    """
    reach = dilation * (kernel - 1) + 1
    if size == 0:
        raise ShapeError(f"the input has {axis} 0: there is nothing to compute")
    if size + pad < reach:
        dilated = f" (dilation {dilation})" if dilation > 1 else ""
        padded = f" = {size} + padding {pad}" if pad else ""
        raise ShapeError(
            f"a kernel of {axis} {kernel} covers {reach} pixels{dilated}, more than the padded input's "
            f"{axis} {size + pad}{padded}; use a larger image, a smaller kernel or more padding"
        )
    return (size + pad - reach) // stride + 1


def conv2d_output_shape(x_shape, w_shape, stride, padding, dilation, groups):
    """Shape (N, O, H', W') of the convolution of x (N, C, H, W) with w (O, C/groups, kH, kW).

    >>> conv2d_output_shape((2, 3, 7, 8), (5, 3, 3, 3), 2, 1, 1, 1)
    (2, 5, 4, 4)
    """
    N, C, H, W = x_shape
    O, per_group, kH, kW = w_shape
    (sh, sw), (dh, dw) = pair(stride, "stride"), pair(dilation, "dilation")
    (top, bottom), (left, right) = pads(padding)
    check_groups(C, O, groups)
    if per_group * groups != C:
        raise ShapeError(
            f"x has shape {tuple(x_shape)}: {C} channels, expected {per_group * groups} "
            f"(the weight has shape {tuple(w_shape)}, groups={groups})"
        )
    rows = window_count(H, kH, sh, top + bottom, dh, "height")
    cols = window_count(W, kW, sw, left + right, dw, "width")
    return N, O, rows, cols


def check_groups(in_channels, out_channels, groups):
    """Raise ValueError unless both channel counts can be divided into `groups` equal parts."""
    if groups < 1:
        raise ValueError(f"groups must be at least 1, got {groups}")
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups={groups} must divide both the {in_channels} input and the {out_channels} output channels"
        )


def conv_transpose2d_output_shape(x_shape, w_shape, stride, padding, output_padding, dilation, groups):
    """Shape (N, O, H', W') of the transposed convolution of x (N, C, H, W) with w (C, O/groups, kH, kW).

    H' = (H - 1)*stride - 2*padding + dilation*(kH - 1) + output_padding + 1.

    >>> conv_transpose2d_output_shape((1, 8, 5, 5), (8, 4, 2, 2), 2, 0, 0, 1, 1)
    (1, 4, 10, 10)
    """
    N, C, H, W = x_shape
    C_w, per_group, kH, kW = w_shape
    (sh, sw), (dh, dw) = pair(stride, "stride"), pair(dilation, "dilation")
    (top, bottom), (left, right) = pads(padding)
    oh, ow = pair(output_padding, "output_padding", 0)
    check_groups(C_w, per_group * groups, groups)
    if C != C_w:
        raise ShapeError(
            f"x has shape {tuple(x_shape)}: {C} channels, expected {C_w} (the weight has shape {tuple(w_shape)})"
        )
    check_output_padding((oh, ow), (sh, sw), (dh, dw))
    if 0 in (H, W):
        raise ShapeError(f"x has shape {tuple(x_shape)}: there is nothing to compute")
    rows = (H - 1) * sh - top - bottom + dh * (kH - 1) + oh + 1
    cols = (W - 1) * sw - left - right + dw * (kW - 1) + ow + 1
    if min(rows, cols) < 1:
        raise ShapeError(f"the output would be {rows}x{cols} pixels for an input of {H}x{W}; use less padding")
    return N, per_group * groups, rows, cols


def check_output_padding(output_padding, stride, dilation):
    """Raise ValueError unless output_padding is smaller than stride or dilation, in both directions."""
    if any(o >= max(s, d) for o, s, d in zip(output_padding, stride, dilation, strict=True)):
        raise ValueError(f"output_padding={output_padding} must be smaller than stride={stride} or dilation={dilation}")


def pool_count(size, kernel, stride, pad, dilation, ceil_mode, axis):
    """How many pooling windows fit along one axis; `pad` is on each side.

    In ceil_mode a last, partly empty window counts too, unless it would start in the right padding.

    >>> pool_count(5, 3, 3, 1, 1, False, "height"), pool_count(5, 3, 3, 1, 1, True, "height")
    (2, 2)
    """
    reach = dilation * (kernel - 1) + 1
    if not ceil_mode or size == 0:
        count = window_count(size, kernel, stride, 2 * pad, dilation, axis)
    else:
        count = -(-(size + 2 * pad - reach) // stride) + 1
        if (count - 1) * stride >= size + pad:
            count -= 1
    if count < 1:
        raise ShapeError(
            f"a kernel of {axis} {kernel} covers {reach} pixels, more than the padded input's {axis} "
            f"{size + 2 * pad} even in ceil_mode; use a larger image or a smaller kernel"
        )
    # Beyond the padding, the first tap of a window that starts at -1, -2, ... is at start % dilation: -1 % 3 is 2.
    if any(start % dilation >= size for start in range(-pad, 0, stride)[:count]):
        raise ShapeError(
            f"a kernel of {axis} {kernel} with dilation {dilation} and padding {pad} steps over the whole "
            f"{axis} {size}: it would see padding alone; use a larger image, less dilation or no padding"
        )
    return count


def pool2d_output_shape(x_shape, kernel, stride, padding, dilation, ceil_mode):
    """Shape (N, C, H', W') after pooling x (N, C, H, W).

    >>> pool2d_output_shape((1, 2, 7, 7), 2, 2, 0, 1, True)
    (1, 2, 4, 4)
    """
    N, C, H, W = x_shape
    (kH, kW), (sh, sw) = pair(kernel, "kernel_size"), pair(stride, "stride")
    (ph, pw), (dh, dw) = pair(padding, "padding", 0), pair(dilation, "dilation")
    check_pool_padding((kH, kW), (ph, pw))
    rows = pool_count(H, kH, sh, ph, dh, ceil_mode, "height")
    cols = pool_count(W, kW, sw, pw, dw, ceil_mode, "width")
    return N, C, rows, cols


def check_pool_padding(kernel, padding):
    """Raise ValueError where padding exceeds half the kernel: a window could then lie in padding alone."""
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(f"padding={padding} must be at most half of kernel_size={kernel}")


def check_size(size, name="output size"):
    """A target (height, width) as two ints of at least 1."""
    return pair(size, name, 1)
