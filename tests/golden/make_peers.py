"""Compute peers.json: trajectories and schedules of optax, PyTorch, madgrad, pytorch_optimizer.

Every case trains the same few parameters for 50 steps in float64 with a peer's optimizer and
holds the parameters after 1, 10 and 50 steps, beside the arguments with which this library's rule
must give the same. Run it with Python 3.11 or later::

    python -m pip install -r tests/golden/peers-requirements.txt
    python tests/golden/make_peers.py

The file it writes, next to itself, holds

- ``data``: the arrays of the two problems, and the parameters' start values,
- ``cases``: rules; ``transforms``: what wraps a rule; both as ``rule``, ``kwargs`` (of this
  library), ``peer``, ``peer_kwargs``, ``problem``, ``params`` after each number of ``steps``, and
  perhaps ``average`` (the averaged parameters), ``only`` (the parameters that are trained; the
  others stay), ``batches`` (call k, from 0, sees the rows ``batches[k % len(batches)]`` of the
  data),
- ``sparse``: a table of which each step looks up a few rows,
- ``schedules``: their values at steps 0 to 60.

The problems, with ``W, b, T, s`` the parameters::

    network     hidden = tanh(X @ W + b)
                out = tanh((hidden[:, None, :, None] * T).sum(axis=2))
                loss = mean((s * out - Y)**2)
    separable   loss = sum over the parameters p of sum(cosh(p - centre))

Where a peer leaves float64, it is kept in it: in optax Adafactor's decay and momentum, MADGRAD's
growing rate and MultiSteps' mean (float32), in PyTorch Muon's orthogonalization (bfloat16), in
pytorch_optimizer SOAP's QR (float32).
"""

import functools
import itertools
import json
import operator
import platform
import types
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import madgrad
import numpy as np
import optax
import pytorch_optimizer
import torch

STEPS = (1, 10, 50)
SCHEDULE_STEPS = 61
NAMES = ("W", "b", "T", "s")


# The problems


def make_data():
    """Draw the data, the start values and the centres of the separable problem."""
    rng = np.random.default_rng(0)

    def away_from_zero(shape):
        return rng.uniform(0.3, 1.0, shape) * rng.choice([-1.0, 1.0], shape)

    shapes = {"W": (4, 3), "b": (3,), "T": (2, 3, 2)}
    start = {name: away_from_zero(shape) for name, shape in shapes.items()}
    data = {"X": rng.normal(size=(5, 4)), **start, "s": rng.uniform(0.9, 1.1, ())}
    # What a network nearby gives, so that the loss falls without s going to 0.
    teacher = [start[name] + 0.4 * rng.normal(size=shape) for name, shape in shapes.items()]
    data["Y"] = 1.4 * output(np, teacher, data["X"])
    for name in NAMES:
        data[f"centre_{name}"] = away_from_zero(np.shape(data[name]))
    return data


def output(lib, params, x):
    w, b, t = params
    hidden = lib.tanh(x @ w + b)
    return lib.tanh((hidden[:, None, :, None] * t).sum(2))


def network(lib, params, x, y):
    *weights, s = params
    return ((s * output(lib, weights, x) - y) ** 2).mean()


DATA = make_data()
START = [DATA[name] for name in NAMES]


def jax_loss(problem, only=NAMES):
    """Give the loss as a function of the trained parameters and the rows of the data."""

    def loss(trained, rows):
        params = merged(trained, only)
        if problem == "separable":
            centres = [DATA[f"centre_{name}"] for name in NAMES]
            return sum(jnp.cosh(p - c).sum() for p, c in zip(params, centres, strict=True))
        return network(jnp, params, jnp.asarray(DATA["X"])[rows], jnp.asarray(DATA["Y"])[rows])

    return loss


def merged(trained, only):
    """Put the trained parameters among the others."""
    trained = dict(zip(only, trained, strict=True))
    return [trained.get(name, DATA[name]) for name in NAMES]


# The peers: each driver gives, step after step, the trained parameters and the optimizer's state


def by_optax(optimizer, case):
    loss = jax_loss(case["problem"], case["only"])
    optimizer = optax.with_extra_args_support(optimizer)

    @jax.jit
    def step(params, state, rows):
        value, grads = jax.value_and_grad(loss)(params, rows)
        extra = {"value": value, "obj_fn": lambda at: loss(at, rows)}
        updates, state = optimizer.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state

    params = [jnp.asarray(DATA[name]) for name in case["only"]]
    state = optimizer.init(params)
    for rows in itertools.cycle(case["batches"]):
        params, state = step(params, state, np.array(rows))
        yield params, state


def by_torch(optimizer_class, case):
    # PyTorch's matrices are (outputs, inputs), the transposes of the problem's.
    turn = torch.t if optimizer_class is torch.optim.Muon else lambda tensor: tensor
    leaves = [turn(torch.tensor(DATA[name])).clone().requires_grad_() for name in case["only"]]
    x, y = torch.tensor(DATA["X"]), torch.tensor(DATA["Y"])
    optimizer = optimizer_class(leaves, **case["peer_kwargs"])
    while True:
        optimizer.zero_grad()
        params = merged([turn(leaf) for leaf in leaves], case["only"])
        network(torch, [torch.as_tensor(param) for param in params], x, y).backward()
        optimizer.step()
        yield (
            [turn(leaf.detach()).numpy() for leaf in leaves],
            [optimizer.state[leaf] for leaf in leaves],
        )


def by_cautious(case):
    """Let the peer of the inner rule mask its own steps."""
    rule, kwargs = case["kwargs"]["rule"]
    peer = {"laprop": "pytorch_optimizer.LaProp", "lion": "pytorch_optimizer.Lion"}[rule]
    kwargs = translated(peer, kwargs) | {"cautious": True}
    return by_torch(named(peer), case | {"peer_kwargs": kwargs})


def by_mars(case):
    """Correct and clip the gradients as the authors' code does, and let optax's AdamW step."""
    kwargs, loss = dict(case["kwargs"]), jax_loss(case["problem"])
    gamma, max_norm = kwargs.pop("gamma"), kwargs.pop("max_norm")
    adamw = optax.adamw(**translated("optax.adamw", kwargs))
    weight = gamma * kwargs["beta1"] / (1 - kwargs["beta1"])

    def clipped(grad, previous):
        corrected = grad + weight * (grad - previous)
        return corrected / jnp.maximum(1, jnp.linalg.norm(corrected.ravel()) / max_norm)

    @jax.jit
    def step(params, state, rows):
        previous, inner = state
        grads = jax.grad(loss)(params, rows)
        updates, inner = adamw.update(jax.tree.map(clipped, grads, previous), inner, params)
        return optax.apply_updates(params, updates), (grads, inner)

    start = [jnp.asarray(p) for p in START]
    return by_hand(step, (jax.tree.map(jnp.zeros_like, start), adamw.init(start)), case)


