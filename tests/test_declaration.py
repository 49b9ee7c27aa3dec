"""What a declaration promises: one function makes a new rule, and its signature is kept to."""

import doctest
import inspect
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AROUND_A_RULE, FEW, RULES, arrays, assert_same_bits, loss_of, parameters, run
from pytensor.compile.mode import Mode
from pytensor.graph.traversal import ancestors, explicit_graph_inputs
from pytensor.scalar.basic import Pow
from pytensor.tensor.elemwise import Elemwise

import updates
from updates import gradients, projections, schedules, transforms
from updates.declaration import Declaration, declaration_of
from updates.docstrings import Shared, completed
from updates.kinds import Epsilon, Fraction, Natural, NonNegative, Positive, Scalar
from updates.rule import rule

PACKAGE = Path(updates.__file__).parent

# --- A new function is all that it takes --------------------------------------------------------

NEW = {
    "rules/sign.py": '''

@rule
def half_step(
    state: State, param: Tensor, grad: Tensor, learning_rate: LearningRate, share: Fraction = 0.5
) -> Tensor:
    """Go a share of the way.

    ``p' = p - lr*share*g``

    share : which part of the way

    Nobody (2020), "A rule for a test".
    """
    return param - learning_rate * share * grad
''',
    "transforms/momentum.py": '''

@update_transform
def apply_nothing(state: State, param: Tensor, proposed: Tensor, share: Fraction = 0.5) -> Tensor:
    """Take a share of each step.

    ``p' = p + share*(updates[p] - p)``

    share : which part of the step
    """
    return param + share * (proposed - param)
''',
    "gradients/clipping.py": '''

@gradient_transform
def halve(grad: Tensor, factor: NonNegative = 0.5) -> Tensor:
    """Scale gradients.

    ``factor * g``

    factor : what they are multiplied by
    """
    return grad * factor
''',
    "schedules/decays.py": '''

@schedule
def slower(step: Step, initial_value: NonNegative, power: Positive = 0.5) -> Any:
    """Fall as a power of the step.

    ``initial_value / (t + 1)**power``

    power : how fast
    """
    return initial_value / as_float(step + 1) ** power
''',
}
LOOK = """
import inspect, pytensor, updates
from updates.declaration import declaration_of
w = pytensor.shared(1.0, name="w")
for name, bad, words in [
    ("half_step", {"share": 1.5}, "share must be in [0, 1), got 1.5"),
    ("apply_nothing", {"share": -1}, "share must be in [0, 1), got -1"),
    ("halve", {"factor": -1}, "factor must be a finite number >= 0, got -1"),
    ("slower", {"initial_value": 1, "power": 0}, "power must be a finite number > 0, got 0"),
]:
    assert name in updates.__all__
    function = getattr(updates, name)
    try:
        function(**bad)
    except ValueError as error:
        assert str(error) == f"{name}: {words}", error
    else:
        raise AssertionError(name)
    doc = inspect.getdoc(function)
    assert all(section in doc for section in ("Parameters\\n---", "Returns\\n---", "Raises\\n---"))
    assert all(f"{argument} : " in doc for argument in declaration_of(function).kinds), doc
assert "References" in updates.half_step.__doc__ and "Examples" in updates.half_step.__doc__
assert repr(updates.half_step(learning_rate=0.1)) == "half_step(learning_rate=0.1, share=0.5)"
assert repr(updates.apply_nothing()) == "apply_nothing(share=0.5)"
assert repr(updates.halve()) == "halve(factor=0.5)"
rule = updates.half_step(w**2, [w], updates.slower(0.1))
assert "p' = " in str(updates.describe(rule)) or "w' = w - " in str(updates.describe(rule))
print(updates.describe(updates.apply_nothing(updates.half_step(updates.halve()([w]), [w], 0.1))))
"""


