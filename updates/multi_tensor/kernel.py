"""The numba functions behind a ``MultiTensor`` node, made from its formula.

A table of int64 holds the addresses of numbers that all tensors have in common, and one row for
each tensor: the number of elements, whether its arrays differ in shape (not 0), and their
addresses. ``place`` functions put arrays into it one by one, which asks the least of numba;
``drive`` works through it; ``write_back`` and ``keep`` end what arrays that were not contiguous,
and had to be copied, were needed for.

``drive`` is one function for all formulas. It gets the address of ``segment``, which depends on
the formula, but neither on how many tensors there are nor on their shapes. Both are kept in
PyTensor's cache. Enough work is split among numba's threads; each takes an equal part of the
elements, wherever the tensors begin and end.
"""

import contextlib
import ctypes
import os
from functools import cache
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from pytensor.graph.basic import Apply
from pytensor.link.numba.dispatch.basic import numba_funcify_and_cache_key
from pytensor.tensor.elemwise import Elemwise

from updates.multi_tensor.machine_code import (
    compiled,
    contiguous,
    contiguous_type,
    out_of_line,
    overwrite,
    pointer,
)
from updates.multi_tensor.op import COMMON, TENSOR, MultiTensor

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


if hasattr(os, "register_at_fork"):  # Windows does not fork
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


# Places in the table before common numbers and rows: where the next number goes, where this row
# begins, and the shape of its first array, which has up to 64 axes in NumPy.
END, ROW, SHAPE, HEADER = 0, 1, 2, 2 + 64


@cache
def place_function(role: str, dtype: np.dtype) -> Any:
    """Return ``place(table, array)``, which puts an array into a table.

    The role is "first", the array with which a row begins, "tensor", another one of the same
    shape, or "number" or "common". The result is the copy of an array that is not contiguous, or
    that is no array of the dtype (a function that trusts its input may be given a number), None
    for others.
    """
    own = numba.from_dtype(dtype)

    @intrinsic
    def place(typing_context: Any, table: Any, array: Any) -> Any:
        copy = contiguous_type(array, own)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value, typ = args[1], array
            if copy is not types.none:
                sig = copy(array)
                value = context.compile_internal(builder, contiguous(array, copy), sig, [value])
                typ = copy
            native = context.make_array(typ)(context, builder, value)
            places = context.make_array(table)(context, builder, args[0]).data
            integer = native.nitems.type

            def at(place: Any) -> Any:
                index = ir.Constant(integer, place) if isinstance(place, int) else place
                return builder.gep(places, [index])

            def after(place: Any, count: int) -> Any:
                return builder.add(place, ir.Constant(integer, count))

            end = builder.load(at(END))
            axes = list(enumerate(cgutils.unpack_tuple(builder, native.shape)))
            if role == "first":
                builder.store(end, at(ROW))
                builder.store(native.nitems, at(end))
                builder.store(ir.Constant(integer, 0), at(after(end, 1)))
                for axis, length in axes:
                    builder.store(length, at(SHAPE + axis))
                end = after(end, 2)
            elif role == TENSOR:
                mismatch = at(after(builder.load(at(ROW)), 1))
                total = builder.load(mismatch)
                for axis, length in axes:
                    # Not compared but subtracted: each comparison here would cost compile time.
                    other = builder.load(at(SHAPE + axis))
                    total = builder.or_(total, builder.sub(length, other))
                builder.store(total, mismatch)
            builder.store(builder.ptrtoint(native.data, integer), at(end))
            builder.store(after(end, 1), at(END))
            return context.get_dummy_value() if copy is types.none else value

        return copy(table, array), codegen

    return out_of_line(place)


