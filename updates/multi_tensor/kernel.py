"""The numba functions behind a ``MultiTensor`` node, made from its formula.

A table of int64 holds, after the number of its used places, one row for each tensor: the number
of elements, whether its arrays differ in shape (not 0), and their addresses. ``row`` adds a row,
``run`` works through the table, ``finish`` writes back what had to be copied for not being
contiguous.

``run`` does not depend on how many tensors there are nor on their shapes: it is compiled once for
a formula and kept in PyTensor's cache. Enough work is split among numba's threads; each takes an
equal part of the elements, wherever the tensors begin and end.
"""

import contextlib
import ctypes
import os
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from typing import Any

import llvmlite.binding
import numba
import numpy as np
import pytensor
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from pytensor.graph.basic import Apply
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import numba_funcify_and_cache_key, numba_njit
from pytensor.tensor.elemwise import Elemwise

from updates.multi_tensor.op import MultiTensor

VERSION = 14  # part of the key in the cache on disk: to be raised when the code below changes

# Elements times arrays below which one thread does it: about 10 microseconds of work.
SERIAL = 250_000

# The same in a function that multiplies matrices, about 10 milliseconds. The threads of OpenBLAS
# keep the cores busy for a while after each product, and a thread of ours that has to wait for one
# waits for a slice of the system's time.
SERIAL_BESIDE_BLAS = 100_000_000

# Elements that a thread takes at a time, at least.
PIECE = 4096

# 1 in a forked child of a process whose threads had been started: they are not in the child, and
# numba's OpenMP and workqueue layers end the process when it asks for them.
FORKED = ctypes.c_int64(0)
llvmlite.binding.add_symbol("updates_forked", ctypes.addressof(FORKED))


def mark_fork() -> None:
    """Note in a forked child that it has lost the threads of its parent."""
    with contextlib.suppress(ValueError):  # no threads were started: the child may start its own
        FORKED.value |= numba.threading_layer() in ("omp", "workqueue")


os.register_at_fork(after_in_child=mark_fork)


