"""What holds for all tests: JAX is loaded first, and nothing is compiled longer than needed."""

import gc
from contextlib import nullcontext, suppress

import pytensor
import pytest

# PyTensor switches JAX's 64-bit numbers on or off when it loads it, by floatX at that time.
with suppress(ImportError):
    import pytensor.link.jax.dispatch

# PyTensor notes for every variable where it was made, which takes a third of the time in which a
# rule builds its graph.
pytensor.config.traceback__limit = 0
# Graphs are many small objects that live on: looking through them for garbage is in vain.
gc.set_threshold(100_000, 50, 100)


@pytest.fixture(autouse=True)
def examples_compile_fast(request):
    """Run the examples of docstrings in FAST_COMPILE: they are about values, not about speed."""
    is_example = isinstance(request.node, pytest.DoctestItem)
    with pytensor.config.change_flags(mode="FAST_COMPILE") if is_example else nullcontext():
        yield
