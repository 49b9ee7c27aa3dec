"""Run random dictionaries with or without the library, and compare what happened.

- ``python tests/differential_run.py 17`` runs the dictionary of seed 17 in two processes, one of
  them without the library, prints it and every difference
- with ``--mode REWRITES`` it runs PyTensor's rewrites for numba, and the result in Python
- with ``--write FILE`` it runs seeds in this process: without the library, with ``--library``, or
  without it and numba as ``--referee``, which is asked where the other two differ

What is recorded: outputs, the values and memory of all variables after each call, which arrays
share memory, exceptions by their types, warnings of the library, and the compiled graph.
"""

import argparse
import logging
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytensor
import scipy.sparse
from pytensor.compile.mode import Mode, get_mode
from random_updates import Case, is_number

ROOT = Path(__file__).parent.parent
CALLS = 3
TOLERANCE = 64  # in units of the last place of the largest number of a tensor


def recorded(value):
    """Return what is compared of a value; of an array, that and how it lies in memory."""
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if scipy.sparse.issparse(value):
        kind = f"{type(value).__name__} {value.dtype}"
        return {"value": value.toarray(), "kind": kind, "memory": ""}
    if isinstance(value, np.ndarray | np.generic | int | float | bool):
        array = np.array(value)
        memory = "number"
        if isinstance(value, np.ndarray):
            flags = value.flags
            memory = f"C={flags.c_contiguous} F={flags.f_contiguous} writeable={flags.writeable}"
        kind = f"{type(value).__name__} {array.dtype} {array.shape}"
        return {"value": array, "kind": kind, "memory": memory}
    return repr(type(value))


def share_memory(a, b):
    both = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return both and bool(a.size and b.size and np.may_share_memory(a, b) and np.shares_memory(a, b))


class Run:
    """One dictionary in this process: `record` maps what happened to what it was."""

    def __init__(self, seed, *, for_numba):
        self.record = {}
        self.grouped = False
        self.kept = []  # outputs of earlier calls, which later calls may write on
        self.case = case = Case(seed, for_numba=for_numba)
        function = self.attempt("compile", case.function)
        if function is None:
            return
        self.grouped = any(is_ours(node) for node in function.maker.fgraph.apply_nodes)
        graph = pytensor.dprint(function, file="str")
        # Whether equal constants are one object depends on what the process did before.
        self.record["graph"] = re.sub(r" \[id \w+\]", "", graph)
        for call in range(CALLS):
            self.call(f"call {call}", function)
        self.last_call(function)
        for label, output in self.kept:
            self.record[f"{label}, in the end"] = recorded(output)

    def attempt(self, label, act):
        """Do something, or record the type of the error; None in that case."""
        try:
            return act()
        except Exception as error:
            self.record[f"{label} raises"] = type(error).__name__
            self.record[f"{label} error"] = str(error)[:300]
            return None

    def call(self, label, function):
        """Call the function once, after a variable may have been set, and record everything."""
        case = self.case
        if (change := case.variable_to_set()) is not None:
            name, value, borrow = change
            case.variables[name].set_value(value, borrow=borrow)
            case.given[name] = value
        self.call_once(label, function, case.variables)

    def call_once(self, label, function, variables):
        arguments = self.case.arguments()
        before = {name: storage(variable) for name, variable in variables.items()}
        copies = {name: deepcopy(value) for name, value in before.items()}
        outputs = self.attempt(label, lambda: function(*arguments))
        for k, argument in enumerate(arguments):
            self.record[f"{label}: argument {k}"] = recorded(argument)
        if outputs is None:
            self.go_back(label, variables, copies)
            return
        outputs = outputs if isinstance(outputs, list) else [outputs]
        for k, output in enumerate(outputs):
            self.record[f"{label}: output {k}"] = recorded(output)
            self.kept.append((f"{label}: output {k}", output))
        for name, variable in variables.items():
            self.record[f"{label}: {name}"] = recorded(storage(variable))
        self.record_memory(label, variables, before, arguments, outputs)

    def call_without_updates(self, label, function, variables):
        """Call a copy without updates, record what it overwrites all the same, and undo that."""
        copies = {name: deepcopy(storage(variable)) for name, variable in variables.items()}
        outputs = self.attempt(label, lambda: function(*self.case.arguments()))
        for k, output in enumerate(outputs if isinstance(outputs, list) else [outputs]):
            self.record[f"{label}: output {k}"] = recorded(output)
        self.go_back(label, variables, copies, "overwritten")

    def go_back(self, label, variables, copies, what="after the error"):
        """Record what a call that failed has changed, and undo it.

        PyTensor computes in any order: what it has written on by then is nobody's promise.
        """
        for name, variable in variables.items():
            if isinstance(copies[name], np.ndarray):
                same = np.array_equal(
                    storage(variable), copies[name], equal_nan=is_number(variable)
                )
                self.record[f"{label}: {name} {what}"] = "as before" if same else "changed"
                variable.set_value(copies[name], borrow=True)
                self.case.given.pop(name, None)

    def record_memory(self, label, variables, before, arguments, outputs):
        """Record who shares memory with whom."""
        now = {name: storage(variable) for name, variable in variables.items()}
        for name, value in now.items():
            self.record[f"{label}: memory of {name} kept"] = value is before[name]
        for name, value in self.case.given.items():
            self.record[f"{label}: array given for {name}"] = recorded(value)
            now[f"array given for {name}"] = value
        now |= {f"argument {k}": value for k, value in enumerate(arguments)}
        now |= {f"output {k}": value for k, value in enumerate(outputs)}
        names = list(now)
        for position, name in enumerate(names):
            for other in names[:position]:
                if share_memory(now[name], now[other]):
                    self.record[f"{label}: memory of {name} and {other} shared"] = True

    def last_call(self, function):
        """Call a copy of the function, or what comes back from a file, or another function."""
        case, last = self.case, self.case.last
        if last == "nothing":
            return
        variables = dict(case.variables)
        if last == "copy":
            other = self.attempt(last, function.copy)
        elif last == "copy without updates":
            other = self.attempt(last, lambda: function.copy(delete_updates=True))
        elif last == "swap":
            stepped = [variable for variable, _ in case.updates]
            name = next((v.name for v in stepped if v.name in case.given), None)
            if name is None:
                return
            old = variables[name]
            new = pytensor.shared(
                case.array(old.dtype, storage(old).shape), name="new", shape=old.type.shape
            )
            variables["new"] = new
            other = self.attempt(last, lambda: function.copy(swap={old: new}))
        elif last == "pickle":
            other = self.attempt(last, lambda: pickle.loads(pickle.dumps(function)))
            if other is not None:
                variables |= {f"loaded {v.name}": v for v in other.get_shared()}
        else:
            other = self.attempt(last, case.second_function)
        if other is None:
            return
        if last == "copy without updates":
            self.call_without_updates(last, other, variables)
            return
        self.call_once(f"{last}, first call", other, variables)
        self.call_once(f"{last}, second call", other, variables)
        self.call_once("after it", function, variables)