@intrinsic
def forked(typing_context: Any) -> Any:
    """Return ``FORKED`` as it is now."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        flag = builder.module.globals.get("updates_forked")
        if flag is None:
            flag = ir.GlobalVariable(builder.module, ir.IntType(64), "updates_forked")
        return builder.load(flag)

    return types.int64(), codegen


@intrinsic
def pointer(typing_context: Any, address: Any, dtype: Any) -> Any:
    """Return an address as a pointer to numbers of a dtype."""
    result = types.CPointer(dtype.instance_type)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(result))

    return result(address, dtype), codegen


@intrinsic
def without_aliases(typing_context: Any) -> Any:
    """Promise LLVM that the pointers given to this function do not overlap: it then vectorizes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for argument in builder.function.args[2:]:  # after numba's own two
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def never_inlined(typing_context: Any = None) -> Any:
    """Keep LLVM from copying this function into its callers.

    A function of hundreds of tensors calls it as often: copies make LLVM take minutes.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.none(), codegen


def out_of_line(body: Any) -> Any:
    """Return an intrinsic of two arguments that stays a function of its own in the machine code.

    Nor does the caller ask for an exception, which after each of hundreds of calls costs compile
    time. None can happen unless arrays are copied.
    """

    def out_of_line_body(first: Any, second: Any) -> Any:
        never_inlined()
        return body(first, second)

    function: Any = numba_njit(out_of_line_body)

    @intrinsic
    def call(typing_context: Any, first: Any, second: Any) -> Any:
        function.compile((first, second))
        result = function.overloads[first, second].signature.return_type
        copies = any(isinstance(element, types.Array) for element in getattr(result, "types", ()))

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            compiled = function.overloads[signature.args]
            context.active_code_library.add_linking_library(compiled.library)
            called = (builder, compiled.fndesc, signature, args)
            if copies:
                return context.call_internal(*called)
            return context.call_internal_no_propagate(*called)[1]

        return result(first, second), codegen

    return call


@cache
def row_function(scalars: tuple[bool, ...], dtypes: tuple[np.dtype, ...]) -> Any:
    """Return ``row(table, arrays)``, which adds a tensor to a table.

    `arrays` is a tuple. The result is a tuple too: the copies of the arrays that are not
    contiguous, or that are no arrays of their dtype (a function that trusts its input may be given
    a number), None for the others.
    """
    first = scalars.index(False)
    own = [numba.from_dtype(dtype) for dtype in dtypes]

    @intrinsic
    def add_row(typing_context: Any, table: Any, arrays: Any) -> Any:
        copies = types.Tuple(list(map(contiguous_type, arrays, own)))

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kept, native = [], []
            for typ, copy, value in zip(
                arrays, copies, cgutils.unpack_tuple(builder, args[1]), strict=True
            ):
                if copy is not types.none:
                    sig = copy(typ)
                    value = context.compile_internal(builder, contiguous(typ, copy), sig, [value])
                    typ = copy
                kept.append(context.get_dummy_value() if copy is types.none else value)
                native.append(context.make_array(typ)(context, builder, value))
            # Not compared but subtracted: each comparison here would cost compile time.
            mismatch = ir.Constant(native[first].nitems.type, 0)
            shape = cgutils.unpack_tuple(builder, native[first].shape)
            for array, scalar in zip(native, scalars, strict=True):
                if not scalar:
                    other = cgutils.unpack_tuple(builder, array.shape)
                    for length, expected in zip(other, shape, strict=True):
                        mismatch = builder.or_(mismatch, builder.sub(length, expected))
            row = [native[first].nitems, mismatch]
            row += [builder.ptrtoint(array.data, mismatch.type) for array in native]
            places = context.make_array(table)(context, builder, args[0]).data
            end = builder.load(places)
            for k, number in enumerate(row):
                place = builder.add(end, ir.Constant(end.type, k))
                builder.store(number, builder.gep(places, [place]))
            builder.store(builder.add(end, ir.Constant(end.type, len(row))), places)
            return context.make_tuple(builder, signature.return_type, kept)

        return copies(table, arrays), codegen

    return out_of_line(add_row)


@cache
def finish_function(in_place: tuple[int, ...]) -> Any:
    """Return ``finish(kept, arrays)``, which writes back the copies of what is in place."""

    @intrinsic
    def finish(typing_context: Any, kept: Any, arrays: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            copies, originals = (cgutils.unpack_tuple(builder, arg) for arg in args)
            for k in in_place:
                if kept[k] is not types.none:
                    # What is read-only to Python is written as by PyTensor's own loops.
                    sig = types.none(arrays[k].copy(readonly=False), kept[k])
                    context.compile_internal(builder, overwrite, sig, [originals[k], copies[k]])
            return context.get_dummy_value()

        return types.none(kept, arrays), codegen

    return finish


def contiguous_type(array: Any, dtype: Any) -> Any:
    """Return the type of the copy that an array needs, none if it is one of a dtype in C order."""
    if not isinstance(array, types.Array):
        return types.Array(dtype, 0, "C")
    if array.dtype == dtype and (array.layout == "C" or array.ndim == 0):
        return types.none
    return types.Array(dtype, array.ndim, "C")


def contiguous(given: Any, copy: Any) -> Callable[[Any], Any]:
    """Return a function that copies an array, or a number, to another type."""
    dtype = np.dtype(str(copy.dtype))
    if not isinstance(given, types.Array):

        def from_number(number: Any) -> Any:
            array = np.empty((), dtype)
            array[()] = number
            return array

        return from_number
    if given.dtype != copy.dtype:
        return lambda array: np.ascontiguousarray(array.astype(dtype))
    return lambda array: np.ascontiguousarray(array)


def overwrite(array: Any, copy: Any) -> None:
    """Write the result back into the array that was to be changed in place."""
    array[...] = copy


class Kernel:
    """The functions for one formula.

    Parameters
    ----------
    op, node
        The node, and what it applies.
    serial : int
        Elements times arrays below which one thread does it.
    **kwargs
        For PyTensor's conversion of the formula.

    Attributes
    ----------
    row, run, finish : numba functions
        ``kept = row(table, arrays)``, ``run(table)``, ``finish(kept, arrays)``, where `arrays` is
        a tuple of the inputs of a tensor and the new arrays for its outputs that are not in place.
    width : int
        The places of a row in the table.
    new_outputs : list of (int, numpy dtype)
        The outputs that are not in place.
    key : str
        What identifies the functions in the cache on disk.
    """

    def __init__(self, op: MultiTensor, node: Apply, serial: int, **kwargs: Any) -> None:
        numba.get_num_threads()  # starts the threads, which code from the cache takes for granted
        n_in = len(op.scalars)
        inputs, outputs = node.inputs[:n_in], node.outputs[: op.elemwise.scalar_op.nout]
        in_place = op.elemwise.inplace_pattern
        self.new_outputs = [
            (position, output.type.numpy_dtype)
            for position, output in enumerate(outputs)
            if position not in in_place
        ]
        dtypes = [variable.type.numpy_dtype for variable in inputs]
        dtypes += [dtype for _, dtype in self.new_outputs]
        scalars = [*op.scalars, *(False for _ in self.new_outputs)]
        self.width = 2 + len(dtypes)
        formula, formula_key = formula_function(op.elemwise, inputs, **kwargs)
        fast = bool(pytensor.config.numba__fastmath)
        names_of_dtypes = [str(dtype) for dtype in dtypes]
        what = (VERSION, fast, formula_key, scalars, in_place, serial, names_of_dtypes)
        self.key = sha256(repr(what).encode()).hexdigest()

        names = [f"a{k}" for k in range(len(dtypes))]
        targets = {position: f"a{source}" for position, source in in_place.items()}
        targets |= {position: f"a{n_in + k}" for k, (position, _) in enumerate(self.new_outputs)}
        source = SPAN.format(
            pointers=", ".join(names),
            arrays="\n    ".join(
                f"{name} = carray({name}, 1)[0]" if scalar else f"{name} = carray({name}, n)"
                for name, scalar in zip(names, scalars, strict=True)
            ),
            values=", ".join(
                name if scalar else f"{name}[i]"
                for name, scalar in zip(names[:n_in], scalars, strict=False)
            ),
            results=", ".join(f"{targets[k]}_{k}" for k in range(len(outputs))),
            stores="\n        ".join(
                f"{targets[k]}[i] = {targets[k]}_{k}" for k in range(len(outputs))
            ),
        )
        span = compiled(source, "span", f"span_{self.key}", formula=formula, carray=numba.carray)
        addresses = ", ".join(
            f"pointer(table[at + {k + 2}]{'' if scalar else f' + first * {dtype.itemsize}'}, t{k})"
            for k, (dtype, scalar) in enumerate(zip(dtypes, scalars, strict=True))
        )
        number_types = {f"t{k}": numba.from_dtype(dtype) for k, dtype in enumerate(dtypes)}
        segment = compiled(
            SEGMENT.format(width=self.width, addresses=addresses),
            "segment",
            f"segment_{self.key}",
            span=span,
            pointer=pointer,
            **number_types,
        )
        self.run = compiled(
            RUN.format(width=self.width, serial=serial // len(dtypes), piece=PIECE),
            "run",
            f"run_{self.key}",
            parallel=True,
            segment=segment,
            forked=forked,
            prange=numba.prange,
        )
        self.row = row_function(tuple(scalars), tuple(dtypes))
        self.finish = finish_function(tuple(in_place.values()))


SPAN = """
def span(n, {pointers}):
    without_aliases()
    {arrays}
    for i in range(n):
        {results} = formula({values})
        {stores}
