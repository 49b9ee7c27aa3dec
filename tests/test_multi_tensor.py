"""The rewrite ``multi_tensor``: the same results as without it, from one kernel in several threads.

Compiling for numba takes seconds: one function serves several tests where it can.
"""

import json
import os
import pickle
import subprocess
import sys
import threading
import warnings

import numba
import numpy as np
import pytensor
import pytensor.scalar as ps
import pytensor.tensor as pt
import pytest
import scipy.sparse
from catalogue import arrays, assert_same_bits, every_update
from pytensor.compile.mode import Mode, get_mode
from pytensor.scalar.loop import ScalarLoop
from pytensor.tensor.elemwise import Elemwise

import updates
from updates.multi_tensor import function_graph, kernel
from updates.multi_tensor.op import MultiTensor

ON = get_mode("NUMBA")
OFF = ON.excluding("multi_tensor")


def parameters(*shapes, dtype="float32"):
    random = np.random.default_rng(0)
    return [
        pytensor.shared(random.normal(size=shape).astype(dtype), name=f"p{k}")
        for k, shape in enumerate(shapes)
    ]


def loss_of(params, joined=lambda param: param):
    """Tie the parameters together without a dot product: its bits depend on addresses."""
    joint = sum(pt.tanh(joined(param)).sum() for param in params) / 100
    return joint**2 + sum(((param**2 - 1.5) ** 2).sum() for param in params)


def nodes(function):
    return [node for node in function.maker.fgraph.toposort() if isinstance(node.op, MultiTensor)]


def tensors(function):
    """Return how many tensors each of our nodes has, the largest first."""
    return sorted((node.op.n_tensors for node in nodes(function)), reverse=True)


def compiled(make_updates, mode, params=None, steps=2, **kwargs):
    """Run a rule and return the function, what it returned and the values of all variables."""
    params = parameters((5, 13), (37,), (2, 3, 4)) if params is None else params
    loss = loss_of(params, **kwargs)
    changes = make_updates(loss, params)
    function = pytensor.function([], loss, updates=changes, mode=mode)
    losses = [function() for _ in range(steps)]
    return function, losses, arrays(changes)


def assert_close(got, expected):
    """Compare to the rounding of a few operations on the largest number of each tensor."""
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name].dtype == value.dtype
        scale = np.abs(value).max(initial=0) if value.dtype.kind == "f" else 0
        # These are float64 sums of float32 quotients, and what is made of them.
        dtype = "float32" if name.startswith("dadapt_adamw/") else value.dtype
        tolerance = 32 * np.finfo(dtype).eps * scale if scale else 0
        np.testing.assert_allclose(got[name], value, rtol=0, atol=tolerance, err_msg=name)


def backwards(param):
    return param[::-1]


@pytest.mark.slow
@every_update
def test_every_rule_gives_the_results_of_the_ordinary_graph(make_updates):
    # In Python, as numba takes half a minute for some. `test_backends.py` runs it for each rule.
    on, off = (Mode("py", mode.provided_optimizer) for mode in (ON, OFF))
    with pytensor.config.change_flags(cxx=""):  # nor is anything folded by compiled code
        # As in networks, what enters the update is no elementwise operation.
        function, losses, got = compiled(make_updates, on, joined=backwards)
        ordinary, expected_losses, expected = compiled(make_updates, off, joined=backwards)
    assert nodes(function)
    assert not nodes(ordinary)
    # The first step of esgd divides by what is nearly 0: it doubles the loss, and the roundings.
    rtol = 5e-6 if repr(make_updates).startswith("esgd") else 1e-6
    np.testing.assert_allclose(losses, expected_losses, rtol=rtol)
    assert_close(got, expected)


