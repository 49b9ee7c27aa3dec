"""Every rule computes on every backend of PyTensor what it computes in ``FAST_COMPILE``.

One rule of each kind runs with the fast tests, all of them with the slow ones.
"""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import COMPOSITIONS, RULES, run
from pytensor.compile.mode import Mode, get_mode

import updates

FAST = {"momentum", "adagrad_window", "adam", "noisy_sgd"}
CASES = [
    pytest.param(
        row.rule,
        "generator" in row.scalars,
        id=repr(row.rule),
        marks=[] if row.name in FAST else pytest.mark.slow,
    )
    for row in RULES
] + [
    pytest.param(
        composition,
        False,
        id=composition.__name__,
        marks=[] if composition.__name__ in FAST else pytest.mark.slow,
    )
    for composition in COMPOSITIONS
]


def backend(name):
    if name == "numba":
        return get_mode("NUMBA")
    if name == "C":
        if not pytensor.config.cxx:
            pytest.skip("no C++ compiler")
        return Mode(linker="cvm", optimizer="fast_run")
    pytest.importorskip("jax", reason="JAX is not installed")
    return get_mode("JAX")


@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS:UserWarning")
@pytest.mark.filterwarnings("ignore:Skipping Assert:UserWarning")
@pytest.mark.filterwarnings("ignore:The RandomType SharedVariables:UserWarning")
@pytest.mark.parametrize("name", ["numba", "C", "JAX"])
@pytest.mark.parametrize(("make_updates", "draws"), CASES)
def test_backends_agree_with_fast_compile(make_updates, draws, name):
    mode = backend(name)

    def values(mode):
        matrix = pytensor.shared(np.linspace(-1, 2, 6, dtype="float32").reshape(2, 3), name="m")
        scalar = pytensor.shared(np.array(0.7), name="s")
        loss = ((matrix**2 - 1.5) ** 2).sum() + pt.tanh(scalar * matrix.mean()) ** 2
        return run(make_updates(loss, [matrix, scalar]), steps=3, mode=mode)

    expected, got = values("FAST_COMPILE"), values(mode)
    assert expected.keys() == got.keys()
    for variable, value in expected.items():
        assert got[variable].dtype == value.dtype
        if draws and name == "JAX":  # which has generators of its own
            assert np.isfinite(got[variable]).all()
        else:
            np.testing.assert_allclose(got[variable], value, 2e-5, 1e-7, err_msg=variable)


@pytest.mark.filterwarnings("ignore:Skipping Assert:UserWarning")
@pytest.mark.parametrize("name", ["numba", "C", "JAX"])
def test_float32_stays_float32_through_sums_of_the_users_graph(name):
    mode = backend(name)
    weight = pytensor.shared(np.ones((4, 3), dtype="float32"), name="weight")
    bias = pytensor.shared(np.zeros(3, dtype="float32"), name="bias")
    data = pytensor.shared(np.linspace(-1, 1, 20, dtype="float32").reshape(5, 4))
    loss = (((data[:, :, None] * weight).sum(axis=1) + bias - 1) ** 2).mean()
    grads = updates.total_norm_constraint(updates.get_or_compute_grads(loss, [weight, bias]), 1.0)
    after = run(updates.adam(grads, [weight, bias]), steps=2, mode=mode)
    assert {value.dtype for key, value in after.items() if key != "adam/step"} == {
        np.dtype("float32")
    }
