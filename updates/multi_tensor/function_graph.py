"""How a function graph with ``MultiTensor`` nodes becomes a numba function.

PyTensor writes one line of Python for each node and returns all outputs as a tuple. numba's
compile time grows with the square of the length of such a tuple. Here the arrays of a
``MultiTensor`` node go into its table one tensor at a time, results in place keep the names of
their inputs, and the outputs of the whole function are appended to a list one by one.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytensor
from numba import types
from numba.extending import box, intrinsic, models, register_model
from pytensor.graph import fg
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import (
    cache_key_for_constant,
    numba_funcify_and_cache_key,
    numba_funcify_ensure_cache,
    numba_njit,
    numba_typify,
    register_funcify_and_cache_key,
)
from pytensor.tensor.math import Dot
from pytensor.tensor.type import TensorType

from updates.multi_tensor.kernel import (
    END,
    HEADER,
    SERIAL,
    SERIAL_BESIDE_BLAS,
    Kernel,
    drive_function,
    keep,
    write_back,
)
from updates.multi_tensor.machine_code import key_of, never_inlined, out_of_line
from updates.multi_tensor.op import TENSOR, MultiTensor
from updates.private import KERNEL

# The graph inside a loop is of a class of its own in newer versions of PyTensor.
GRAPH = getattr(fg, "AbstractFunctionGraph", FunctionGraph)

PYTENSORS_OWN = numba_funcify_and_cache_key.dispatch(GRAPH)
if PYTENSORS_OWN is numba_funcify_and_cache_key.dispatch(object):
    raise TypeError("numba_funcify_and_cache_key does not convert function graphs")

LINEAR_ALGEBRA = tuple(
    f"pytensor.tensor.{name}" for name in ("blas", "linalg", "nlinalg", "slinalg")
)


def funcify(fgraph: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the numba function of a graph and its key; PyTensor's own without our nodes."""

    def ordinary() -> Any:
        return PYTENSORS_OWN(fgraph, *args, **kwargs)

    problem = None
    try:
        if not KERNEL.is_lost and any(type(node.op) in WRITERS for node in fgraph.apply_nodes):
            return fast_function(fgraph, ordinary, *args, **kwargs)
    except Exception as error:
        problem = error
    result = ordinary()  # before the warning, as it raises what is not about our nodes
    if problem is not None:
        KERNEL.give_up(problem)
    return result


def fast_function(
    fgraph: Any,
    ordinary: Callable[[], Any],
    node: Apply | None = None,
    fgraph_name: str = "numba_funcified_fgraph",
    **kwargs: Any,
) -> tuple[Any, str | None]:
    """Return our numba function of a graph, which becomes PyTensor's if numba refuses it."""
    function, key = Conversion(fgraph, **kwargs).function(fgraph_name)
    with_fallback(function, ordinary)
    # What PyTensor does not keep in its cache it compiles again, from the Python function.
    arguments = ", ".join(f"v{k}" for k in range(len(fgraph.inputs)))
    source = f"def {fgraph_name}({arguments}): return function({arguments})"
    function.py_func = compile_numba_function_src(source, fgraph_name, {"function": function})
    return function, key


def with_fallback(function: Any, ordinary: Callable[[], Any]) -> None:
    """Let another function take the place of a numba function that does not compile.

    numba compiles a function when another calls it, asks it for the type of the call first and for
    the code after that, and lets it go with its code as soon as nothing refers to it.
    """
    get_call_template, get_overload = function.get_call_template, function.get_overload
    instead: list[Any] = []

    def call_template(*args: Any, **kwargs: Any) -> Any:
        if not instead:
            try:
                return get_call_template(*args, **kwargs)
            except Exception as error:
                [other, _] = ordinary()
                template = other.get_call_template(*args, **kwargs)
                instead.append(other)
                KERNEL.give_up(error)
                return template
        return instead[0].get_call_template(*args, **kwargs)

    def overload(*args: Any, **kwargs: Any) -> Any:
        return (instead[0].get_overload if instead else get_overload)(*args, **kwargs)

    function.get_call_template, function.get_overload = call_template, overload


def funcify_multi_tensor(op: MultiTensor, node: Apply, **kwargs: Any) -> tuple[Any, str | None]:
    """Return the numba function of a node in PyTensor's own conversion: one loop after another."""
    inputs = [variable.type() for variable in node.inputs]
    nodes = [op.elemwise.make_node(*own) for own in op.elemwise_inputs(inputs)]
    outputs = [output for elemwise in nodes for output in elemwise.outputs]
    graph = FunctionGraph(inputs, outputs, clone=False)
    return numba_funcify_and_cache_key(graph, squeeze_output=True)