@pytest.fixture(scope="module")
def mixed():
    """Make updates that read, swap, share and return variables in every way."""
    a, b, c = (
        pytensor.shared(np.arange(6.0).reshape(2, 3) + k, name=n) for k, n in enumerate("abc")
    )
    fortran = pytensor.shared(np.asfortranarray(np.arange(6.0).reshape(2, 3)), name="fortran")
    strided = pytensor.shared(np.arange(24.0).reshape(4, 6)[::2, ::2], name="strided", borrow=True)
    scalar, row = (
        pytensor.shared(np.array(2.0), name="scalar"),
        pytensor.shared(np.ones(3), name="row"),
    )
    gradient = pt.tanh(c)
    changes = [
        (a, b * 1.0),  # swapped
        (b, a * 1.0),
        (c, c - 0.5 * gradient + a),  # reads an old value that is destroyed
        (fortran, fortran - 0.5 * c),
        (strided, strided - 0.5 * pt.tanh(strided)),
        (scalar, scalar - 0.5 * pt.tanh(scalar)),
        (row, row - 0.5 * (row * c).sum(axis=0)),
    ]
    outputs = [a, c, a + b, changes[2][1], gradient.T]
    variables = [variable for variable, _ in changes]
    return variables, changes, outputs


def steps_of(mixed, mode, changes=None, steps=3):
    variables, ordered, outputs = mixed
    start = [variable.get_value() for variable in variables]
    function = pytensor.function([], outputs, updates=changes or ordered, mode=mode)
    returned = [[np.array(value) for value in function()] for _ in range(steps)]
    values = [variable.get_value() for variable in variables]
    for variable, value in zip(variables, start, strict=True):
        variable.set_value(value)
    return function, returned, values


def test_aliases_swaps_layouts_and_returned_values_are_those_of_the_ordinary_graph(mixed):
    function, returned, values = steps_of(mixed, ON)
    _, expected_returned, expected = steps_of(mixed, "FAST_COMPILE")
    assert nodes(function)
    for got, value in zip(values, expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-14)
    for step, expected_step in zip(returned, expected_returned, strict=True):
        for got, value in zip(step, expected_step, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-14)
    _, _, permuted = steps_of(mixed, ON, changes=mixed[1][::-1])
    for got, value in zip(permuted, values, strict=True):
        np.testing.assert_array_equal(got, value)


def test_arrays_that_are_not_contiguous_keep_their_memory_and_get_the_result():
    value = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    param = pytensor.shared(value, name="param", borrow=True)
    other = pytensor.shared(np.ones((4, 3)), name="other")
    changes = {param: param - 0.5 * other.T}
    function = pytensor.function([], updates=changes, mode=ON)
    function()
    assert nodes(function)
    assert param.get_value(borrow=True).flags.f_contiguous
    np.testing.assert_array_equal(param.get_value(), np.arange(12.0).reshape(3, 4) - 0.5)


def grouped(make, *shapes):
    params = parameters(*shapes)
    loss = loss_of(params)
    return tensors(pytensor.function([], loss, updates=make(loss, params), mode=ON))


def clipped_and_decayed(loss, params):
    grads = updates.clip_by_global_norm(updates.get_or_compute_grads(loss, params), 1.0)
    grads = updates.add_weight_decay(grads, params, 0.01)
    return updates.apply_ema(updates.adam(grads, params, updates.cosine_decay(0.1, 50)), params)


def written_by_hand(loss, params):
    """Halve the squared gradient, as no rule here does."""
    grads = pytensor.grad(loss, params)
    return [
        (param, param - grad * abs(grad) / np.float32(20))
        for param, grad in zip(params, grads, strict=True)
    ]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (updates.adam(learning_rate=0.1), [5]),
        (clipped_and_decayed, [4]),  # the learning rate is no parameter's, but 0-d as well
        (written_by_hand, [5]),
    ],
    ids=["rule", "transforms and schedule", "user"],
)
def test_tensors_with_one_formula_become_one_node_whatever_their_shapes(make, expected):
    params = parameters((5, 13), (37,), (2, 3, 4), (1, 9), ())
    loss = loss_of(params)
    changes = make(loss, params)
    # Compiled, not run: numba works at the first call.
    function = pytensor.function([], loss, updates=changes, mode=ON)
    assert tensors(function) == expected


