"""How a reduction over processes becomes part of a JAX function: by a call back to Python."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import io_callback
from pytensor.link.jax.dispatch import jax_funcify

from updates.distributed.operation import AllReduce
from updates.private import JAX_REDUCTION


@jax_funcify.register(AllReduce)
def jax_funcify_AllReduce(op: AllReduce, **kwargs: Any) -> Callable[..., Any]:  # noqa: N802
    """Return a function whose calls JAX keeps in the order of the program."""

    def on_host(*inputs: Any) -> list[np.ndarray]:
        return op.reduce([np.asarray(given) for given in inputs])

    def reduce(*inputs: Any) -> Any:
        tensors = inputs[: op.n_tensors]
        types = [jax.ShapeDtypeStruct(tensor.shape, tensor.dtype) for tensor in tensors]
        with JAX_REDUCTION.needed():
            results = io_callback(on_host, types, *inputs[: op.n_inputs], ordered=True)
            if [result.shape for result in results] != [tensor.shape for tensor in tensors]:
                raise TypeError(f"io_callback returned {results!r}")
        return results if len(results) > 1 else results[0]

    return reduce
