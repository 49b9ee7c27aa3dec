"""network3 trained by several processes: they take the steps of one, and the root alone speaks.

Run as a program, with the name of a function of the second half, this file is what the processes
of a job do.
"""

import functools
import gzip
import os
import pickle
import re
import sys
from pathlib import Path

import mpi_jobs
import numpy as np
import pytest
from mpi_jobs import ENVIRONMENT, processes

NETWORK3 = Path(__file__).parents[1] / "notebooks" / "network3.py"
pytestmark = pytest.mark.xdist_group("mpi")  # one worker has all jobs, which take all cores

PATHS = [str(NETWORK3.parent), ENVIRONMENT.get("PYTHONPATH", "")]
COMPILED = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, PATHS))}
FAST = COMPILED | {"PYTENSOR_FLAGS": "mode=FAST_COMPILE"}
run = functools.partial(mpi_jobs.run, environment=FAST)


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
    """Return an mnist.pkl.gz of 123, 20 and 20 images of noise."""
    rng = np.random.default_rng(0)
    parts = [(rng.random((n, 784)), rng.integers(10, size=n)) for n in (123, 20, 20)]
    path = tmp_path_factory.mktemp("data") / "mnist.pkl.gz"
    with gzip.open(path, "wb") as file:
        pickle.dump(parts, file)
    return path


# ---- what the user sees

LINES = r"""Training mini-batch number 0
Epoch 0: validation accuracy .*%
This is the best validation accuracy to date\.
The corresponding test accuracy is .*%
Finished training network\.
Best validation accuracy of .*% obtained at iteration .*
Corresponding test accuracy of .*%
"""


@pytest.mark.parametrize(
    ("number", "n_steps", "steps_per_call"),
    [(2, 6, 1), *(pytest.param(*way, marks=pytest.mark.slow) for way in [(1, 12, 1), (4, 3, 2)])],
)
def test_the_root_alone_tells_how_the_shared_work_goes(number, n_steps, steps_per_call, few_digits):
    arguments = ["--distributed", "--epochs", 1, "--steps-per-call", steps_per_call]
    status, out, err = run(*processes(number), NETWORK3, *arguments, "--data", few_digits)
    assert status == 0, err
    assert re.fullmatch(LINES, out.replace("\r", ""))
    assert err.count(f"| 0/{n_steps} ") >= 1
    *_, last, timings, _ = re.split("[\r\n]+", err)
    assert last.startswith("sgd: 100%")
    assert f" {n_steps}/{n_steps} " in last
    assert re.fullmatch(r"Compiled in .* s, then .* ms per step\.", timings)
    assert err.count("Compiled in") == 1


ENDINGS = {  # arguments: status, text
    "--help": (0, "mpirun -n 4 python network3.py --distributed"),
    "--rule adamms": (2, "argument --rule: invalid choice: 'adamms'"),
    "--data no-such-file": (2, "error: no-such-file: no such file"),
    "--mini-batch-size 21": (2, "fewer than one mini-batch of 21"),
    "--rule sam": (2, "average are gradients; sam: needs the loss itself and not its gradients"),
}


@pytest.mark.parametrize(
    "arguments",
    [
        "--rule sam",
        *(pytest.param(a, marks=pytest.mark.slow) for a in ENDINGS if a != "--rule sam"),
    ],
)
def test_a_message_is_printed_once(arguments, few_digits):
    command = [NETWORK3, "--data", few_digits, *arguments.split(), "--distributed"]
    status, out, err = run(*processes(2), *command)
    expected_status, text = ENDINGS[arguments]
    assert status == expected_status
    written = " ".join((out + err).split())
    assert written.count(text) == 1
    assert written.count("usage:") == 1
    assert "Traceback" not in written


def test_the_rules_that_need_the_loss_are_refused():
    status, out, err = run(*processes(1), __file__, "refused_rules")
    assert status == 0, err
    needs_loss = {"nesterov_lookahead", "sam", "polyak_sgd", "momo", "momo_adam", "sophia", "esgd"}
    assert set(out.split()) == needs_loss | {"lbfgs"}


def test_an_exception_of_another_process_than_the_root_is_shown():
    status, out, err = run(*processes(2), __file__, "failing_process")
    assert status == 1
    assert err.count("rank 1: RuntimeError: the disk of this machine is gone\n") == 1
    assert out == ""


def test_missing_mpi4py_is_an_error_in_a_line():
    status, _, err = run(sys.executable, __file__, "without_mpi4py")
    assert status == 2
    assert "error: updates.distributed needs mpi4py" in err.splitlines()[-1]
    assert "Traceback" not in err