def test_rewrites_that_keep_numbers_exact_see_all_of_their_patterns():
    def run(mode):
        w, v = dense([-800.0, 0.5, 800.0]), dense([[-30.0, 3.0]], "v")
        probability = pt.sigmoid(w)
        loss = -pt.log(probability).sum() + pt.log1p(pt.exp(-v)).sum()
        grad_w, grad_v = pytensor.grad(loss, [w, v])
        new_w = w - 0.1 * grad_w / (1 + abs(grad_w))
        changes = {w: new_w, v: v - 0.1 * grad_v / (1 + abs(grad_v))}
        function = pytensor.function([], [loss, pt.log(probability)], updates=changes, mode=mode)
        returned = [np.array(value) for value in function()]
        return bool(nodes(function)), [*returned, w.get_value(), v.get_value()]

    is_ours, got = run(ON)
    assert is_ours
    for value, expected in zip(got, run(OFF)[1], strict=True):
        assert np.isfinite(value).all()
        np.testing.assert_allclose(value, expected, rtol=1e-14)


def test_graphs_of_hundreds_of_operations_are_grouped():
    w = dense(np.ones(3))
    value = w
    for _ in range(200):
        value = value * 0.999 + 0.001
    function = pytensor.function([], updates={w: w - 0.1 * value}, mode=ON)
    assert tensors(function) == [1]


def test_what_is_returned_is_left_to_the_ordinary_graph():
    params = parameters((5, 3), (4,))
    changes = {param: param * np.float32(0.5) for param in params}
    function = pytensor.function(
        [], [value.sum() for value in changes.values()], updates=changes, mode=ON
    )
    assert tensors(function) == [2]
    assert not nodes(function.copy(delete_updates=True))


def test_dtypes_and_formulas_are_kept_apart():
    params = parameters((5, 3), (4,)) + parameters((2, 3), (3,), dtype="float64")
    loss = loss_of(params)
    changes = updates.merge_updates(
        updates.sgd(loss, params[:1] + params[2:], 0.1), updates.momentum(loss, params[1:2], 0.1)
    )
    assert tensors(pytensor.function([], updates=changes, mode=ON)) == [2, 1, 1]


def test_what_is_only_summed_is_not_stored():
    params = parameters((5, 3), (4,))
    cost = loss_of(params) + 0.1 * sum((param**2).sum() for param in params)
    changes = updates.momentum(cost, params, 0.1)
    (node,) = nodes(pytensor.function([], cost, updates=changes, mode=ON))
    assert len(node.op.destroy_map) == len(node.outputs) == 4


@pytest.mark.parametrize(
    "mode",
    ["FAST_COMPILE", Mode("cvm", "fast_run"), OFF],
    ids=["FAST_COMPILE", "C", "numba without the rewrite"],
)
def test_other_backends_and_the_excluded_rewrite_see_the_ordinary_graph(mode):
    params = parameters((5, 3), (4,))
    changes = updates.adam(loss_of(params), params)
    assert not nodes(pytensor.function([], updates=changes, mode=mode))


def test_an_array_of_another_shape_is_refused_before_anything_changes():
    param = pytensor.shared(np.ones((2, 3)), name="param")
    grad = pytensor.shared(np.ones((2, 3)), name="grad")
    function = pytensor.function([], updates=updates.sgd([grad], [param], 0.1), mode=ON)
    function()
    before = param.get_value()
    grad.set_value(np.ones((3, 2)))
    with pytest.raises(ValueError, match="another shape than its parameter"):
        function()
    np.testing.assert_array_equal(param.get_value(), before)


LARGE = kernel.SERIAL  # elements: far above the number that is given to several threads


@pytest.fixture(scope="module")
def large():
    """Compile updates large enough for several threads; return how to start over and run them."""
    params = parameters((LARGE,), (3, 7))
    grads = parameters((LARGE,), (3, 7))
    changes = updates.momentum(grads, params, 0.1)
    start = {variable: variable.get_value() for variable in changes}
    function = pytensor.function([], updates=changes, mode=ON)

    def run(steps=5):
        for variable, value in start.items():
            variable.set_value(value)
        for _ in range(steps):
            function()
        return arrays(changes)

    return run


