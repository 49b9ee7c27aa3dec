"""What ``compile_times.py`` measures, each in a process that does nothing else.

    python benchmarks/compile_tasks.py network SYSTEM RULE LEARNING_RATE ARRAYS
    python benchmarks/compile_tasks.py alone SYSTEM RULE LEARNING_RATE ARRAYS

writes, as JSON, the CPU seconds from after the imports to the end of the first call: gradients,
rule, ``pytensor.function`` and the call are counted.

network: a tanh network with a matrix (32x32) and a vector in each layer, 32 examples in a batch.
alone: the rule alone, on matrices (4x4) and vectors in turn, with gradients in shared variables.
"""

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from fresh_processes import cpu_seconds

GRADIENTS = "gradients"
ADAM = "adam"
OFF = "off"
JAX = "jax"
OPTAX = "optax"

WIDTH = 32
BATCH = 32
STEPS = 10  # whose losses are compared


def network(system: str, rule: str, learning_rate: float, arrays: int) -> dict[str, Any]:
    """Compile a training step of the network; return the seconds and the first losses."""
    prepare = prepare_optax if system == OPTAX else prepare_pytensor
    compile_step = prepare(system, rule, learning_rate)
    random = np.random.default_rng(0)
    values: list[np.ndarray] = []
    for _ in range(arrays // 2):
        values.append(random.normal(scale=WIDTH**-0.5, size=(WIDTH, WIDTH)).astype("float32"))
        values.append(np.zeros(WIDTH, dtype="float32"))
    x = random.normal(size=(BATCH, WIDTH)).astype("float32")
    y = np.sin(x)

    start = cpu_seconds()
    step = compile_step(values)
    losses = [float(step(x, y))]
    seconds = cpu_seconds() - start
    losses += [float(step(x, y)) for _ in range(STEPS - 1)]
    assert system == GRADIENTS or losses[-1] < losses[0], losses
    return {"seconds": seconds, "losses": losses}


def prepare_pytensor(system: str, rule: str, learning_rate: float) -> Callable:
    """Import PyTensor and return the function that builds and compiles the training step."""
    pytensor, updates, mode = import_pytensor(system)
    import pytensor.tensor as pt

    def compile_step(values: list[np.ndarray]) -> Callable:
        params = [pytensor.shared(value) for value in values]
        x, y = pt.fmatrix("x"), pt.fmatrix("y")
        hidden = x
        for weights, bias in zip(params[::2], params[1::2], strict=True):
            hidden = pt.tanh(hidden @ weights + bias)
        loss = ((hidden - y) ** 2).mean()
        if system == GRADIENTS:
            function = pytensor.function([x, y], [loss, *pytensor.grad(loss, params)], mode=mode)
            return lambda x, y: function(x, y)[0]
        made = getattr(updates, rule)(loss, params, learning_rate=learning_rate)
        return pytensor.function([x, y], loss, updates=made, mode=mode)

    return compile_step


def import_pytensor(system: str) -> tuple[Any, Any, Any]:
    """Import what PyTensor would import while it compiles; return it, `updates` and the mode."""
    import pytensor
    import pytensor.link.numba.dispatch

    if system == JAX:
        import pytensor.link.jax.dispatch

        # An Assert that JAX leaves out.
        warnings.filterwarnings("ignore", message="Skipping Assert")
    from pytensor.compile.mode import get_mode

    import updates

    pytensor.config.floatX = "float32"
    modes = {OFF: get_mode("NUMBA").excluding("multi_tensor"), JAX: "JAX"}
    return pytensor, updates, modes.get(system)


def prepare_optax(_: str, rule: str, learning_rate: float) -> Callable:
    """Import JAX and optax and return the function that makes the jitted training step."""
    import jax
    import jax.numpy as jnp
    import optax

    def compile_step(values: list[np.ndarray]) -> Callable:
        params = [jnp.asarray(value) for value in values]
        optimizer = getattr(optax, rule)(learning_rate)
        state = optimizer.init(params)

        def loss_of(params: list, x: Any, y: Any) -> Any:
            hidden = x
            for weights, bias in zip(params[::2], params[1::2], strict=True):
                hidden = jnp.tanh(hidden @ weights + bias)
            return ((hidden - y) ** 2).mean()

        @jax.jit
        def step(params: list, state: Any, x: Any, y: Any) -> Any:
            loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
            steps, state = optimizer.update(gradients, state)
            return optax.apply_updates(params, steps), state, loss

        def train(x: np.ndarray, y: np.ndarray) -> Any:
            nonlocal params, state
            params, state, loss = jax.block_until_ready(step(params, state, x, y))
            return loss

        return train

    return compile_step


def alone(system: str, rule: str, learning_rate: float, arrays: int) -> dict[str, Any]:
    """Compile a step of the rule alone; return the seconds, and the microseconds of a call."""
    pytensor, updates, mode = import_pytensor(system)
    random = np.random.default_rng(0)
    shapes = [(4, 4) if k % 2 == 0 else (4,) for k in range(arrays)]
    values = [random.normal(size=shape).astype("float32") for shape in shapes]

    start = cpu_seconds()
    params, gradients = ([pytensor.shared(value) for value in values] for _ in range(2))
    made = getattr(updates, rule)(gradients, params, learning_rate=learning_rate)
    step = pytensor.function([], updates=made, mode=mode)
    step()
    seconds = cpu_seconds() - start
    for param, value in zip(params, values, strict=True):
        assert (np.sign(param.get_value() - value) == -np.sign(value)).all()
    return {"seconds": seconds, "us": microseconds(step)}


def microseconds(step: Callable[[], object], at_most: float = 0.5) -> float:
    """Return the median time of a call, of 2,000 calls or of as many as fit into the seconds."""
    times: list[float] = []
    end = time.perf_counter() + at_most
    while len(times) < 2_000 and (len(times) < 10 or time.perf_counter() < end):
        start = time.perf_counter()
        step()
        times.append(1e6 * (time.perf_counter() - start))
    return statistics.median(times)


if __name__ == "__main__":
    task, system, rule, learning_rate, arrays = sys.argv[1:]
    measure = {"network": network, "alone": alone}[task]
    print(json.dumps(measure(system, rule, float(learning_rate), int(arrays))))
