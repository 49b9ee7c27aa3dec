"""What our numba functions are made with: functions from source code, kept in PyTensor's cache.

- ``compiled``: a numba function of source code, and its key in the cache
- ``key_of``: a key that changes with all that the code is made of, this package included
- ``pointer``, ``without_aliases``, ``never_inlined``, ``out_of_line``: what is told to LLVM
- ``contiguous_type``, ``contiguous``, ``overwrite``: arrays that are not in C order
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytensor
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from pytensor.link.numba.cache import compile_numba_function_src
from pytensor.link.numba.dispatch.basic import numba_njit

# The files whose code writes code that is kept on disk.
WRITERS_OF_CODE = ("machine_code", "kernel", "function_graph")

SOURCES = sha256(
    b"".join((Path(__file__).parent / f"{name}.py").read_bytes() for name in WRITERS_OF_CODE)
).hexdigest()


class Compiled(NamedTuple):
    """A numba function of source code, and its key in PyTensor's cache on disk."""

    function: Any
    key: str


def compiled(
    source: str, name: str, calls: str = "", *, options: Any = (), **names: Any
) -> Compiled:
    """Compile source code, which calls functions of a key in the cache; `options` are numba's."""
    fast = bool(pytensor.config.numba__fastmath)
    key = f"{name}_{key_of(source, calls, fast)}"
    names |= {"without_aliases": without_aliases, "__name__": __name__}
    function = compile_numba_function_src(source, name, names, cache_key=key)
    is_kept = bool(pytensor.config.numba__cache)
    return Compiled(numba_njit(function, cache=is_kept, **dict(options)), key)


def key_of(*what: object) -> str:
    """Return what identifies compiled code on disk: all that it is made of, this code included."""
    return sha256(repr((SOURCES, pytensor.__version__, *what)).encode()).hexdigest()


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
        copies = isinstance(result, types.Array)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            compiled = function.overloads[signature.args]
            context.active_code_library.add_linking_library(compiled.library)
            called = (builder, compiled.fndesc, signature, args)
            if copies:
                return context.call_internal(*called)
            return context.call_internal_no_propagate(*called)[1]

        return result(first, second), codegen

    return call


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
