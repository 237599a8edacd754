"""numba-cuda kernels."""

from .activation import relu_backward, relu_forward, sigmoid_forward