"""

SEGMENT = """
def segment(table, start, stop):
    at = 1
    while at < table[0]:
        n = table[at]
        if start < n and stop > 0:
            first = max(start, 0)
            span(min(stop, n) - first, {addresses})
        start -= n
        stop -= n
        at += {width}
"""

RUN = """
def run(table):
    total = 0
    for at in range(1, table[0], {width}):
        if table[at + 1] != 0:
            raise ValueError("an array of an update has another shape than its parameter")
        total += table[at]
    if total < {serial} or forked():
        segment(table, 0, total)
    else:
        pieces = min(total // {piece}, 1024)
        for k in prange(pieces):
            segment(table, total * k // pieces, total * (k + 1) // pieces)
"""


def compiled(source: str, name: str, key: str, *, parallel: bool = False, **names: Any) -> Any:
    """Return a numba function of source code, kept in PyTensor's cache on disk."""
    names |= {"without_aliases": without_aliases, "__name__": __name__}
    function = compile_numba_function_src(source, name, names, cache_key=key)
    keep = bool(pytensor.config.numba__cache)
    return numba_njit(function, cache=keep, parallel=parallel)


def formula_function(
    elemwise: Elemwise, inputs: list[Any], **kwargs: Any
) -> tuple[Any, str | None]:
    """Return PyTensor's numba function for one element, and its key in the cache."""
    scalar_node = elemwise.make_scalar_node(*inputs)
    return numba_funcify_and_cache_key(elemwise.scalar_op, node=scalar_node, **kwargs)
