"""How many iterations and evaluations others' L-BFGS takes: writes ``lbfgs.json``.

python -m pip install -r tests/golden/peers-requirements.txt scipy
python tests/golden/make_lbfgs.py

Each problem is minimized until no element of the gradient is above 1e-5, with a memory of 10, by
SciPy's L-BFGS-B, PyTorch's LBFGS with strong_wolfe and optax's lbfgs with its zoom search.
"""

import json
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
import torch

TOLERANCE = 1e-5
MOST = 500


def logistic_data():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(200, 20))
    return {
        "inputs": inputs,
        "signs": np.sign(inputs @ random.normal(size=20) + random.normal(size=200)),
    }


def network_data():
    random = np.random.default_rng(1)
    inputs = np.linspace(-2, 2, 40)[:, None]
    start = np.concatenate(
        [random.normal(size=8), random.normal(size=8), random.normal(size=9) / 3]
    )
    return {"inputs": inputs, "targets": np.sin(2 * inputs[:, 0]), "start": start}


LOGISTIC, NETWORK = logistic_data(), network_data()


def rosenbrock(lib, x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def logistic(lib, w):
    margin = lib.asarray(LOGISTIC["signs"]) * (lib.asarray(LOGISTIC["inputs"]) @ w)
    return lib.log1p(lib.exp(-margin)).mean() + 1e-3 * (w**2).sum()


def network(lib, w):
    hidden = lib.tanh(lib.asarray(NETWORK["inputs"]) * w[:8] + w[8:16])
    out = hidden @ w[16:24] + w[24]
    return ((out - lib.asarray(NETWORK["targets"])) ** 2).mean()


PROBLEMS = {
    "rosenbrock": (rosenbrock, np.array([-1.2, 1.0])),
    "rosenbrock of ten": (rosenbrock, np.tile([-1.2, 1.0], 5)),
    "logistic regression": (logistic, np.zeros(20)),
    "network": (network, NETWORK["start"]),
}


def by_scipy(loss, start):
    value_and_grad = jax.jit(jax.value_and_grad(lambda x: loss(jnp, x)))

    def evaluated(x):
        value, grad = value_and_grad(x)
        return float(value), np.asarray(grad, dtype=float)

    options = {"gtol": TOLERANCE, "ftol": 0, "maxcor": 10, "maxiter": MOST, "maxfun": 10 * MOST}
    found = scipy.optimize.minimize(evaluated, start, jac=True, method="L-BFGS-B", options=options)
    return found.nit, found.nfev, found.fun


def by_torch(loss, start):
    x = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [x],
        max_iter=MOST,
        max_eval=10 * MOST,
        tolerance_grad=TOLERANCE,
        tolerance_change=0,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        value = loss(torch, x)
        value.backward()
        return value

    optimizer.step(closure)
    state = optimizer.state[x]
    return state["n_iter"], state["func_evals"], float(loss(torch, x))


def by_optax(loss, start):
    def at(x):
        return loss(jnp, x)

    search = optax.scale_by_zoom_linesearch(25, initial_guess_strategy="one")
    optimizer = optax.lbfgs(memory_size=10, linesearch=search)
    value_and_grad = optax.value_and_grad_from_state(at)

    @jax.jit
    def step(x, state):
        value, grad = value_and_grad(x, state=state)
        moved, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=at)
        return optax.apply_updates(x, moved), state

    x, state, evaluations = jnp.asarray(start), optimizer.init(jnp.asarray(start)), 1
    iterations = 0
    while iterations < MOST and abs(jax.grad(at)(x)).max() > TOLERANCE:
        x, state = step(x, state)
        iterations += 1
        evaluations += int(state[-1].info.num_linesearch_steps)
    return iterations, evaluations, float(at(x))


def main():
    jax.config.update("jax_enable_x64", True)
    torch.set_default_dtype(torch.float64)
    problems = []
    for name, (loss, start) in PROBLEMS.items():
        row = {"problem": name, "start": start.tolist()}
        for peer, solve in (("scipy", by_scipy), ("torch", by_torch), ("optax", by_optax)):
            iterations, evaluations, value = solve(loss, start)
            row[peer] = {"iterations": iterations, "evaluations": evaluations, "loss": value}
        problems.append(row)
    data = {
        name: {key: array.tolist() for key, array in arrays.items()}
        for name, arrays in (("logistic regression", LOGISTIC), ("network", NETWORK))
    }
    versions = {name: version(name) for name in ("scipy", "torch", "optax", "jax")}
    content = {"versions": versions, "tolerance": TOLERANCE, "data": data, "problems": problems}
    path = Path(__file__).parent / "lbfgs.json"
    path.write_text(json.dumps(content) + "\n")
    for row in problems:
        print({key: value for key, value in row.items() if key != "start"})


if __name__ == "__main__":
    main()