@intrinsic
def write_back(typing_context: Any, kept: Any, array: Any) -> Any:
    """Write the result that was computed in a copy into the array itself."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if kept is not types.none:
            # What is read-only to Python is written as by PyTensor's own loops.
            sig = types.none(array.copy(readonly=False), kept)
            context.compile_internal(builder, overwrite, sig, [args[1], args[0]])
        return context.get_dummy_value()

    return types.none(kept, array), codegen


@intrinsic
def keep(typing_context: Any, kept: Any, array: Any) -> Any:
    """Name an array and its copy after all is computed, so that both keep their memory."""
    return types.none(kept, array), lambda context, *_: context.get_dummy_value()


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
    segment : numba function
        Returns the address of the function that works through a part of a table.
    common, own : lists of int
        The arrays of the formula, its inputs and after them those for its outputs that are not in
        place: those of all tensors, and those of each, in the order of the table.
    places : list of numba functions
        For each array, what places it there.
    begin : int
        Where rows begin in the table.
    width : int
        The places of a row in the table.
    serial : int
        The number of elements below which one thread does it.
    new_outputs : list of (int, numpy dtype)
        The outputs that are not in place.
    key : str
        What identifies the functions in the cache on disk.
    """

    def __init__(self, op: MultiTensor, node: Apply, serial: int, **kwargs: Any) -> None:
        numba.get_num_threads()  # starts the threads, which code from the cache takes for granted
        inputs = op.inputs_of(node.inputs, 0)
        outputs = op.outputs_of(node.outputs, 0)
        in_place = op.elemwise.inplace_pattern
        self.new_outputs = [
            (position, output.type.numpy_dtype)
            for position, output in enumerate(outputs)
            if position not in in_place
        ]
        dtypes = [variable.type.numpy_dtype for variable in inputs]
        dtypes += [dtype for _, dtype in self.new_outputs]
        roles = [*op.roles, *(TENSOR for _ in self.new_outputs)]
        first = roles.index(TENSOR)
        self.common = [k for k, role in enumerate(roles) if role == COMMON]
        own = [k for k, role in enumerate(roles) if role != COMMON]
        own.sort(key=lambda k: k != first)
        self.begin, self.width = HEADER + len(self.common), 2 + len(own)
        formula, formula_key = formula_function(op.elemwise, inputs, **kwargs)
        self.own = own
        self.places = [
            place_function("first" if k == first else role, dtype)
            for k, (role, dtype) in enumerate(zip(roles, dtypes, strict=True))
        ]
        self.serial = serial // roles.count(TENSOR)

        names = [f"a{k}" for k in range(len(dtypes))]
        targets = {position: f"a{source}" for position, source in in_place.items()}
        targets |= {
            position: f"a{len(inputs) + k}" for k, (position, _) in enumerate(self.new_outputs)
        }
        source = SPAN.format(
            pointers=", ".join(names),
            arrays="\n    ".join(
                f"{name} = carray({name}, n)"
                if role == TENSOR
                else f"{name} = carray({name}, 1)[0]"
                for name, role in zip(names, roles, strict=True)
            ),
            values=", ".join(
                f"{name}[i]" if role == TENSOR else name
                for name, role in zip(names, op.roles, strict=False)
            ),
            results=", ".join(f"{targets[k]}_{k}" for k in range(len(outputs))),
            stores="\n        ".join(
                f"{targets[k]}[i] = {targets[k]}_{k}" for k in range(len(outputs))
            ),
        )
        span = compiled(source, "span", str(formula_key), formula=formula, carray=numba.carray)
        addresses = []
        for k, (role, dtype) in enumerate(zip(roles, dtypes, strict=True)):
            place = (
                f"{HEADER + self.common.index(k)}" if role == COMMON else f"at + {2 + own.index(k)}"
            )
            offset = f" + first * {dtype.itemsize}" if role == TENSOR else ""
            addresses.append(f"pointer(table[{place}]{offset}, t{k})")
        number_types = {f"t{k}": numba.from_dtype(dtype) for k, dtype in enumerate(dtypes)}
        segment = compiled(
            SEGMENT.format(width=self.width, addresses=", ".join(addresses), begin=self.begin),
            "segment",
            f"{span.key} {number_types}",
            span=span.function,
            pointer=pointer,
            **number_types,
        )
        self.segment, self.key = address_of(segment.function), segment.key


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
    at = {begin}
    while at < table[0]:
        n = table[at]
        if start < n and stop > 0:
            first = max(start, 0)
            span(min(stop, n) - first, {addresses})
        start -= n
        stop -= n
        at += {width}
"""

DRIVE = f"""
def drive(table, begin, width, serial, segment):
    total = 0
    for at in range(begin, table[0], width):
        if table[at + 1] != 0:
            raise ValueError("an array of an update has another shape than its parameter")
        total += table[at]
    if total < serial or forked():
        call(segment, table, 0, total)
    else:
        pieces = min(total // {PIECE}, 1024)
        for k in prange(pieces):
            call(segment, table, total * k // pieces, total * (k + 1) // pieces)
"""

ARGUMENTS = (types.Array(types.int64, 1, "C"), types.int64, types.int64)


def address_of(function: Any) -> Any:
    """Return a function without arguments that returns the address of a ``segment``."""

    @intrinsic
    def address(typing_context: Any) -> Any:
        function.compile(ARGUMENTS)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            compiled = function.overloads[ARGUMENTS]
            context.active_code_library.add_linking_library(compiled.library)
            declared = context.declare_function(builder.module, compiled.fndesc)
            return builder.ptrtoint(declared, context.get_value_type(types.int64))

        return types.int64(), codegen

    return address


@intrinsic
def call(typing_context: Any, address: Any, table: Any, start: Any, stop: Any) -> Any:
    """Call the ``segment`` at an address. It raises nothing."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        convention = context.call_conv
        function_type = convention.get_function_type(types.none, ARGUMENTS)
        function = builder.inttoptr(args[0], function_type.as_pointer())
        convention.call_function(builder, function, types.none, ARGUMENTS, args[1:])
        return context.get_dummy_value()

    return types.none(types.int64, *ARGUMENTS), codegen


@cache
def drive_function(fast: bool) -> Any:
    """Return ``drive``; `fast` tells apart what ``numba__fastmath`` makes of it."""
    return compiled(
        DRIVE,
        "drive",
        options={"parallel": True},
        call=call,
        forked=forked,
        prange=numba.prange,
    ).function


def formula_function(
    elemwise: Elemwise, inputs: list[Any], **kwargs: Any
) -> tuple[Any, str | None]:
    """Return PyTensor's numba function for one element, and its key in the cache."""
    scalar_node = elemwise.make_scalar_node(*inputs)
    return numba_funcify_and_cache_key(elemwise.scalar_op, node=scalar_node, **kwargs)
