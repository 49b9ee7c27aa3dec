"""What all tests share: loops inside of rules are compiled in Python."""

import pytensor
import pytest
from catalogue import COMPILE_FOR_LONG, Row


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