def run_python(*arguments, folder, **environment):
    """Run Python with a copy of the package and return what it prints."""
    result = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_new_function_is_exported_checked_documented_deferred_and_shown(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "updates", ignore=ignored)
    for file, source in NEW.items():
        with open(tmp_path / "updates" / file, "a") as code:
            code.write(source)
    shown = run_python("-c", LOOK, folder=tmp_path)
    assert "0.5" in shown
    listed = run_python("-m", "updates", "rules", folder=tmp_path)
    assert "half_step(learning_rate, share=0.5)\n    p' = p - lr*share*g" in listed
    for name in ("half_step", "apply_nothing", "halve", "slower"):
        assert "Parameters" in run_python("-m", "updates", "show", name, folder=tmp_path)


def test_the_package_can_be_imported_without_docstrings():
    code = "import updates; print(updates.adam.__doc__, updates.adam(beta1=0.5).hyperparameters)"
    said = run_python("-OO", "-c", code, folder=PACKAGE.parent)
    assert said.startswith("None {'learning_rate': 0.001, 'beta1': 0.5")


@pytest.mark.parametrize("name", updates.__all__)
def test_examples_of_docstrings_run(name):
    thing = getattr(updates, name)
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", {}, name, None, 0)
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        output = []
        result = doctest.DocTestRunner().run(test, out=output.append)
    assert result.failed == 0, "".join(output)


# --- What a hyperparameter may be ----------------------------------------------------------------

HYPERPARAMETERS = {row.name: row.rule for row in RULES} | AROUND_A_RULE
BOUND = {"low": -1.0, "high": 1.0, "max_norm": 1.0, "max_value": 1.0, "min_value": -1.0, "l1": 0.1}
BOUND |= {"noise_multiplier": 0.5}
VALUES = {
    "a finite number": 0.5,
    "a finite number >= 0": 0.5,
    "a finite number > 0": 0.5,
    "a number >= 0": 1.5,
    "in [0, 1)": 0.5,
    "in [0, 1]": 0.5,
    "a finite number >= 1": 1.5,
}
FORMS = {
    "number": float,
    "numpy scalar": np.float32,
    "shared variable": pytensor.shared,
    "symbol": lambda value: pt.scalar(dtype="float64"),
    "schedule": lambda value: lambda step: pt.constant(value),
}


def scalars(names):
    for name in names:
        function = getattr(updates, name)
        kinds = declaration_of(function).kinds if hasattr(function, "__declaration__") else {}
        for argument, kind in kinds.items():
            if isinstance(kind, Scalar):
                yield name, argument, VALUES[kind.interval.words]


def of_rule(name, **given):
    params = parameters()[:2]
    bound = HYPERPARAMETERS[name]
    return params, bound(loss_of(params), params, **given)


def of_update_transform(name, **given):
    params = parameters()[:2]
    loss = loss_of(params)
    if name == "apply_norm_constraint":
        given = {"max_norm": 1.0, **given}
    if name == "apply_bounds":
        given = {"low": -1.0, **given}
    if name == "reduce_on_plateau":
        given = {"loss": loss, "patience": 1, **given}
    return params, getattr(updates, name)(updates.sgd(loss, params, 0.1), **given)


def values_of(make, name, values, form):
    """Run two steps with all hyperparameters in one form, and return all values.

    Symbols are inputs of the function: one that the formula did not use would be refused.
    """
    given = {argument: form(value) for argument, value in values.items()}
    _, dictionary = make(name, **given)
    is_symbol = form is FORMS["symbol"]
    step = pytensor.function(
        list(given.values()) * is_symbol, updates=dictionary, mode=Mode("py", "minimum_compile")
    )
    for _ in range(2):
        step(*values.values() if is_symbol else ())
    return arrays(dictionary)


ON_STEPS = [
    name
    for name in transforms.__all__
    if hasattr(getattr(updates, name), "__declaration__") and list(scalars([name]))
]
MAKERS = [
    *((of_rule, name) for name in HYPERPARAMETERS if list(scalars([name]))),
    *((of_update_transform, name) for name in ON_STEPS),
]
SLOW = HYPERPARAMETERS.keys() - FEW


