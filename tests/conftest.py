"""What all tests share: loops inside of rules are compiled in Python."""

import pytensor
import pytest
from catalogue import Row


@pytest.fixture(autouse=True)
def _loops_in_python(request):
    """Compile the line search of ``lbfgs`` as PyTensor's FAST_COMPILE does, which takes no C."""
    values = getattr(request.node, "callspec", None) and request.node.callspec.params.values()
    if any(isinstance(value, Row) and value.name == "lbfgs" for value in values or ()):
        with pytensor.config.change_flags(mode="FAST_COMPILE"):
            yield
    else:
        yield
