"""``MultiTensor``: one elementwise formula applied to several tensors, as one node."""

from typing import Any

from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.variable import TensorVariable

from updates.multi_tensor import numba_is_ready


class MultiTensor(Op):
    """Apply `elemwise` to several tensors of any shapes.

    The inputs are those of the first tensor, then those of the second, and so on; so are the
    outputs. What `elemwise` writes in place, the node writes in place.

    Parameters
    ----------
    elemwise : Elemwise
        The formula, and which outputs take the memory of which inputs.
    scalars : tuple of bool
        For each input of `elemwise`, whether it is one number (0-d) for all elements of a tensor.
    n_tensors : int
        The number of tensors.
    group : int, optional
        A number that nodes of one graph share only if they do not depend on each other.
    """

    __props__ = ("elemwise", "scalars", "n_tensors", "group")

    def __init__(
        self, elemwise: Elemwise, scalars: tuple[bool, ...], n_tensors: int, group: int = 0
    ) -> None:
        self.elemwise = elemwise
        self.scalars = scalars
        self.n_tensors = n_tensors
        self.group = group
        n_in, n_out = len(scalars), elemwise.scalar_op.nout
        self.destroy_map = {
            tensor * n_out + output: [tensor * n_in + source]
            for tensor in range(n_tensors)
            for output, source in elemwise.inplace_pattern.items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Come back in a pickled function, for which no rewrite runs again."""
        self.__dict__.update(state)
        numba_is_ready()

    def __str__(self) -> str:
        """Name the formula and the number of tensors."""
        return f"MultiTensor{{{self.n_tensors} x {self.elemwise}}}"

    def elemwise_inputs(self, inputs: list[Any]) -> list[list[TensorVariable]]:
        """Return the inputs of `elemwise` for each tensor: all of the same number of axes."""
        n_in = len(self.scalars)
        result = []
        for first in range(0, len(inputs), n_in):
            own = inputs[first : first + n_in]
            ndim = max(variable.type.ndim for variable in own)
            result.append([v if v.type.ndim == ndim else v.dimshuffle(["x"] * ndim) for v in own])
        return result

    def inputs_of(self, node: Apply, tensor: int) -> list[Any]:
        """Return the inputs of a tensor."""
        return node.inputs[tensor * len(self.scalars) : (tensor + 1) * len(self.scalars)]

    def outputs_of(self, node: Apply, tensor: int) -> list[Any]:
        """Return the outputs of a tensor."""
        n_out = self.elemwise.scalar_op.nout
        return node.outputs[tensor * n_out : (tensor + 1) * n_out]

    def infer_shape(self, *args: Any) -> list[Any]:
        """Return the shapes of the outputs: for each tensor, that of its first full input."""
        shapes = args[-1]  # older versions of PyTensor give the graph first, then node and shapes
        n_in, first = len(self.scalars), self.scalars.index(False)
        own = (shapes[tensor * n_in + first] for tensor in range(self.n_tensors))
        return [shape for shape in own for _ in range(self.elemwise.scalar_op.nout)]

    def make_node(self, *inputs: Variable) -> Apply:
        """Make the node; its outputs have the types that `elemwise` gives them."""
        outputs = [
            output.type()
            for own in self.elemwise_inputs(list(inputs))
            for output in self.elemwise.make_node(*own).outputs
        ]
        return Apply(self, list(inputs), outputs)

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Compute one tensor after the other, in a process that cannot compile the node."""
        n_in, n_out = len(self.scalars), self.elemwise.scalar_op.nout
        for tensor, own in enumerate(self.elemwise_inputs(node.inputs)):
            self.elemwise.perform(
                self.elemwise.make_node(*own),
                inputs[tensor * n_in : (tensor + 1) * n_in],
                output_storage[tensor * n_out : (tensor + 1) * n_out],
            )