def test_beside_matrix_products_more_work_is_left_to_one_thread():
    x, square = pt.matrix("x"), pytensor.shared(np.ones((3, 3)), name="square")
    in_a_loop, _ = pytensor.scan(lambda row: pt.tanh(pt.dot(row[None], square)).sum(), x)
    for loss, expected in [
        (pt.tanh(x @ square).sum(), True),
        (pt.tanh(x[None] @ square[None]).sum(), True),
        (in_a_loop.sum(), True),
        ((x * square).sum(), False),
    ]:
        function = pytensor.function([x], updates=updates.sgd(loss, square, 0.1), mode=ON)
        assert function_graph.multiplies_matrices(function.maker.fgraph) is expected


def test_the_number_of_threads_is_numbas_and_does_not_change_the_bits(large):
    expected = large()
    for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        numba.set_num_threads(threads)
        try:
            assert_same_bits(large(), expected)
        finally:
            numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


def test_two_python_threads_may_call_compiled_functions_at_once(large):
    expected = large()
    params = parameters((LARGE,), (3, 7))
    grads = parameters((LARGE,), (3, 7))
    changes = updates.momentum(grads, params, 0.1)
    function = pytensor.function([], updates=changes, mode=ON)
    other = threading.Thread(target=lambda: [function() for _ in range(50)])
    other.start()
    for _ in range(10):
        assert_same_bits(large(), expected)
    other.join()
    assert_same_bits(arrays(changes), large(50))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # from JAX, where a test has used it
def test_a_forked_child_computes_the_same_on_one_thread(large):
    expected = large()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert kernel.FORKED.value == (numba.threading_layer() != "tbb")
            assert_same_bits(large(), expected)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert kernel.FORKED.value == 0


SECOND_PROCESS = """
import json, numpy as np, pytensor, updates
params = [pytensor.shared(np.full(300_000, 0.5)), pytensor.shared(np.ones((3, 4)))]
changes = updates.sgd([param.copy() for param in params], params, 0.5)
function = pytensor.function([], updates=changes, mode="NUMBA")
function()
stats = function.vm.jit_fn.stats
print(json.dumps([sum(stats.cache_hits.values()), params[0].get_value()[-1]]))
"""


# --- Functions that are not the usual ones -----------------------------------------------------


def dense(value, name="w"):
    return pytensor.shared(np.asarray(value), name=name, borrow=True)


def loop_of_several_results():
    x, y, c = (ps.float64(name) for name in "xyc")
    loop = Elemwise(ScalarLoop(init=[x, y], constant=[c], update=[x * 2 + c, y + 1 + c]))
    w = dense([1.0, 2.0, 3.0])
    first, second = loop(pt.as_tensor(np.int64(3)), w, w + 2, w + 1)
    return [], second.sum(), {w: first - 1}


def generator_that_stays():
    w, rng = dense(np.ones(3)), pytensor.shared(np.random.default_rng(1), name="rng")
    return [], [], {w: w - 1, rng: rng}


def generator_whose_draw_is_unused():
    w, rng = dense(np.ones(3)), pytensor.shared(np.random.default_rng(1), name="rng")
    next_rng, draw = pt.random.normal(size=(3,), rng=rng, return_next_rng=True)
    return [], [], {w: w - 1 + 0 * draw, rng: next_rng}


def sparse_matrix_that_stays():
    w, table = dense(np.ones(3)), pytensor.shared(scipy.sparse.csr_matrix(np.eye(2)), name="s")
    return [], [], {w: w - 1, table: table}


def read_only_in_fortran_order():
    array = np.asfortranarray(np.ones((2, 3)))
    array.flags.writeable = False
    w = dense(array)
    return [], [], {w: w - 0.5 * w}


UNUSUAL = [
    loop_of_several_results,
    generator_that_stays,
    generator_whose_draw_is_unused,
    sparse_matrix_that_stays,
    read_only_in_fortran_order,
]


def plain(value):
    return value.toarray() if scipy.sparse.issparse(value) else value


