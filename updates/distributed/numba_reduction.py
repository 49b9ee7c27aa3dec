"""How a reduction over processes becomes part of a numba function.

PyTensor would pass all tensors to Python and take all results back, one by one. Here compiled code
writes a table of the tensors and passes that to Python, and the results are parts of the one array
that Python returns. The compiled code does not depend on the communicator and is kept in PyTensor's
cache.

The table, of int64, holds the shapes of all tensors, one after the other, and then for each tensor
the number of its elements and its address.
"""

import itertools
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from pytensor.graph.basic import Apply
from pytensor.link.numba.dispatch.basic import numba_njit

from updates.distributed.fused import FUSED
from updates.distributed.operation import AllReduce
from updates.multi_tensor.function_graph import WRITERS, Conversion
from updates.multi_tensor.machine_code import (
    compiled,
    contiguous,
    contiguous_type,
    never_inlined,
    pointer,
)

# Part of the key in the cache on disk.
SOURCE = sha256(Path(__file__).read_bytes()).hexdigest()


def write(conversion: Conversion, node: Apply) -> None:
    """Write the lines of an ``AllReduce`` node."""
    op: Any = node.op
    for fused in op.fused:
        pack_function(fused.dtype)  # here, where an error means PyTensor's own conversion
        tag = f"r{len(conversion.keys)}"
        conversion.keys.append((tag, "allreduce", SOURCE, str(fused.dtype)))
        conversion.globals |= {
            "new_places": new_places,
            "in_c_order": in_c_order,
            "add_tensor": add_tensor,
            "part": part,
            f"reduce_{fused.dtype}": reduce_function(fused.dtype),
        }
        inputs = [node.inputs[place] for place in fused.places]
        n_dims = sum(variable.type.ndim for variable in inputs)
        conversion.lines.append(f"{tag} = new_places({n_dims + 2 * len(inputs)})")
        condition = [conversion.name(c) for c in node.inputs[op.n_tensors : op.n_inputs]]
        exchanges = f"int({condition[0]}.item())" if condition else "1"
        shape_at, row_at = 0, n_dims
        for place, variable in zip(fused.places, inputs, strict=True):
            name = f"{tag}_{place}"
            conversion.lines += [
                f"{name} = in_c_order({conversion.name(variable)})",
                f"add_tensor({tag}, {shape_at}, {row_at}, {name})",
            ]
            shape_at += variable.type.ndim
            row_at += 2
        conversion.lines += [
            f"{tag}_reduced = reduce_{fused.dtype}({fused.number}, {tag}, {exchanges})",
            f"{tag}_start = 0",
        ]
        for place in fused.places:
            name, result = f"{tag}_{place}", conversion.name(node.outputs[place])
            conversion.lines += [
                f"{result} = part({tag}_reduced, {tag}_start, {name})",
                f"{tag}_start += {name}.size",
            ]


def reduce_table(number: int, table: np.ndarray, exchanges: int) -> np.ndarray:
    """Reduce the tensors of a table, or copy them if it exchanges nothing.

    Compiled code finds this function by its name.
    """
    fused = FUSED[number]
    n_dims = sum(fused.ndims)
    shapes = table[:n_dims]
    rows = table[n_dims:].reshape((-1, 2))
    size = int(rows[:, 0].sum())
    if not exchanges:
        packed = fused.lease(size)
        pack_function(fused.dtype)(rows, packed, fused.dtype.type(1))
        return packed
    with fused.waiting:
        fused.agree(shapes.tobytes(), lambda: _split(shapes.tolist(), fused.ndims))
        packed = fused.place(size)
        pack_function(fused.dtype)(rows, packed, fused.scale)
        return fused.total(packed)


def _split(lengths: list[int], ndims: list[int]) -> list[list[int]]:
    rest = iter(lengths)
    return [list(itertools.islice(rest, ndim)) for ndim in ndims]


