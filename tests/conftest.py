"""What all tests share: g++ compiles nothing that is not about C, nor the loops inside of rules."""

import pytensor
import pytest
from catalogue import COMPILE_FOR_LONG, Row
from pytensor.compile.mode import Mode
from pytensor.link.c.basic import CLinker
from pytensor.link.vm import VMLinker


@pytest.fixture(autouse=True)
def _compiled_fast(request):
    """Leave g++ to the tests that ask for C: PyTensor 3.3 gives it what is inside of graphs.

    The line search of a rule is compiled as FAST_COMPILE does.
    """
    callspec = getattr(request.node, "callspec", None)
    values = callspec.params.values() if callspec else ()
    flags = {} if any(map(is_c, values)) else {"cxx": ""}
    if any(name_of(value) in COMPILE_FOR_LONG for value in values):
        flags["mode"] = "FAST_COMPILE"
    with pytensor.config.change_flags(**flags):
        yield


def is_c(value):
    """Tell whether a parameter of a test is a mode that compiles in C."""
    if isinstance(value, str):
        return value.lower() in ("c", "cvm")
    linker = getattr(value, "linker", None) if isinstance(value, Mode) else None
    return isinstance(linker, CLinker) or (isinstance(linker, VMLinker) and linker.use_cloop)


def name_of(value):
    """Name the rule that a test is about, if it is about one."""
    if isinstance(value, str):
        return value.partition("(")[0]
    return (
        value.name
        if isinstance(value, Row)
        else getattr(getattr(value, "rule", None), "__name__", "")
    )
