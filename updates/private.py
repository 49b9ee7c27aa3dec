"""Which parts of PyTensor and numba the library uses that are not public, and what if they change.

`FEATURES` lists all of them, by the feature that needs them. Public is what the documentation of
PyTensor, numba and llvmlite describes for users; the rest may change with any release.

- ``Feature``: a feature, its private parts, and what happens without it
- ``Feature.give_up``, ``Feature.optional``: go on without it, with one warning
- ``Feature.needed``: refuse what cannot go on without it
- ``ChangedError``: what is then raised
- ``age_of``: the number that PyTensor gives a variable when it is made

``tests/test_private_parts.py`` changes every part of the list in turn: it removes the name, refuses
the call, and returns something else.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytensor


class ChangedError(RuntimeError, AssertionError):
    """A part of PyTensor has changed that a feature cannot do without.

    It is an AssertionError as well because PyTensor logs and ignores all other errors of a rewrite.
    """


@dataclass(eq=False)
class Feature:
    """A feature that leans on private parts of PyTensor or numba.

    Parameters
    ----------
    name : str
        What messages call it.
    without : str
        What happens, or what to do, when one of its parts has changed.
    parts : tuple of str
        Its private parts, as ``module:name``.
    is_lost : bool
        Whether one of them has turned out to have changed.
    """

    name: str
    without: str
    parts: tuple[str, ...]
    is_lost: bool = False

    def give_up(self, reason: object) -> None:
        """Go on without the feature from now on, and say so once."""
        if not self.is_lost:
            self.is_lost = True
            warnings.warn(self._message(reason), UserWarning, stacklevel=2)

    @contextmanager
    def optional(self) -> Iterator[None]:
        """Give the feature up at any error."""
        try:
            yield
        except Exception as error:
            self.give_up(error)

    @contextmanager
    def needed(self) -> Iterator[None]:
        """Raise `ChangedError` in the place of any error."""
        try:
            yield
        except ChangedError:
            raise
        except Exception as error:
            raise ChangedError(self._message(error)) from error

    def _message(self, reason: object) -> str:
        kind = f"{type(reason).__name__}: " if isinstance(reason, Exception) else ""
        lines = str(reason).strip().splitlines() or [""]
        text = lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1]}"
        return (
            f"updates: {self.name} does not work under {versions()} ({kind}{text}): "
            f"{self.without}. A newer release of updates may know these versions."
        )


def versions() -> str:
    """Name the versions whose private parts are used."""
    try:
        numba = f" with numba {version('numba')}"
    except PackageNotFoundError:
        numba = ""
    return f"PyTensor {pytensor.__version__}{numba}"


def _in(owner: str, names: str) -> tuple[str, ...]:
    """Name the parts of a module or of a class in it, ``module:`` or ``module:class.``."""
    return tuple(owner + name for name in names.split())


KERNEL = Feature(
    "the fast numba code of updates and reductions",
    "PyTensor's own graph computes them, with the same results but slower",
    (
        # The rewrite
        *_in("pytensor.compile.aliasing:", "Supervisor"),
        *_in("pytensor.compile.mode:", "optdb"),
        *_in("pytensor.graph.features:", "FullHistory ReplaceValidate"),
        *_in("pytensor.graph.features:FullHistory.", "goto"),
        *_in(
            "pytensor.graph.fg:FunctionGraph.",
            "attach_feature change_node_input clients remove_feature "
            "replace_all_validate update_mapping",
        ),
        *_in("pytensor.graph.rewriting.basic:", "GraphRewriter"),
        *_in("pytensor.graph.rewriting.db:SequenceDB.", "register"),
        *_in("pytensor.graph.utils:", "InconsistencyError"),
        *_in("pytensor.tensor.elemwise:Elemwise.", "inplace_pattern make_scalar_node"),
        # The conversion to a numba function
        *_in("pytensor.graph.fg:", "AbstractFunctionGraph Output"),
        *_in("pytensor.link.numba.cache:", "compile_numba_function_src"),
        *_in(
            "pytensor.link.numba.dispatch.basic:",
            "cache_key_for_constant numba_funcify_and_cache_key numba_funcify_ensure_cache "
            "numba_njit numba_typify register_funcify_and_cache_key",
        ),
        # What numba compiles at the first call
        *_in("numba.core.cgutils:", "is_null unpack_tuple"),
        *_in("numba.core.cgutils:_StructProxy.", "_getvalue"),
        *_in("numba.core.codegen:CPUCodeLibrary.", "add_linking_library"),
        *_in(
            "numba.core.cpu:CPUContext.",
            "active_code_library call_conv call_internal call_internal_no_propagate "
            "compile_internal declare_function get_constant get_dummy_value get_env_manager "
            "get_python_api get_value_type insert_const_string make_array nrt",
        ),
        *_in("numba.core.callconv:BaseCallConv.", "return_exc"),
        *_in("numba.core.callconv:CPUCallConv.", "call_function get_function_type"),
        *_in(
            "numba.core.dispatcher:Dispatcher.", "compile get_call_template get_overload overloads"
        ),
        *_in("numba.core.imputils:", "impl_ret_borrowed"),
        *_in(
            "numba.core.pythonapi:PythonAPI.",
            "call_function_objargs decref from_native_value import_module list_append list_new "
            "long_from_longlong object_getattr_string to_native_value",
        ),
        *_in("numba.core.runtime.context:NRTContext.", "incref"),
        *_in("numba.np.arrayobj:", "populate_array"),
        *_in("llvmlite.binding:", "add_symbol"),
    ),
)

LOOP = Feature(
    "many_steps",
    "make single steps, by compiling the same updates and outputs without it and calling the "
    "function for each mini-batch, or install an older PyTensor",
    (
        *_in("pytensor.compile.ops:", "DeepCopyOp"),
        *_in("pytensor.scan.op:", "Scan ScanInfo"),
    ),
)

OWN_COPY = Feature(
    "the rewrite drop_own_copy",
    "many_steps copies next values in every step, with the same results but slower",
    (
        *_in("pytensor.compile.mode:", "optdb"),
        *_in("pytensor.graph.fg:", "Output"),
        *_in("pytensor.graph.fg:FunctionGraph.", "clients"),
        *_in("pytensor.graph.rewriting.basic:", "in2out node_rewriter"),
        *_in("pytensor.graph.rewriting.db:SequenceDB.", "register"),
    ),
)

JAX_DTYPES = Feature(
    "the rewrite jax_reduction_dtype",
    "under JAX, float32 parameters may become float64; cast gradients with astype('float32')",
    (
        *_in("pytensor.compile.mode:", "optdb"),
        *_in("pytensor.graph.rewriting.basic:", "in2out node_rewriter"),
        *_in("pytensor.graph.rewriting.db:SequenceDB.", "register"),
        *_in("pytensor.tensor.elemwise:CAReduce.", "acc_dtype"),
        *_in("pytensor.tensor.math:Sum.", "clone"),
    ),
)

JAX_SEARCH = Feature(
    "the rewrite jax_line_search",
    "lbfgs does not run under JAX; compile the function in another mode, such as 'NUMBA'",
    (
        *_in("pytensor.compile.mode:", "optdb"),
        *_in("pytensor.graph.rewriting.basic:", "in2out node_rewriter"),
        *_in("pytensor.graph.rewriting.db:SequenceDB.", "register"),
        *_in("pytensor.scan.op:", "Scan"),
    ),
)

REDUCTION_ORDER = Feature(
    "the order of several reductions in one function (updates.distributed)",
    "reduce everything in one call of allreduce_mean or allreduce_sum, or install an older "
    "PyTensor",
    (
        *_in("pytensor.compile.mode:", "optdb"),
        *_in("pytensor.graph.features:", "ReplaceValidate"),
        *_in("pytensor.graph.fg:FunctionGraph.", "attach_feature replace_all_validate"),
        *_in("pytensor.graph.rewriting.basic:", "GraphRewriter"),
        *_in("pytensor.graph.rewriting.db:SequenceDB.", "register"),
    ),
)

JAX_REDUCTION = Feature(
    "updates.distributed under JAX",
    "compile the function in another mode, such as 'NUMBA', or install older releases",
    (
        *_in("jax.experimental:", "io_callback"),
        *_in("pytensor.link.jax.dispatch:", "jax_funcify"),
    ),
)

ROWS = Feature(
    "updating rows W[index] of a table",
    "give the whole table W, or install an older PyTensor",
    (
        *_in("pytensor.tensor.subtensor:AdvancedIncSubtensor.", "idx_list set_instead_of_inc"),
        *_in("pytensor.tensor.subtensor:AdvancedSubtensor.", "idx_list"),
    ),
)

AGE = Feature(
    "the order in which variables were made",
    "parameters and inputs that the library finds in a graph come in the order of the graph, and "
    "describe says less about gradients",
    _in("pytensor.graph.basic:Variable.", "auto_name"),
)

FEATURES = (
    KERNEL, LOOP, OWN_COPY, JAX_DTYPES, JAX_SEARCH, REDUCTION_ORDER, JAX_REDUCTION, ROWS, AGE,
)  # fmt: skip


def age_of(variable: Any) -> int:
    """Return the number that PyTensor gives a variable when it is made, 0 if it no longer does."""
    try:  # not `AGE.optional`, because every variable of the library comes here
        return int(variable.auto_name.rpartition("_")[2])
    except Exception as error:
        AGE.give_up(error)
        return 0
