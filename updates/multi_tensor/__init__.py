"""One formula, rewritten and compiled once, for the updates of all parameters (numba backend).

- ``regions``: which parts of a graph are the elementwise update of a tensor
- ``membership``: which nodes belong to such parts
- ``op``: the node that stands for one formula applied to several tensors
- ``rewrite``: the graph rewrites ``multi_tensor`` that make such nodes, before PyTensor rewrites
  anything, and let them work in place, after all else
- ``kernel``: the numba functions that run a formula over a table of tensors
- ``function_graph``: the numba function of a graph that contains such nodes

Importing `updates` registers the rewrites; ``mode.excluding("multi_tensor")`` switches them off.
They lean on parts of PyTensor and numba that may change, see `updates.private`. Whatever goes wrong
with them, functions are compiled as PyTensor does by itself, and one warning says so:

- when they are imported or registered: there is no rewrite
- in a rewrite: the graph is given back as it was
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
    """Register the rewrites: before the first that merges nodes (0), and after the last (100)."""
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
