"""`minisegnet bench`: how fast the ops and whole training steps are, alone and against PyTorch.

    command   what `minisegnet bench ops` and `minisegnet bench step` do, from options to output
    ops       the rows of `bench ops`: every hot op at the sizes that a U-Net has, in both frameworks
    step      the rows of `bench step`: one training step of each model, in both frameworks
    twin      PyTorch's twin of any of our nets
    probe     a process of its own for the first step and the memory peak
    measure   taking times in turns, threads, the machine
    peaks     what the machine can do at best: multiply-adds and memory traffic
    show      the tables
    roofline  the picture

and for `--device cuda`:

    gpu_command, gpu, card, gpu_show   the same as command, measure with ops and step, peaks, show

Nothing here is imported by the rest of the package.
"""
