"""Play, in a process of its own, that a private part of PyTensor or numba has changed.

``python changed_parts.py`` reads a list of ``[part, change, scenario]`` as JSON, plays each in
a forked child and prints what happened, one line of JSON each. A part is changed as `updates` sees
it, while PyTensor and numba themselves go on with the original.
"""

import faulthandler
import json
import os
import sys
import time
import traceback
import types
import warnings
from contextlib import suppress
from importlib import import_module
from inspect import getattr_static

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.graph.op import Op

MISSING = object()

ACCESSED = []  # who of `updates` has reached for the changed part


def is_ours(depth=2):
    """Say whether code of `updates` reaches for the part."""
    return sys._getframe(depth).f_globals.get("__name__", "").startswith("updates")


def as_changed(name, change, original):
    """Return what `updates` sees in the place of a part."""
    ACCESSED.append(name)
    if change == "removed":
        raise AttributeError(f"played: {name} is gone")
    if not callable(original) or (isinstance(original, type) and change == "result"):
        return original, None

    def played(*args, **kwargs):
        if change == "keyword":
            raise TypeError(f"played: {name}() got an unexpected keyword argument")
        return (original(*args, **kwargs), None)

    return played


def play(part, change):
    """Change a part as `updates` sees it."""
    module_name, _, path = part.partition(":")
    owner = import_module(module_name)
    *classes, name = path.split(".")
    for class_name in classes:
        owner = getattr(owner, class_name)
    if isinstance(owner, types.ModuleType):

        class Changed(type(owner)):
            def __getattribute__(self, asked):
                original = super().__getattribute__(asked)
                return (
                    as_changed(name, change, original) if asked == name and is_ours() else original
                )

        owner.__class__ = Changed
    else:
        setattr(owner, name, Attribute(name, change, getattr_static(owner, name, MISSING)))
    if hasattr(owner, "__getattr__"):  # what features provide to a function graph
        provided = owner.__getattr__

        def changed(self, asked):
            original = provided(self, asked)
            return as_changed(name, change, original) if asked == name and is_ours() else original

        owner.__getattr__ = changed


class Attribute:
    """A changed attribute of a class or of its instances."""

    def __init__(self, name, change, original):
        self.name, self.change, self.original = name, change, original

    def __get__(self, instance, owner):
        if instance is not None and self.name in vars(instance):
            original = vars(instance)[self.name]
        elif hasattr(self.original, "__get__"):
            original = self.original.__get__(instance, owner)
        elif self.original is MISSING:
            raise AttributeError(self.name)
        else:
            original = self.original
        return as_changed(self.name, self.change, original) if is_ours() else original

    def __set__(self, instance, value):
        if hasattr(self.original, "__set__"):
            self.original.__set__(instance, value)
        else:
            vars(instance)[self.name] = value


def check_steps(order="C", returned=lambda loss: loss):
    """Take steps in the default mode, in two functions; they must be those of NumPy."""
    import updates

    start = [np.asarray(np.arange(6).reshape(2, 3) - 2.5, order=order), np.ones(4)]
    params = [pytensor.shared(np.array(value, "float32", order="K")) for value in start]
    loss = sum((param**2).sum() for param in params)
    changes = updates.sgd(loss, params, learning_rate=0.25)
    outputs = [returned(loss), pt.constant([1.0, 2.0])]
    functions = [pytensor.function([], outputs, updates=changes) for _ in range(2)]
    for function in functions:
        value, constant = function()
        assert np.isfinite(value)
        np.testing.assert_array_equal(constant, [1.0, 2.0])
    for param, value in zip(params, start, strict=True):
        np.testing.assert_array_equal(param.get_value(), value / 4)
    return any("MultiTensor" in str(n.op) for f in functions for n in f.maker.fgraph.apply_nodes)


def check_fortran():
    """Do the same with arrays that are not in C order."""
    return check_steps(order="F")


class Same(Op):
    """An operation of the user, with which PyTensor does not keep the compiled function."""

    itypes = otypes = (pt.fscalar,)

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = inputs[0].copy()


def check_uncached():
    """Do the same in a function that is not kept on the disk."""
    return check_steps(returned=Same())


