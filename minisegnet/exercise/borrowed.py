"""Did a solution compute its result, or did it ask a framework to?

Seen at run time, from the calls that the learner's code makes, and from where its forward and backward were written:
what only stands in the file, such as a comparison under `if __name__ == "__main__"`, is nobody's business.
"""

import contextlib
import inspect
import sys

LENDERS = {  # beginning of a module's name: what to call it; the base classes that templates use are let through
    "minisegnet.layers": "minisegnet.layers",
    "minisegnet.combine": "minisegnet.layers",
    "minisegnet.losses": "minisegnet.losses",
    "minisegnet.optim": "minisegnet.optim",
    "minisegnet.gradcheck": "minisegnet.gradcheck",
    "kernels": "kernels",
    "torch": "torch",
    "jax": "jax",
    "tensorflow": "tensorflow",
    "autograd": "autograd",
    "scipy": "scipy",
}
BASES = ("Loss.", "Optimizer.", "_named.", "Single.", "runs", "check_params")  # what a class made from ours may call


@contextlib.contextmanager
def watching(path):
    """Within a `with` block, notes which frameworks the code of the file at `path` calls; yields the growing set."""
    found, path = set(), str(path)

    def profile(frame, event, argument):
        if event == "call":
            lender = lender_of(frame.f_globals.get("__name__", ""))
            if lender and not frame.f_code.co_qualname.startswith(BASES) and called_from(frame, path, lender):
                found.add(lender)
        elif event == "c_call" and frame.f_code.co_filename == path:
            lender = lender_of(getattr(argument, "__module__", None) or owner_of(argument))
            if lender:
                found.add(lender)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(before)


def written_elsewhere(made, names, path):
    """Whose the methods of a class are that were not written in the file at `path`: a set like that of `watching`.

    names: the methods to look at; none: `made` is a function itself
    """
    methods = [inspect.getattr_static(made, name, None) for name in names] if names else [made]
    return {lender for method in methods if (lender := author_of(method, str(path)))}


def author_of(function, path):
    """The framework or module that a function comes from; None if it was written in the file at `path`."""
    function = getattr(function, "__func__", function)  # a classmethod or staticmethod
    function = inspect.unwrap(getattr(function, "py_func", function))  # one that Numba compiled
    code, module = getattr(function, "__code__", None), getattr(function, "__module__", None)
    if code is None or code.co_filename == path:
        return lender_of(module or "")
    return lender_of(module or "") or module or code.co_filename


def owner_of(function):
    """The module of the type to which a compiled function is bound."""
    return type(getattr(function, "__self__", None)).__module__


def lender_of(module):
    """The framework that a module belongs to, or None."""
    for beginning, name in LENDERS.items():
        if module == beginning or module.startswith(beginning + "."):
            return name
    return None


def called_from(frame, path, lender):
    """Whether the learner's file called this, itself or through our base classes; kernels only count if it did itself.

    A Parameter asks the kernels for zeros, for one; that is no borrowing.
    """
    caller = frame.f_back
    if lender == "kernels":
        return caller is not None and caller.f_code.co_filename == path
    while caller is not None and caller.f_code.co_filename != path:
        if lender_of(caller.f_globals.get("__name__", "")):
            return False  # deeper inside the same thing, which has been noted already, or let through
        caller = caller.f_back
    return caller is not None
