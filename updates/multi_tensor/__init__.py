"""One multi-threaded kernel for the elementwise updates of all parameters (numba backend).

- ``op``: the node that stands for one formula applied to several tensors
- ``rewrite``: the graph rewrite ``multi_tensor`` that makes such nodes
- ``kernel``: the numba functions that run a formula over a table of tensors
- ``function_graph``: the numba function of a graph that contains such nodes

Importing `updates` registers the rewrite; ``mode.excluding("multi_tensor")`` switches it off. It
leans on parts of PyTensor that may change: with a version in which they have, functions are
compiled as PyTensor does by itself, and one warning says so.
"""

import warnings
from functools import cache

import pytensor
from pytensor.compile.mode import optdb


def warn_unsupported(reason: object) -> None:
    """Say that the ordinary graph is used, and why."""
    warnings.warn(
        f"updates cannot speed up the updates under PyTensor {pytensor.__version__} ({reason}): "
        "they are computed by PyTensor's own graph, with the same results. A newer release of "
        "updates may know this version.",
        UserWarning,
        stacklevel=2,
    )


@cache
def numba_is_ready() -> bool:
    """Load what compiles the nodes, which imports numba; say whether that worked."""
    try:
        import updates.multi_tensor.function_graph  # noqa: F401
    except (ImportError, AttributeError) as error:
        warn_unsupported(error)
        return False
    return True


def register() -> None:
    """Register the rewrite: after the in-place rewrites of elementwise operations (50.5)."""
    if int(pytensor.__version__.split(".")[0]) != 3:
        warn_unsupported("versions 3 are known")
        return
    try:
        from updates.multi_tensor.rewrite import GroupUpdates
    except (ImportError, AttributeError) as error:
        warn_unsupported(error)
    else:
        optdb.register("multi_tensor", GroupUpdates(), "numba", position=50.6)


register()