def by_shampoo(case):
    """Step as algorithm 2 of Shampoo's paper says; let optax's AdamW move vectors and scalars."""
    kwargs, loss = dict(case["kwargs"]), jax_loss(case["problem"])
    rate, decay = kwargs["learning_rate"], kwargs["weight_decay"]
    gradient = jax.jit(jax.grad(loss))
    adamw = optax.adamw(
        kwargs["adam_learning_rate"] or rate,
        *(kwargs[f"adam_{name}"] for name in ("beta1", "beta2", "epsilon")),
        weight_decay=decay,
    )
    start = [np.asarray(p) for p in START]
    axes = [
        [k for k, n in enumerate(p.shape) if p.ndim > 1 and n <= kwargs["max_precondition_dim"]]
        for p in start
    ]
    sums = [
        {k: kwargs["epsilon"] * np.eye(p.shape[k]) for k in own}
        for p, own in zip(start, axes, strict=True)
    ]
    roots = [{} for _ in start]

    def step(params, state, rows):
        count, inner = state
        grads = [np.asarray(grad) for grad in gradient(params, rows)]
        updates, inner = adamw.update(grads, inner, [np.asarray(p) for p in params])
        for index, (param, grad, own) in enumerate(zip(params, grads, axes, strict=True)):
            step = grad
            for axis in own:
                flat = np.moveaxis(grad, axis, 0).reshape(grad.shape[axis], -1)
                sums[index][axis] = sums[index][axis] + flat @ flat.T
                if count % kwargs["update_interval"] == 0:
                    u, s, vh = np.linalg.svd(sums[index][axis])
                    roots[index][axis] = u * s ** (-1 / (2 * len(own))) @ vh
                step = np.moveaxis(np.moveaxis(step, axis, -1) @ roots[index][axis], -1, axis)
            if own:
                updates[index] = -rate * (step + decay * np.asarray(param))
        return optax.apply_updates(params, updates), (count + 1, inner)

    return by_hand(step, (0, adamw.init(start)), case)


def by_sam(case):
    """Take the gradient uphill, at ``p + rho * g / ||g||``, and the inner rule's step at p."""
    loss, rho, inner = jax_loss(case["problem"]), case["kwargs"]["rho"], inner_optimizer(case)

    @jax.jit
    def step(params, state, rows):
        grads = jax.grad(loss)(params, rows)
        norm = jnp.sqrt(sum((g**2).sum() for g in grads))
        uphill = [p + rho * g / norm for p, g in zip(params, grads, strict=True)]
        updates, state = inner.update(jax.grad(loss)(uphill, rows), state, params)
        return optax.apply_updates(params, updates), state

    return by_hand(step, inner.init(START), case)


def by_nesterov_lookahead(case):
    loss, rate = jax_loss(case["problem"]), case["kwargs"]["learning_rate"]
    momentum = case["kwargs"]["momentum"]

    @jax.jit
    def step(params, velocities, rows):
        ahead = [p + momentum * v for p, v in zip(params, velocities, strict=True)]
        grads = jax.grad(loss)(ahead, rows)
        velocities = [momentum * v - rate * g for v, g in zip(velocities, grads, strict=True)]
        return [p + v for p, v in zip(params, velocities, strict=True)], velocities

    return by_hand(step, [jnp.zeros_like(p) for p in START], case)


def by_hand(step, state, case):
    params = [jnp.asarray(p) for p in START]
    for rows in itertools.cycle(case["batches"]):
        params, state = step(params, state, np.array(rows))
        yield params, state


def by_lookahead(case):
    kwargs, loss = case["kwargs"], jax_loss(case["problem"])
    optimizer = optax.lookahead(inner_optimizer(case), kwargs["every"], kwargs["alpha"])

    @jax.jit
    def step(params, state, rows):
        grads = jax.grad(loss)(params.fast, rows)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = optax.LookaheadParams.init_synced([jnp.asarray(p) for p in START])
    state = optimizer.init(params)
    for rows in itertools.cycle(case["batches"]):
        params, state = step(params, state, np.array(rows))
        yield params.fast, state


def by_ema(case):
    """Average the parameters after every step; the state is the average."""
    ema = optax.ema(case["kwargs"]["decay"], debias=True)
    state = ema.init([jnp.asarray(p) for p in START])
    for params, _ in by_optax(inner_optimizer(case), case):
        average, state = ema.update(params, state)
        yield params, average


def by_plateau(case):
    kwargs = {name: value for name, value in case["kwargs"].items() if name != "rule"}
    plateau = optax.contrib.reduce_on_plateau(**kwargs)
    return by_optax(optax.chain(inner_optimizer(case), plateau), case)


def by_multi_steps(case):
    return by_optax(
        optax.MultiSteps(
            inner_optimizer(case), case["kwargs"]["every"], accumulator_dtype=jnp.float64
        ).gradient_transformation(),
        case,
    )


def by_schedule_free(case):
    kwargs = case["kwargs"]
    inner, settings = inner_optimizer(case), (kwargs["learning_rate"], kwargs["momentum"])
    power = kwargs["weight_lr_power"]
    return by_optax(optax.contrib.schedule_free(inner, *settings, weight_lr_power=power), case)


def by_mechanize(case):
    kwargs = {name: value for name, value in case["kwargs"].items() if name != "rule"}
    renamed = {"epsilon": "eps", "initial_scale": "s_init"}
    settings = {renamed.get(name, name): value for name, value in kwargs.items()}
    return by_optax(optax.contrib.mechanize(inner_optimizer(case), **settings), case)


def by_contrib_sam(case):
    def gradient(params, _):
        return jax.grad(jax_loss(case["problem"]))(params, np.array(case["batches"][0]))

    uphill = optax.chain(optax.contrib.normalize(), optax.sgd(case["kwargs"]["rho"]))
    sam = optax.contrib.sam(inner_optimizer(case), uphill, opaque_mode=True)
    pinned = optax.GradientTransformationExtraArgs(
        sam.init,
        lambda updates, state, params, **_: sam.update(updates, state, params, grad_fn=gradient),
    )
    return by_optax(pinned, case)


