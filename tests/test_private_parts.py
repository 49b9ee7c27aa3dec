"""PyTensor and numba may change: each private part is listed, and the library copes without it.

``changed_parts.py`` plays a change as `updates` sees it, in a forked child for each case; several
cases share one process and one folder of compiled code.
"""

import ast
import json
import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import get_mode

import updates
from updates.multi_tensor import rewrite
from updates.multi_tensor.op import MultiTensor, arranged
from updates.private import (
    AGE,
    FEATURES,
    JAX_DTYPES,
    JAX_REDUCTION,
    JAX_SEARCH,
    KERNEL,
    LOOP,
    OWN_COPY,
    REDUCTION_ORDER,
    ROWS,
)

CHANGES = ("removed", "keyword", "result")

# What makes the library reach for the parts of a feature, a function of `changed_parts`.
SCENARIOS = {
    KERNEL: "steps",
    LOOP: "many_steps",
    OWN_COPY: "many_steps",
    JAX_DTYPES: "jax",
    JAX_SEARCH: "jax_search",
    REDUCTION_ORDER: "reduction",
    JAX_REDUCTION: "jax_reduction",
    ROWS: "rows",
    AGE: "graph",
}
FORTRAN = ("call_internal", "compile_internal")
REDUCTION = (
    *("_getvalue", "call_conv", "call_function_objargs", "impl_ret_borrowed", "import_module"),
    *("insert_const_string", "is_null", "long_from_longlong", "object_getattr_string"),
    *("populate_array", "return_exc", "to_native_value"),
)

# What cannot go on without the feature, and says so.
REFUSED = {LOOP, REDUCTION_ORDER, JAX_REDUCTION, ROWS}

# What is as fast as before without the part, or takes no notice of the change.
HARMLESS = {
    ("pytensor.graph.fg:AbstractFunctionGraph", "removed"),
    ("pytensor.graph.utils:InconsistencyError", "keyword"),  # only caught
}
# Reached for only after something else has failed.
UNREACHED = {"pytensor.graph.features:FullHistory.goto"}
# What numba asks for is passed on to its own methods, as they are.
PASSED_ON = {
    "numba.core.dispatcher:Dispatcher.get_call_template",
    "numba.core.dispatcher:Dispatcher.get_overload",
}

# One case or more for each stage.
FAST = [
    # importing and registering
    ("llvmlite.binding:add_symbol", "removed"),
    ("pytensor.link.numba.cache:compile_numba_function_src", "removed"),
    ("pytensor.graph.rewriting.db:SequenceDB.register", "keyword"),
    # the rewrite
    ("pytensor.graph.fg:FunctionGraph.attach_feature", "keyword"),
    ("pytensor.graph.fg:FunctionGraph.replace_all_validate", "keyword"),
    # the conversion
    ("pytensor.link.numba.dispatch.basic:numba_funcify_ensure_cache", "keyword"),
    # the first call
    ("numba.core.cpu:CPUContext.make_array", "removed"),
    ("numba.core.pythonapi:PythonAPI.list_append", "keyword"),
    # what else there is
    ("pytensor.scan.op:ScanInfo", "keyword"),
    ("pytensor.graph.fg:Output", "removed"),
    ("pytensor.tensor.subtensor:AdvancedSubtensor.idx_list", "removed"),
    ("pytensor.graph.basic:Variable.auto_name", "result"),
]


def cases_of(feature, changes=CHANGES):
    """Return the cases of a feature as ``(feature, part, change, scenario)``."""
    cases = []
    for part in feature.parts:
        name = part.rpartition(":")[2].rpartition(".")[2]
        scenario = SCENARIOS[feature]
        if feature is KERNEL and name in FORTRAN:
            scenario = "fortran"
        elif feature is KERNEL and name in REDUCTION:
            scenario = "reduction"
        for change in changes:
            if part not in PASSED_ON or change == "removed":
                cases.append((feature, part, change, scenario))
    return cases


