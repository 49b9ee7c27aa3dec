"""JAX: keep float32 sums in float32, so that float32 parameters stay float32.

PyTensor declares the sum of a float32 tensor float32 and accumulates it in float64. Its JAX
backend forgets to cast the result back, so that one bias gradient turns all parameters into
float64 after one step. Importing `updates` registers the rewrite below for the JAX backend alone:
reductions accumulate there in the dtype that they return, as ``jax.numpy`` does by itself.
``get_mode("JAX").excluding("jax_reduction_dtype")`` switches it off.
"""

from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.elemwise import CAReduce

from updates.private import JAX_DTYPES


def register() -> None:
    """Register the rewrite, after elementwise fusion (49), before what is in place (49.5)."""
    from pytensor.compile.mode import optdb
    from pytensor.graph.rewriting.basic import in2out, node_rewriter

    @node_rewriter([CAReduce])
    def jax_reduction_dtype(_: FunctionGraph, node: Apply) -> list[Variable] | None:
        """Accumulate a reduction in the dtype of its output."""
        with JAX_DTYPES.optional():
            dtype = node.outputs[0].type.dtype
            if node.op.acc_dtype in (None, dtype) or not dtype.startswith("float"):
                return None
            reduction = node.op.clone(acc_dtype=dtype)
            if reduction.acc_dtype != dtype:  # rewritten again and again, without end
                raise TypeError(f"the acc_dtype of {reduction} is not {dtype}")
            return [reduction(*node.inputs)]
        return None

    optdb.register("jax_reduction_dtype", in2out(jax_reduction_dtype), "jax", position=49.2)


with JAX_DTYPES.optional():
    register()
