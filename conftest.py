"""What the examples of the op table find when they run: `np`, and `ops`, as its module's docstring makes it."""

import pytest


@pytest.fixture(autouse=True)
def names_of_the_op_table(request, doctest_namespace):
    if not isinstance(request.node, pytest.DoctestItem) or request.node.dtest.globs["__name__"] != "kernels.table":
        yield
        return
    import numpy as np

    import kernels

    with kernels.use("reference") as ops:
        doctest_namespace.update(np=np, ops=ops)
        yield
        for name in ("np", "ops"):  # no other module's examples shall rely on them
            del doctest_namespace[name]
