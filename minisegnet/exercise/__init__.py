"""Exercises: backward passes to write, and layers with real bugs to repair.

    minisegnet exercise list
    minisegnet exercise start conv2d
    minisegnet exercise check conv2d.py --hint 1

`start` writes a file with the forward pass and its formula; `check` compares what the learner wrote with small cases
computed by hand, with the framework over many shapes and with finite differences, and names the mistake.

    exercise   what an exercise consists of: cases, mistakes, hints
    kinds      how a layer, a loss, an optimiser or a function is run in a case
    catalogue  all exercises in order
    topics     the exercises, one module for each subject; `templates` and `gallery` hold the files that `start` writes
    loading    a learner's file as a module; trouble: what it raised, in a sentence with the line
    checking   runs a solution through all cases; diagnosis: which mistake its results fit; borrowed: did it call ours?
    traces     what it leaves behind in the arrays that it has to change
    grading    does that in a process of its own, with a time limit; speed: yours beside ours
    show       the result as text; overview: the list of exercises, and the results of a folder; layout: how wide
"""

from .grading import check_this_file

__all__ = ["check_this_file"]
