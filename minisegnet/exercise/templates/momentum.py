"""Exercise momentum: gradient descent that remembers where it was going.   (tutorial 07_optimisers)

An optimiser changes a parameter's value, given its gradient. This one keeps a velocity for each number:

    g        = grad + weight_decay * value
    velocity = momentum * velocity + g           (0 at the start)
    value    = value - lr * velocity

You write update, which is called once for each parameter at each step. `parameter` has a value and a grad; `velocity`
is the array that belongs to this parameter, zeros at the start. Change value and velocity in place, so that the next
step finds them (velocity *= 2, parameter.value[...] -= 1); leave grad as it is.

Check it:   minisegnet exercise check momentum.py             (or run this file)
Stuck?      minisegnet exercise check momentum.py --hint 1    (then 2, then 3)
"""

from minisegnet.optim import Optimizer

EXERCISE = "momentum"


class SGD(Optimizer):
    def __init__(self, params, lr, momentum=0.9, weight_decay=0.0):
        super().__init__(params, lr, buffers=("velocity",))  # keeps an array of that name for each parameter
        self.momentum, self.weight_decay = momentum, weight_decay

    def update(self, parameter, velocity):
        # here are: self.lr, self.momentum, self.weight_decay, parameter.value, parameter.grad, velocity
        raise NotImplementedError("update is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