@pytest.mark.parametrize("make", UNUSUAL, ids=lambda make: make.__name__)
def test_unusual_functions_are_those_of_the_ordinary_graph(make):
    def run(mode):
        inputs, outputs, changes = make()
        function = pytensor.function(inputs, outputs, updates=changes, mode=mode)
        results = [np.array(function()) for _ in range(2)]
        values = [v.get_value() for v in changes]
        found = [plain(v) for v in values if not isinstance(v, np.random.Generator)]
        return bool(nodes(function)), [*results, *found]

    is_ours, got = run(ON)
    assert is_ours != (make is loop_of_several_results)  # one result is no input of another
    for value, expected in zip(got, run(OFF)[1], strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_function_that_trusts_its_input_may_be_given_plain_numbers():
    w, x = dense(np.ones(3)), pt.dscalar("x")
    function = pytensor.function([x], x, updates={w: w - x * w}, mode=ON)
    assert nodes(function)
    function.trust_input = True
    for given, expected in ((0.5, 0.5), (2, -0.5), (np.float32(0.5), -0.25)):
        assert function(given) == given
        np.testing.assert_array_equal(w.get_value(), expected)


def test_a_copy_without_updates_changes_what_the_ordinary_graph_changes():
    def copied(mode):
        w, v, u = dense(np.ones(3)), dense(np.ones(2), "v"), dense(np.ones(4), "u")
        new = {variable: variable * 2 - 0.5 for variable in (w, v, u)}
        function = pytensor.function([], new[w], updates=new, mode=mode)
        result = function.copy(delete_updates=True)()
        return [result, *(variable.get_value() for variable in new)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTensor says that w will be changed, as it is returned
        for got, expected in zip(copied(ON), copied(OFF), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_functions_are_compiled_without_the_cache_too():
    with pytensor.config.change_flags(numba__cache=False):
        _, losses, got = compiled(updates.sgd(learning_rate=0.1), ON, parameters((3,)))
    _, expected, values = compiled(updates.sgd(learning_rate=0.1), OFF, parameters((3,)))
    assert losses == expected
    assert_close(got, values)


def test_fastmath_has_code_of_its_own():
    def keys(is_fast):
        with pytensor.config.change_flags(numba__fastmath=is_fast):
            w = dense(np.ones(3))
            [node] = nodes(pytensor.function([], updates={w: w * 2 - 0.5}, mode=ON))
            return kernel.Kernel(node.op, node, kernel.SERIAL).key

    assert keys(True) != keys(False)


def in_a_process(source, *, directory=None, cwd=None):
    flags = f"base_compiledir={directory}" if directory else ""
    run = subprocess.run(
        [sys.executable, "-c", source],
        env=os.environ | {"PYTENSOR_FLAGS": flags},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run


def test_the_second_process_takes_the_compiled_kernel_from_the_cache(tmp_path):
    first, second = (
        json.loads(in_a_process(SECOND_PROCESS, directory=tmp_path).stdout) for _ in range(2)
    )
    assert first == [0, 0.25]
    assert second == [1, 0.25]


def test_a_compiled_function_is_pickled_and_works_in_another_process(tmp_path):
    param = pytensor.shared(np.ones((3, 4)), name="param")
    function = pytensor.function(
        [], param, updates=updates.sgd([param * 2], [param], 0.25), mode=ON
    )
    assert nodes(function)
    (tmp_path / "function").write_bytes(pickle.dumps(function))
    source = "import pickle; f = pickle.load(open('function', 'rb')); f(); print(f()[0, 0])"
    assert in_a_process(source, cwd=tmp_path).stdout.strip() == "0.5"


UNKNOWN_VERSION = """
import warnings
import pytensor
{change}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import updates
    param = pytensor.shared(1.0)
    for _ in range(2):
        function = pytensor.function([], updates=updates.sgd(param**2, param, 0.1), mode="NUMBA")
messages = [str(warning.message) for warning in caught if "updates" in str(warning.message)]
assert len(messages) == 1 and "PyTensor" in messages[0], messages
assert not any("MultiTensor" in str(node) for node in function.maker.fgraph.apply_nodes)
"""


@pytest.mark.parametrize(
    "change",
    [
        "pytensor.__version__ = '4.0.0'",
        "import pytensor.graph.features; del pytensor.graph.features.ReplaceValidate",
        "import pytensor.link.numba.dispatch.basic as b; del b.register_funcify_and_cache_key",
    ],
    ids=["another major version", "a name of the graph is gone", "a name of numba's is gone"],
)
def test_an_unknown_pytensor_means_one_warning_and_the_ordinary_graph(change):
    in_a_process(UNKNOWN_VERSION.format(change=change))
