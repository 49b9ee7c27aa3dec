"""Every rule computes on every backend of PyTensor what its formula says, as it was written.

Compiling takes nearly all of the time, so several rules, each on parameters of its own, are in one
function. A rule and one that draws numbers run with the fast tests, all others with the slow ones;
those in C with the slow ones, as g++ takes a second for every kernel, and only one in twenty.
Only the fast tests have two dtypes in one function, each of which is compiled by itself.
"""

import functools
import itertools

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AS_WRITTEN, COMPOSITIONS, LIGHT_RULES, arrays
from pytensor.compile.mode import Mode, get_mode

import updates

BACKENDS = ["FAST_COMPILE", "numba", "C", "JAX"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS:UserWarning"),
    pytest.mark.filterwarnings("ignore:Skipping Assert:UserWarning"),
    pytest.mark.filterwarnings("ignore:The RandomType SharedVariables:UserWarning"),
]


def matrix_and_scalar(make_updates, dtype="float32"):
    """Apply a rule to a float32 matrix and a scalar."""
    matrix = pytensor.shared(np.linspace(-1, 2, 6, dtype="float32").reshape(2, 3), name="m")
    scalar = pytensor.shared(np.array(0.7, dtype), name="s")
    loss = ((matrix**2 - 1.5) ** 2).sum() + pt.tanh(scalar * matrix.mean()) ** 2
    return make_updates(loss, [matrix, scalar])


def sums_in_float32():
    """Train a layer whose loss and gradients are sums, under a bound on their norm."""
    weight = pytensor.shared(np.ones((4, 3), dtype="float32"), name="weight")
    bias = pytensor.shared(np.zeros(3, dtype="float32"), name="bias")
    data = pytensor.shared(np.linspace(-1, 1, 20, dtype="float32").reshape(5, 4))
    loss = (((data[:, :, None] * weight).sum(axis=1) + bias - 1) ** 2).mean()
    grads = updates.total_norm_constraint(updates.get_or_compute_grads(loss, [weight, bias]), 1.0)
    return updates.adam(grads, [weight, bias])


def state_in_16_bits(loss, params):
    """Keep Adam's moments in half precision."""
    return updates.adam(loss, params, state_dtype="float16")


CASES = {repr(row.rule): functools.partial(matrix_and_scalar, row.rule) for row in LIGHT_RULES}
CASES |= {f.__name__: functools.partial(matrix_and_scalar, f) for f in COMPOSITIONS}
CASES["state_in_16_bits"] = functools.partial(matrix_and_scalar, state_in_16_bits)
CASES["sums_in_float32"] = sums_in_float32
DRAWS = {repr(row.rule) for row in LIGHT_RULES if "generator" in row.scalars}
KINDS = {row.name: repr(row.rule) for row in LIGHT_RULES}
FAST_CASES = (KINDS["momentum"], KINDS["noisy_sgd"])
SUMS = ("sums_in_float32",)
SLOW_CASES = [name for name in CASES if name not in FAST_CASES + SUMS]
CASES |= {name: functools.partial(CASES[name], dtype="float64") for name in FAST_CASES}


def functions(backend):
    """Name the cases that each function computes."""
    slow = SLOW_CASES[::20] if backend == "C" else SLOW_CASES
    return [SUMS, FAST_CASES, *(tuple(slow[k : k + 8]) for k in range(0, len(slow), 8))]


def mode_of(backend):
    if backend == "numba":
        return get_mode("NUMBA")
    if backend == "C":
        if not pytensor.config.cxx:
            pytest.skip("no C++ compiler")
        return Mode(linker="cvm", optimizer="fast_run")
    if backend == "JAX":
        pytest.importorskip("jax", reason="JAX is not installed")
        return get_mode("JAX")
    return backend


@functools.cache
def after_three_steps(names, backend):
    """Run cases in one function; return the values of the variables of each."""
    mode = mode_of(backend)
    dictionaries = {name: CASES[name]() for name in names}
    pairs = itertools.chain(*(dictionary.items() for dictionary in dictionaries.values()))
    step = pytensor.function([], updates=list(pairs), mode=mode)
    for _ in range(3):
        step()
    return {name: arrays(dictionary) for name, dictionary in dictionaries.items()}


def marks_of(number, backend):
    """Return the marks of the tests of one function: one worker compiles it."""
    group = pytest.mark.xdist_group(f"{backend} {number}")
    return [group, pytest.mark.slow] if number > 1 or backend == "C" else [group]


def every_case():
    for backend in BACKENDS:
        for number, together in enumerate(functions(backend)):
            marks = marks_of(number, backend)
            for name in together:
                yield pytest.param(name, together, backend, id=f"{name}-{backend}", marks=marks)


@pytest.mark.parametrize(("name", "together", "backend"), every_case())
def test_every_backend_computes_the_formula(name, together, backend):
    got = after_three_steps(together, backend)[name]
    expected = after_three_steps((name,), AS_WRITTEN)[name]
    assert expected.keys() == got.keys()
    for variable, value in expected.items():
        assert got[variable].dtype == value.dtype
        if name in DRAWS and backend == "JAX":  # which has generators of its own
            assert np.isfinite(got[variable]).all()
        else:
            np.testing.assert_allclose(got[variable], value, 2e-5, 1e-7, err_msg=variable)


@pytest.mark.parametrize(
    "backend",
    [pytest.param(backend, marks=marks_of(0, backend)) for backend in BACKENDS],
)
def test_float32_stays_float32_through_sums_of_the_users_graph(backend):
    [after] = after_three_steps(SUMS, backend).values()
    assert {value.dtype for key, value in after.items() if key != "adam/step"} == {
        np.dtype("float32")
    }
