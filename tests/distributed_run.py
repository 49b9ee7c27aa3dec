"""What the processes of a job do: the program of the tests of ``updates.distributed``.

    mpirun -n 4 python tests/distributed_run.py TABLE FOLDER [FOLDER OF AN EARLIER JOB]

Runs the cases of a table in all processes: ``fast``, ``slow``, or hosts and processes on each as in
``4x1``. A case is a function; what it returns, or the traceback of its exception, becomes a line of
JSON in ``FOLDER/<rank>.jsonl``, and ``test_distributed.py`` and ``test_hosts.py`` say what it must
be. Or TABLE is one of the names in ``ENDINGS``: a way in which the job ends before its time, which
is written to ``FOLDER/failed`` when it happens.
"""

import contextlib
import ctypes
import doctest
import gc
import hashlib
import importlib
import itertools
import json
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pytensor
import pytensor.tensor as pt
from mpi4py import MPI
from pytensor.compile.mode import Mode, get_mode
from pytensor.graph.replace import graph_replace

import updates
from updates import distributed
from updates.distributed import (
    allreduce_mean,
    allreduce_sum,
    broadcast,
    set_timeout,
    shard,
    waiting,
)
from updates.distributed.fused import FUSED
from updates.distributed.machines import machine_of
from updates.distributed.operation import AllReduce
from updates.distributed.processes import agree, key_of

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.rank, WORLD.size
MORE_THAN_A_MESSAGE = (1 << 24) // 8 + 5  # float64 numbers: MPI gets them in parts
LAST = SIZE - 1
BATCH = 6
AS_WRITTEN = Mode("py", "minimum_compile")  # hardly any rewrites: where they are not the matter
CASES = {"fast": {}, "slow": {}, "4x1": {}, "2x2": {}, "2x1": {}}
ENDINGS = {}


def case(fast=(2,), slow=(4,), hosts=()):
    """Register a case for jobs of these numbers of processes, and on these hosts."""

    def register(function):
        tables = [table for table, ranks in (("fast", fast), ("slow", slow)) if SIZE in ranks]
        for table in [*tables, *hosts]:
            CASES[table][function.__name__] = function
        return function

    return register


def ending(function):
    """Register a way to end."""
    ENDINGS[function.__name__] = function
    return function


def main(table, folder, *earlier):
    warnings.filterwarnings("error", message="Numba will use object mode")
    pytensor.config.mode = "FAST_COMPILE"
    pytensor.config.traceback__limit = 0  # graphs are built faster without notes of where
    main.folder = Path(folder)
    main.earlier = [Path(other) for other in earlier]
    if table in ENDINGS:
        ENDINGS[table]()
        return
    with open(main.folder / f"{RANK}.jsonl", "w") as file:
        for name, function in CASES[table].items():
            start = time.perf_counter()
            try:
                found = {"found": function()}
            except Exception:
                found = {"failed": traceback.format_exc()}
            meet(name)
            seconds = round(time.perf_counter() - start, 2)
            line = {"case": name, "seconds": seconds, **found}
            print(json.dumps(line, default=lambda array: array.tolist()), file=file, flush=True)


def meet(name):
    """Wait until all processes are at the end of a case, also where it failed in some of them."""
    while True:
        with contextlib.suppress(distributed.MismatchError):
            return agree(WORLD, key_of([f"the end of {name}"]), lambda: [f"the end of {name}"])


# --- What cases are made of ------------------------------------------------------------------


def network(seed=0, dtype="float64", n_inputs=4, name="W1"):
    """Make the inputs, the loss and the parameters of a small network."""
    random = np.random.default_rng(seed)
    shapes = {name: (n_inputs, 5), "b1": (5,), "W2": (5, 3), "b2": (3,)}
    params = [
        pytensor.shared(random.normal(size=shape).astype(dtype), name=key)
        for key, shape in shapes.items()
    ]
    W1, b1, W2, b2 = params
    x, y = pt.matrix("x", dtype=dtype), pt.matrix("y", dtype=dtype)
    return [x, y], ((pt.tanh(x @ W1 + b1) @ W2 + b2 - y) ** 2).mean(), params


def batches(steps, dtype="float64", n_inputs=4):
    """Make the batches of all processes: x and y with axes step, rank, row, column."""
    random = np.random.default_rng(7)
    return [
        random.normal(size=(steps, SIZE, BATCH, columns)).astype(dtype) for columns in (n_inputs, 3)
    ]


def mean_gradients(loss, params, comm=None):
    """Return the gradients averaged over all processes."""
    return allreduce_mean(updates.get_or_compute_grads(loss, params), comm)


