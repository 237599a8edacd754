"""Exercise bug-adam-correction: find the bug and repair it.

Adam. m and v are running means that start at 0, so at first they are too small; the corrected ones are not:

    m  = beta1 * m + (1 - beta1) * g          v  = beta2 * v + (1 - beta2) * g^2
    m^ = m / (1 - beta1^t)                    v^ = v / (1 - beta2^t)                    t = 1, 2, ...
    value = value - lr * m^ / (sqrt(v^) + eps)

Someone wondered why this Adam learned so much more slowly than the other optimisers.

Check it:   minisegnet exercise check bug_adam_correction.py             (or run this file)
Stuck?      minisegnet exercise check bug_adam_correction.py --hint 1    (then 2, then 3)
"""

import numpy as np

from minisegnet.optim import Optimizer

EXERCISE = "bug-adam-correction"


class Adam(Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(params, lr, buffers=("m", "v"))
        self.betas, self.eps = betas, eps

    def update(self, parameter, m, v):
        (beta1, beta2), t, g = self.betas, self.step_count, parameter.grad
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        unbiased_m = m * (1 - beta1**t)
        unbiased_v = v * (1 - beta2**t)
        parameter.value[...] -= self.lr * unbiased_m / (np.sqrt(unbiased_v) + self.eps)


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
