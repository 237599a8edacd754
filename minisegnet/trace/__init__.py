"""Where does this number come from? A trace records a pass through a net, and explains every number in it.

    trace = record(net, x, CrossEntropyLoss(), mask)        one forward and one backward pass
    print(trace)                                            all stops on the way
    print(trace.explain("down.0", (0, 1, 4, 7), of="dx"))   one number as a sum: every term, with its factors
    trace.save("pass.safetensors")                          all of it as a file; trace = load("pass.safetensors")

    record       runs a copy of the net and takes notes          trace    the Trace: looking up, explaining
    stops        Stop and Node: what a trace is made of           links    which pixel has a part in which
    explanation  terms and their sum                              show     all of this as text
    explain_*    the sums of each kind of layer and loss          store    files

>>> import numpy as np
>>> from minisegnet import layers
>>> net = layers.Sequential(conv=layers.Conv2d(1, 1, 2, bias=False, rng=0), relu=layers.ReLU()).astype(np.float64)
>>> net["conv"].weight.value[:] = [[1, 2], [3, 4]]
>>> trace = record(net, np.arange(9.0).reshape(1, 1, 3, 3), dy=np.arange(1.0, 5).reshape(1, 1, 2, 2))
>>> print(trace.explain("conv", (0, 0, 0, 1), of="dx"))
conv, Conv2d(1, 1, kernel_size=2, bias=False): dx[0,0,0,1]
<BLANKLINE>
  dx[n,c,a,b] = Σ_{o,r,s} dy[n,o,i,j] * weight[o,c,r,s], i*stride + r*dilation = a + padding, and so j
  dx[0,0,0,1] = Σ_{o,r,s} dy[0,o,0-r,1-s] * weight[o,0,r,s]
  = 1 * 2 + 2 * 1 = 4
<BLANKLINE>
    dy             weight         product  sum
    [0,0,0,0]  +1  [0,0,0,1]  +2  +2       2
    [0,0,0,1]  +2  [0,0,0,0]  +1  +2       4
<BLANKLINE>
sum of 2 terms: 4
recorded: 4, the same up to rounding
"""

from .explanation import Explanation, Factor, Group, Sum, Term, at, explains, group, number
from .record import record
from .stops import Node, Stop
from .store import TraceError, load
from .trace import Trace

__all__ = [
    "Explanation",
    "Factor",
    "Group",
    "Node",
    "Stop",
    "Sum",
    "Term",
    "Trace",
    "TraceError",
    "at",
    "explains",
    "group",
    "load",
    "number",
    "record",
]
