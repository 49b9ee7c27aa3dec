"""One multi-threaded kernel for the elementwise updates of all parameters (numba backend).

- ``op``: the node that stands for one formula applied to several tensors
- ``rewrite``: the graph rewrite ``multi_tensor`` that makes such nodes
- ``kernel``: the numba functions that run a formula over a table of tensors
- ``function_graph``: the numba function of a graph that contains such nodes

Importing `updates` registers the rewrite; ``mode.excluding("multi_tensor")`` switches it off. It
leans on parts of PyTensor and numba that may change, see `updates.private`. Whatever goes wrong
with it, functions are compiled as PyTensor does by itself, and one warning says so:

- when it is imported or registered: there is no rewrite
- in the rewrite: the graph is given back as it was
- in the conversion to numba, or when numba compiles at the first call: PyTensor's own conversion
  is taken, in which a node is one loop after the other
"""

import pytensor

from updates.private import KERNEL


def numba_is_ready() -> bool:
    """Load what compiles the nodes, which imports numba; say whether that worked."""
    if not KERNEL.is_lost:
        with KERNEL.optional():
            import updates.multi_tensor.function_graph  # noqa: F401
    return not KERNEL.is_lost


def register() -> None:
    """Register the rewrite: after the in-place rewrites of elementwise operations (50.5)."""
    if int(pytensor.__version__.split(".")[0]) != 3:
        KERNEL.give_up("versions 3 are known")
        return
    with KERNEL.optional():
        from pytensor.compile.mode import optdb

        from updates.multi_tensor.rewrite import GroupUpdates, InPlace

        tags = "numba", "multi_tensor"
        optdb.register("group_updates", GroupUpdates(), *tags, position=-0.005)
        optdb.register("updates_in_place", InPlace(), *tags, "inplace", position=105)


register()
