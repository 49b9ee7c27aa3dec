"""The operation that reduces tensors over processes.

- ``AllReduce``: all tensors of a dtype are packed into one buffer and reduced together
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from pytensor.graph.basic import Apply
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.tensor.type import TensorType

from updates.distributed.fused import Fused


class AllReduce(Op):
    """Sum or average tensors over processes.

    ``number`` tells one such operation from another, and ``made`` tells which was made first.

    Parameters
    ----------
    name : str
        The public function, "allreduce_mean" or "allreduce_sum".
    comm : mpi4py.MPI.Intracomm
        The processes.
    types : list of TensorType
        The types of the tensors. A node may have one more input, which it only waits for.
    labels : list of str
        How messages name the tensors.
    has_condition : bool
        Whether the tensors are followed by a bool, equal on all processes, without which the
        operation exchanges nothing and returns what it is given.
    wire : str, optional
        How numbers travel between machines, see `narrow.WIRES`. All tensors are float32 then.
    """

    __props__ = ("number",)
    of_all_processes = True  # so that rules refuse it for rows
    _numbers = itertools.count()

    def __init__(
        self,
        name: str,
        comm: Any,
        types: Sequence[TensorType],
        labels: Sequence[str],
        has_condition: bool = False,
        wire: str | None = None,
    ) -> None:
        self.number = self.made = next(self._numbers)
        self.name_of_each = name  # for `describe`
        self.n_tensors = len(types)
        self.n_inputs = len(types) + has_condition
        places: dict[str, list[int]] = {}
        for place, tensor_type in enumerate(types):
            places.setdefault(tensor_type.dtype, []).append(place)
        self.fused = [Fused(name, comm, group, types, labels, wire) for group in places.values()]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the operation of a pickled function, with a new number.

        `made` stays as it was, so that copies have the order of the originals.
        """
        self.__dict__.update(state, number=next(self._numbers))
        # A pickled function is not rewritten again.
        from updates.distributed.rewrites import load_conversion

        load_conversion("numba")

    def __str__(self) -> str:
        """Name the function and the number of tensors."""
        return f"{self.name_of_each}{{{self.n_tensors}}}"

    def make_node(self, *inputs: Any) -> Apply:
        """Make the node: each tensor is reduced to one of its own type."""
        return Apply(self, list(inputs), [v.type() for v in inputs[: self.n_tensors]])

    def infer_shape(self, *arguments: Any) -> Any:
        """Return the shapes of the inputs, because all processes have the same."""
        input_shapes = arguments[-1]  # PyTensor 3.0 gives the function graph as well
        return input_shapes[: self.n_tensors]

    def do_constant_folding(self, fgraph: FunctionGraph, node: Apply) -> bool:
        """Refuse, because compiling must not wait for other processes."""
        return False

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        """Refuse, because the gradient of a mean over all processes is rarely what is meant."""
        name = self.name_of_each
        raise NotImplementedError(
            f"{name} has no gradient. Differentiate the loss of the process's own batch and reduce "
            f"the gradients: {name}(get_or_compute_grads(loss, params))"
        )

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Reduce the tensors."""
        results = self.reduce(inputs[: self.n_inputs])
        for storage, result in zip(output_storage, results, strict=True):
            storage[0] = result

    def reduce(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Reduce the tensors of each dtype, or copy them all if there is a false condition."""
        tensors, condition = inputs[: self.n_tensors], inputs[self.n_tensors :]
        if not all(condition):
            return [np.array(tensor) for tensor in tensors]
        results: dict[int, np.ndarray] = {}
        for fused in self.fused:
            reduced = fused.reduce([tensors[place] for place in fused.places])
            results |= zip(fused.places, reduced, strict=True)
        return [results[place] for place in range(self.n_tensors)]