def check_reduction():
    """Take a step with gradients that are reduced over processes, two of them apart."""
    import updates
    from updates.distributed import allreduce_mean

    params = [pytensor.shared(np.ones(2, "float32")) for _ in range(2)]
    grads = [grad for param in params for grad in allreduce_mean([2 * param])]
    pytensor.function([], updates=updates.sgd(grads, params, learning_rate=0.25))()
    for param in params:
        np.testing.assert_array_equal(param.get_value(), 0.5)


def check_jax_reduction():
    with pytensor.config.change_flags(mode="JAX"):
        return check_reduction()


def check_jax():
    """Take a step in JAX mode with a sum in the gradient."""
    import updates

    w = pytensor.shared(np.ones(3, "float32"))
    x = pytensor.shared(np.ones((2, 3), "float32"))
    loss = ((w + x) ** 2).sum()
    changes = updates.sgd(loss, [w], learning_rate=0.25)
    pytensor.function([], updates=changes, mode="JAX")()
    np.testing.assert_allclose(w.get_value(), -1)


def check_jax_search():
    """Take a step of a line search in JAX mode, or be told by a warning that there is none."""
    import updates
    from updates.private import JAX_SEARCH

    w = pytensor.shared(np.array([3.0, -1.0]), name="w")
    rule = updates.lbfgs(((w - 1) ** 2).sum(), w, memory=1, max_trials=3)
    try:
        step = pytensor.function([], updates=rule, mode="JAX")
    except NotImplementedError:  # PyTensor's own, after our warning
        assert JAX_SEARCH.is_lost
        return
    for _ in range(2):
        step()
    np.testing.assert_allclose(w.get_value(), 1, rtol=1e-9)


def check_many_steps():
    """Take the steps of the docstring."""
    import updates

    data = pytensor.shared(np.array([1.0, 2.0, 4.0, 8.0]))
    w = pytensor.shared(0.0, name="w")
    i, batches = pt.lscalar("i"), pt.lvector("batches")
    loss = ((w - data[2 * i + np.arange(2)]) ** 2).mean()
    many, losses = updates.many_steps(updates.sgd(loss, [w], 0.25), loss, i, batches)
    got = pytensor.function([batches], losses, updates=many, mode="NUMBA")([0, 1, 0])
    np.testing.assert_allclose(got, [2.5, 31.5625, 3.765625])


def check_rows():
    """Take a step of some rows, unless it is finite."""
    import updates

    table = pytensor.shared(np.ones((4, 2)), name="table")
    rows = table[pt.constant([2, 0, 2])]
    changes = updates.apply_if_finite(updates.sgd((rows**2).sum(), [rows], 0.25))
    pytensor.function([], updates=changes, mode="FAST_COMPILE")()
    np.testing.assert_allclose(table.get_value()[:, 0], [0.5, 1, 0, 1])


def check_graph():
    """Find parameters in a graph, and describe what a rule does with them."""
    import updates
    from updates.loss_graph import params_of

    x, y = (pytensor.shared(np.ones(2), name=name) for name in "xy")
    loss = (x**2).sum() + y.sum()
    assert set(params_of(loss)) == {x, y}
    assert "x" in str(updates.describe(updates.sgd(loss, [x, y], 0.1), loss))


def outcome(part, change, scenario):
    """Play a case and say what happened."""
    started = time.perf_counter()
    error = fast = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        play(part, change)
        if part.startswith(("numba.", "llvmlite.")):
            with suppress(Exception):
                from updates.multi_tensor import machine_code

                # Code that is in the cache needs no part of numba.
                machine_code.SOURCES = f"{part} {change}"
        try:
            fast = globals()[f"check_{scenario}"]()
        except BaseException as problem:
            error = [type(problem).__name__, str(problem), traceback.format_exc()]
    private = sys.modules.get("updates.private")
    return {
        "part": part,
        "change": change,
        "accessed": bool(ACCESSED),
        "fast": fast,
        "warnings": [str(w.message) for w in caught if str(w.message).startswith("updates")],
        "lost": [f.name for f in getattr(private, "FEATURES", ()) if f.is_lost],
        "error": error,
        "seconds": round(time.perf_counter() - started, 2),
    }


if __name__ == "__main__":
    import pytensor.link.numba.dispatch

    warm = pt.dvector()
    pytensor.function([warm], warm + 1)([1.0])  # loads what numba needs to compile anything
    for case in json.load(sys.stdin):
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(120, exit=True)
            try:
                print(json.dumps(outcome(*case)), flush=True)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
