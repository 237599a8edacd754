"""Rung 3 of the convolution ladder on the GPU: a matrix product whose second matrix is never written down.

Write the taps (c,r,s) as one index k and the output pixels (n,i,j) as one index p. Then all three passes are matrix
products, with patch[k,p] the input pixel that tap k sees for output p:

    gather    y[o,p]  = sum over k of w[o,k]  * patch[k,p]
    spread    the same with dy in the place of x, and the taps looked at from the other side
    weights   dw[o,k] = sum over p of dy[o,p] * patch[k,p]

im2col would write all patches to memory first, nine copies of x for a 3x3 kernel. Here each block makes the tile of
patches that it needs next in its shared memory, straight from x: `conv_gather` and `conv_weights` say how. How a block
multiplies two tiles is in `gemm`.

With a stride, spread falls apart into stride*stride products: the pixels of one phase, those with the same remainders
of row and column by the stride, all meet the same taps, so nothing is multiplied by zeros in between.

Groups of a few channels (depthwise convolution) have no matrix to speak of: rungs 2 and 1 do them.

Source: Chetlur et al., cuDNN: efficient primitives for deep learning (2014), section 3.
"""

from . import conv_plain, conv_tiles
from .conv_gather import multiply_patches
from .conv_ops import Rung
from .conv_weights import multiply_pixels
from .launch import SIMULATED

FEW = 1 if SIMULATED else 8  # channels of a group
MOST = 65535  # blocks that a grid has along z: phases*groups of them are needed


def gather(y, x, w, b, relu, steps):
    if is_thin(w, steps):
        conv_tiles.gather(y, x, w, b, relu, steps)
    else:
        multiply_patches(y, x, w, b, relu, steps, spread=False)


def spread(dx, dy, w, b, steps):
    if is_thin(w, steps) or steps.stride[0] * steps.stride[1] * steps.groups > MOST:
        conv_tiles.spread(dx, dy, w, b, steps)
    else:
        multiply_patches(dx, dy, w, b, False, steps, spread=True)


def weights(dw, dy, x, steps):
    if is_thin(dw, steps):
        conv_plain.weights(dw, dy, x, steps)
    else:
        multiply_pixels(dw, dy, x, steps)


def is_thin(w, steps):
    """Whether most of a tile would be empty, because the groups are small."""
    return steps.groups > 1 and max(w.shape[1], w.shape[0] // steps.groups) <= FEW


rung = Rung(gather, spread, weights)
conv2d_forward = rung.conv2d_forward
conv2d_relu_forward = rung.conv2d_relu_forward
conv2d_backward_input = rung.conv2d_backward_input
conv2d_backward_weight = rung.conv2d_backward_weight
conv_transpose2d_forward = rung.conv_transpose2d_forward
conv_transpose2d_backward_input = rung.conv_transpose2d_backward_input
conv_transpose2d_backward_weight = rung.conv_transpose2d_backward_weight
