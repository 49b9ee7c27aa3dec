"""``MultiTensor``: one elementwise formula applied to several tensors, as one node."""

from collections.abc import Sequence
from typing import Any

from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.variable import TensorVariable

from updates.multi_tensor import numba_is_ready

# What an input of the formula is: a tensor, a number of a tensor, or a number of all tensors.
TENSOR, NUMBER, COMMON = "tensor", "number", "common"


class MultiTensor(Op):
    """Apply `elemwise` to several tensors of any shapes.

    The inputs are the common numbers, then all others of the first tensor, then those of the
    second, and so on; so are the outputs. What `elemwise` writes in place, the node writes in
    place.

    Parameters
    ----------
    elemwise : Elemwise
        The formula, and which outputs take the memory of which inputs.
    roles : tuple of {"tensor", "number", "common"}
        For each input of `elemwise`, whether it is a tensor, one number (0-d) for all elements of a
        tensor, or one for all tensors.
    n_tensors : int
        The number of tensors.
    group : int, optional
        A number that nodes of one graph share only if they do not depend on each other.
    """

    __props__ = ("elemwise", "roles", "n_tensors", "group")

    def __init__(
        self, elemwise: Elemwise, roles: tuple[str, ...], n_tensors: int, group: int = 0
    ) -> None:
        self.elemwise = elemwise
        self.roles = roles
        self.n_tensors = n_tensors
        self.group = group
        self._place = places(roles)
        n_out = elemwise.scalar_op.nout
        self.destroy_map = {
            tensor * n_out + output: [self._index(source, tensor)]
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

    def _index(self, source: int, tensor: int) -> int:
        """Return which input of the node is an input of the formula for a tensor."""
        n_own = len(self.roles) - self.roles.count(COMMON)
        return self._place[source] + (self.roles[source] != COMMON) * tensor * n_own

    def inputs_of(self, inputs: Sequence[Any], tensor: int) -> list[Any]:
        """Return what inputs of the node, or something of each, the formula has for a tensor."""
        return [inputs[self._index(source, tensor)] for source in range(len(self.roles))]

    def outputs_of(self, outputs: Sequence[Any], tensor: int) -> list[Any]:
        """Return the outputs of a tensor."""
        n_out = self.elemwise.scalar_op.nout
        return list(outputs[tensor * n_out : (tensor + 1) * n_out])

    def infer_shape(self, *args: Any) -> list[Any]:
        """Return the shapes of the outputs: for each tensor, that of its first full input."""
        shapes = args[-1]  # older versions of PyTensor give the graph first, then node and shapes
        first = self.roles.index(TENSOR)
        own = (shapes[self._index(first, tensor)] for tensor in range(self.n_tensors))
        return [shape for shape in own for _ in range(self.elemwise.scalar_op.nout)]

    def elemwise_inputs(self, inputs: Sequence[Any]) -> list[list[TensorVariable]]:
        """Return the inputs of `elemwise` for each tensor: all of the same number of axes."""
        result = []
        for tensor in range(self.n_tensors):
            own = self.inputs_of(inputs, tensor)
            ndim = max(variable.type.ndim for variable in own)
            result.append([v if v.type.ndim == ndim else v.dimshuffle(["x"] * ndim) for v in own])
        return result

    def make_node(self, *inputs: Variable) -> Apply:
        """Make the node; its outputs have the types that `elemwise` gives them."""
        outputs = [
            output.type()
            for own in self.elemwise_inputs(inputs)
            for output in self.elemwise.make_node(*own).outputs
        ]
        return Apply(self, list(inputs), outputs)

    def perform(self, node: Apply, inputs: Any, output_storage: Any) -> None:
        """Compute one tensor after the other, in a process that cannot compile the node."""
        for tensor, own in enumerate(self.elemwise_inputs(node.inputs)):
            self.elemwise.perform(
                self.elemwise.make_node(*own),
                self.inputs_of(inputs, tensor),
                self.outputs_of(output_storage, tensor),
            )


def places(roles: Sequence[str]) -> list[int]:
    """Return the place of each input of a formula among those of a node of one tensor."""
    order = sorted(range(len(roles)), key=lambda k: roles[k] != COMMON)
    return [order.index(k) for k in range(len(roles))]


def arranged(roles: Sequence[str], tensors: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the inputs of a node from those of the formula for each tensor."""
    common = [tensors[0][k] for k, role in enumerate(roles) if role == COMMON]
    return common + [own[k] for own in tensors for k, role in enumerate(roles) if role != COMMON]