def digest(rule):
    """Return a text that tells the values of all variables of a dictionary, to the last bit."""
    found = hashlib.sha256()
    for key, array in updates.state_dict(rule).items():
        found.update(f"{key} {array.dtype} {array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def reductions(function):
    """Count the reductions in a compiled function."""
    return sum(isinstance(node.op, AllReduce) for node in function.maker.fgraph.apply_nodes)


def raised(action):
    """Return name and message of the exception that an action raises."""
    try:
        action()
    except Exception as error:
        return [type(error).__name__, str(error)]
    return ["nothing", ""]


class Spy(MPI.Intracomm):
    """The communicator of all processes, which notes how many numbers each reduction has."""

    def __init__(self, comm):
        self.sizes = []

    def Allreduce(self, send, receive, op=MPI.SUM):  # noqa: N802
        if op == MPI.SUM:
            self.sizes.append(receive.size)
        return super().Allreduce(send, receive, op)


# --- Steps -----------------------------------------------------------------------------------


RULES = {
    "sgd": updates.sgd(learning_rate=0.1),
    "momentum_updates": updates.momentum_updates(learning_rate=0.05, momentum=0.9),
    "rmsprop": updates.rmsprop(learning_rate=0.01),
    "deepmind_rmsprop": updates.deepmind_rmsprop(learning_rate=0.01),
    "adam": updates.adam(learning_rate=0.01),
}
BOUND = 0.05


@case()
def equivalence(steps=50):
    """Train k processes on batches of B, and each rule once more in one process on k*B."""
    x, y = batches(steps)
    found = {}
    for position, (name, rule) in enumerate(RULES.items()):
        for clipped in (False, True):
            trained = []
            for alone in (False, True):
                inputs, loss, params = network()
                if alone and position % SIZE != RANK:
                    continue  # another process does it
                grads = updates.get_or_compute_grads(loss, params)
                if not alone:
                    grads = allreduce_mean(grads)
                norm = pt.sqrt(sum((grad**2).sum() for grad in grads))
                if clipped:
                    grads = updates.clip_by_global_norm(grads, BOUND)
                changes = rule(grads, params)
                step = pytensor.function(inputs, norm, updates=changes, mode=AS_WRITTEN)
                norms = []
                for k in range(steps):
                    if alone:
                        norms.append(step(np.concatenate(x[k]), np.concatenate(y[k])))
                    else:
                        norms.append(step(x[k, RANK], y[k, RANK]))
                trained.append(np.concatenate([param.get_value().ravel() for param in params]))
            if len(trained) == 2:
                start = np.concatenate([param.get_value().ravel() for param in network()[2]])
                found[f"{name}, clipped" if clipped else name] = {
                    "error": np.max(np.abs(trained[0] / trained[1] - 1)),
                    "moved": np.min(np.abs(trained[0] - start)),
                    "least_norm": min(norms),
                }
    return found


@case()
def same_bits(steps=500):
    """Train from starts that differ until they are broadcast."""
    x, y = batches(10, "float32")
    inputs, loss, params = network(seed=RANK, dtype="float32")
    rule = updates.adam(mean_gradients(loss, params), params, 0.01)
    digests = [digest(rule)]
    broadcast(rule)
    digests.append(digest(rule))
    step = pytensor.function(inputs, allreduce_mean(loss), updates=rule)
    losses = [step(x[k % 10, RANK], y[k % 10, RANK])[0] for k in range(steps)]
    digests.append(digest(rule))
    return {"digests": digests, "losses": [losses[0], losses[-1]]}


@case()
def nonfinite():
    """Take four steps, with a NaN in the data of the last process in the second."""
    x, y = batches(4)
    x[1, LAST, 0, 0] = np.nan
    inputs, loss, params = network()
    grads = mean_gradients(loss, params)
    rule = updates.apply_if_finite(updates.adam(grads, params, 0.01))
    step = pytensor.function(inputs, grads, updates=rule)
    digests, finite = [], []
    for k in range(4):
        results = step(x[k, RANK], y[k, RANK])
        finite.append(bool(np.isfinite(results[0]).all()))
        digests.append(digest({param: param for param in params}))
    [skipped] = [v for v in rule if v.name == "apply_if_finite/skipped"]
    return {"finite": finite, "digests": digests, "skipped": skipped.get_value()}


@case()
def minimize():
    """Train with minimize on the process's shard, validate on data that all have."""
    random = np.random.default_rng(0)
    data = [random.normal(size=(16 * SIZE, columns)) for columns in (4, 3)]
    _, loss, params = network(seed=RANK)
    broadcast(params)
    history = updates.minimize(
        loss,
        params,
        rule=lambda loss, params: updates.adam(mean_gradients(loss, params), params, 0.02),
        train=shard(data, seed=1),
        valid=[array[:10] for array in data],
        batch_size=8,
        max_epochs=4,
        validate_every=1,
        progress=distributed.is_root(),
    )
    return {
        "valid": history.valid,
        "train": history.train["loss"],
        "digest": digest({param: param for param in params}),
    }


def many_and_single(comm=None):
    """Take ten steps in one call, and one by one; return losses and rules."""
    x, y = batches(5)
    losses, rules = {}, {}
    for name in ("many", "single"):
        inputs, loss, params = network()
        i, indices = pt.lscalar("i"), pt.lvector("indices")
        tables = [pytensor.shared(table[:, RANK]) for table in (x, y)]
        parts = {v: table[i] for v, table in zip(inputs, tables, strict=True)}
        loss = graph_replace(loss, parts)
        [mean_loss] = allreduce_mean(loss, comm)
        rules[name] = updates.adam(mean_gradients(loss, params, comm), params, 0.01)
        order = [*range(5), *range(5)]
        if name == "many":
            many, outputs = updates.many_steps(rules[name], mean_loss, i, indices)
            losses[name] = pytensor.function([indices], outputs, updates=many)(order)
        else:
            step = pytensor.function([i], mean_loss, updates=rules[name])
            losses[name] = [step(k) for k in order]
    return losses, rules


@case()
def many_steps():
    """Take many steps in one call, to the last bit."""
    losses, rules = many_and_single()
    return {name: {"losses": losses[name], "digest": digest(rules[name])} for name in losses}


@case(fast=(), slow=(2,))
def many_steps_on_numba():
    """Take many steps in one call that numba has compiled."""
    found = {}
    for mode in ("FAST_COMPILE", "NUMBA"):
        with pytensor.config.change_flags(mode=mode):
            fill_the_cache(many_and_single)
            found[mode] = many_and_single()[0]
    return found


EVERY = 4


def accumulated(mode, comm=None, names=("rule", "alone")):
    """Take three steps, on four calls each, in many processes and in one; count reductions."""
    x, y = batches(3 * EVERY)
    adam = updates.adam(learning_rate=0.01)
    clip = updates.clip_by_global_norm(max_norm=BOUND)
    rules = {
        "rule": lambda grads, params: adam(allreduce_mean(grads, spy), params),
        "chain": updates.chain(lambda grads, _: allreduce_mean(grads, spy), clip, adam),
        "nested": lambda grads, params: updates.accumulate_gradients(
            grads, params, rule=lambda g, p: adam(allreduce_mean(g, spy), p), every=2
        ),
        "alone": lambda grads, params: adam(grads, params),
        "chain, alone": updates.chain(clip, adam),
    }
    found = {}
    for name in names:
        spy = Spy(comm or WORLD)
        inputs, loss, params = network()
        start = np.concatenate([param.get_value().ravel() for param in params])
        if "alone" in name:
            losses, changes = [], rules[name](loss, params)
            step = pytensor.function(inputs, updates=changes, mode=mode)
            for k in range(3):
                part = slice(k * EVERY, (k + 1) * EVERY)
                step(*(table[part].reshape(-1, table.shape[-1]) for table in (x, y)))
        else:
            every = 2 if name == "nested" else EVERY
            changes = updates.accumulate_gradients(loss, params, rule=rules[name], every=every)
            step = pytensor.function(inputs, allreduce_mean(loss, comm), updates=changes, mode=mode)
            losses = [step(x[k, RANK], y[k, RANK])[0] for k in range(3 * EVERY)]
        end = np.concatenate([param.get_value().ravel() for param in params])
        found[name] = {
            "reduced": spy.sizes,
            "losses": np.array(losses).tolist(),
            "digest": digest(changes),
            "params": end,
            "moved": np.abs(end - start).min(),
        }
    return found


def apart_while_accumulating(mode):
    """Let one process accumulate gradients of another shape; return what each call raises."""
    x = pt.vector("x")
    w = pytensor.shared(np.zeros(3 if RANK == LAST else 2), name="w")
    rule = updates.accumulate_gradients(
        ((w - x) ** 2).sum(),
        [w],
        rule=lambda grads, params: updates.sgd(allreduce_mean(grads), params, 0.1),
        every=3,
    )
    step = pytensor.function([x], updates=rule, mode=mode)
    return [raised(lambda: step(np.ones(w.get_value().size))) for _ in range(3)]


@case()
def accumulation():
    """Accumulate gradients of many processes."""
    names = ["rule", "chain", "nested", "alone", "chain, alone"]
    return {
        "FAST_COMPILE": {
            "steps": accumulated("FAST_COMPILE", names=names),
            "apart": apart_while_accumulating("FAST_COMPILE"),
        }
    }


@case(fast=(), slow=(2,))
def compiled_accumulation():
    """Accumulate gradients of many processes on compiled backends."""
    modes = {name: mode_of(name) for name in ("NUMBA", "C", "JAX")}
    for name in ("NUMBA", "C"):
        if modes[name]:
            fill_the_cache(accumulated, modes[name])
    return {
        name: mode and {"steps": accumulated(mode), "apart": apart_while_accumulating(mode)}
        for name, mode in modes.items()
    }


@case()
def local_steps():
    """Take steps on the process's own gradients, and average the parameters in every third."""
    x, y = batches(6)
    inputs, loss, params = network()
    rule = updates.sgd(loss, params, 0.1)
    step = pytensor.function(inputs, updates=rule)
    averages = dict(zip(params, allreduce_mean(params), strict=True))
    average = pytensor.function([], updates=averages)
    found = []
    for k in range(6):
        step(x[k, RANK], y[k, RANK])
        if k % 3 == 2:
            own = np.concatenate([param.get_value().ravel() for param in params])
            average()
            now = np.concatenate([param.get_value().ravel() for param in params])
            found.append({"own": own, "averaged": now})
    return found


@case()
def given():
    """Take steps with data that ``givens`` put into the graph, and with data as arguments."""
    x, y = batches(3)
    found = {}
    for name in ("givens", "arguments"):
        inputs, loss, params = network()
        rule = updates.adam(mean_gradients(loss, params), params, 0.01)
        i = pt.lscalar("i")
        tables = [pytensor.shared(table[:, RANK]) for table in (x, y)]
        parts = {v: table[i] for v, table in zip(inputs, tables, strict=True)}
        if name == "givens":
            step = pytensor.function([i], allreduce_mean(loss), updates=rule, givens=parts)
            losses = [step(k)[0] for k in range(3)]
        else:
            step = pytensor.function(inputs, allreduce_mean(loss), updates=rule)
            losses = [step(x[k, RANK], y[k, RANK])[0] for k in range(3)]
        found[name] = {"losses": losses, "digest": digest(rule)}
    return found


# --- Data and starts -------------------------------------------------------------------------


@case(fast=(2, 4), slow=())
def shards():
    """Deal out 24 rows, twice, with another seed; and 27, of which some are left."""
    rows = np.arange(24)
    arrays = [rows, rows[:, None] * [10.0, 100.0], rows.astype("int8")]
    found = {
        "first": shard(arrays, seed=3),
        "again": shard(arrays, seed=3),
        "other seed": shard(arrays, seed=4),
        "lists": shard([arrays[0].tolist(), arrays[1].tolist(), tuple(arrays[2])], seed=3),
        "drop_last": shard([np.arange(27)], drop_last=True),
        "no rest to drop": shard([rows], seed=3, drop_last=True),
    }
    dtypes = [array.dtype.name for array in found["first"]]
    own = shard([rows], seed=3)[0]
    own[:] = -1
    return {**found, "dtypes": dtypes, "rows": rows}


@case()
def broadcasts():
    """Give all processes the values of a root, for variables of all kinds."""
    random = np.random.default_rng(RANK)
    values = [
        np.arange(6, dtype="float16").reshape(2, 3) + RANK,
        np.float32(random.normal()) * np.ones((3, 1), "float32"),
        random.normal(size=MORE_THAN_A_MESSAGE),
        np.arange(4, dtype="int64") * RANK,
        np.arange(4, dtype="int8") + RANK,
        np.array([RANK == 0, RANK == LAST]),
        np.array(random.normal()),
        np.zeros((0, 3)),
        random.normal(size=(3, 4)).T,
        np.random.default_rng(RANK),
    ]
    variables = [pytensor.shared(value, name=f"v{k}") for k, value in enumerate(values)]
    everything = {variable: variable for variable in variables}
    found = {}
    for name, root in {"list": 0, "last": LAST}.items():
        for variable, value in zip(variables, values, strict=True):
            variable.set_value(value)
        before = digest(everything)
        broadcast(variables, root)
        found[name] = [before, digest(everything)]
    single = {pytensor.shared(float(RANK), name="w"): 0}
    before = digest(single)
    broadcast(*single)
    found["one variable"] = [before, digest(single)]

    inputs, loss, params = network(seed=RANK)
    rule = updates.adam(loss, params[:2], 0.1) | updates.noisy_sgd(loss, params[2:], 0.1)
    pytensor.function(inputs, updates=rule)(*(array[0, RANK] for array in batches(1)))
    for variable in rule:
        if isinstance(variable.get_value(), np.random.Generator):
            variable.set_value(np.random.default_rng(RANK))
    before = digest(rule)
    broadcast(rule)
    found["dictionary"] = [before, digest(rule)]
    return found


@case(fast=(2, 4), slow=())
def dtypes():
    """Reduce tensors of several dtypes and shapes, in C order and not, of all and of some."""
    tensors = [
        pt.vector("half", dtype="float16"),
        pt.row("row", dtype="float32"),
        pt.matrix("transposed", dtype="float64"),
        pt.scalar("scalar", dtype="float64"),
        pt.tensor("empty", dtype="float32", shape=(0, 3)),
        pt.tensor("cube", dtype="float64", shape=(2, None, 2)),
        pt.vector("reversed", dtype="float32"),
    ]
    values = [
        np.arange(3, dtype="float16"),
        np.arange(4, dtype="float32")[None],
        np.arange(6.0).reshape(2, 3),
        np.array(5.0),
        np.zeros((0, 3), "float32"),
        np.arange(12.0).reshape(2, 3, 2),
        np.arange(5, dtype="float32"),
    ]
    own = [np.asarray(value * (RANK + 1), value.dtype) for value in values]
    grads = [v.T if v.name == "transposed" else v for v in tensors]
    grads[-1] = grads[-1][::-1]
    found = {"values": [value.T if k == 2 else value for k, value in enumerate(values)]}
    found["values"][-1] = values[-1][::-1]
    half = WORLD.Split(RANK % 2)
    for name, reduce, comm in (
        ("mean", allreduce_mean, None),
        ("sum", allreduce_sum, None),
        ("generator of tensors", lambda grads, comm: allreduce_sum(iter(grads), comm), None),
        ("sum of some", allreduce_sum, half),
        ("mean of itself", allreduce_mean, MPI.COMM_SELF),
    ):
        results = reduce(grads, comm)
        arrays = pytensor.function(tensors, results)(*own)
        found[name] = {
            "arrays": arrays,
            "dtypes": [array.dtype.name for array in arrays],
            "shapes": [array.shape for array in arrays],
            "types_kept": [r.type == g.type for r, g in zip(results, grads, strict=True)],
        }
    w = pytensor.shared(float(RANK))
    broadcast([w], root=half.size - 1, comm=half)
    found["broadcast to some"] = w.get_value()
    found["shard for some"] = shard([np.arange(8)], comm=half)[0]
    found["roots"] = [distributed.is_root(), distributed.is_root(half)]
    half.Free()
    return found


@case(fast=(), slow=(), hosts=("4x1",))
def equivalence_on_hosts():
    """Take fewer steps, because each waits for a network."""
    return equivalence(steps=10)


@case(fast=(), slow=(), hosts=("4x1", "2x2"))
def same_bits_on_hosts():
    """Take fewer steps, because each waits for a network."""
    return same_bits(steps=60)


@case(fast=(), slow=(), hosts=("4x1", "2x2"))
def machines():
    """Look at which processes share a machine, and sum more than a message."""
    x = pt.vector("x")
    step = pytensor.function([x], allreduce_sum(x)[0])
    numbers = np.arange(MORE_THAN_A_MESSAGE) % 1000
    total = step(numbers * (RANK + 1.0))
    machine = machine_of(WORLD)
    return {
        "ranks": machine.ranks,
        "hosts": len(set(machine.hosts)),
        "shares": machine.memory.size > 0,
        "right": bool((total == numbers * SIZE * (SIZE + 1) / 2).all()),
    }


class Machines(MPI.Intracomm):
    """A communicator that takes its processes for those of machines of two, or three."""

    n_processes = 2

    def Split_type(self, split_type, key=0):  # noqa: N802
        """Return those of one machine."""
        return self.Split(self.rank // self.n_processes, key)


class UnequalMachines(Machines):
    n_processes = 3


class SingleMachines(Machines):
    n_processes = 1


@case()
def wires():
    """Reduce numbers that travel in fewer bits, between machines and within one."""
    found = {}
    random = np.random.default_rng(0)
    size = 70_001
    scales = np.repeat([1e-9, 1.0, 1e6], [20_000, 20_000, 30_001])
    tables = {
        "numbers": random.normal(size=(SIZE, size)),
        "small": random.normal(size=(SIZE, size)) * 1e-9,
        "large": random.normal(size=(SIZE, size)) * 1e9,
        "mixed": random.normal(size=(SIZE, size)) * scales,
        "zero": np.zeros((SIZE, size)),
        "few": random.normal(size=(SIZE, 100)),
    }
    x = pt.vector("x")
    for kind in (MPI.Intracomm, SingleMachines if SIZE == 2 else Machines, UnequalMachines):
        comm = kind(WORLD.Dup())
        for wire in ("float32", "float16", "bfloat16"):
            both = allreduce_sum(x, comm, wire), allreduce_mean([x], comm, wire)
            step = pytensor.function([x], [both[0][0], both[1][0], *allreduce_sum(x, comm)])
            for name, table in tables.items():
                total, mean, exact = step(table[RANK])
                largest = np.abs(table).max() or 1.0
                found[f"{kind.__name__}, {wire}, {name}"] = {
                    "error": np.abs(total - exact).max() / largest,
                    "error of each": np.median(
                        np.abs(total - exact) / (np.abs(table).max(0) + 1e-99)
                    ),
                    "error of mean": np.abs(mean - exact / SIZE).max() / largest,
                    "digest": hashlib.sha256(total.tobytes() + mean.tobytes()).hexdigest(),
                    "dtype": total.dtype.name,
                }
            numbers = np.ones(size)
            numbers[[3, -1]] = [np.nan, np.inf] if RANK == LAST else 1
            total = step(numbers)[0]
            found[f"{kind.__name__}, {wire}"] = [
                np.flatnonzero(np.isnan(total)),
                np.flatnonzero(np.isinf(total)),
                float(np.nanmedian(total)),
            ]
    return found


@case()
def sizes():
    """Reduce few and many numbers in turn, through memory that all see and by messages."""
    found = {}
    for name, (kind, refuses) in {
        "as it comes": (MPI.Intracomm, None),
        "no memory in the root": (MPI.Intracomm, ("memfd_create", 0)),
        "no memory in the last": (MPI.Intracomm, ("open", LAST)),
        "two machines": (Machines, None),
        "two machines, no memory in one": (Machines, ("memfd_create", 0)),
        "unequal machines": (UnequalMachines, None),
    }.items():
        comm = kind(WORLD.Dup())
        with contextlib.ExitStack() as stack:
            if refuses and refuses[1] == RANK:
                stack.enter_context(mock.patch.object(os, refuses[0], side_effect=OSError))
            found[name] = []
            before = mapped()
            steps = {}
            for dtype in ("float32", "float64"):
                x = pt.vector("x", dtype=dtype)
                steps[dtype] = pytensor.function([x], allreduce_sum([x[:3], x[3:]], comm))
            for size in (10, 70_000, 5_000, MORE_THAN_A_MESSAGE, 100_001, 3):
                for dtype, step in steps.items():
                    numbers = np.arange(size, dtype=dtype) % 1000
                    results = np.concatenate(step(numbers + RANK))
                    right = SIZE * numbers + SIZE * LAST / 2
                    fractions = np.concatenate(step(np.cos(numbers + RANK).astype(dtype)))
                    found[name].append(
                        {
                            "size": size,
                            "right": bool((results == right).all()),
                            "dtype": results.dtype.name,
                            "digest": hashlib.sha256(fractions.tobytes()).hexdigest(),
                        }
                    )
            found[f"{name}: mapped"] = mapped() - before
    return found


def mapped():
    """Count the bytes that this process shares with others of its machine."""
    found = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "memfd:updates" in line:
            start, end = line.split()[0].split("-")
            found += int(end, 16) - int(start, 16)
    return found


# --- Order -----------------------------------------------------------------------------------


def three_reductions(comm):
    """Return a function's inputs and reductions of 1, 2 and 3 numbers, made in this order."""
    x = pt.vector("x")
    made = [allreduce_sum([x[:n] * n], comm)[0] for n in (1, 2, 3)]
    return x, made


@case()
def order():
    """Reduce in functions that are not the same text in all processes."""
    found = {}
    ones = np.ones(3)
    fast_run = Mode(linker="py", optimizer="fast_run")
    for mode_name, mode in {"FAST_COMPILE": "FAST_COMPILE", "fast_run": fast_run}.items():

        def run(name, function, spy, kind=mode_name):
            results = [np.asarray(result).tolist() for result in function(ones)]
            found[f"{name}, {kind}"] = {"sizes": spy.sizes, "results": results}

        spy = Spy(WORLD)
        x, made = three_reductions(spy)
        listed = made if RANK == 0 else made[::-1]
        run("other order of outputs", pytensor.function([x], listed, mode=mode), spy)

        spy = Spy(WORLD)
        if RANK == LAST:
            three_reductions(spy)
        x, made = three_reductions(spy)
        run("another graph made before", pytensor.function([x], made, mode=mode), spy)

        spy = Spy(WORLD)
        x, made = three_reductions(spy)
        kept = [made[0], made[2]]
        run("one not used", pytensor.function([x], kept, mode=mode), spy)

        spy = Spy(WORLD)
        x, made = three_reductions(spy)
        total = sum(part.sum() for part in (made if RANK else made[::-1]))
        w = pytensor.shared(np.zeros(2))
        changed = {w: w - made[1]}
        run(
            "inside larger graphs", pytensor.function([x], [total], updates=changed, mode=mode), spy
        )

        spy = Spy(WORLD)
        x = pt.vector("x")
        late = allreduce_sum([x[:1]], spy)[0]
        early = allreduce_sum([x[:2]], spy)[0]
        needs = allreduce_sum([early.sum() + x], spy)[0]
        run("one that needs another", pytensor.function([x], [needs, late], mode=mode), spy)
    return found


@case()
def loss_beside():
    """Train two parts of a network by two rules and reductions, with the mean loss beside them."""
    x, y = batches(3)
    fast_run = Mode(linker="py", optimizer="fast_run")
    found = {}
    for name, mode in {"FAST_COMPILE": "FAST_COMPILE", "fast_run": fast_run}.items():
        spy = Spy(WORLD)
        inputs, loss, params = network()
        grads = updates.get_or_compute_grads(loss, params)
        rule = updates.sgd(allreduce_mean(grads[:2], spy), params[:2], 0.1)
        [mean_loss] = allreduce_mean(loss, spy)
        rule |= updates.momentum(allreduce_mean(grads[2:], spy), params[2:], 0.1)
        outputs = [mean_loss, loss]
        step = pytensor.function(inputs, outputs, updates=rule, mode=mode)
        losses = [step(x[k, RANK], y[k, RANK]) for k in range(3)]
        found[name] = {
            "reductions": reductions(step),
            "sizes": spy.sizes,
            "mean_losses": [float(mean) for mean, _ in losses],
            "own_losses": [float(own) for _, own in losses],
            "digest": digest(rule),
        }
    return found


@case()
def graphs():
    """Compile reductions that a rewrite could merge, fold or leave out."""
    found = {}
    fast_run = Mode(linker="py", optimizer="fast_run")
    for name, mode in {"FAST_COMPILE": "FAST_COMPILE", "fast_run": fast_run}.items():
        x = pt.matrix("x")
        equal = pytensor.function([x], [*allreduce_sum(x), *allreduce_sum(x)], mode=mode)
        constant = pytensor.function([], allreduce_sum(pt.constant(np.ones(3))), mode=mode)
        two = allreduce_mean([x, x.sum(axis=0)])
        shapes = pytensor.function([x], [two[0].shape, two[1].shape, two[0].size], mode=mode)
        unused = pytensor.function([x], two[0].sum() * 0 + x.sum(), mode=mode)
        found[name] = {
            "equal": [reductions(equal), equal(np.full((1, 1), RANK + 1.0))],
            "constant": [reductions(constant), constant()[0]],
            "shapes": [reductions(shapes), shapes(np.ones((2, 3)))],
            "unused": unused(np.ones((2, 3))),
        }
    return found


@case()
def pickled():
    """Reduce in a function that comes out of a pickle."""
    inputs, loss, params = network()
    step = pytensor.function(inputs, mean_gradients(loss, params), on_unused_input="ignore")
    x, y = batches(1)
    expected = step(x[0, RANK], y[0, RANK])
    again = pickle.loads(pickle.dumps(step))(x[0, RANK], y[0, RANK])
    found = {"equal": [np.array_equal(a, b) for a, b in zip(expected, again, strict=True)]}

    a, b = pt.vectors("a", "b")
    first, second = *allreduce_sum(a), *allreduce_sum(b)
    if RANK == LAST:  # whose copies are made in another order
        second, first, a, b = pickle.loads(pickle.dumps([second, first, a, b]))
    step = pytensor.function([a, b], [first, second])
    found["in order"] = [np.asarray(result).tolist() for result in step([1.0], [10.0])]
    return found


@case()
def forgotten():
    """Make functions, use them, and let them go."""
    gc.collect()
    before = set(FUSED)
    for _ in range(3):
        x = pt.vector("x")
        step = pytensor.function([x], allreduce_sum(x))
        kept = [step(np.ones(5000))[0] for _ in range(4)]
        [number] = set(FUSED) - before
        kept.clear()
        buffers = len(FUSED[number]._free)
        del x, step
        gc.collect()
    return {"left": len(set(FUSED) - before), "buffers": buffers}


@case(slow=())
def described():
    """Look at a rule on means."""
    _, loss, params = network()
    rule = updates.rmsprop(mean_gradients(loss, params), params, 0.1)
    lines = str(updates.describe(rule, loss)).splitlines()
    return [line.strip() for line in lines if "' = " in line]


# --- What is refused -------------------------------------------------------------------------


@case()
def refusals():
    """Give the public functions what they cannot take."""
    x, i = pt.matrix("x"), pt.ivector("i")
    w, table = pytensor.shared(1.0, name="w"), pytensor.shared(np.ones((5, 2)), name="table")
    rows = table[i]
    row_grads = updates.get_or_compute_grads((rows**2).sum(), [rows])
    reduced = allreduce_mean((w * x).sum())[0]
    uneven, few = [np.arange(4 * SIZE + 1)], [np.arange(SIZE - 1)]
    calls = {
        "allreduce_mean: no tensor": lambda: allreduce_mean([1.0]),
        "allreduce_mean: no list": lambda: allreduce_mean(3),
        "allreduce_mean: empty": lambda: allreduce_mean([]),
        "allreduce_mean: integers": lambda: allreduce_mean([i]),
        "rows of a table": lambda: updates.sgd(allreduce_mean(row_grads), [rows], 0.1),
        "allreduce_sum: integers": lambda: allreduce_sum([i]),
        "clipped rows": lambda: updates.adam(
            allreduce_sum(updates.clip_by_value(row_grads, 1.0)), [rows]
        ),
        "allreduce_mean: wire": lambda: allreduce_mean([x], wire="float8"),
        "allreduce_sum: wire": lambda: allreduce_sum([x], wire=16),
        "allreduce_mean: comm": lambda: allreduce_mean([x], comm="world"),
        "allreduce_sum: COMM_NULL": lambda: allreduce_sum([x], comm=MPI.COMM_NULL),
        "allreduce_sum: in no part": lambda: allreduce_sum([x], comm=WORLD.Split(MPI.UNDEFINED)),
        "gradient through": lambda: pytensor.grad(reduced, w),
        "rule on a reduced loss": lambda: updates.sgd(reduced, [w], 0.1),
        "set_timeout: seconds": lambda: set_timeout(0),
        "set_timeout: no number": lambda: set_timeout("60"),
        "set_timeout: warn_after": lambda: set_timeout(None, warn_after=float("nan")),
        "is_root: comm": lambda: distributed.is_root(0),
        "is_root: COMM_NULL": lambda: distributed.is_root(MPI.COMM_NULL),
        "broadcast: empty": lambda: broadcast([]),
        "broadcast: text": lambda: broadcast("w"),
        "broadcast: number": lambda: broadcast(3),
        "broadcast: no shared variable": lambda: broadcast([w, x]),
        "broadcast: array": lambda: broadcast([np.ones(3)]),
        "broadcast: root too large": lambda: broadcast([w], root=SIZE),
        "broadcast: root negative": lambda: broadcast([w], root=-1),
        "broadcast: root no integer": lambda: broadcast([w], root=0.0),
        "broadcast: comm": lambda: broadcast([w], comm=[0, 1]),
        "shard: empty": lambda: shard([]),
        "shard: array": lambda: shard(np.ones((8, 2))),
        "shard: 0-d": lambda: shard([np.array(1.0)]),
        "shard: objects": lambda: shard([np.array([object()] * 8)]),
        "shard: lengths": lambda: shard([np.ones(8), np.ones(4)]),
        "shard: rest": lambda: shard(uneven),
        "shard: few": lambda: shard(few),
        "shard: few, drop_last": lambda: shard(few, drop_last=True),
        "shard: seed": lambda: shard([np.ones(8)], seed=-1),
        "shard: seed no integer": lambda: shard([np.ones(8)], seed=0.5),
        "shard: drop_last": lambda: shard([np.ones(8)], drop_last="yes"),
        "shard: comm": lambda: shard([np.ones(8)], comm=8),
        "save: no dictionary": lambda: distributed.save(main.folder / "no.npz", [w + 1]),
        "load: no dictionary": lambda: distributed.load(main.folder / "no.npz", [w + 1]),
    }
    found = {name: raised(call) for name, call in calls.items()}
    found["still works"] = allreduce_sum(pt.constant(1.0))[0].eval()
    return found


@case(fast=(2, 4), slow=())
def mismatches():
    """Let the last process do something else than the others, in many ways."""
    is_last = RANK == LAST

    def training(dtype="float64", n_inputs=4, name="W1", count=4):
        inputs, loss, params = network(0, dtype, n_inputs, name)
        step = pytensor.function(
            inputs, mean_gradients(loss, params[:count]), on_unused_input="ignore"
        )
        return lambda: step(*(array[0, RANK] for array in batches(1, dtype, n_inputs)))

    x = pt.vector("x")
    one = pytensor.function([x], allreduce_sum([x]))
    mean = pytensor.function([x], allreduce_mean([x]))
    two = pytensor.function([x], [*allreduce_sum([x]), *allreduce_sum([x[:1]])])
    swapped = [allreduce_sum([x[:n]])[0] for n in ((1, 2) if is_last else (2, 1))]
    swapped = pytensor.function([x], swapped)
    validate = pytensor.function([x], allreduce_mean([x.sum()]))
    w = pytensor.shared(np.ones(2, "float32" if is_last else "float64"), name="w")
    v = pytensor.shared(1.0, name="v")
    rule, path = {v: v}, main.folder / "mismatch.npz"
    data, rows = np.ones(3), [np.arange(4 * SIZE)]
    calls = {
        "shape": training(n_inputs=6) if is_last else training(),
        "dtype": training(dtype="float32") if is_last else training(),
        "half": training(dtype="float16" if is_last else "float32"),
        "count": training(count=2) if is_last else training(),
        "name": training(name="V") if is_last else training(),
        "batch": lambda: one(data[: 2 if is_last else 3]),
        "more reductions": lambda: two(data) if is_last else [one(data), one(data)],
        "other function": lambda: (validate if is_last else one)(data),
        "mean and sum": lambda: (mean if is_last else one)(data),
        "made in another order": lambda: swapped(data),
        "broadcast of other dtypes": lambda: broadcast([w]),
        "broadcast of fewer": lambda: broadcast([v] if is_last else [v, v]),
        "broadcast from other roots": lambda: broadcast([v], root=1 if is_last else 0),
        "shard with other seeds": lambda: shard(rows, seed=int(is_last)),
        "shard of other data": lambda: shard([rows[0] * 1.0] if is_last else rows),
        "save and reduce": lambda: one(data) if is_last else distributed.save(path, rule),
        "load and save": lambda: (distributed.load if is_last else distributed.save)(path, rule),
        "an error and reduce": lambda: broadcast([]) if is_last else one(data),
    }
    found = {}
    for name, call in calls.items():
        found[name] = raised(call)
        meet(name)
        found[name].append(float(one(np.ones(1))[0][0]))
    found["no file"] = not path.exists()
    return found


# --- Checkpoints -----------------------------------------------------------------------------


def checkpointed():
    """Return a rule with state of every kind and a function that takes steps by it."""
    inputs, loss, params = network(seed=RANK)
    grads = mean_gradients(loss, params)
    rule = updates.adam(grads[:2], params[:2], 0.01) | updates.noisy_sgd(grads[2:], params[2:], 0.1)
    step = pytensor.function(inputs, updates=rule)

    def train(steps):
        x, y = batches(steps)
        for k in range(steps):
            step(x[k, RANK], y[k, RANK])

    return rule, train


@case(fast=(4,), slow=(), hosts=("4x1",))
def save():
    """Train and save; try to save where there is no folder."""
    rule, train = checkpointed()
    broadcast(rule)
    train(10)
    distributed.save(main.folder / "run.npz", rule, extra={"step": 10})
    found = {"digest": digest(rule), "files": len(list(main.folder.glob("*.npz")))}
    WORLD.Barrier()
    damaged = bytearray((main.folder / "run.npz").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    # Other processes than the root need no file, and may have another.
    own = main.folder / f"rank{RANK}"
    own.mkdir()
    if distributed.is_root():
        (own / "run.npz").write_bytes(bytes(damaged))
        (main.folder / "damaged.npz").write_bytes(bytes(damaged))
    WORLD.Barrier()
    return found | {
        "missing folder": raised(lambda: distributed.save(main.folder / "no" / "run.npz", rule)),
        "bad extra": raised(
            lambda: distributed.save(main.folder / "run.npz", rule, extra=object())
        ),
        "damaged": raised(lambda: distributed.load(own / "run.npz", rule)),
        "after": digest(rule),
    }


@case(fast=(1, 2), slow=(), hosts=("2x1",))
def resume():
    """Go on from the checkpoint of four processes, after loads that fail."""
    [folder] = main.earlier
    rule, train = checkpointed()
    found = {"start": digest(rule)}
    w = pytensor.shared(np.ones(2), name="other")
    other = {w: 2 * w}
    for name, action in {
        "missing": lambda: distributed.load(folder / "missing.npz", rule),
        "damaged": lambda: distributed.load(folder / "damaged.npz", rule),
        "other model": lambda: distributed.load(folder / "run.npz", other),
    }.items():
        found[name] = raised(action)
    found["after errors"] = digest(rule)
    found["other model after errors"] = w.get_value()
    # Each process may give a path of its own: the root alone reads.
    path = folder / ("run.npz" if distributed.is_root() else "nothing here")
    found["extra"] = distributed.load(path, rule)
    found["loaded"] = digest(rule)
    train(20)
    found["trained"] = digest(rule)
    found["extra of updates.load"] = updates.load(folder / "run.npz", rule)
    found["loaded by updates.load"] = digest(rule)
    return found


# --- Backends --------------------------------------------------------------------------------


def mode_of(backend):
    """Return the mode of a backend, None where it is not installed."""
    if backend == "C":
        return Mode(linker="cvm", optimizer="fast_run") if pytensor.config.cxx else None
    if backend == "JAX":
        try:
            importlib.import_module("pytensor.link.jax.dispatch")
        except ImportError:
            return None
    return get_mode(backend)


def fill_the_cache(function, *arguments):
    """Let the root compile alone what it does without the others, who find it on the disk."""
    if RANK == 0:
        function(*arguments, comm=MPI.COMM_SELF)
    all_are_here = WORLD.Ibarrier()
    while not all_are_here.Test():  # asleep, as the tests of another worker need the core
        time.sleep(0.02)


def on_backend(mode, comm=None):
    """Take three steps with mixed dtypes and layouts; return the losses and all values."""
    random = np.random.default_rng(0)
    x = pt.matrix("x", dtype="float32")
    W = pytensor.shared(random.normal(size=(3, 2)).astype("float32"), name="W")
    b = pytensor.shared(np.ones((1, 2)), name="b", shape=(1, 2))
    s = pytensor.shared(np.array(0.5, "float32"), name="s")
    loss = (((x[:, :, None] * W).sum(axis=1) * s + b - 1) ** 2).mean()
    grads = updates.get_or_compute_grads(loss, [W, b, s])
    grads[0] = grads[0].T.T  # what a rewrite may leave in another order than C
    rule = updates.adam(allreduce_mean(grads, comm), [W, b, s], 0.01)
    means = allreduce_mean([loss, x.T], comm)
    step = pytensor.function([x], means, updates=rule, mode=mode)
    steps = [step(np.float32(random.normal(size=(5, 3)) * (RANK + 1))) for _ in range(3)]
    return {
        "reductions": reductions(step),
        "outputs": [[np.asarray(part).tolist() for part in outputs] for outputs in steps],
        "dtypes": [part.dtype.name for part in steps[0]],
        "values": {v.name: v.get_value().tolist() for v in rule},
        "value_dtypes": {v.name: v.get_value().dtype.name for v in rule},
    }


@case(fast=())
def backends():
    """Run on all backends that are installed."""
    modes = {name: mode_of(name) for name in ("FAST_COMPILE", "NUMBA", "C", "JAX")}
    for name in ("NUMBA", "C"):
        if modes[name]:
            fill_the_cache(on_backend, modes[name])
    return {name: mode and on_backend(mode) for name, mode in modes.items()}


@case(fast=())
def mismatches_of_backends():
    """Let the last process reduce fewer numbers than the others, on all backends."""
    found = {}
    for name in ("NUMBA", "C", "JAX"):
        if mode := mode_of(name):
            x = pt.vector("x")
            step = pytensor.function([x], allreduce_sum([x * 2]), mode=mode)
            found[name] = [
                *raised(lambda step=step: step(np.ones(2 if RANK == LAST else 3))),
                step(np.ones(3))[0],
            ]
    return found


def gradient_kept(mode, comm=None):
    """Return a function of the data, which has been called, its parameter and what it stores."""
    x, w = pt.vector("x"), pytensor.shared(np.zeros(8), name="w")
    [grad] = allreduce_mean(updates.get_or_compute_grads(((w - x) ** 2).sum() / 2, [w]), comm)
    rule = updates.optimistic_gradient_descent([grad], [w], 0.1)
    [stored] = [v for v in rule if v.name.endswith("/previous_gradient")]
    outputs = [grad, *allreduce_sum(x[:5000], comm)]
    step = pytensor.function([x], outputs, updates=rule, mode=mode)
    step(np.zeros(8))
    return step, w, stored


@case(slow=())
def kept_results():
    """Keep what a function returned while it is called again, with few numbers and with many."""
    random = np.random.default_rng(0)
    found = {}
    fill_the_cache(gradient_kept, "NUMBA")
    for name in ("FAST_COMPILE", "NUMBA"):
        step, w, stored = gradient_kept(name)
        kept, copies, errors = [], [], []
        for size in (8, 20_000, 7):
            w.set_value(np.zeros(size))
            stored.set_value(np.zeros(size))
            for _ in range(6):
                data = random.normal(size=(SIZE, size))
                expected = [w.get_value() - data.mean(axis=0), data[:, :5000].sum(axis=0)]
                kept.append(step(data[RANK]))
                copies.append([np.array(array) for array in kept[-1]])
                pairs = list(zip(copies[-1], expected, strict=True))
                errors.append(
                    {
                        "error": max(np.abs(a - b).max() for a, b in pairs),
                        "stored_error": np.abs(stored.get_value() - expected[0]).max(),
                    }
                )
        found[name] = [
            {**error, "unchanged": all(map(np.array_equal, arrays, copied))}
            for error, arrays, copied in zip(errors, kept, copies, strict=True)
        ]
    return found


# --- Documents -------------------------------------------------------------------------------


@case(fast=(1, 2))
def doctests():
    """Run the examples of the docstrings; those of is_root are the root's."""
    failures, tried = [], 0
    for name in ("processes", "reduction", "sharing"):
        module = importlib.import_module(f"updates.distributed.{name}")
        runner = doctest.DocTestRunner(verbose=False)
        for test in doctest.DocTestFinder().find(module):
            if not test.name.endswith(".is_root") or distributed.is_root():
                runner.run(test, out=failures.append)
        tried += runner.summarize(verbose=False).attempted
    return {"failures": failures, "tried": tried}


# --- Ways to end -----------------------------------------------------------------------------


def fail_now():
    """Note when it happened."""
    (main.folder / "failed").write_text(str(time.time()))


def train_until(stop, n_inputs=4, timeout=None):
    """Take a thousand steps; call `stop` before each, with its number, in the last process.

    A timeout is set before step 20, when no process is still compiling.
    """
    inputs, loss, params = network(n_inputs=n_inputs)
    rule = updates.adam(mean_gradients(loss, params), params, 0.01)
    step = pytensor.function(inputs, allreduce_mean(loss), updates=rule)
    x, y = batches(10, n_inputs=n_inputs)
    for k in range(1000):
        if k == 20 and timeout:
            set_timeout(timeout)
        if RANK == LAST:
            stop(k)
        step(x[k % 10, RANK], y[k % 10, RANK])
    time.sleep(60)  # no process may come this far


def at_step_20(action):
    """Return a function for `train_until`."""

    def stop(k):
        if k == 20:
            fail_now()
            action()

    return stop


def failing():
    raise RuntimeError("the disk is on fire")


@ending
def mismatch():
    """One process has a model of another shape."""
    train_until(lambda k: k or fail_now(), n_inputs=6 if RANK == LAST else 4)


@ending
def killed():
    """One process is killed."""
    train_until(at_step_20(lambda: os.kill(os.getpid(), signal.SIGKILL)))


@ending
def stopped():
    """One process is stopped, and the others wait for three seconds."""
    train_until(at_step_20(lambda: os.kill(os.getpid(), signal.SIGSTOP)), timeout=3.0)


@ending
def until_told():
    """Train until there is a file, and print what the parameters are then."""
    train_until_told(60)


@ending
def until_cut_off():
    """Train on, with a timeout of three seconds."""
    train_until_told(3.0)


def train_until_told(timeout):
    inputs, loss, params = network(seed=RANK)
    rule = updates.adam(mean_gradients(loss, params), params, 0.01)
    broadcast(rule)
    told = pt.scalar("told")
    step = pytensor.function([*inputs, told], allreduce_sum(told), updates=rule)
    x, y = batches(10)
    for k in itertools.count():
        if k == 20:  # when no process is still compiling
            set_timeout(timeout, warn_after=1.0)
            (main.folder / f"begun{RANK}").touch()
        [all_told] = step(x[k % 10, RANK], y[k % 10, RANK], (main.folder / "told").exists())
        if all_told:
            break
    print(f"digest {digest(rule)} after {k} steps", flush=True)


@ending
def late():
    """One process comes late to the first exchange, to a reduction, to a checkpoint and the end."""
    set_timeout(60, warn_after=1.0)
    x, w = pt.vector("x"), pytensor.shared(1.0, name="w")
    mean = pytensor.function([x], allreduce_mean(x)[0])
    for action in (
        lambda: broadcast([w]),
        lambda: mean([1.0]),
        lambda: distributed.save(main.folder / "late.npz", {w: w}),
        lambda: None,
    ):
        WORLD.Barrier()  # so that only the last one is late, whatever else the machine does
        time.sleep(3.0 if RANK == LAST else 0.0)
        action()
    assert sum(thread.name == "updates.distributed" for thread in threading.enumerate()) == 1


@ending
def abort_hangs():
    """MPI does not come back when a process that has waited for too long ends the job."""
    keeps_the_lock = ctypes.PyDLL(None).sleep
    with mock.patch.multiple(waiting, MPI=mock.Mock(wraps=MPI), ABORT_SECONDS=0.5):
        waiting.MPI.COMM_WORLD.Abort = lambda status: keeps_the_lock(60)
        set_timeout(0.2)
        waiting.watch()
        with waiting.Waiting(WORLD, "an exchange"):
            time.sleep(60)


@ending
def exception():
    """One process raises in training."""
    train_until(at_step_20(failing))


@ending
def exception_before_training():
    """One process raises before it has exchanged anything."""
    distributed.is_root()
    if RANK == LAST:
        fail_now()
        failing()
    train_until(lambda k: None)


@ending
def exit_before_training():
    """One process leaves after the first exchange, before the first reduction."""
    broadcast(network(RANK)[2])
    if RANK == LAST:
        fail_now()
        sys.exit("cannot read its data")
    train_until(lambda k: None)


@ending
def exception_before_any_call():
    """One process raises before it has called anything of updates.distributed."""
    if RANK == LAST:
        fail_now()
        failing()
    train_until(lambda k: None)


@ending
def exit_before_any_call():
    """One process leaves before it has called anything of updates.distributed."""
    if RANK == LAST:
        fail_now()
        sys.exit("cannot read its data")
    train_until(lambda k: None)


@ending
def only_the_root_asks():
    """One process alone calls anything of updates.distributed."""
    if RANK == 0:
        distributed.is_root()


@ending
def only_the_root_builds():
    """One process alone builds a graph with a reduction, and looks at it."""
    if RANK == 0:
        x = pt.vector("x")
        assert pytensor.graph.ancestors([allreduce_mean(x)[0]])


@ending
def child_fails():
    """Let a forked child of each process show an exception, after a first exchange."""
    x = pt.vector("x")
    mean = pytensor.function([x], allreduce_mean(x)[0])
    np.testing.assert_array_equal(mean([RANK]), [LAST / 2])
    child = os.fork()
    if child == 0:
        error = RuntimeError("only the child has failed")
        sys.excepthook(RuntimeError, error, None)
        os._exit(7)  # an ordinary end would finalize MPI
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 7
    np.testing.assert_array_equal(mean([RANK + 2]), [LAST / 2 + 2])


@ending
def one_process_idle():
    """All but the last work together."""
    part = WORLD.Split(RANK == LAST)
    x = pt.vector("x")
    mean = pytensor.function([x], allreduce_mean(x, part)[0])
    if RANK != LAST:
        np.testing.assert_array_equal(mean([RANK]), [(LAST - 1) / 2])


@ending
def exit_with_a_status():
    """One process leaves by sys.exit."""
    train_until(at_step_20(lambda: sys.exit(3)))


class EnoughError(Exception):
    """Enough steps."""


def enough():
    raise EnoughError


@ending
def fewer_steps():
    """One process takes fewer steps than the others and ends as if all were well."""
    with contextlib.suppress(EnoughError):
        train_until(at_step_20(enough))


if __name__ == "__main__":
    main(*sys.argv[1:])