# Where the peer is no optimizer that takes its arguments: the driver, and what it evaluates.
DRIVERS = {
    "pytorch_optimizer, cautious": (by_cautious, "the peer of the inner rule, cautious=True"),
    "MARS, by hand": (by_mars, "optax.adamw on corrected, clipped gradients"),
    "Shampoo, by hand": (by_shampoo, "algorithm 2 of arXiv:1802.09568, optax.adamw for the rest"),
    "sam, by hand": (by_sam, "inner rule on grad(p + rho * g / norm(g))"),
    "optax.contrib.sam": (
        by_contrib_sam,
        "sam(inner, chain(normalize(), sgd(rho)), sync_period=2, opaque_mode=True)",
    ),
    "Nesterov's momentum, by hand": (by_nesterov_lookahead, "v = mu * v - lr * grad(p + mu * v)"),
    "optax.lookahead": (by_lookahead, "lookahead(inner, every, alpha), its fast parameters"),
    "optax.ema": (by_ema, "ema(decay, debias=True) of the parameters after each step of inner"),
    "optax.contrib.reduce_on_plateau": (by_plateau, "chain(inner, reduce_on_plateau(...))"),
    "optax.contrib.schedule_free": (
        by_schedule_free,
        "schedule_free(inner, learning_rate, b1, weight_lr_power)",
    ),
    "optax.contrib.mechanize": (
        by_mechanize,
        "mechanize(inner, weight_decay, eps, s_init, num_betas)",
    ),
    "optax.MultiSteps": (by_multi_steps, "MultiSteps(inner, every, use_grad_mean=True)"),
}
AVERAGES = {
    "schedule_free_sgd": lambda params, state: optax.contrib.schedule_free_eval_params(
        state, params
    ),
    "schedule_free_adamw": lambda params, state: optax.contrib.schedule_free_eval_params(
        state, params
    ),
    "schedule_free": lambda params, state: optax.contrib.schedule_free_eval_params(state, params),
    "asgd": lambda params, state: [leaf["ax"].numpy() for leaf in state],
    "apply_ema": lambda params, state: state,
}


def inner_optimizer(case):
    """Give optax's counterpart of the rule that a transform wraps."""
    rule, kwargs = case["kwargs"]["rule"]
    peer = {"momentum": "optax.sgd"}.get(rule, f"optax.{rule}")
    return named(peer)(**translated(peer, kwargs))


def named(peer):
    package, _, path = peer.partition(".")
    packages = {"madgrad": madgrad, "optax": optax, "torch": torch}
    packages["pytorch_optimizer"] = pytorch_optimizer
    return operator.attrgetter(path)(packages[package])


def with_wide_counters(optimizer):
    """Count in int64, whose square root is a float64."""

    def init(params):
        return jax.tree.map(
            lambda leaf: leaf.astype("int64") if leaf.dtype == "int32" else leaf,
            optimizer.init(params),
        )

    return optimizer._replace(init=init)


def trajectory(case):
    if case["peer"] in DRIVERS:
        driver, _ = DRIVERS[case["peer"]]
        return driver(case)
    if case["peer"].startswith("optax."):
        optimizer = named(case["peer"])(**case["peer_kwargs"])
        if case["rule"] == "madgrad":
            optimizer = with_wide_counters(optimizer)
        return by_optax(optimizer, case)
    return by_torch(named(case["peer"]), case)


# The peers' names for this library's arguments; None: the peer has no such argument

OPTAX_NAMES = {
    "beta1": "b1",
    "beta2": "b2",
    "beta3": "b3",
    "epsilon": "eps",
    "epsilon_root": "eps_root",
    "momentum_decay": None,
    "max_scaling": None,
    "rate_in_velocity": None,
}
TORCH_NAMES = {
    "learning_rate": "lr",
    "epsilon": "eps",
    "threshold": None,
    "rate_in_velocity": None,
}
PEER_NAMES = {
    "optax.adagrad": {
        "initial_accumulator": "initial_accumulator_value",
        "epsilon_outside": None,
    },
    "optax.rmsprop": {"rho": "decay"},
    "optax.signum": {"momentum": "beta"},
    "optax.noisy_sgd": {"seed": "key"},
    "optax.polyak_sgd": {"learning_rate": "scaling"},
    "optax.adafactor": {"weight_decay": "weight_decay_rate"},
    "optax.contrib.muon": {
        "momentum": "beta",
        "adam_beta1": "adam_b1",
        "adam_beta2": "adam_b2",
        "adjust_learning_rate": None,
        "orthogonalized": None,
    },
    "optax.contrib.momo": {
        "momentum": "beta",
        "f_min": "lower_bound",
        "adapt_f_min": "adapt_lower_bound",
    },
    "optax.contrib.momo_adam": {"f_min": "lower_bound", "adapt_f_min": "adapt_lower_bound"},
    "optax.contrib.dadapt_adamw": {"initial_distance": "estim_lr0"},
    "optax.contrib.prodigy": {
        "beta3": "beta3",
        "initial_distance": "estim_lr0",
        "distance_coefficient": "estim_lr_coef",
    },
    "optax.contrib.schedule_free_sgd": {"momentum": "b1"},
    "optax.contrib.sophia": {"seed": None},
    "pytorch_optimizer.MARS": {"max_norm": None},
    "pytorch_optimizer.SOAP": {
        "factor_beta": "shampoo_beta",
        "update_interval": "precondition_frequency",
    },
    "pytorch_optimizer.Shampoo": {
        "epsilon": "matrix_eps",
        "update_interval": "preconditioning_compute_steps",
        "max_precondition_dim": None,
        "adam_learning_rate": None,
        "adam_beta1": None,
        "adam_beta2": None,
        "adam_epsilon": None,
    },
    "torch.optim.ASGD": {"decay": "lambd", "power": "alpha", "start": "t0"},
    "torch.optim.Adagrad": {
        "initial_accumulator": "initial_accumulator_value",
        "epsilon": None,
        "epsilon_outside": "eps",
    },
    "torch.optim.Muon": {
        "epsilon": None,
        "adam_learning_rate": None,
        "adam_beta1": None,
        "adam_beta2": None,
        "adam_weight_decay": None,
        "adjust_learning_rate": "adjust_lr_fn",
        "orthogonalized": None,
    },
}


def translated(peer, kwargs):
    """Give the peer's arguments for this library's."""
    kwargs = dict(kwargs)
    pairs = "torch.", "pytorch_optimizer.", "optax.contrib.prodigy", "optax.contrib.dadapt_adamw"
    if peer.startswith(pairs) and "beta1" in kwargs:
        kwargs["betas"] = (kwargs.pop("beta1"), kwargs.pop("beta2"))
    if peer == "torch.optim.Rprop":
        kwargs["etas"] = (kwargs.pop("eta_minus"), kwargs.pop("eta_plus"))
        kwargs["step_sizes"] = (kwargs.pop("min_step"), kwargs.pop("max_step"))
    if peer == "optax.contrib.dog":
        kwargs["init_step"] = ("heuristic", kwargs.pop("initial_step"))
    if peer == "optax.contrib.dowg":
        distance = kwargs.pop("initial_distance")
        kwargs["init_estim_sq_dist"] = None if distance is None else distance**2
    names = OPTAX_NAMES if peer.startswith("optax.") else TORCH_NAMES
    names = names | PEER_NAMES.get(peer, {})
    theirs = {names.get(name, name): value for name, value in kwargs.items()}
    theirs.pop(None, None)
    return theirs


