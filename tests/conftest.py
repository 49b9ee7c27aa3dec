"""What all tests share: what is inside of a rule or of a graph is compiled in Python, not in C."""

from contextlib import suppress

import pytensor
import pytest
from catalogue import COMPILE_FOR_LONG, Row
from pytensor.link.vm import VMLinker

pytensor.config.traceback__limit = 0  # graphs are built faster without notes of where

with suppress(ImportError):  # before PyTensor 3.3
    from pytensor.compile.inner_function import HasInnerFunction, link_only_mode

    linked_by_itself = HasInnerFunction.link_mode

    def link_mode(op, impl):
        """Link a graph inside of one that is linked in Python likewise; PyTensor asks for C."""
        if impl == "py":
            return link_only_mode(VMLinker(use_cloop=False, c_thunks=False))
        return linked_by_itself(op, impl)

    HasInnerFunction.link_mode = link_mode


@pytest.fixture(autouse=True)
def _loops_in_python(request):
    """Compile the line search of a rule as PyTensor's FAST_COMPILE does, which takes no C."""
    callspec = getattr(request.node, "callspec", None)
    values = callspec.params.values() if callspec else ()
    if any(name_of(value) in COMPILE_FOR_LONG for value in values):
        with pytensor.config.change_flags(mode="FAST_COMPILE"):
            yield
    else:
        yield


def name_of(value):
    """Name the rule that a test is about, if it is about one."""
    if isinstance(value, str):
        return value.partition("(")[0]
    return (
        value.name
        if isinstance(value, Row)
        else getattr(getattr(value, "rule", None), "__name__", "")
    )