class Conversion:
    """One function graph on its way to a numba function."""

    def __init__(
        self,
        fgraph: FunctionGraph,
        *,
        order: Sequence[Apply] | None = None,
        storage_map: Any = None,
        output_storage: Any = None,
        squeeze_output: bool = False,
        **kwargs: Any,
    ) -> None:
        self.fgraph = fgraph
        self.order = fgraph.toposort() if order is None else order
        self.kwargs = kwargs
        self.serial = SERIAL_BESIDE_BLAS if multiplies_matrices(fgraph) else SERIAL
        # Only the outermost function gives its outputs to Python, where a list will do.
        self.outermost = output_storage is not None
        self.squeeze_output = squeeze_output
        self.names: dict[Variable, str] = {}
        self.globals: dict[str, Any] = {
            "__name__": __name__,
            "never_inlined": never_inlined,
            "new_outputs": new_outputs,
            "new_table": new_table,
            "write_back": write_back,
            "keep": keep,
            "append_array": append_array,
            "append_input": append_input,
        }
        self.functions: dict[tuple, str] = {}
        self.lines = ["never_inlined()"]
        self.keys: list[Any] = []
        self.cachable = True

    def function(self, name: str) -> tuple[Any, str | None]:
        """Return the numba function and its key in the cache, None if it cannot be kept there."""
        parameters = [self.name(variable) for variable in self.fgraph.inputs]
        for node in self.order:
            WRITERS.get(type(node.op), Conversion.ordinary)(self, node)
        outputs = [self.name(variable) for variable in self.fgraph.outputs]
        if self.outermost:
            calls = [
                f"append_{'input' if o in parameters else 'array'}(outputs, {o})" for o in outputs
            ]
            self.lines += ["outputs = new_outputs()", *calls, "return outputs"]
        elif self.squeeze_output and len(outputs) == 1:
            self.lines += [f"return {outputs[0]}"]
        else:
            self.lines += [f"return ({', '.join(outputs)},)"]
        source = "\n    ".join([f"def {name}({', '.join(parameters)}):", *self.lines])
        self.keys += [key for key, _ in self.functions]
        fast = bool(pytensor.config.numba__fastmath)
        key = key_of(fast, source, self.keys)
        function = compile_numba_function_src(source, name, self.globals)
        return numba_njit(function), key if self.cachable else None

    def name(self, variable: Variable) -> str:
        """Return the name of a variable in the source; a constant becomes a global."""
        if variable not in self.names:
            self.names[variable] = name = f"v{len(self.names)}"
            if isinstance(variable, Constant):
                self.globals[name] = numba_typify(variable.data, variable=variable)
                self.keys.append((name, cache_key_for_constant(variable.data)))
        return self.names[variable]

    def ordinary(self, node: Apply) -> None:
        """Write the line of a node of PyTensor's."""
        function, key = numba_funcify_ensure_cache(node.op, node=node, **self.kwargs)
        if key is None:
            self.cachable = False
            name = f"u{len(self.globals)}"
            self.globals[name] = function
        else:
            # Equal keys stand for equal functions of equal arguments: numba need not see the next.
            kinds = tuple(kind(variable) for variable in node.inputs)
            name = self.functions.setdefault((key, kinds), f"f{len(self.functions)}")
            self.globals.setdefault(name, function)
        inputs = ", ".join(self.name(variable) for variable in node.inputs)
        outputs = ", ".join(self.name(variable) for variable in node.outputs)
        self.lines.append(f"{outputs} = {name}({inputs})")

    def multi_tensor(self, node: Apply) -> None:
        """Write the lines of a ``MultiTensor`` node."""
        op = node.op
        kernel = Kernel(op, node, self.serial, **self.kwargs)
        tag = f"m{len(self.keys)}"
        self.keys.append((tag, kernel.key))
        fast = bool(pytensor.config.numba__fastmath)
        self.globals |= {f"{tag}_segment": kernel.segment, "drive": drive_function(fast)}
        self.globals |= {f"{tag}_place_{k}": place for k, place in enumerate(kernel.places)}
        self.lines.append(f"{tag} = new_table({kernel.begin + op.n_tensors * kernel.width})")
        ends = []

        def place(k: int, array: str, kept: str) -> None:
            self.lines.append(f"{kept} = {tag}_place_{k}({tag}, {array})")
            is_written = k in op.elemwise.inplace_pattern.values()
            ends.append(f"{'write_back' if is_written else 'keep'}({kept}, {array})")

        for tensor in range(op.n_tensors):
            arrays = [self.name(variable) for variable in op.inputs_of(node.inputs, tensor)]
            outputs = op.outputs_of(node.outputs, tensor)
            if tensor == 0:
                for k in kernel.common:
                    place(k, arrays[k], f"{tag}_{k}")
            for position, source in op.elemwise.inplace_pattern.items():
                self.names[outputs[position]] = arrays[source]
            like = arrays[op.roles.index(TENSOR)]
            for position, dtype in kernel.new_outputs:
                self.globals[f"empty_{dtype}"] = empty_function(dtype)
                self.lines.append(f"{self.name(outputs[position])} = empty_{dtype}({like})")
            arrays += [self.name(outputs[position]) for position, _ in kernel.new_outputs]
            for k in kernel.own:
                place(k, arrays[k], f"{tag}_{tensor}_{k}")
        sizes = f"{kernel.begin}, {kernel.width}, {kernel.serial}"
        self.lines += [f"drive({tag}, {sizes}, {tag}_segment())", *ends]


