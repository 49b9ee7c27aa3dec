"""The update alone, gradients given: three rules on arrays that lie ready, for ``speed.py``.

Each system is imported by its functions, because only its own worker may have its threads. The
arrays are NumPy's as far as a system lets them be.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from speed_common import BARE, FOREACH, FUSED, NUMPY, OFF, OPTAX, OURS, cores, mode
from speed_workers import Task

RULES = ["adam", "momentum", "deepmind_rmsprop"]
LAYOUTS = ["one array", "12 arrays", "100 arrays of 1,000"]
SYSTEMS = [OURS, OFF, FUSED, FOREACH, OPTAX, NUMPY, BARE]
LEARNING_RATE, MOMENTUM, RHO = 0.001, 0.9, 0.95
BETA1, BETA2 = 0.9, 0.999
EPSILON = {"adam": 1e-8, "deepmind_rmsprop": 0.01}
STEPS = 5  # that all must agree about

Arrays = list[np.ndarray]


def make(system: str, rule: str, layout: str, size: int) -> Task | None:
    """Prepare the update of one system, its parameters' values the same as in all others."""
    random = np.random.default_rng(0)
    shapes = shapes_of(layout, size)
    # Gradients of ordinary size: where epsilon counts, the systems differ.
    values = [random.random(shape, dtype="float32") for shape in shapes]
    grads = [0.5 + random.random(shape, dtype="float32") for shape in shapes]
    starts = [value.ravel()[:1000].copy() for value in values]
    if system == FUSED and rule == "deepmind_rmsprop":
        return None  # PyTorch's RMSprop has no fused form
    step, params = {
        OURS: pytensor_step,
        OFF: pytensor_step,
        FUSED: torch_step,
        FOREACH: torch_step,
        OPTAX: optax_step,
        NUMPY: numpy_step,
        BARE: bare_step,
    }[system](system, rule, values, grads)
    # PyTorch adds the epsilon of the centred RMSprop after the root, the others before it.
    is_other = system == BARE or (system == FOREACH and rule == "deepmind_rmsprop")

    def check() -> np.ndarray | None:
        for _ in range(STEPS):
            step()
        if is_other:
            return None
        moves = [p.ravel()[:1000] - start for p, start in zip(params(), starts, strict=True)]
        return np.concatenate(moves)

    return Task(step, check)


def shapes_of(layout: str, size: int) -> list[tuple[int, ...]]:
    """Return shapes with about `size` elements; the many small ones are always the same."""
    if layout == "one array":
        return [(size,)]
    if layout == "12 arrays":  # two blocks of a transformer, with 12*d^2 weights each
        d = max(1, math.isqrt(size // 24) // 16) * 16
        return [(d,), (d, 3 * d), (d, d), (d,), (d, 4 * d), (4 * d, d)] * 2
    return [(1000,)] * 100


Made = tuple[Callable[[], object], Callable[[], Arrays]]


def pytensor_step(system: str, rule: str, values: Arrays, grads: Arrays) -> Made:
    """Compile a rule of `updates`; the gradients are shared variables, too."""
    import pytensor

    import updates

    pytensor.config.floatX = "float32"
    params = [pytensor.shared(value, borrow=True) for value in values]
    shared_grads = [pytensor.shared(grad, borrow=True) for grad in grads]
    made = getattr(updates, rule)(shared_grads, params, learning_rate=LEARNING_RATE)
    step = pytensor.function([], updates=made, mode=mode(system))
    step.trust_input = True
    return step, lambda: [param.get_value(borrow=True) for param in params]


def torch_step(system: str, rule: str, values: Arrays, grads: Arrays) -> Made:
    """Make an optimizer of PyTorch."""
    import torch

    torch.set_num_threads(cores())
    params = [torch.nn.Parameter(torch.from_numpy(value)) for value in values]
    for param, grad in zip(params, grads, strict=True):
        param.grad = torch.from_numpy(grad)
    optim = torch.optim
    form = {"fused": True} if system == FUSED else {"foreach": True}
    optimizer: torch.optim.Optimizer
    if rule == "adam":
        optimizer = optim.Adam(params, LEARNING_RATE, (BETA1, BETA2), EPSILON[rule], **form)
    elif rule == "momentum":
        optimizer = optim.SGD(params, LEARNING_RATE, MOMENTUM, **form)
    else:
        optimizer = optim.RMSprop(params, LEARNING_RATE, RHO, EPSILON[rule], centered=True, **form)
    return optimizer.step, lambda: [param.detach().numpy() for param in params]


def optax_step(system: str, rule: str, values: Arrays, grads: Arrays) -> Made:
    """Compile a rule of optax, which may overwrite the old parameters and state."""
    import jax
    import optax

    optimizer = {
        "adam": lambda: optax.adam(LEARNING_RATE, BETA1, BETA2, EPSILON["adam"]),
        "momentum": lambda: optax.sgd(LEARNING_RATE, MOMENTUM),
        "deepmind_rmsprop": lambda: optax.rmsprop(
            LEARNING_RATE, RHO, EPSILON["deepmind_rmsprop"], centered=True
        ),
    }[rule]()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, state: Any, grads: Any) -> Any:
        steps, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, steps), state

    params = [jax.numpy.array(value) for value in values]
    jax_grads = [jax.numpy.array(grad) for grad in grads]
    state = optimizer.init(params)

    def step() -> None:
        nonlocal params, state
        params, state = jax.block_until_ready(update(params, state, jax_grads))

    return step, lambda: [np.asarray(param) for param in params]