@cache
def reduce_function(dtype: np.dtype) -> Any:
    """Return the numba function that calls `reduce_table`."""
    result_type = types.Array(numba.from_dtype(dtype), 1, "C")

    @intrinsic
    def call(typing_context: Any, number: Any, table: Any, exchanges: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            api = context.get_python_api(builder)
            module = api.import_module(context.insert_const_string(builder.module, __name__))
            function = api.object_getattr_string(module, reduce_table.__name__)
            context.nrt.incref(builder, table, args[1])
            given = [
                api.long_from_longlong(args[0]),
                api.from_native_value(table, args[1], context.get_env_manager(builder)),
                api.long_from_longlong(args[2]),
            ]
            result = api.call_function_objargs(function, given)
            for reference in [module, function, *given]:
                api.decref(reference)
            with builder.if_then(cgutils.is_null(builder, result), likely=False):
                context.call_conv.return_exc(builder)
            native = api.to_native_value(result_type, result)
            api.decref(result)
            return native.value

        return result_type(types.int64, table, types.int64), codegen

    @numba_njit
    def reduce(number: int, table: np.ndarray, exchanges: int) -> np.ndarray:
        never_inlined()
        return call(number, table, exchanges)

    return reduce


@cache
def pack_function(dtype: np.dtype) -> Any:
    """Return the numba function that writes scaled tensors, one after the other, to a buffer."""
    number = numba.from_dtype(dtype)
    scaled = compiled(SCALED, "scaled", f"{SOURCE} {dtype}", carray=numba.carray)
    function = compiled(
        PACK,
        "pack",
        scaled.key,
        options={"final_function": True},  # Python calls it
        scaled=scaled.function,
        number=number,
        pointer=pointer,
        int64=numba.int64,
    ).function
    function.compile((types.int64[:, ::1], number[::1], number))
    return function


SCALED = """
def scaled(n, source, target, scale):
    without_aliases()
    source, target = carray(source, n), carray(target, n)
    for i in range(n):
        target[i] = source[i] * scale
"""

PACK = """
def pack(rows, buffer, scale):
    place = int64(buffer.ctypes.data)
    for k in range(rows.shape[0]):
        n = rows[k, 0]
        scaled(n, pointer(rows[k, 1], number), pointer(place, number), scale)
        place += n * buffer.itemsize
"""


@numba_njit
def new_places(places: int) -> np.ndarray:
    """Return an empty table."""
    return np.empty(places, np.int64)


@numba_njit
def add_tensor(table: np.ndarray, shape_at: int, row_at: int, tensor: np.ndarray) -> None:
    """Write the shape, the size and the address of a tensor into a table."""
    never_inlined()
    for k in range(tensor.ndim):
        table[shape_at + k] = tensor.shape[k]
    table[row_at] = tensor.size
    table[row_at + 1] = tensor.ctypes.data


@intrinsic
def in_c_order(typing_context: Any, array: Any) -> Any:
    """Return an array itself if it is in C order, or else a copy."""
    copy = contiguous_type(array, array.dtype)
    result = array if copy is types.none else copy

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if copy is types.none:
            return impl_ret_borrowed(context, builder, result, args[0])
        return context.compile_internal(builder, contiguous(array, copy), signature, args)

    return result(array), codegen


@intrinsic
def part_of(typing_context: Any, buffer: Any, start: Any, like: Any) -> Any:
    """Return a view of a buffer from an element on, in the shape of another array."""
    result = types.Array(buffer.dtype, like.ndim, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = context.make_array(buffer)(context, builder, args[0])
        shaped = context.make_array(like)(context, builder, args[2])
        view = context.make_array(result)(context, builder)
        populate_array(
            view,
            data=builder.gep(whole.data, [args[1]]),
            shape=shaped.shape,
            strides=shaped.strides,
            itemsize=whole.itemsize,
            meminfo=whole.meminfo,
            parent=ir.Constant(whole.parent.type, None),
        )
        return impl_ret_borrowed(context, builder, result, view._getvalue())

    return result(buffer, types.int64, like), codegen


@numba_njit
def part(buffer: np.ndarray, start: int, like: np.ndarray) -> np.ndarray:
    """Return the part of a buffer that begins at an element and has the shape of an array."""
    never_inlined()
    return part_of(buffer, start, like)


WRITERS[AllReduce] = write  # last, when everything above has worked