# ---- what is learned


@pytest.mark.parametrize("number", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_take_the_steps_of_one_with_their_mini_batches_together(number):
    status, out, err = run(*processes(number), __file__, "same_steps")
    assert status == 0, err
    differences = [float(word) for word in out.split()]
    assert len(differences) == 2  # by single steps, and by many in a call
    assert max(differences) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 4])
def test_the_digits_are_learned(number):
    command = [NETWORK3, "--distributed", "--rule", "adam", "--epochs", 4]
    status, out, err = run(*processes(number), *command, environment=COMPILED, seconds=900)
    assert status == 0, err
    accuracy = float(re.findall(r"Corresponding test accuracy of (.*)%", out)[0])
    assert accuracy > 95


# ---- what the processes do


def refused_rules():
    """Print the names of the rules that do not take gradients."""
    import pytensor
    from network3_distributed import averaged
    from tuned_rules import TUNED_RULES

    for name, (rule, eta) in TUNED_RULES.items():
        w = pytensor.shared(np.ones(2, "float32"), name="w")
        try:
            averaged(rule)((w**2).sum(), [w], eta)
        except ValueError:
            print(name)


def failing_process():
    """Fail in one process, while the other waits for it."""
    import network3_command_line
    from mpi4py import MPI

    load = network3_command_line.load_cnn_data

    def load_or_fail(filename):
        if MPI.COMM_WORLD.rank == 1:
            raise RuntimeError("the disk of this machine is gone")
        return load(filename)

    network3_command_line.load_cnn_data = load_or_fail
    network3_command_line.main(["--distributed"])


def without_mpi4py():
    """Run where mpi4py cannot be imported."""
    sys.modules["mpi4py"] = None
    from network3_command_line import main

    main(["--distributed"])


def same_steps():
    """Print how far the parameters are from those that one process comes to with all the data.

    The number of examples is no multiple of anything, and the penalty on the weights is large.
    """
    import network3
    import pytensor
    from mpi4py import MPI
    from network3 import FullyConnectedLayer, Network, ReLU, SoftmaxLayer
    from network3_distributed import averaged, own_share

    import updates
    from updates.distributed import broadcast

    pytensor.config.floatX = "float64"
    job = MPI.COMM_WORLD
    n_examples, mini_batch_size, n_epochs = 53, 3, 4

    def network(size):
        return Network([FullyConnectedLayer(30, 7, activation_fn=ReLU), SoftmaxLayer(7, 10)], size)

    def train(net, data, rule, steps_per_call=1):
        step = net.training_function(data, 0.01, 0.5, rule, steps_per_call)
        indices = np.arange(network3.size(data) // net.mini_batch_size)
        for _ in range(n_epochs):
            for index in indices if steps_per_call == 1 else [indices]:
                step(index)
        return np.concatenate([param.get_value().ravel() for param in net.params])

    def shared(x, y):
        return pytensor.shared(x), pytensor.shared(y)

    rng = np.random.default_rng(1)
    x, y = rng.random((n_examples, 30)), rng.integers(10, size=n_examples, dtype="int32")
    own = own_share(shared(x, y), seed=3)
    np.random.seed(job.rank)  # starts that differ, but for broadcast
    net = network(mini_batch_size)
    broadcast(net.params)
    start = [param.get_value() for param in net.params]
    ends = []
    for steps_per_call in (1, 4):
        for param, value in zip(net.params, start, strict=True):
            param.set_value(value)
        ends.append(train(net, own, averaged(updates.adam), steps_per_call))

    shares = job.gather([part.get_value() for part in own])
    if job.rank == 0:
        # the i-th mini-batch of one process is made of the i-th ones of all
        n_batches = len(shares[0][0]) // mini_batch_size
        batches = [slice(i * mini_batch_size, (i + 1) * mini_batch_size) for i in range(n_batches)]
        rows = [
            np.concatenate([share[k][batch] for batch in batches for share in shares] + [rest])
            for k, rest in enumerate((x, y))
        ]
        alone = network(job.size * mini_batch_size)
        for param, value in zip(alone.params, start, strict=True):
            param.set_value(value)
        end = train(alone, shared(*(part[:n_examples] for part in rows)), updates.adam)
        for other in ends:
            print(abs(other - end).max() / abs(end).max())


if __name__ == "__main__":
    globals()[sys.argv[1]]()