def numpy_step(system: str, rule: str, values: Arrays, grads: Arrays) -> Made:
    """Write a rule in NumPy, in place."""
    call = 0
    formula = {"adam": numpy_adam, "momentum": numpy_momentum, "deepmind_rmsprop": numpy_rmsprop}
    states = [[np.zeros_like(value) for _ in range(3)] for value in values]

    def step() -> None:
        nonlocal call
        call += 1
        for param, grad, (average, square, scratch) in zip(values, grads, states, strict=True):
            formula[rule](call, param, grad, average, square, scratch)

    return step, lambda: values


def numpy_adam(
    call: int, p: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, scratch: np.ndarray
) -> None:
    m *= BETA1
    m += np.multiply(g, 1 - BETA1, out=scratch)
    v *= BETA2
    np.multiply(g, g, out=scratch)
    scratch *= 1 - BETA2
    v += scratch
    np.sqrt(v, out=scratch)
    scratch += EPSILON["adam"]
    np.divide(m, scratch, out=scratch)
    scratch *= LEARNING_RATE * math.sqrt(1 - BETA2**call) / (1 - BETA1**call)
    p -= scratch


def numpy_momentum(
    call: int, p: np.ndarray, g: np.ndarray, v: np.ndarray, _: np.ndarray, scratch: np.ndarray
) -> None:
    v *= MOMENTUM
    v -= np.multiply(g, LEARNING_RATE, out=scratch)
    p += v


def numpy_rmsprop(
    call: int, p: np.ndarray, g: np.ndarray, m: np.ndarray, a: np.ndarray, scratch: np.ndarray
) -> None:
    m *= RHO
    m += np.multiply(g, 1 - RHO, out=scratch)
    a *= RHO
    np.multiply(g, g, out=scratch)
    scratch *= 1 - RHO
    a += scratch
    np.multiply(m, m, out=scratch)
    np.subtract(a, scratch, out=scratch)
    np.maximum(scratch, 0, out=scratch)
    scratch += EPSILON["deepmind_rmsprop"]
    np.sqrt(scratch, out=scratch)
    np.divide(g, scratch, out=scratch)
    scratch *= LEARNING_RATE
    p -= scratch


def bare_step(system: str, rule: str, values: Arrays, grads: Arrays) -> Made:
    """Read and write as much as a rule must, from one array each, with one addition a value."""
    import numba

    @numba.njit(parallel=True)
    def one_state(p: np.ndarray, v: np.ndarray, g: np.ndarray) -> None:
        for i in numba.prange(p.size):
            v[i] += g[i]
            p[i] += g[i]

    @numba.njit(parallel=True)
    def two_states(p: np.ndarray, m: np.ndarray, v: np.ndarray, g: np.ndarray) -> None:
        for i in numba.prange(p.size):
            m[i] += g[i]
            v[i] += g[i]
            p[i] += g[i]

    kernel, states = (one_state, 1) if rule == "momentum" else (two_states, 2)
    param, grad = (
        np.concatenate([array.ravel() for array in arrays]) for arrays in (values, grads)
    )
    arrays = [param, *(np.zeros_like(param) for _ in range(states)), grad]
    return lambda: kernel(*arrays), lambda: []
