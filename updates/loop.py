"""The loop of `many_steps`: PyTensor's ``Scan``, which is built here by hand.

- ``loop``: from the values that change and the graph of one step to the values after many
- ``OwnCopy``: a copy of a next value, which a rewrite removes where nothing shares its memory

This module is loaded with the first loop, because it needs parts of PyTensor that may change, see
`updates.private`.
"""

from collections.abc import Sequence
from typing import Any

import pytensor
from pytensor.compile.ops import DeepCopyOp
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.scan.op import Scan, ScanInfo
from pytensor.tensor.type import TensorType

from updates.private import OWN_COPY


def loop(
    inside: Sequence[Variable],
    results: Sequence[Variable],
    sequence: Any,
    changing: Sequence[Variable],
    fixed: Sequence[Variable],
) -> tuple[list[Any], list[Any]]:
    """Return the outputs of all steps, stacked, and the last values of what changes.

    Parameters
    ----------
    inside : list of variables
        The inputs of one step: an entry of `sequence`, what changes, what is fixed.
    results : list of variables
        One step: its outputs, then the next values of what changes.
    sequence : symbolic vector
        What each step gets one entry of.
    changing, fixed : list of variables
        The first values of what changes, and the values of what does not.
    """
    n_outputs = len(results) - len(changing)
    next_values: list[Any] = [
        OwnCopy(position)(value) if isinstance(value.type, TensorType) else value
        for position, value in enumerate(results[n_outputs:])
    ]
    # Without a mode, the loop would be optimized and compiled to C even in FAST_COMPILE.
    mode: Any = "FAST_COMPILE" if pytensor.config.mode == "FAST_COMPILE" else None
    # Not pytensor.scan, which stacks the values of all steps and cannot make zero steps.
    steps = Scan(
        list(inside),
        [*results[:n_outputs], *next_values],
        ScanInfo(
            n_seqs=1,
            mit_mot_in_slices=(),
            mit_mot_out_slices=(),
            mit_sot_in_slices=(),
            sit_sot_in_slices=(),
            n_nit_sot=n_outputs,
            n_untraced_sit_sot=len(changing),
            n_non_seqs=len(fixed),
            as_while=False,
        ),
        mode=mode,
        name="many_steps",
    )
    n_steps = sequence.shape[0]
    lengths = [n_steps] * n_outputs
    after: Any = steps(n_steps, sequence, *changing, *lengths, *fixed, return_list=True)
    stacked, last = after[:n_outputs], after[n_outputs:]
    if len(last) != len(changing):
        raise TypeError(f"Scan gave {len(after)} results, not {len(results)}")
    return stacked, last


class OwnCopy(DeepCopyOp):
    """A copy of the next value of one variable.

    Up to PyTensor 3.2, next values in a loop may share memory with each other or with data, and
    the following step overwrites one through the other. The position prevents that copies of equal
    values are merged into one.
    """

    __props__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position

    def do_constant_folding(self, fgraph: FunctionGraph, node: Apply) -> bool:
        """Refuse, because a folded constant would be shared again."""
        return False


def register() -> None:
    """Register ``drop_own_copy``, after elementwise fusion (49), before what is in place (49.5)."""
    from pytensor.compile.mode import optdb
    from pytensor.graph.fg import Output
    from pytensor.graph.rewriting.basic import in2out, node_rewriter

    def is_needed(fgraph: FunctionGraph, node: Apply) -> bool:
        """Say whether a value is not in new memory, or is used elsewhere as well."""
        [value] = node.inputs
        if value.owner is None or value.owner.outputs.index(value) in value.owner.op.view_map:
            return True
        others = (client for client, _ in fgraph.clients[value] if client is not node)
        return any(isinstance(other.op, OwnCopy | Output) for other in others)

    @node_rewriter([OwnCopy])
    def drop_own_copy(fgraph: FunctionGraph, node: Apply) -> list[Variable] | None:
        """Remove the copy of a value that is in new memory and is used nowhere else."""
        with OWN_COPY.optional():
            return None if is_needed(fgraph, node) else [node.inputs[0]]
        return None

    optdb.register("drop_own_copy", in2out(drop_own_copy), "fast_run", position=49.3)


with OWN_COPY.optional():
    register()
