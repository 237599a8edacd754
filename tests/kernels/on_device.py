"""The CUDA ops as if they took and gave NumPy arrays, so that the tests of all backends can call them."""

import importlib

import numpy as np
from op_cases import CHANGED, STATISTICS, parameters

import kernels.cuda
from kernels import OPS, OpTable, ops_for
from kernels.cuda import arrays


class HostView:
    """An op table around the CUDA one. Arguments go to the GPU, results come back; inputs must be left alone.

    Statistics (mean, var) are float64 in the tests, as on the host, and in the data's dtype on the GPU. Housekeeping is
    not wrapped.
    """

    def __init__(self, rung=None):
        """rung: a module of the convolution ladder to take the convolutions from, instead of the last one."""
        self.table = ops_for(arrays.from_host(np.zeros(1)))
        if rung is not None:
            self.table = OpTable("cuda", importlib.import_module(f"kernels.cuda.{rung}"), kernels.cuda)
        self.name = self.table.name

    def __getattr__(self, op):
        if op not in OPS:
            return getattr(self.table, op)
        view = lambda *values, **named: self.call(op, dict(zip(parameters(op), values, strict=False)) | named)  # noqa: E731
        setattr(self, op, view)  # the same function every time, as tests compare them
        return view

    def call(self, op, found):
        there = {name: self.send(name, value, found) for name, value in found.items()}
        results = getattr(self.table, op)(**there)
        for name, value in found.items():
            for host, device in zip(as_list(value), as_list(there[name]), strict=True):
                if not isinstance(host, np.ndarray):
                    continue
                now = arrays.to_host(device)
                if name in CHANGED.get(op, ()):
                    host[...] = now
                else:
                    np.testing.assert_array_equal(now, host.astype(now.dtype), err_msg=f"{op} changed {name}")
        return self.receive(op, results)

    def send(self, name, value, found):
        if isinstance(value, list):
            return [self.send(name, item, found) for item in value]
        if not isinstance(value, np.ndarray):
            return value
        if name in STATISTICS and "x" in found:
            value = value.astype(found["x"].dtype)
        return arrays.from_host(value)

    def receive(self, op, results):
        if results is None:
            return None
        if isinstance(results, (tuple, list)):
            host = [self.receive(op, result) for result in results]
            if op.startswith("batch_norm") and op.endswith("train_forward"):
                host[1:] = [statistic.astype(np.float64) for statistic in host[1:]]
            return type(results)(host)
        return arrays.to_host(results)


def as_list(value):
    return value if isinstance(value, list) else [value]