def problem_with(case, outcome):
    """Say what is wrong with the outcome of a case, if anything."""
    feature, part, change, _ = case
    if not outcome["accessed"] and part not in UNREACHED:
        return "the part is not in use"
    if len(outcome["warnings"]) != len(outcome["lost"]):
        return "not exactly one warning about each feature that is lost"
    if any(f"PyTensor {pytensor.__version__}" not in text for text in outcome["warnings"]):
        return "a warning does not name the version"
    if outcome["error"] is None:
        is_needed = feature in (KERNEL, AGE) and change != "result" and part not in UNREACHED
        if is_needed and feature.name not in outcome["lost"] and (part, change) not in HARMLESS:
            return "nobody noticed"
        return None
    kind, message, _ = outcome["error"]
    says_what_to_do = kind == "ChangedError" and f"PyTensor {pytensor.__version__}" in message
    if feature in REFUSED and (says_what_to_do or "; give table itself" in message):
        return None
    return "an error"


def play(cases, folder):
    """Play cases in one process and return their outcomes."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    run = subprocess.run(
        [sys.executable, Path(__file__).parent / "changed_parts.py"],
        input=json.dumps([case[1:] for case in cases]),
        env=os.environ
        | {
            "PYTENSOR_FLAGS": f"base_compiledir={folder}",
            "PYTHONPATH": str(Path(updates.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(outcomes) == len(cases), run.stderr
    problems = [
        f"{case[1]} {case[2]}: {problem}\n{outcome}\n{(outcome['error'] or ['', '', ''])[2]}"
        for case, outcome in zip(cases, outcomes, strict=True)
        if (problem := problem_with(case, outcome))
    ]
    assert not problems, "\n".join(problems)
    return outcomes


def test_a_changed_part_means_one_warning_and_right_values_or_an_error_that_says_what_to_do(
    tmp_path,
):
    first = {}
    for feature in FEATURES:
        for case in cases_of(feature):
            first.setdefault(case[1:3], case)
    play([first[chosen] for chosen in FAST], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name.replace(" ", "_"))
def test_so_does_every_change_of_every_part_in_the_list(feature, change, tmp_path):
    if feature in (JAX_DTYPES, JAX_REDUCTION, JAX_SEARCH) and not find_spec("jax"):
        pytest.skip("JAX is not installed")
    play(cases_of(feature, [change]), tmp_path)


@pytest.mark.slow
def test_it_does_not_matter_whether_compiled_code_is_kept(tmp_path):
    parts = ["numba.core.cpu:CPUContext.make_array", "pytensor.graph.features:FullHistory.goto"]
    broken, fine = play([(KERNEL, part, "removed", "uncached") for part in parts], tmp_path)
    assert broken["lost"]
    assert not fine["lost"]


def compiled(mode):
    random = np.random.default_rng(0)
    params = [pytensor.shared(random.normal(size=shape)) for shape in [(2, 3), (4,), (5,)]]
    loss = sum((param**2).sum() for param in params)
    changes = updates.merge_updates(
        updates.adam(loss, params[:2], 0.1), updates.momentum(loss, params[2:], 0.1)
    )
    return pytensor.function([], loss, updates=changes, mode=mode)


def operations(function):
    return [str(node.op) for node in function.maker.fgraph.toposort()]


def test_a_rewrite_that_fails_in_the_middle_leaves_the_graph_as_it_was(monkeypatch):
    done = []

    def replace(fgraph, *what, original=rewrite.replace):
        if done:
            raise AttributeError("in the middle")
        done.append(what)
        original(fgraph, *what)
        assert any(isinstance(node.op, MultiTensor) for node in fgraph.apply_nodes)

    monkeypatch.setattr(rewrite, "replace", replace)
    monkeypatch.setattr(KERNEL, "is_lost", False)
    mode = get_mode("NUMBA")
    with pytest.warns(UserWarning, match="AttributeError: in the middle") as caught:
        functions = [compiled(mode) for _ in range(2)]
    assert len(caught) == len(done) == 1
    expected = operations(compiled(mode.excluding("multi_tensor")))
    assert [operations(function) for function in functions] == [expected] * 2


def test_a_node_can_be_computed_in_python():
    [group] = {
        node.op
        for node in compiled(get_mode("NUMBA")).maker.fgraph.toposort()
        if isinstance(node.op, MultiTensor) and node.op.n_tensors == 1
    }
    formula, n_in = group.elemwise, len(group.roles)
    values = [
        np.full((2, 3) if role == "tensor" else (), 0.5 + k) for k, role in enumerate(group.roles)
    ]
    values = arranged(group.roles, [values])
    inputs = [pt.as_tensor_variable(value).type() for value in values]
    node = group.make_node(*inputs)
    assert len(node.inputs) == n_in
    got = [[None] for _ in node.outputs]
    expected = [[None] for _ in node.outputs]
    group.perform(node, [value.copy() for value in values], got)
    plain = formula.make_node(*group.elemwise_inputs(inputs)[0])
    formula.perform(plain, [value.copy() for value in group.inputs_of(values, 0)], expected)
    np.testing.assert_array_equal(got, expected)


# Documented for users of PyTensor, numba, llvmlite and JAX: what may be imported without a listing.
PUBLIC = """
jax ShapeDtypeStruct
llvmlite ir
numba types
numba.core cgutils
numba.extending box intrinsic models register_model
pytensor.compile.mode Mode get_mode
pytensor.compile.sharedvalue SharedVariable
pytensor.gradient NullTypeGradError grad
pytensor.graph fg
pytensor.graph.basic Apply Constant Variable
pytensor.graph.fg FunctionGraph
pytensor.graph.op HasInnerGraph Op
pytensor.graph.replace clone_replace vectorize_graph
pytensor.graph.rewriting.utils rewrite_graph
pytensor.graph.traversal ancestors apply_ancestors graph_inputs walk walk_toposort
pytensor.raise_op CheckAndRaise
pytensor.scalar.basic Cast Second
pytensor.tensor.basic Alloc Join MakeVector
pytensor.tensor.blockwise Blockwise
pytensor.tensor.elemwise CAReduce DimShuffle Elemwise
pytensor.tensor.math Dot
pytensor.tensor.random.op RandomVariable
pytensor.tensor.shape Reshape Shape_i SpecifyShape
pytensor.conditional.op ifelse
pytensor.ifelse ifelse
pytensor.scan.utils until
pytensor.tensor.random.type RandomType
pytensor.tensor.sharedvar TensorSharedVariable
pytensor.tensor.subtensor AdvancedIncSubtensor AdvancedSubtensor IncSubtensor Subtensor
pytensor.tensor.type TensorType discrete_dtypes
pytensor.tensor.variable TensorVariable
"""

# What numba gives to code that writes machine code: `context`, and what its methods return.
CODEGEN = ("context", "api", "nrt", "active_code_library", "call_conv", "cgutils")


def private_uses():
    """Yield the private names that the library's modules use: of imports and of numba's objects."""
    public = {}
    for line in PUBLIC.split("\n"):
        module, *names = line.split() or [""]
        public[module] = names
    for path in sorted(Path(updates.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                if node.module.partition(".")[0] in ("pytensor", "numba", "llvmlite", "jax"):
                    for alias in node.names:
                        if alias.name not in public.get(node.module, ()):
                            yield path.name, alias.name
            elif isinstance(node, ast.Attribute):
                owner = node.value
                owner_name = getattr(owner, "id", None) or getattr(owner, "attr", None)
                is_private = node.attr.startswith("_") and not node.attr.startswith("__")
                is_ours = owner_name == "self" or node.attr == "_replace"  # of a namedtuple
                if owner_name in CODEGEN or (is_private and not is_ours):
                    yield path.name, node.attr


def test_everything_private_that_the_library_uses_is_in_the_list():
    listed = {part.replace(":", ".").rpartition(".")[2] for f in FEATURES for part in f.parts}
    used = {(file, name) for file, name in private_uses() if name not in listed}
    assert used == set()


def test_every_part_in_the_list_is_there():
    for feature in FEATURES:
        assert len(set(feature.parts)) == len(feature.parts)
        for part in feature.parts:
            module, _, path = part.partition(":")
            if module.startswith("jax") or ".jax." in module:
                continue
            owner, _, name = path.rpartition(".")
            assert hasattr(import_module(module), owner or name), part
