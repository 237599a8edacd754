"""For kernels that treat each channel as one long row of pixels, with numbers of its own: who takes which pixels.

In x (N, C, H*W) the count = N*H*W pixels of a channel lie in N pieces, one in each image. Count them through, image by
image: block (c, part) takes its share of channel c, and thread t of it the pixels t, t + step, t + 2*step, ..., so the
32 threads of a warp always read neighbours, also where a plane has a few pixels only. Divisions are slow on a GPU, so a
thread works out once where its first pixel is, and from there on only adds:

    left, place, p = first_pixel(walk)
    while left > 0:
        place, p = next_pixels(places, left, place, p, walk)
        ...                                                  # x[places[k]] for k in range(BATCH)
        left = np.int32(left - BATCH)
"""

import numpy as np
from numba import cuda

from .launch import SIMULATED, blocks, device_function, launch
from .reduce import WIDTH

BATCH = 4  # pixels that a thread asks for at once: reads take long, so many have to be under way
SHARE = 32 if SIMULATED else 1024  # pixels that are worth a block
BLOCKS = 12 if SIMULATED else 4096  # of a launch, about: enough for every GPU to be busy up to the end


class Walk:
    """How the channels of a plain x (N, C, H, W) are shared out: the grid, and what the threads count their pixels by.

    A thread that goes on by `step` pixels passes so many whole images and so many pixels of one more: `hop` elements
    of memory in all. If that leads past the end of a plane, the other channels of that image lie in between.
    """

    def __init__(self, x):
        N, C, H, W = x.shape
        self.count = N * H * W
        parts = max(1, min(blocks(self.count, SHARE), BLOCKS // C))
        self.grid = C, parts
        step = parts * WIDTH
        images, pixels = divmod(step, H * W)
        self.steps = self.count, C, H * W, step, images * C * H * W + pixels, pixels

    def launch(self, kernel, *arguments):
        launch(kernel, self.grid, WIDTH, *arguments, self.steps)


@device_function
def first_pixel(walk):
    """(left, place, p): how many pixels this thread has; of the first, where in memory and where in its plane it is."""
    count, C, P, step, _, _ = walk
    i = cuda.blockIdx.y * WIDTH + cuda.threadIdx.x
    n = i // P
    p = i - n * P
    return np.int32((count - i + step - 1) // step), (n * C + cuda.blockIdx.x) * P + p, np.int32(p)


@device_function
def next_pixels(places, left, place, p, walk):
    """Fill `places` with where this thread's next pixels are. Returns place and p of the one after them.

    Where fewer are left, `places` repeats the first of them: it may be read again, or the same be written to it again,
    without asking. (The types are those that a GPU adds and compares in one instruction; unsigned indices are not
    looked at for being negative.)
    """
    _, C, P, _, hop, hop_p = walk
    for k in range(BATCH):
        places[k] = np.uint64(place) if k < left else places[0]
        place += hop
        p = np.int32(p + hop_p)
        if p >= P:
            p = np.int32(p - P)
            place += (C - 1) * P
    return place, p