def storage(variable):
    return variable.container.storage[0]


def is_ours(node):
    return type(node.op).__module__.partition(".")[0] == "updates"


def run(seeds, mode, *, library, referee):
    """Run seeds and return for each its record, whether it was grouped, and its text."""
    if library:
        import updates  # noqa: F401

    assert ("updates" in sys.modules) is library
    logged = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda message: logged.append(message.getMessage().strip().splitlines()[0])
    logging.getLogger("pytensor").addHandler(handler)
    pytensor.config.traceback__limit = 0
    pytensor.config.mode = REFEREE if referee else MODES[mode]()
    results = {}
    for seed in seeds:
        logged.clear()
        start = time.process_time()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            one = Run(seed, for_numba=mode == "NUMBA")
        said = [str(w.message) for w in caught]
        one.record["warnings"] = [text for text in said if text.startswith("updates")]
        one.record["log"] = sorted(set(logged))
        results[seed] = (one.record, one.grouped, time.process_time() - start)
    assert ("updates" in sys.modules) is library
    return results


# --- Comparing ------------------------------------------------------------------------------------


def differences(plain, ours, referee=None):
    """Return the differences between two records of one dictionary, one line each.

    Where something is grouped, the graph is another one, and other arrays may be written on: an
    array that a user has lent (``borrow=True``) shows the value of its variable as long as the
    variable keeps this memory. Nobody promises that it does.
    """
    (expected, _, _), (got, grouped, _) = plain, ours
    found = []
    for label in dict.fromkeys([*expected, *got]):
        a, b = expected.get(label), got.get(label)
        if label.endswith(" error") or (grouped and may_differ(label, a, b)):
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            third = referee[0].get(label) if referee else None
            # How new arrays lie in memory is free, those of variables that get one included.
            if grouped and (": output " in label or not is_kept(label, got)):
                a = a | {"memory": b["memory"]}
            problem = unlike(a, b, third, scale_of(label, expected))
            if problem and grouped and (variable := lent_by(label)) in got:
                is_own = not unlike(got[variable], b, None, 0)
                problem = "" if is_own or not is_kept(variable, got) else problem
            output, _, is_end = label.rpartition(", in the end")
            if problem and grouped and is_end == "" and output in got:
                call, _, name = output.partition(": ")
                is_borrowed = any(key.startswith(f"{call}: memory of {name} and ") for key in got)
                is_own = not unlike(got[output], b, None, 0)
                problem = "" if is_own or is_borrowed else problem
        else:
            problem = "" if a == b else f"{a} without the library, {b} with it"
        if problem:
            found.append(f"{label}: {problem}")
    return found


def may_differ(label, a, b):
    """Say whether a difference is one that grouping may make."""
    if label.endswith(" shared"):  # fewer may be, and what is written in place
        return a or "array given" in label
    if ": argument " in label:  # that may be overwritten
        return True
    if label.endswith(" overwritten"):  # the ordinary graph may overwrite what it should not
        return b == "as before"
    return label == "graph" or label.endswith((" kept", " after the error"))