# The cases

FULL_BATCH = ((0, 1, 2, 3, 4),)
MINIBATCHES = ((0, 1), (2, 3), (4, 0), (1, 2, 3))


def case(
    rule, peer, peer_only=None, /, *, problem="network", only=NAMES, batches=FULL_BATCH, **kwargs
):
    """Describe a case; `kwargs` are this library's arguments, `peer_only` the peer's own."""
    if peer in DRIVERS:
        _, peer_kwargs = DRIVERS[peer]
    else:
        peer_kwargs = translated(peer, kwargs) | (peer_only or {})
    return {
        "rule": rule,
        "kwargs": kwargs,
        "peer": peer,
        "peer_kwargs": peer_kwargs,
        "problem": problem,
        "only": only,
        "batches": batches,
    }


def each(rule, peer, peer_only=None, /, **kwargs):
    """Describe a case for every combination of the arguments that are tuples of choices."""
    choices = {name: value for name, value in kwargs.items() if isinstance(value, tuple)}
    return [
        case(rule, peer, peer_only, **(kwargs | dict(zip(choices, values, strict=True))))
        for values in itertools.product(*choices.values())
    ]


ADAM = {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}
ADAM_DEFAULTS = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
ADAM_0 = {"beta1": 0.8, "beta2": 0.95, "epsilon": 0.0}
ADAFACTOR = {"decay_rate": 0.8, "epsilon": 1e-30, "clipping_threshold": 1.0, "weight_decay": 0.0}
ADAFACTOR_OTHERS = {"decay_rate": 0.6, "epsilon": 1e-4, "clipping_threshold": 0.7}
ADAN_DEFAULTS = {"beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "epsilon": 1e-8, "epsilon_root": 1e-8}
ADAN = {"beta1": 0.9, "beta2": 0.8, "beta3": 0.95, "epsilon": 1e-2, "epsilon_root": 1e-4}
# Rules inside of others
MOMENTUM = ["momentum", {"learning_rate": 0.05, "momentum": 0.9}]
ADAMW = ["adamw", {"learning_rate": 0.01, **ADAM, "weight_decay": 0.1}]
LION = ["lion", {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0}]
LAPROP = {"beta1": 0.9, "beta2": 0.95, "epsilon": 1e-6}
MUON = {
    "adam_beta1": 0.8,
    "adam_beta2": 0.95,
    "adam_weight_decay": 0.0,
    "adjust_learning_rate": "original",
    "orthogonalized": None,
}
PRODIGY = {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8, "initial_distance": 1e-3}
PRODIGY_OTHERS = {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "initial_distance": 1e-2}
RPROP_DEFAULTS = {"eta_minus": 0.5, "eta_plus": 1.2, "min_step": 1e-6, "max_step": 50.0}
RPROP = {"eta_minus": 0.4, "eta_plus": 1.3, "min_step": 1e-3, "max_step": 0.02}
SHAMPOO = {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-3}
SOPHIA = {"beta1": 0.9, "beta2": 0.95, "epsilon": 0.1, "seed": 0, "problem": "separable"}
NESTEROV = {"nesterov": True}
FLOAT64_MOMENTUM = {"dtype_momentum": "float64"}
BOTH = (False, True)

CASES = [
    # Rules of the first table
    *each("sgd", "optax.sgd", learning_rate=0.1),
    *each("sgd", "torch.optim.SGD", learning_rate=0.1),
    *each("momentum", "torch.optim.SGD", learning_rate=0.05, momentum=0.9, rate_in_velocity=BOTH),
    *each("momentum", "optax.sgd", learning_rate=0.05, momentum=0.7, rate_in_velocity=BOTH),
    *each(
        "nesterov_momentum",
        "torch.optim.SGD",
        NESTEROV,
        learning_rate=0.05,
        momentum=0.9,
        rate_in_velocity=BOTH,
    ),
    *each(
        "nesterov_momentum",
        "optax.sgd",
        NESTEROV,
        learning_rate=0.05,
        momentum=0.7,
        rate_in_velocity=BOTH,
    ),
    *each(
        "adagrad",
        "optax.adagrad",
        learning_rate=0.1,
        epsilon=1e-3,
        initial_accumulator=(0.0, 0.1),
        epsilon_outside=0.0,
    ),
    *each(
        "adagrad",
        "torch.optim.Adagrad",
        learning_rate=0.05,
        epsilon=0.0,
        initial_accumulator=(0.0, 0.01),
        epsilon_outside=1e-2,
    ),
    *each("adadelta", "torch.optim.Adadelta", learning_rate=1.0, rho=0.95, epsilon=1e-4),
    *each("adadelta", "optax.adadelta", learning_rate=0.5, rho=0.8, epsilon=1e-3),
    *each("rmsprop", "optax.rmsprop", learning_rate=0.01, rho=0.9, epsilon=1e-4, max_scaling=None),
    *each(
        "deepmind_rmsprop",
        "optax.rmsprop",
        {"centered": True},
        learning_rate=0.005,
        rho=0.9,
        epsilon=1e-3,
    ),
    *each("adam", "optax.adam", learning_rate=0.01, **ADAM_0),
    *each("amsgrad", "torch.optim.Adam", {"amsgrad": True}, learning_rate=0.01, **ADAM_0),
    *each("adamax", "optax.adamax", learning_rate=0.01, **ADAM_0),
    *each("adamax", "torch.optim.Adamax", learning_rate=0.01, **ADAM_0),
    # Adam's family
    *each("adamw", "optax.adamw", learning_rate=0.01, **ADAM_DEFAULTS, weight_decay=1e-4),
    *each("adamw", "optax.adamw", learning_rate=0.01, **ADAM, weight_decay=(0.0, 0.1)),
    *each("adamw", "torch.optim.AdamW", learning_rate=0.01, **ADAM, weight_decay=0.1),
    *each("nadam", "optax.nadam", learning_rate=0.01, **ADAM_DEFAULTS, momentum_decay=None),
    *each("nadam", "optax.nadam", learning_rate=0.01, **ADAM, momentum_decay=None),
    *each("nadam", "torch.optim.NAdam", learning_rate=0.01, **ADAM, momentum_decay=(0.004, 0.1)),
    *each(
        "nadamw",
        "optax.nadamw",
        learning_rate=0.01,
        **ADAM,
        weight_decay=(0.0, 0.1),
        momentum_decay=None,
    ),
    *each(
        "nadamw",
        "torch.optim.NAdam",
        {"decoupled_weight_decay": True},
        learning_rate=0.01,
        **ADAM,
        weight_decay=(0.0, 0.1),
        momentum_decay=0.004,
    ),
    *each("radam", "optax.radam", learning_rate=0.01, **ADAM_DEFAULTS, threshold=5.0),
    *each("radam", "optax.radam", learning_rate=0.01, **ADAM, threshold=(5.0, 10.0)),
    *each("radam", "torch.optim.RAdam", learning_rate=0.01, **ADAM_0, threshold=5.0),
    *each("adamaxw", "optax.adamaxw", learning_rate=0.01, **ADAM_0, weight_decay=(0.0, 0.1)),
    *each(
        "adabelief",
        "optax.adabelief",
        learning_rate=0.01,
        beta1=0.9,
        beta2=0.99,
        epsilon=1e-16,
        epsilon_root=(1e-16, 1e-5),
    ),
    *each(
        "adabelief",
        "optax.adabelief",
        learning_rate=0.01,
        beta1=0.8,
        beta2=0.95,
        epsilon=1e-2,
        epsilon_root=1e-6,
    ),
    *each("yogi", "optax.yogi", learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-3),
    *each("yogi", "optax.yogi", learning_rate=0.02, beta1=0.8, beta2=0.9, epsilon=1e-2),
    *each("lion", "optax.lion", learning_rate=3e-3, beta1=0.9, beta2=0.99, weight_decay=(0.0, 0.1)),
    *each("lion", "optax.lion", learning_rate=2e-3, beta1=0.7, beta2=0.9, weight_decay=1e-3),
    *each("lamb", "optax.lamb", learning_rate=0.01, **ADAM, weight_decay=(0.0, 0.1)),
    *each(
        "lars",
        "optax.lars",
        learning_rate=0.5,
        momentum=0.9,
        weight_decay=(0.0, 0.02),
        trust_coefficient=0.01,
        epsilon=0.0,
        nesterov=BOTH,
    ),
    *each(
        "lars",
        "optax.lars",
        learning_rate=0.1,
        momentum=0.7,
        weight_decay=0.01,
        trust_coefficient=0.05,
        epsilon=0.05,
        nesterov=False,
    ),
    *each(
        "adafactor",
        "optax.adafactor",
        FLOAT64_MOMENTUM,
        learning_rate=0.02,
        **ADAFACTOR,
        momentum=(None, 0.9),
        min_dim_size_to_factor=(2, 128),
        multiply_by_parameter_scale=BOTH,
    ),
    *each(
        "adafactor",
        "optax.adafactor",
        FLOAT64_MOMENTUM,
        learning_rate=0.05,
        **ADAFACTOR_OTHERS,
        momentum=(None, 0.8),
        weight_decay=1e-3,
        min_dim_size_to_factor=3,
        multiply_by_parameter_scale=True,
    ),
    *each("adan", "optax.adan", learning_rate=0.01, **ADAN_DEFAULTS, weight_decay=0.0),
    *each("adan", "optax.adan", learning_rate=0.01, **ADAN, weight_decay=(0.0, 0.1)),
    *each(
        "novograd",
        "optax.novograd",
        learning_rate=0.005,
        beta1=0.9,
        beta2=0.25,
        epsilon=1e-6,
        weight_decay=0.0,
    ),
    *each(
        "novograd",
        "optax.novograd",
        learning_rate=0.01,
        beta1=0.7,
        beta2=0.9,
        epsilon=1e-2,
        weight_decay=(0.0, 0.1),
    ),
    *each(
        "adopt", "optax.contrib.adopt", learning_rate=0.01, beta1=0.9, beta2=0.9999, epsilon=1e-6
    ),
    *each("adopt", "optax.contrib.adopt", learning_rate=0.02, beta1=0.8, beta2=0.9, epsilon=0.05),
    *each(
        "ademamix",
        "optax.contrib.ademamix",
        learning_rate=0.005,
        **ADAM,
        beta3=0.99,
        alpha=5.0,
        weight_decay=(0.0, 0.1),
    ),
    # Others
    *each("sign_sgd", "optax.sign_sgd", learning_rate=0.003),
    *each("signum", "optax.signum", learning_rate=0.003, momentum=(0.9, 0.5)),
    *each("fromage", "optax.fromage", learning_rate=0.01, min_norm=(1e-6, 0.5)),
    *each("noisy_sgd", "optax.noisy_sgd", learning_rate=0.1, eta=0.0, gamma=0.55, seed=0),
    # With max_learning_rate=0.05 the cap always acts, with 100 never.
    *each(
        "polyak_sgd",
        "optax.polyak_sgd",
        learning_rate=1.0,
        max_learning_rate=(0.05, 100.0),
        f_min=0.0,
        epsilon=1.0,
    ),
    *each(
        "polyak_sgd",
        "optax.polyak_sgd",
        learning_rate=2.0,
        max_learning_rate=(0.05, 100.0),
        f_min=0.001,
        epsilon=0.1,
    ),
    *each(
        "optimistic_gradient_descent",
        "optax.optimistic_gradient_descent",
        learning_rate=0.1,
        alpha=(1.0, 0.7),
        beta=(1.0, 0.4),
    ),
    *each(
        "optimistic_adam",
        "optax.optimistic_adam_v2",
        learning_rate=0.01,
        **ADAM,
        alpha=1.0,
        beta=1.0,
        nesterov=BOTH,
    ),
    *each(
        "optimistic_adam",
        "optax.optimistic_adam_v2",
        learning_rate=0.01,
        **ADAM,
        alpha=0.7,
        beta=0.4,
        nesterov=False,
    ),
    *each("asgd", "torch.optim.ASGD", learning_rate=0.1, decay=(0.0, 0.1), power=0.75, start=3.0),
    *each("asgd", "torch.optim.ASGD", learning_rate=0.1, decay=1e-4, power=0.5, start=1e6),
    # optax.rprop makes each step one call late, the first not at all.
    *each("rprop", "torch.optim.Rprop", learning_rate=0.01, **RPROP),
    *each("rprop", "torch.optim.Rprop", learning_rate=0.001, **RPROP_DEFAULTS),
    # optax.sm3 fails on scalars.
    *each("sm3", "optax.sm3", only=["W", "b", "T"], learning_rate=0.05, momentum=(0.9, 0.5)),
    *each(
        "madgrad",
        "optax.contrib.madgrad",
        learning_rate=0.02,
        momentum=(0.9, 0.0),
        epsilon=1e-6,
        weight_decay=(0.0, 0.01),
    ),
    *each(
        "madgrad",
        "madgrad.MADGRAD",
        learning_rate=0.02,
        momentum=(0.9, 0.0),
        epsilon=(1e-6, 1e-2),
        weight_decay=0.01,
    ),
    *each(
        "muon",
        "optax.contrib.muon",
        learning_rate=0.02,
        momentum=0.95,
        epsilon=1e-8,
        weight_decay=(0.0, 0.1),
        ns_steps=5,
        nesterov=(True, False),
        adam_learning_rate=None,
        **MUON,
    ),
    *each(
        "muon",
        "optax.contrib.muon",
        learning_rate=0.01,
        momentum=0.8,
        epsilon=1e-3,
        weight_decay=0.02,
        ns_steps=3,
        nesterov=True,
        adam_learning_rate=0.005,
        **MUON,
    ),
    *each(
        "muon",
        "optax.contrib.muon",
        {"consistent_rms": 0.2},
        learning_rate=0.02,
        momentum=0.9,
        epsilon=1e-6,
        weight_decay=0.1,
        ns_steps=5,
        nesterov=True,
        adam_learning_rate=(None, 0.01),
        **MUON | {"adam_weight_decay": 0.3, "adjust_learning_rate": "match_rms_adamw"},
    ),
    # One that leaves all parameters to Adam
    *each(
        "muon",
        "optax.contrib.muon",
        {"muon_weight_dimension_numbers": [None] * 4},
        learning_rate=0.02,
        momentum=0.9,
        epsilon=1e-6,
        weight_decay=0.1,
        ns_steps=5,
        nesterov=BOTH,
        adam_learning_rate=0.01,
        **MUON | {"adam_weight_decay": 0.3, "orthogonalized": [False] * 4},
    ),
    # PyTorch's Nesterov step weighs gradient and momentum otherwise; its eps is never reached.
    *each(
        "muon",
        "torch.optim.Muon",
        only=["W"],
        learning_rate=0.02,
        momentum=0.9,
        epsilon=0.0,
        weight_decay=(0.0, 0.1),
        ns_steps=5,
        nesterov=False,
        adam_learning_rate=None,
        **MUON | {"adjust_learning_rate": ("original", "match_rms_adamw")},
    ),
    # Learning rates of their own
    *each(
        "prodigy",
        "optax.contrib.prodigy",
        learning_rate=0.5,
        **PRODIGY,
        weight_decay=(0.0, 0.1),
        beta3=None,
        distance_coefficient=1.0,
        safeguard_warmup=BOTH,
    ),
    *each(
        "prodigy",
        "optax.contrib.prodigy",
        learning_rate=0.3,
        **PRODIGY_OTHERS,
        weight_decay=0.01,
        beta3=(0.9, None),
        distance_coefficient=1.5,
        safeguard_warmup=False,
    ),
    *each(
        "dog",
        "optax.contrib.dog",
        learning_rate=1.0,
        initial_step=(1e-2, 1e-3),
        epsilon=1e-8,
        weight_decay=(0.0, 0.02),
    ),
    *each(
        "dog",
        "optax.contrib.dog",
        learning_rate=0.5,
        initial_step=1e-2,
        epsilon=0.1,
        weight_decay=0.0,
    ),
    *each(
        "dowg",
        "optax.contrib.dowg",
        learning_rate=0.5,
        initial_distance=(None, 0.2),
        epsilon=1e-2,
        weight_decay=(0.0, 0.02),
    ),
    *each(
        "dowg",
        "optax.contrib.dowg",
        learning_rate=0.1,
        initial_distance=1.0,
        epsilon=1e-4,
        weight_decay=0.0,
    ),
    *each(
        "schedule_free_sgd",
        "optax.contrib.schedule_free_sgd",
        learning_rate=0.2,
        momentum=(0.9, 0.6),
        weight_decay=(0.0, 0.02),
        weight_lr_power=2.0,
    ),
    *each(
        "schedule_free_adamw",
        "optax.contrib.schedule_free_adamw",
        learning_rate=0.02,
        **ADAM,
        weight_decay=(0.0, 0.1),
        weight_lr_power=2.0,
    ),
    # The gradient somewhere else, the Hessian
    *each(
        "sophia",
        "optax.contrib.sophia",
        **SOPHIA,
        learning_rate=0.02,
        weight_decay=(0.0, 0.1),
        gamma=(0.05, 1.5),
        clip_threshold=1.0,
        update_interval=10,
    ),
    *each(
        "sophia",
        "optax.contrib.sophia",
        **SOPHIA,
        learning_rate=0.02,
        weight_decay=1e-4,
        gamma=1.0,
        clip_threshold=(0.3, 2.0),
        update_interval=(1, 3),
    ),
    *each(
        "acprop",
        "optax.contrib.acprop",
        learning_rate=0.01,
        beta1=0.9,
        beta2=0.99,
        epsilon=1e-16,
        epsilon_root=(1e-16, 1e-5),
        weight_decay=(0.0, 0.1),
    ),
    *each(
        "acprop",
        "optax.contrib.acprop",
        learning_rate=0.003,
        beta1=0.8,
        beta2=0.999,
        epsilon=1e-2,
        epsilon_root=1e-6,
        weight_decay=0.0,
    ),
    # It adds epsilon before the bias correction: at 0 it makes no difference.
    *each(
        "mars",
        "pytorch_optimizer.MARS",
        {"optimize_1d": True},
        learning_rate=0.003,
        beta1=0.95,
        beta2=0.99,
        epsilon=0.0,
        gamma=(0.025, 0.5),
        max_norm=1.0,
        weight_decay=(0.0, 0.1),
    ),
    *each(
        "mars",
        "MARS, by hand",
        learning_rate=0.01,
        **ADAM,
        gamma=0.3,
        max_norm=(0.05, 1.0),
        weight_decay=(0.0, 0.1),
    ),
    *each("laprop", "pytorch_optimizer.LaProp", learning_rate=0.01, **ADAM),
    *each("laprop", "pytorch_optimizer.LaProp", learning_rate=0.001, **LAPROP),
    *each(
        "soap",
        "pytorch_optimizer.SOAP",
        learning_rate=0.003,
        beta1=0.95,
        beta2=0.95,
        epsilon=1e-8,
        weight_decay=(0.01, 0.0),
        factor_beta=None,
        update_interval=(10, 1),
        max_precondition_dim=10000,
    ),
    *each(
        "soap",
        "pytorch_optimizer.SOAP",
        learning_rate=0.01,
        **ADAM,
        weight_decay=0.1,
        factor_beta=(0.9, None),
        update_interval=3,
        max_precondition_dim=(3, 2, 1),
    ),
    # It mixes up the axes of tensors, gives vectors a full matrix, and rests until call k.
    *each(
        "shampoo",
        "pytorch_optimizer.Shampoo",
        {"weight_decouple": True},
        only=["W"],
        learning_rate=(0.01, 0.1),
        epsilon=(1e-6, 1e-2),
        weight_decay=(0.0, 0.1),
        update_interval=1,
        max_precondition_dim=10000,
        adam_learning_rate=None,
        **SHAMPOO,
    ),
    *each(
        "shampoo",
        "Shampoo, by hand",
        learning_rate=0.02,
        epsilon=1e-4,
        weight_decay=(0.0, 0.1),
        update_interval=(1, 4),
        max_precondition_dim=(10000, 3, 2),
        adam_learning_rate=(None, 0.005),
        **SHAMPOO,
    ),
    *[
        case("cautious", "pytorch_optimizer, cautious", rule=inner)
        for inner in (
            ["laprop", {"learning_rate": 0.01, **ADAM}],
            LION,
        )
    ],
    *each(
        "momo",
        "optax.contrib.momo",
        learning_rate=(1.0, 0.05),
        momentum=0.9,
        f_min=0.0,
        weight_decay=(0.0, 0.1),
        adapt_f_min=(False, True),
    ),
    *each(
        "momo",
        "optax.contrib.momo",
        learning_rate=0.5,
        momentum=0.5,
        f_min=(-0.2, 0.2),
        weight_decay=0.01,
        adapt_f_min=(False, True),
    ),
    *each(
        "momo_adam",
        "optax.contrib.momo_adam",
        learning_rate=(0.01, 1.0),
        **ADAM_DEFAULTS,
        f_min=0.0,
        weight_decay=(0.0, 0.1),
        adapt_f_min=(False, True),
    ),
    *each(
        "momo_adam",
        "optax.contrib.momo_adam",
        learning_rate=0.1,
        **ADAM,
        f_min=(-0.2, 0.2),
        weight_decay=0.01,
        adapt_f_min=(False, True),
    ),
    *each(
        "cocob",
        "optax.contrib.cocob",
        learning_rate=(1.0, 0.3),
        alpha=(100.0, 10.0),
        epsilon=(1e-8, 0.5),
        weight_decay=(0.0, 0.1),
    ),
    *each(
        "dadapt_adamw",
        "optax.contrib.dadapt_adamw",
        learning_rate=(1.0, 0.5),
        **ADAM_DEFAULTS,
        weight_decay=(0.0, 0.1),
        initial_distance=(1e-6, 1e-2),
    ),
    case(
        "dadapt_adamw",
        "optax.contrib.dadapt_adamw",
        learning_rate=0.7,
        **ADAM,
        weight_decay=0.02,
        initial_distance=1e-3,
    ),
    *[
        case(
            "schedule_free",
            "optax.contrib.schedule_free",
            rule=inner,
            learning_rate=0.05,
            momentum=momentum,
            weight_lr_power=power,
        )
        for inner in (["sgd", {"learning_rate": 0.05}], ADAMW, LION)
        for momentum, power in ((0.9, 2.0), (0.6, 0.5))
    ],
    *[
        case(
            "mechanize",
            "optax.contrib.mechanize",
            rule=inner,
            weight_decay=decay,
            epsilon=epsilon,
            initial_scale=scale,
            num_betas=count,
        )
        for inner in (["sgd", {"learning_rate": 1.0}], ADAMW, LION)
        for decay, epsilon, scale, count in ((1e-2, 1e-8, 1e-6, 6), (0.2, 1e-4, 1e-3, 3))
    ],
    *[
        case("sam", peer, rho=rho, rule=inner)
        for inner in (
            ["sgd", {"learning_rate": 0.1}],
            ["adamw", {"learning_rate": 0.01, **ADAM, "weight_decay": 0.1}],
        )
        for peer, rho in (("sam, by hand", 0.05), ("optax.contrib.sam", 0.5))
    ],
    *each(
        "nesterov_lookahead",
        "Nesterov's momentum, by hand",
        learning_rate=0.05,
        momentum=(0.9, 0.5),
    ),
]

SGD = ["sgd", {"learning_rate": 0.1}]
LARGE_SGD = ["sgd", {"learning_rate": 3.0}]
PLATEAU = "optax.contrib.reduce_on_plateau"

TRANSFORMS = [
    case("apply_lookahead", "optax.lookahead", every=5, alpha=0.5, rule=SGD),
    case("apply_lookahead", "optax.lookahead", every=7, alpha=0.8, rule=MOMENTUM),
    case("apply_ema", "optax.ema", decay=0.9, rule=SGD),
    case("apply_ema", "optax.ema", decay=0.99, rule=ADAMW),
    *[
        case("reduce_on_plateau", PLATEAU, factor=0.5, patience=2, rule=LARGE_SGD, **arguments)
        for arguments in (
            {"rtol": 1e-4, "atol": 0.0, "cooldown": 1},
            {"rtol": 0.05, "atol": 0.0, "cooldown": 0},
            {"rtol": 0.0, "atol": 0.003, "cooldown": 3},
        )
    ],
    *[
        case("accumulate_gradients", "optax.MultiSteps", batches=batches, every=every, rule=inner)
        for batches, every in ((FULL_BATCH, 4), (MINIBATCHES, 4), (MINIBATCHES, 3))
        for inner in (MOMENTUM, ADAMW)
    ],
]

SCHEDULES = {
    "linear": "linear_schedule(0.1, 0.01, 40)",
    "linear, begin": "linear_schedule(0.1, 0.01, 40, transition_begin=5)",
    "polynomial": "polynomial_schedule(0.1, 0.01, 2.0, 40)",
    "polynomial, begin": "polynomial_schedule(0.1, 0.01, 0.5, 40, transition_begin=5)",
    "exponential": "exponential_decay(0.1, 10, 0.5)",
    "exponential, begin": "exponential_decay(0.1, 10, 0.5, transition_begin=5)",
    "exponential, staircase": "exponential_decay(0.1, 10, 0.5, staircase=True)",
    "exponential, staircase, begin": (
        "exponential_decay(0.1, 10, 0.5, transition_begin=5, staircase=True)"
    ),
    "exponential, end": "exponential_decay(0.1, 10, 0.5, end_value=0.02)",
    "exponential, growing, end": "exponential_decay(0.1, 10, 2.0, end_value=0.5)",
    "cosine": "cosine_decay_schedule(0.1, 40, alpha=0.1)",
    "cosine, exponent": "cosine_decay_schedule(0.1, 40, alpha=0.1, exponent=1.5)",
    "piecewise constant": "piecewise_constant_schedule(0.1, {10: 0.5, 30: 0.1})",
    "cosine one cycle": "cosine_onecycle_schedule(40, 0.1, 0.3, 25, 1e4)",
    "linear one cycle": "linear_onecycle_schedule(40, 0.1, 0.3, 0.85, 25, 1e4)",
    "sgdr": (
        "sgdr_schedule([{'init_value': peak, 'peak_value': peak, 'warmup_steps': 0, "
        "'decay_steps': steps} for peak, steps in ((0.1, 10), (0.05, 20), (0.025, 40))])"
    ),
    "warm-up, cosine": "warmup_cosine_decay_schedule(0.0, 0.1, 10, 40, 0.001)",
    "warm-up, constant": "warmup_constant_schedule(0.01, 0.1, 10)",
    "warm-up, exponential": "warmup_exponential_decay_schedule(0.0, 0.1, 10, 10, 0.5)",
    "joined": (
        "join_schedules([linear_schedule(0.0, 0.1, 10), constant_schedule(0.1), "
        "cosine_decay_schedule(0.1, 20)], [10, 25])"
    ),
}
# Of an optimizer whose learning rate is 0.1.
SCHEDULERS = {
    "warm restarts": (
        "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts("
        "optimizer, T_0=10, T_mult=2, eta_min=0.01)"
    ),
    "warm-up, stable, linear": (
        "pytorch_optimizer.get_wsd_schedule(optimizer, 10, 20, 20, cooldown_type='linear')"
    ),
    "warm-up, stable, cosine": (
        "pytorch_optimizer.get_wsd_schedule(optimizer, 10, 20, 20, 0.1, cooldown_type='cosine')"
    ),
    "warm-up, stable, sqrt": (
        "pytorch_optimizer.get_wsd_schedule(optimizer, 10, 20, 20, cooldown_type='1-sqrt')"
    ),
}


# What is computed


def computed(case):
    """Run a case and give what the file tells of it."""
    told = {name: case[name] for name in ("rule", "kwargs", "peer", "peer_kwargs", "problem")}
    for name, usual in (("only", NAMES), ("batches", FULL_BATCH)):
        if case[name] is not usual:
            told[name] = case[name]
    told["params"] = {}
    average = AVERAGES.get(case["rule"])
    for step, (params, state) in enumerate(itertools.islice(trajectory(case), STEPS[-1]), 1):
        if step in STEPS:
            told["params"][step] = listed(merged(params, case["only"]))
            if average:
                told.setdefault("average", {})[step] = listed(average(params, state))
    return told


def listed(arrays):
    return [np.asarray(array).tolist() for array in arrays]


def sparse_adam():
    """Train a table of which each step sees four rows, some of them twice."""
    rng = np.random.default_rng(1)
    start = rng.normal(size=(6, 3))
    # Row 5 is never looked up.
    indices = [rng.integers(0, 5, 4).tolist() for _ in range(10)]
    gradients = [rng.normal(size=(4, 3)) for _ in indices]
    table = torch.tensor(start, requires_grad=True)
    kwargs = {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    optimizer = torch.optim.SparseAdam([table], **translated("torch.optim.SparseAdam", kwargs))
    tables = {}
    for step, (rows, grads) in enumerate(zip(indices, gradients, strict=True), 1):
        table.grad = torch.sparse_coo_tensor(
            [rows], torch.tensor(grads), table.shape, check_invariants=True
        )
        optimizer.step()
        if step in STEPS:
            tables[step] = table.tolist()
    return {
        "peer": "torch.optim.SparseAdam",
        "kwargs": kwargs,
        "start": start.tolist(),
        "indices": indices,
        "gradients": listed(gradients),
        "tables": tables,
    }


def schedules():
    """Give the values of optax's, PyTorch's and pytorch_optimizer's schedules."""
    told = []
    for name, expression in SCHEDULES.items():
        schedule = eval(expression, vars(optax).copy())
        values = [float(schedule(step)) for step in range(SCHEDULE_STEPS)]
        told.append({"name": name, "expression": f"optax.{expression}", "values": values})
    for name, expression in SCHEDULERS.items():
        optimizer = torch.optim.SGD([torch.zeros(())], lr=0.1)
        packages = {"torch": torch, "pytorch_optimizer": pytorch_optimizer}
        scheduler = eval(expression, packages, {"optimizer": optimizer})
        values = []
        for _ in range(SCHEDULE_STEPS):
            values += scheduler.get_last_lr()
            optimizer.step()
            scheduler.step()
        told.append({"name": name, "expression": expression, "values": values})
    return told


def in_float64():
    """Keep in float64 what the peers would not."""
    jax.config.update("jax_enable_x64", True)
    torch.set_default_dtype(torch.float64)
    factorized = optax._src.factorized
    factorized.scale_by_factored_rms = functools.partial(
        factorized.scale_by_factored_rms,
        decay_rate_fn=lambda step, exponent: 1 - (step + 1.0) ** -exponent,
    )
    torch.Tensor.bfloat16 = torch.Tensor.clone
    pytorch_optimizer.optimizer.soap.torch = types.SimpleNamespace(
        **vars(torch) | {"float32": torch.float64}
    )


def without_floor():
    """Take out the 1e-15 that pytorch_optimizer adds to mean squares before their root."""
    base = pytorch_optimizer.base.optimizer.BaseOptimizer
    for name in ("apply_ams_bound", "apply_ams_bound_foreach"):
        rootable = functools.partial(getattr(base, name), exp_avg_sq_eps=0.0)
        setattr(base, name, staticmethod(rootable))


def written(content):
    """Give the JSON text, with one case a line."""

    def dumped(value):
        return json.dumps(value, allow_nan=False)

    def lines(value):
        if not (isinstance(value, list) and isinstance(value[0], dict)):
            return dumped(value)
        return "[\n" + ",\n".join(map(dumped, value)) + "\n]"

    return (
        "{\n" + ",\n".join(f'"{name}": {lines(part)}' for name, part in content.items()) + "\n}\n"
    )


def main():
    in_float64()
    without_floor()
    packages = ("numpy", "jax", "optax", "torch", "madgrad", "pytorch_optimizer")
    content = {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "steps": STEPS,
        "param_names": NAMES,
        "data": {name: array.tolist() for name, array in DATA.items()},
        "cases": [computed(case) for case in CASES],
        "transforms": [computed(case) for case in TRANSFORMS],
        "sparse": sparse_adam(),
        "schedules": schedules(),
    }
    Path(__file__).with_name("peers.json").write_text(written(content))


if __name__ == "__main__":
    main()