# What writes the lines of a node, by its operation. `updates.distributed` adds its own.
WRITERS: dict[type[Op], Callable[[Conversion, Apply], None]] = {
    MultiTensor: Conversion.multi_tensor
}


def multiplies_matrices(fgraph: Any) -> bool:
    """Say whether a graph, or one within it, calls BLAS or LAPACK, which have their own threads."""
    ops = [getattr(node.op, "core_op", node.op) for node in fgraph.apply_nodes]
    return any(
        isinstance(op, Dot)
        or type(op).__module__.startswith(LINEAR_ALGEBRA)
        or (hasattr(op, "fgraph") and multiplies_matrices(op.fgraph))
        for op in ops
    )


def kind(variable: Variable) -> object:
    """Return what numba distinguishes arguments by."""
    if isinstance(variable.type, TensorType):
        return variable.type.dtype, variable.type.ndim
    return variable.type


@numba_njit
def new_table(places: int) -> np.ndarray:
    """Return a table without rows."""
    table = np.empty(places, np.int64)
    table[END] = HEADER
    return table


@cache
def empty_function(dtype: np.dtype) -> Any:
    """Return a function that allocates an array of this dtype, shaped like another."""

    @numba_njit
    def empty(like: np.ndarray) -> np.ndarray:
        return np.empty(like.shape, dtype)

    return empty


class Outputs(types.Opaque):
    """A list of Python, as numba sees it."""


register_model(Outputs)(models.OpaqueModel)
outputs_type = Outputs("Outputs")


@box(Outputs)
def box_outputs(typ: Any, value: Any, context: Any) -> Any:
    """Hand the list to Python."""
    return value


@intrinsic
def new_outputs(typing_context: Any) -> Any:
    """Return an empty list."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_python_api(builder).list_new(context.get_constant(types.intp, 0))

    return outputs_type(), codegen


def appended(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Generate the code that makes a Python object of a value and appends it."""
    api = context.get_python_api(builder)
    context.nrt.incref(builder, signature.args[1], args[1])
    element = api.from_native_value(signature.args[1], args[1], context.get_env_manager(builder))
    api.list_append(args[0], element)
    api.decref(element)
    return context.get_dummy_value()


@intrinsic
def append(typing_context: Any, outputs: Any, array: Any) -> Any:
    """Append an array."""
    return types.none(outputs, array), appended


append_array = out_of_line(append)


@intrinsic
def append_input(typing_context: Any, outputs: Any, array: Any) -> Any:
    """Append an array that Python gave to the function: the object itself."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parent = context.make_array(array)(context, builder, args[1]).parent
        context.get_python_api(builder).list_append(args[0], parent)
        return context.get_dummy_value()

    # Random generators, sparse matrices and plain numbers are no arrays.
    return types.none(outputs, array), codegen if isinstance(array, types.Array) else appended


# Last, when everything above has worked.
register_funcify_and_cache_key(MultiTensor)(funcify_multi_tensor)
register_funcify_and_cache_key(GRAPH)(funcify)