def lent_by(label):
    """Return the label of the variable whose memory a user has lent; "" for anything else."""
    call, _, name = label.partition(": ")
    for start in ("array given for ", "twin of "):
        if name.startswith(start):
            return f"{call}: {name.removeprefix(start)}"
    return ""


def is_kept(label, record):
    """Say whether a variable has had the memory that was lent to it in all calls until this one."""
    call, _, name = label.partition(": ")
    for other, value in record.items():
        if other.endswith(f": memory of {name} kept") and not value:
            return False
        if other == f"{call}: memory of {name} kept":
            break
    return True


def scale_of(label, record):
    """Return the largest number of a tensor, or of all that an output may sum, until this call."""
    _, _, name = label.partition(": ")
    is_output = name.startswith("output ")
    largest = 0.0
    for other, value in record.items():
        if isinstance(value, dict) and (is_output or other.partition(": ")[2] == name):
            numbers = value["value"]
            if numbers.dtype.kind in "fc":
                largest = max(largest, abs(numbers[np.isfinite(numbers)]).max(initial=0))
        if other == label:
            break
    return float(largest)


def unlike(a, b, third, scale):
    """Say how two arrays differ, if they do by more than roundings; "" if not."""
    if a["kind"] != b["kind"]:
        return f"{a['kind']} without the library, {b['kind']} with it"
    if a["memory"] != b["memory"]:
        return f"{a['memory']} without the library, {b['memory']} with it"
    x, y = a["value"], b["value"]
    if x.dtype.kind not in "fc":
        return "" if np.array_equal(x, y) else f"{x.tolist()} without the library, {y.tolist()}"
    close = np.isclose(x, y, rtol=0, atol=TOLERANCE * np.finfo(x.dtype).eps * scale, equal_nan=True)
    if close.all():
        return ""
    text = f"\n  without the library {x.tolist()}\n  with it {y.tolist()}"
    if isinstance(third, dict) and third["value"].shape == x.shape:
        z = third["value"]
        text += f"\n  PyTensor in Python {z.tolist()}"
        with np.errstate(all="ignore"):
            margin = TOLERANCE * np.finfo(x.dtype).eps * scale + 4 * abs(x - z)
            as_near = (abs(y - z) <= margin) | (np.isnan(y) & np.isnan(z)) | (y == z)
        if (close | as_near).all():
            return ""
    return text


# --- Processes ------------------------------------------------------------------------------------

MODES = {
    "NUMBA": lambda: "NUMBA",
    # Many graphs: numba takes a second for each, and what it does not know does not hide the rest.
    "REWRITES": lambda: Mode("py", get_mode("NUMBA").provided_optimizer),
}
REFEREE = Mode("py", "fast_run")  # between two numba functions


def side(seeds, folder, mode, *options):
    """Run seeds in a process of its own, and return its results."""
    name = "".join([mode, *options])
    path = Path(folder) / f"{name}.pickle"
    command = [sys.executable, __file__, *map(str, seeds), "--write", str(path), "--mode", mode]
    command += options
    flags = os.environ.get("PYTENSOR_FLAGS", "")
    environment = os.environ | {
        "PYTENSOR_FLAGS": f"{flags},base_compiledir={Path(folder) / name},cxx=".lstrip(","),
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return pickle.loads(path.read_bytes())


def compared(seeds, folder, mode="NUMBA"):
    """Run seeds on both sides; return what differs, by seed, and the results of both."""
    plain = side(seeds, folder, mode)
    ours = side(seeds, folder, mode, "--library")
    doubtful = [seed for seed in seeds if differences(plain[seed], ours[seed])]
    referee = side(doubtful, folder, mode, "--referee") if doubtful else {}
    found = {seed: differences(plain[seed], ours[seed], referee[seed]) for seed in doubtful}
    return {seed: problems for seed, problems in found.items() if problems}, plain, ours


def report(seed, problems, mode):
    """Describe a dictionary and its differences."""
    again = f"python tests/differential_run.py {seed} --mode {mode}"
    case = Case(seed, for_numba=mode == "NUMBA")
    return "\n".join([case.text(), *problems[:10], f"Run it again: {again}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--mode", default="NUMBA", choices=MODES)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--library", action="store_true")
    parser.add_argument("--referee", action="store_true")
    given = parser.parse_args()
    if given.write:
        results = run(given.seeds, given.mode, library=given.library, referee=given.referee)
        given.write.write_bytes(pickle.dumps(results))
        return
    with tempfile.TemporaryDirectory() as folder:
        found, _, ours = compared(given.seeds, folder, given.mode)
    for seed in given.seeds:
        print(report(seed, found.get(seed, ["No differences."]), given.mode))
        print("Something is grouped." if ours[seed][1] else "Nothing is grouped.", "\n")


if __name__ == "__main__":
    main()