@pytest.mark.parametrize(
    ("make", "name"),
    [
        pytest.param(make, name, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for make, name in MAKERS
    ],
)
def test_hyperparameters_are_numbers_symbols_or_schedules(make, name):
    values = {argument: value for _, argument, value in scalars([name])}
    expected = values_of(make, name, values, FORMS["number"])
    for words, form in FORMS.items():
        if words == "schedule" and not declaration_of(getattr(updates, name)).schedules:
            with pytest.raises(TypeError, match=f"^{name}: .* must be a number, a symbolic scalar"):
                values_of(make, name, values, form)
            continue
        found = values_of(make, name, values, form)
        for key, array in expected.items():
            np.testing.assert_allclose(found[key], array, rtol=1e-12, err_msg=f"{words} {key}")


def evaluated(symbol, form, value):
    """Evaluate a symbol, with a value for the input that a hyperparameter may be."""
    inputs = [v for v in explicit_graph_inputs([symbol]) if form is FORMS["symbol"]]
    return symbol.eval(dict.fromkeys(inputs, value), mode="FAST_COMPILE")


OF_TENSORS = [*gradients.__all__, *projections.__all__]


@pytest.mark.parametrize(("name", "argument", "value"), scalars(OF_TENSORS))
def test_gradient_transforms_take_numbers_and_symbols_and_refuse_schedules(name, argument, value):
    declaration = declaration_of(getattr(updates, name))
    param = pytensor.shared(np.array([[1.0, -2.0], [3.0, 4.0]]), name="w")
    gradient = param * 1
    works_on = {"grads": [gradient], "tensor_vars": [gradient], "tensor_var": gradient}
    given = {n: works_on.get(n, [param]) for n in declaration.leading}
    given |= {n: BOUND[n] for n in declaration.kinds if n in BOUND}
    given |= {"factor": 0.5} if "factor" in declaration.kinds else {}
    given |= {"weight_decay": 0.5} if "weight_decay" in declaration.kinds else {}
    given |= {"normal": np.eye(2)} if name == "halfspace" else {}

    def value_of(form):
        result = getattr(updates, name)(**{**given, argument: form(value)})
        return evaluated(result[0] if isinstance(result, list) else result, form, value)

    expected = value_of(float)
    for words, form in FORMS.items():
        if words == "schedule":
            with pytest.raises(TypeError, match=f"^{name}: {argument} must be a number, a symb"):
                value_of(form)
        else:
            np.testing.assert_allclose(value_of(form), expected, rtol=1e-12)


IN_SCHEDULES = [case for case in scalars(schedules.__all__) if case[0] != "halflife_to_decay"]
ARGUMENTS = {
    "value": 0.5,
    "initial_value": 0.5,
    "end_value": 0.25,
    "peak_value": 0.5,
    "steps": 4,
    "warmup_steps": 2,
    "decay_steps": 2,
    "decay_rate": 0.5,
    "boundaries": [2],
    "values": [0.5, 0.25],
    "schedules": [0.5, 0.25],
    "schedule": 0.5,
}


@pytest.mark.parametrize(("name", "argument", "value"), IN_SCHEDULES)
def test_values_of_schedules_are_numbers_or_symbols(name, argument, value):
    factory = getattr(updates, name)
    needed = {n: ARGUMENTS[n] for n in inspect.signature(factory).parameters if n in ARGUMENTS}

    def value_of(form):
        return evaluated(factory(**{**needed, argument: form(value)})(3), form, value)

    for words, form in FORMS.items():
        if words == "schedule" and argument != "schedule":
            with pytest.raises(TypeError, match=f"^{name}: {argument} must be a number, a symb"):
                value_of(form)
        else:
            np.testing.assert_allclose(value_of(form), value_of(float), rtol=1e-12)


@pytest.mark.parametrize(
    ("factory", "argument"),
    [(updates.piecewise_constant, "values"), (updates.join_schedules, "schedules")],
)
@pytest.mark.parametrize("words", FORMS)
def test_a_list_of_values_has_them_in_any_form(factory, argument, words):
    form = FORMS[words]
    items = [0.25, form(0.5)]
    if words == "schedule" and argument == "values":
        with pytest.raises(TypeError, match="values must be a number, a symbolic scalar or a sha"):
            factory(boundaries=[2], values=items)
    else:
        assert evaluated(factory(boundaries=[2], **{argument: items})(3), form, 0.5) == 0.5


def test_every_scalar_hyperparameter_was_tried():
    tried = {name for _, name in MAKERS} | {name for name, *_ in scalars(OF_TENSORS)}
    tried |= {name for name, *_ in IN_SCHEDULES} | {"halflife_to_decay", "momentum_updates"}
    assert {name for name, *_ in scalars(updates.__all__)} == tried


def test_schedules_reach_hyperparameters_of_every_range():
    params = parameters()[:2]
    loss, plain = loss_of(params), updates.sgd(learning_rate=0.1)
    assert updates.sam(loss, params, plain, rho=lambda step: 2.0)
    assert updates.reduce_on_plateau(plain(loss, params), loss, factor=lambda step: 0.5)


# --- What is refused, and what to write instead --------------------------------------------------

w, b = pytensor.shared(np.ones((2, 3)), name="w"), pytensor.shared(np.ones(3), name="b")
index, mask = pt.lmatrix("index"), pt.vector("mask", dtype="bool")
loss = (w**2).sum() + (b**2).sum()
grads = updates.get_or_compute_grads(loss, [w, b])
MISTAKES = {
    "lr": (lambda: updates.sgd(loss, [w], lr=0.1), "sgd has no hyperparameter 'lr'; did you mean"),
    "eps": (
        lambda: updates.adam(eps=0.1),
        "adam has no hyperparameter 'eps'; did you mean epsilon",
    ),
    "beta_1": (lambda: updates.adam(beta_1=0.1), "'beta_1'; did you mean beta1?"),
    "b1": (lambda: updates.adam(b1=0.1), "'b1'; did you mean beta1?"),
    "rate": (lambda: updates.sgd(rate=0.1), "'rate'; did you mean learning_rate?"),
    "grads": (lambda: updates.adam(grads=[w], params=[w]), "did you mean loss_or_grads?"),
    "wd": (lambda: updates.adamw(wd=0.1), "'wd'; did you mean weight_decay?"),
    "mu": (lambda: updates.momentum(mu=0.1), "'mu'; did you mean momentum?"),
    "momentun": (lambda: updates.momentum(momentun=0.1), "'momentun'; did you mean momentum?"),
    "later": (lambda: updates.adam()(lr=0.1), "adam has no hyperparameter 'lr'; did you mean"),
    "unlike any": (lambda: updates.sgd(xyz=1), "'xyz'; its arguments are loss_or_grads, params"),
    "of a transform": (lambda: updates.apply_ema(dcay=0.1), "'dcay'; did you mean decay?"),
    "of a clip": (lambda: updates.clip_by_norm(maxnorm=1), "'maxnorm'; did you mean max_norm?"),
    "of a schedule": (lambda: updates.step_decay(1, 2, facto=1), "'facto'; did you mean factor?"),
    "of minimize": (
        lambda: updates.minimize(loss, rule=updates.sgd(learning_rate=0.1), patiense=3),
        "minimize has no hyperparameter 'patiense'; did you mean patience?",
    ),
    "twice": (lambda: updates.sgd(loss, [w], 0.1, learning_rate=1), "sgd got learning_rate twice"),
    "too many": (lambda: updates.sgd(loss, [w], 0.1, 2), "got 4 arguments by position"),
    "required": (lambda: updates.sgd(loss, [w]), "sgd: learning_rate is required, for example"),
    "swapped": (lambda: updates.adam([w, b], loss), "adam: the first two arguments are swapped"),
    "loss swapped": (
        lambda: updates.sophia([w, b], loss),
        "sophia: the first two arguments are swapped",
    ),
    "gradients swapped": (lambda: updates.adam([w, b], grads), "arguments are swapped"),
    "dictionary": (lambda: updates.sgd(loss, {"w": w}, 0.1), "write list(params.values())"),
    "dictionary of keys": (lambda: updates.sgd(loss, {w: 1}, 0.1), "write list(params)"),
    "None": (lambda: updates.sgd([2 * w, None], [w, b], 0.1), "the gradient of parameter 'b'"),
    "slice": (lambda: updates.sgd(loss, [w[:1]], 0.1), "a slice of 'w'; give w itself"),
    "mask": (lambda: updates.sgd(loss, [w[mask]], 0.1), "a mask of 'w'; give w itself"),
    "matrix": (lambda: updates.sgd(loss, [w[index]], 0.1), "the same W[index] object"),
    "rates": (lambda: updates.sgd(loss, [w, b], [0.1, 0.2]), "join several calls with merge_upd"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_in_one_line_with_the_way_out(case):
    call, words = MISTAKES[case]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert message.count("sgd: ") + message.count("adam: ") <= 1


def test_errors_of_a_rule_inside_another_are_named_once():
    inner = updates.sgd(learning_rate=0.1)
    with pytest.raises(TypeError, match=r"^sam: params"):
        updates.sam(loss, 3, inner)
    with pytest.raises(ValueError, match=r"^momentum: learning_rate must be"):
        updates.accumulate_gradients(
            loss, [w], lambda grads, params: updates.momentum(grads, params, -1), every=2
        )


# --- What waits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiting", "apply", "now"),
    [
        (
            updates.clip_by_global_norm(max_norm=1.0),
            lambda f: f(grads),
            lambda: updates.clip_by_global_norm(grads, 1.0),
        ),
        (
            updates.add_weight_decay(weight_decay=0.1),
            lambda f: f(grads, [w, b]),
            lambda: updates.add_weight_decay(grads, [w, b], 0.1),
        ),
        (
            updates.norm_constraint(max_norm=1.0),
            lambda f: [f(w)],
            lambda: [updates.norm_constraint(w, 1.0)],
        ),
    ],
)
def test_a_gradient_transform_waits_for_its_gradients(waiting, apply, now):
    assert isinstance(waiting, updates.Deferred)
    copy = pickle.loads(pickle.dumps(waiting))
    assert repr(copy) == repr(waiting)
    for found, expected in zip(apply(copy), now(), strict=True):
        np.testing.assert_array_equal(
            found.eval(mode="FAST_COMPILE"), expected.eval(mode="FAST_COMPILE")
        )


@pytest.mark.parametrize(
    "waiting",
    [
        updates.apply_ema(decay=0.5),
        updates.apply_if_finite(),
        updates.apply_momentum(),
        updates.apply_norm_constraint(max_norm=0.5),
        updates.apply_bounds(high=0.9),
        updates.freeze(params="vector"),
        updates.reduce_on_plateau(loss=pt.constant(1.0), patience=1),
    ],
    ids=lambda waiting: waiting.rule.__name__,
)
def test_an_update_transform_waits_for_its_dictionary(waiting):
    assert isinstance(waiting, updates.Deferred)
    copy = pickle.loads(pickle.dumps(waiting))
    assert repr(copy).partition("loss")[0] == repr(waiting).partition("loss")[0]
    found, expected = (
        run(transform(updates.sgd(loss_of(params), params, 0.1)), steps=2)
        for params, transform in [
            (parameters(), copy),
            (parameters(), lambda d: waiting.rule(d, **waiting.hyperparameters)),
        ]
    )
    assert_same_bits(found, expected)


def test_a_waiting_transform_remembers_parameters_and_takes_more_arguments():
    waiting = updates.apply_bounds(params=[w], low=0.0)
    assert repr(waiting) == "apply_bounds(params=[w], low=0.0, high=None)"
    bounded = waiting(updates.sgd(loss, [w, b], 10.0), high=0.5)
    now = updates.apply_bounds(updates.sgd(loss, [w, b], 10.0), [w], 0.0, 0.5)
    for variable in (w, b):
        np.testing.assert_array_equal(
            bounded[variable].eval(mode="FAST_COMPILE"), now[variable].eval(mode="FAST_COMPILE")
        )


# --- Docstrings -----------------------------------------------------------------------------------


def formula(
    grads,
    rate: NonNegative,
    first: Fraction = 0.9,
    second: Fraction = 0.9,
    bound: Positive | None = None,
    axes: int = 0,
    seed: Natural = 0,
    epsilon: Epsilon = 1e-6,
):
    """Do something.

    ``g' = g``

    And explain it.

    rate : how much; a little
        is enough
    first, second : decay
    bound : where it ends.
    axes (list of int) : along which
    state : memory
    returns : they are
        the same

    `neighbour` : does
        something else

    Nobody (2020), "A paper".

    >>> 1 + 1
    2

    >>> 2 + 2
    4
    """


WHOLE = """\
Do something.

``g' = g``

And explain it.

Parameters
----------
grads : tensors
    What it works on.
rate : float, symbolic scalar, shared variable or schedule
    How much; a little is enough. Finite and >= 0.
first, second : float, symbolic scalar, shared variable or schedule, optional
    Decay, in [0, 1).
bound : float, symbolic scalar, shared variable or schedule, or None, optional
    Where it ends, finite and > 0.
axes : list of int, optional
    Along which.
seed : int, optional
    Start of random numbers, >= 0.
epsilon : float, symbolic scalar, shared variable or schedule, optional
    Keeps the division away from zero, finite and >= 0.

Returns
-------
list
    Tensors; state: memory. They are the same.

Raises
------
ValueError
    If it must.

See Also
--------
neighbour : does something else.

References
----------
Nobody (2020), "A paper".

Examples
--------
>>> 1 + 1
2

>>> 2 + 2
4"""
SHARED = Shared(
    leading={"grads": ("tensors", "What it works on.")},
    returns="list\nTensors{state}.",
    raises="ValueError\nIf it must.",
    example=lambda declaration: f">>> {declaration.name}",
    words={"seed": "start of random numbers"},
)


def completed_docstring(source):
    first, *others = inspect.signature(formula).parameters.values()
    return completed(source, Declaration("formula", [first], others, list), SHARED)


def test_a_docstring_is_completed_by_what_is_declared_and_what_is_shared():
    assert completed_docstring(formula.__doc__) == WHOLE


def test_a_docstring_without_words_of_its_own_is_complete():
    doc = completed_docstring("Do something.")
    assert all(f"\n{name} : " in doc for name in inspect.signature(formula).parameters)
    assert "\nlist\n    Tensors.\n" in doc
    assert "References" not in doc
    assert "See Also" not in doc
    assert doc.endswith(">>> formula")


def test_there_may_be_no_docstring_at_all():
    assert completed_docstring(None) is None


def test_a_docstring_speaks_of_arguments_only():
    with pytest.raises(ValueError, match=r"^formula: its docstring speaks of .*'lr'.*no arguments"):
        completed_docstring("Do something.\n\nlr : there is none")

    with pytest.raises(ValueError, match=r"^misnamed: its docstring speaks of .*'rate'"):

        @rule
        def misnamed(state, param, grad):
            """Do nothing.

            rate : there is none
            """


def test_the_bias_correction_of_a_hundred_parameters_is_built_once():
    params = [pytensor.shared(np.zeros(2), name=f"p{i}") for i in range(100)]
    dictionary = updates.adam([2 * param for param in params], params)
    powers = [
        variable
        for variable in ancestors(dictionary.values())
        if variable.owner is not None
        and isinstance(variable.owner.op, Elemwise)
        and isinstance(variable.owner.op.scalar_op, Pow)
        and variable.type.ndim == 0
    ]
    assert len(powers) == 2
