"""The whole public face, name by name: what its documentation says and what it refuses.

``GOOD`` holds arguments for every rule, transform and schedule that are right. ``cases`` makes
each argument wrong in turn, in all the ways that its declared kind knows, and ``BY_HAND`` adds
those that no declaration knows.
"""

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import AROUND_A_RULE, RULES
from matplotlib.figure import Figure
from pytensor.compile.sharedvalue import SharedVariable
from test_hyperparameters import BAD_NUMBERS

import updates
from updates import rules, transforms
from updates.declaration import declaration_of
from updates.given_numbers import is_number
from updates.kinds import (
    REQUIRED,
    Integer,
    PlainNumber,
    Scalar,
    TrueOrFalse,
    Waiting,
)
from updates.schedules.schedule import StepNumber

every_name = pytest.mark.parametrize("name", updates.__all__)


# --- What the documentation says -------------------------------------------------------------


def declaration(name):
    """Give what a public function declares, if it declares anything."""
    public = getattr(updates, name)
    return declaration_of(public) if hasattr(public, "__declaration__") else None


def kind(name, argument):
    """Give the kind of a hyperparameter, or None for any other argument."""
    declared = declaration(name)
    return declared and declared.kinds.get(argument)


def is_optional(name, argument):
    """Tell whether a hyperparameter may be None."""
    return argument in declaration(name).optional


def section(doc, title):
    """Return the body of a section of a docstring, or None."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=\n\n[A-Z][A-Za-z ]+\n-+\n|\Z)", doc, re.M | re.S)
    return found and found[1]


def documented(name):
    """Give what the docstring says of each argument: its type and its description."""
    body = section(inspect.getdoc(getattr(updates, name)), "Parameters") or ""
    said = {}
    for head, text in re.findall(r"^(\S[^\n]*)((?:\n +[^\n]*|\n)*)", body, re.M):
        names, _, kind = head.partition(" : ")
        said |= {each.strip(" *"): f"{kind}. {' '.join(text.split())}" for each in names.split(",")}
    return said


def arguments(name):
    """Give the names of all arguments of a public function or class."""
    public = getattr(updates, name)
    is_error = isinstance(public, type) and issubclass(public, Exception)
    return [] if is_error else list(inspect.signature(public).parameters)


def sections_needed(name):
    """Give the sections that a docstring must have, by the kind of the name."""
    public = getattr(updates, name)
    if isinstance(public, type):
        return ["Parameters", "Examples"] if arguments(name) else []
    returns = inspect.signature(public).return_annotation
    needed = ["Parameters", "Examples"]
    if name in GOOD:
        needed += ["Raises"]
    if returns is not None and "Iterator" not in str(returns):
        needed += ["Returns"]
    if name in rules.__all__:
        needed += ["References"]
    return needed


@every_name
def test_a_docstring_has_a_summary_and_the_sections_of_its_kind(name):
    doc = inspect.getdoc(getattr(updates, name))
    summary, *rest = doc.split("\n")
    assert summary.endswith(".")
    assert rest[:1] in ([], [""]), "the summary is one line"
    assert [title for title in sections_needed(name) if section(doc, title) is None] == []
    if "Examples" in sections_needed(name):
        assert re.search(">>> |^See `[a-z_]+`", section(doc, "Examples"))


@every_name
def test_every_argument_is_documented_and_nothing_else(name):
    assert list(documented(name)) == arguments(name)
    assert all(len(text) > 3 for text in documented(name).values())


NUMERIC = [
    (name, argument)
    for name in updates.__all__
    for argument in arguments(name)
    if kind(name, argument) is not None
]


@pytest.mark.parametrize(("name", "argument"), NUMERIC)
def test_the_range_of_every_hyperparameter_is_told_in_words(name, argument):
    text = documented(name)[argument]
    type_, range_ = kind(name, argument).described(declaration(name).schedules)
    assert type_ in text or "callable" in text, text
    assert range_.lower() in text.lower(), text
    if is_optional(name, argument):
        assert "optional" in text
    says_finite = "finite" in re.sub("infinite|non-finite", "", text.lower())
    assert says_finite == ("finite" in range_), text


# --- What is refused -------------------------------------------------------------------------


w = pytensor.shared(np.ones((2, 3)), name="w")
b = pytensor.shared(np.ones(3), name="b")
half = pytensor.shared(np.ones(3, dtype="float16"), name="half")
single = pytensor.shared(np.ones(3, dtype="float32"), name="single")
counter = pytensor.shared(3, name="counter")
flags = pytensor.shared(np.array([True]), name="flags")
random = pytensor.shared(np.random.default_rng(0), name="random")
x = pt.matrix("x", dtype="float64")
rows = w[pt.lvector("index")]
loss = (w**2).sum() + (b**2).sum()
dictionary = {w: w - 0.1 * pytensor.grad(loss, w), b: b - 0.1 * pytensor.grad(loss, b)}
averaged = updates.apply_ema(dictionary)
sgd = updates.sgd(learning_rate=0.1)

HYPERPARAMETERS = {row.name: row.rule.hyperparameters for row in RULES} | {
    "accumulate_gradients": {"rule": sgd, "every": 2},
}
HYPERPARAMETERS |= {name: rule.hyperparameters for name, rule in AROUND_A_RULE.items()}


def rule_arguments(name):
    """Give a rule a loss, parameters, and hyperparameters that are right."""
    return dict.fromkeys(arguments(name)[:1], loss) | {"params": [w, b]} | HYPERPARAMETERS[name]


TRAINING = {
    "loss": loss + 0 * x.sum(),
    "rule": sgd,
    "train": [np.ones((4, 2))],
    "max_epochs": 1,
    "progress": False,
    "mode": "FAST_COMPILE",
}

GOOD: dict[str, dict[str, Any]] = {
    "advi_optimizer": {"n": 100, "learning_rate": 0.1, "max_norm": 100.0},
    **{name: rule_arguments(name) for name in HYPERPARAMETERS},
    # gradient transforms
    "get_or_compute_grads": {"loss_or_grads": loss, "params": [w, b]},
    "norm_constraint": {"tensor_var": x, "max_norm": 1.0, "norm_axes": (0,), "epsilon": 1e-7},
    "total_norm_constraint": {"tensor_vars": [x], "max_norm": 1.0, "return_norm": True},
    "centralize_gradients": {"grads": [x]},
    "scale_gradients": {"grads": [x], "factor": -1},
    "zero_nonfinite": {"grads": [x]},
    "clip_by_value": {"grads": [x], "max_value": 1.0, "min_value": None},
    "clip_by_norm": {"grads": [x], "max_norm": 1.0},
    "clip_by_global_norm": {"grads": [x], "max_norm": 1.0, "return_norm": False},
    "adaptive_clip": {"grads": [x], "params": [w], "clipping": 0.01, "norm_axes": [None]},
    "normalize_gradients": {"grads": [x], "epsilon": 1e-12},
    "add_weight_decay": {"grads": [x], "params": [w], "weight_decay": 0.1, "mask": [True]},
    "add_l1_penalty": {"grads": [x], "params": [w], "l1": 0.1},
    "add_gradient_noise": {"grads": [x]},
    "per_example_gradients": {"loss": (x @ w).sum(), "params": [w], "batch": [x]},
    "differentially_private_mean": {"grads": [x], "max_norm": 1.0, "noise_multiplier": 1.0},
    # projections
    "box": {"tensor_var": x, "low": -1.0, "high": 1.0},
    "non_negative": {"tensor_var": x},
    "halfspace": {"tensor_var": x, "normal": np.ones((2, 3)), "offset": 0.5},
    "simplex": {"tensor_var": x, "scale": 1.0, "axis": 1},
    "l1_ball": {"tensor_var": x, "radius": 1.0, "axis": -1},
    "l2_ball": {"tensor_var": x, "radius": 1.0, "axis": None},
    "unit_sphere": {"tensor_var": x, "axis": 0},
    "apply_projection": {"updates": dictionary, "projection": updates.simplex()},
    # update transforms
    "apply_momentum": {"updates": dictionary},
    "apply_nesterov_momentum": {"updates": dictionary},
    "apply_ema": {"updates": dictionary},
    "apply_lookahead": {"updates": dictionary},
    "apply_weight_decay": {"updates": dictionary},
    "apply_norm_constraint": {"updates": dictionary, "params": [w], "max_norm": 1.0},
    "apply_bounds": {"updates": dictionary, "low": -1.0, "high": 1.0},
    "apply_if_finite": {"updates": dictionary},
    "reduce_on_plateau": {"updates": dictionary, "loss": loss},
    "averages": {"updates": averaged},
    "hyperparameters": {"updates": dictionary},
    "use_averages": {"updates": averaged},
    "freeze": {"updates": dictionary, "params": [w]},
    "schedule_values": {"updates": dictionary},
    "many_steps": {
        "updates": dictionary,
        "outputs": loss,
        "index": pt.lscalar("i"),
        "indices": pt.lvector("batches"),
    },
    # seeing
    "describe": {"updates": dictionary, "loss": loss},
    "draw": {"updates": dictionary, "loss": loss, "axes": Figure().subplots()},
    # training
    **dict.fromkeys(("minimize", "iterate"), TRAINING),
    # schedules
    "constant_schedule": {"value": 0.1},
    "piecewise_constant": {"boundaries": [2, 3], "values": [0.1, 0.2, 0.3]},
    "piecewise_interpolate": {"boundaries": [2, 3], "values": [0.1, 0.2, 0.3]},
    "warmup_stable_decay": {
        "peak_value": 0.1,
        "steps": 10,
        "warmup_steps": 2,
        "decay_steps": 3,
        "shape": "sqrt",
    },
    "step_decay": {"initial_value": 0.1, "steps": 3},
    "linear_schedule": {"initial_value": 0.1, "end_value": 0.2, "steps": 3},
    "polynomial_decay": {"initial_value": 0.1, "end_value": 0.2, "steps": 3},
    "exponential_decay": {"initial_value": 0.1, "steps": 3, "decay_rate": 0.9},
    "inverse_time_decay": {"initial_value": 0.1, "steps": 3, "decay_rate": 0.9},
    "inverse_sqrt": {"peak_value": 0.1, "warmup_steps": 3},
    "cosine_decay": {"initial_value": 0.1, "steps": 3},
    "cosine_restarts": {"initial_value": 0.1, "steps": 3},
    "one_cycle": {"peak_value": 0.1, "steps": 10},
    "warmup": {"schedule": 0.1, "steps": 3},
    "join_schedules": {"schedules": [0.1, 0.2], "boundaries": [2]},
    "halflife_to_decay": {"halflife": 3},
}
# What has no arguments of the kinds above, or tests of its own: merge_updates in BY_HAND, chain in
# `test_chain.py`.
ELSEWHERE = {"merge_updates", "momentum_updates", "is_state", "chain", "gradient_transformation"}
ELSEWHERE |= {"state_dict", "load_state_dict", "reset", "save", "load"}


class Case(NamedTuple):
    owner: str
    argument: str
    value: Any
    error: type[Exception]
    words: tuple[str, ...]
    beside: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    through: Callable[..., Any] | None = None

    def run(self):
        """Call the owner with one bad argument among good ones, or with all arguments given."""
        function = self.through or getattr(updates, self.owner)
        if self.argument == "*":
            return function(*self.value)
        given = GOOD[self.owner] | self.beside | {self.argument: self.value}
        return function(**given)


PARAMS = [
    (3, TypeError, ()),
    ({w}, TypeError, ("no order",)),
    ([], ValueError, ("empty",)),
    ("w", TypeError, ("'w'",)),
    ([w, 1.0], TypeError, ("params[1]", "1.0")),
    ([w, x], TypeError, ("params[1]", "pytensor.shared")),
    ([np.ones(3)], TypeError, ("params[0]", "ndarray")),
    ([w, counter], TypeError, ("params[1]", "'counter'", "floating-point")),
    ([flags], TypeError, ("params[0]", "'flags'", "floating-point")),
    ([random], TypeError, ("params[0]", "'random'", "floating-point")),
    ([w, b, w], ValueError, ("params[2]", "params[0]", "'w'")),
]
LOSSES = [
    (3.0, TypeError, ("3.0",)),
    ("loss", TypeError, ("'loss'",)),
    ({"w": w}, TypeError, ("'w'",)),
    (counter * 1, TypeError, ("floating-point",)),
    (w**2, ValueError, ("ndim 2", ".mean()")),
]
TENSORS = [
    (None, TypeError, ("None",)),
    (3.0, TypeError, ("3.0",)),
    ("x", TypeError, ("'x'",)),
    (pt.imatrix("i"), TypeError, ("int32",)),
]
TENSOR_LISTS = [
    *TENSORS,
    ([], ValueError, ("empty",)),
    ({x}, TypeError, ("set",)),
    ([x, None], TypeError, ("[1]", "None")),
    ([np.ones((2, 3))], TypeError, ("[0]", "ndarray")),
]
UPDATES = [
    (None, TypeError, ("dictionary", "None")),
    (3, TypeError, ("dictionary", "3")),
    (w, TypeError, ("dictionary",)),
    (sgd, TypeError, ("dictionary", "sgd")),
    ({}, ValueError, ("empty",)),
    ([w, b], TypeError, ("updates[0]", "pair")),
    ("wb", TypeError, ("pair", "'w'")),
    ([[w, w]], TypeError, ("pair",)),
    ({x: x}, TypeError, ("shared variables only", "x")),
    ({"w": w}, TypeError, ("shared variables only", "'w'")),
    ([(w, w), (w, 2 * w)], ValueError, ("w", "two next values")),
]
AXES = [
    (0, TypeError, ("(0,)",)),
    ((0.5,), TypeError, ("integers",)),
    ((), ValueError, ("each once",)),
    ((0, -2), ValueError, ("each once",)),
    ((2,), ValueError, ("ndim 2",)),
]
DATA = [
    (None, TypeError, ("None", "inputs x")),
    (3, TypeError, ("3",)),
    ("x.csv", TypeError, ("'x.csv'",)),
    ([], ValueError, ("empty",)),
    ([np.ones(4)], ValueError, ("[0]", "ndim 1", "input x")),
    ([np.ones((4, 2)), np.ones(4)], ValueError, ("2 arrays", "1 inputs: x")),
    ([np.ones((4, 2), dtype=complex)], TypeError, ("[0]", "complex128", "input x")),
    ({"y": np.ones((4, 2))}, ValueError, ("none for x",)),
]
TRAINING_ARGUMENTS = {
    "inputs": [
        (3, TypeError, ("3",)),
        ([w], TypeError, ("inputs[0]", "w")),
        ([x, "y"], TypeError, ("inputs[1]", "'y'")),
        ([x, x], ValueError, ("x", "twice")),
        ([], ValueError, ("lacks", "x")),
    ],
    "train": DATA,
    "valid": DATA[1:],
    "updates": [case for case in UPDATES if case[0] is not None and case[0] != {}],
    "monitors": [
        (3, TypeError, ("3",)),
        ({"error": w}, TypeError, ("'error'", "scalar", "w")),
        ({"error": 3.0}, TypeError, ("'error'", "3.0")),
        ({3: w.sum()}, TypeError, ("string", "3")),
        ({"loss": w.sum()}, ValueError, ("'loss'", "taken")),
        ([w.sum()], TypeError, ("dictionary",)),
    ],
    "batch_size": [(value, TypeError, ("an integer", repr(value))) for value in (None, 0.5, True)],
    "checkpoint": [
        (3, TypeError, ("a path", "3")),
        (b"run", TypeError, ("a path", "run")),
    ],
    "mode": [("FASTEST", ValueError, ("'FASTEST'",)), (3, ValueError, ("3",))],
}
LISTS = [(None, TypeError, ()), (3, TypeError, ("list",)), (pt.vector(), TypeError, ("list",))]

# Arguments that are no hyperparameters, by name or by owner and name.
OTHERS = {
    "params": PARAMS,
    "loss_or_grads": LOSSES,
    "loss": [*LOSSES, ([2 * w, 2 * b], TypeError, ("needs the loss itself",))],
    "reduce_on_plateau.loss": [*LOSSES, (None, TypeError, ("None",))],
    "freeze.params": [
        (3, TypeError, ("3",)),
        (None, TypeError, ("None",)),
        ("nobody", ValueError, ("'nobody'", "not among")),
        ([b, x], ValueError, ("x", "not among")),
        ([b, 1.0], TypeError, ("1.0",)),
    ],
    "batch": [
        (None, TypeError, ("None",)),
        ([x, 3.0], TypeError, ("batch[1]", "3.0")),
        ([x, x], ValueError, ("batch[1]", "twice")),
        (pt.vector("v"), ValueError, ("batch[0]", "v")),
    ],
    "grads": TENSOR_LISTS,
    "tensor_vars": TENSOR_LISTS,
    "tensor_var": [*TENSORS, ([x], TypeError, ("list",))],
    "updates": UPDATES,
    "averages.updates": [*UPDATES, (dictionary, ValueError, ("apply_ema",))],
    "use_averages.updates": [*UPDATES, (dictionary, ValueError, ("apply_ema",))],
    "many_steps.updates": [
        *UPDATES,
        ({w: x}, ValueError, ("x", "no input but index", "shared variables")),
        ({w: b}, TypeError, ("w", "next value")),
        ({w: half}, TypeError, ("w", "next value", "float16")),
    ],
    "outputs": [
        (None, TypeError, ("None", "[]")),
        (3.0, TypeError, ("3.0",)),
        ([w, 3.0], TypeError, ("outputs[1]", "3.0")),
        (random, TypeError, ("outputs[0]", "random")),
        (x.sum(), ValueError, ("x", "no input but index")),
    ],
    "index": [
        (3, TypeError, ("integer scalar", "3")),
        (pt.lvector("v"), TypeError, ("integer scalar", "v")),
        (pt.dscalar("d"), TypeError, ("integer scalar", "d")),
        (counter, ValueError, ("input", "counter")),
        (pt.lscalar("j") + 1, ValueError, ("input", "Add")),
        (pt.bscalar("j"), TypeError, ("int8", "int64")),
    ],
    "indices": [
        (None, TypeError, ("integer vector", "None")),
        ([0, 1], TypeError, ("integer vector", "[0, 1]")),
        (pt.lscalar("j"), TypeError, ("integer vector", "j")),
        (pt.dvector("d"), TypeError, ("integer vector", "d")),
    ],
    **{
        f"{owner}.{argument}": values
        for owner in ("minimize", "iterate")
        for argument, values in TRAINING_ARGUMENTS.items()
    },
    "draw.axes": [(value, TypeError, ("axes", repr(value))) for value in (3, "axes", [w])],
    "norm_axes": AXES,
    "axis": [
        ("out", ValueError, ("'out'", "no named dimensions")),
        (1.0, TypeError, ("an integer", "1.0")),
        (True, TypeError, ("an integer", "True")),
        ((0, 1), TypeError, ("an integer", "(0, 1)")),
        (2, ValueError, ("ndim 2", "2")),
        (-3, ValueError, ("ndim 2", "-3")),
    ],
    "normal": [
        (None, ValueError, ("finite numbers", "None")),
        (["a"], ValueError, ("finite numbers", "['a']")),
        (np.zeros((2, 3)), ValueError, ("not all 0",)),
        (np.full((2, 3), np.nan), ValueError, ("finite", "nan")),
        (np.ones(3), ValueError, ("ndim 1", "ndim 2")),
    ],
    "projection": [
        (value, TypeError, ("a projection that waits",)) for value in ("box", None, 0.1, w, [w])
    ],
    "adaptive_clip.norm_axes": [
        (0, TypeError, ("list",)),
        ("0", TypeError, ("list",)),
        ([None, None], ValueError, ("2 norm_axes for 1",)),
        *(([axes], error, words) for axes, error, words in AXES),
    ],
    "scale_gradients.factor": [
        *((value, TypeError, ("factor must be",)) for value in ("0.1", True, 0.1j, object())),
        (math.nan, ValueError, ("factor must be a finite number",)),
        (pt.vector("v"), ValueError, ("factor must be a scalar", "v")),
        ([1.0, 2.0], ValueError, ("factor", "(2,)", "1 gradients")),
        ([None], TypeError, ("factor must be a number", "None")),
        ({"b": 1.0}, ValueError, ("params is needed", "factor")),
    ],
    "mask": [
        (True, TypeError, ("list of bools",)),
        ("v", ValueError, ("'v' is not among [", "mask chooses from")),
        ([w, 3], TypeError, ("names or shared variables", "3")),
        ({w: True}, TypeError, ("dict",)),
        ([True] * 9, ValueError, ("9 entries for",)),
        ([1], TypeError, ("names or shared variables", "1")),
        (lambda param: None, TypeError, ("True or False", "'w'")),
    ],
    "boundaries": [
        *LISTS,
        (0.5, TypeError, ("list",)),
        ([2.0, 3], TypeError, ("integer", "2.0")),
        ([-1, 3], ValueError, (">= 0", "-1")),
        ([3, 3], ValueError, ("increasing", "[3, 3]")),
        (["2", 3], TypeError, ("integer", "'2'")),
        ([True, 3], TypeError, ("integer", "True")),
    ],
    "values": [
        *LISTS,
        ([0.1, 0.2], ValueError, ("one more than boundaries",)),
        ([0.1, 0.2, -1], ValueError, (">= 0", "-1")),
        ([0.1, 0.2, math.nan], ValueError, (">= 0", "nan")),
        ([0.1, 0.2, "0.3"], TypeError, ("'0.3'",)),
    ],
    "schedules": [
        *LISTS,
        ([0.1], ValueError, ("one more than boundaries",)),
        ([0.1, -1.0], ValueError, (">= 0", "-1")),
        ([0.1, None], TypeError, ("None",)),
        ([0.1, lambda: 0.1], ValueError, ("failed",)),
    ],
    "shape": [(shape, ValueError, ("'cosine' or 'linear'",)) for shape in ("sine", None, 3, True)],
    "warmup_stable_decay.shape": [
        (shape, ValueError, ("'linear' or 'cosine' or 'sqrt'",)) for shape in ("sine", None, 3)
    ],
    "adjust_learning_rate": [
        (word, ValueError, ("'original' or 'match_rms_adamw'",)) for word in ("adamw", None, 3)
    ],
    "state_dtype": [
        (word, ValueError, ("must be 'float16'",)) for word in ("float32", np.float16, 16)
    ],
    "orthogonalized": [
        (True, TypeError, ("list of bools",)),
        ("v", ValueError, ("'v' is not among [", "orthogonalized chooses from")),
        ([True] * 9, ValueError, ("9 entries for",)),
        (lambda param: None, TypeError, ("True or False", "'w'")),
    ],
}

WRONG_KINDS = ["0.1", True, 0.1j, [0.1], np.array(0.1), object()]


def bad_values(owner, argument):
    """Give values that an argument refuses, with the error and words of the message."""
    if others := OTHERS.get(f"{owner}.{argument}", OTHERS.get(argument)):
        return others
    declared = kind(owner, argument)
    of_kind = [(value, TypeError, ("must be",)) for value in WRONG_KINDS]
    if not is_optional(owner, argument):
        of_kind += [(None, TypeError, ("must be", "None"))]
    if isinstance(declared, TrueOrFalse):
        flagged = [value for value in (*WRONG_KINDS, None, 1, pt.vector("v")) if value is not True]
        return [(value, TypeError, ("True or False",)) for value in flagged]
    if isinstance(declared, Waiting):
        return [
            (value, TypeError, ("a rule that waits",)) for value in ("sgd", None, 0.1, w, [sgd])
        ]
    vector = pt.vector("v")
    if isinstance(declared, Integer):
        outside = [0, -1] if declared.least else [-1]
        words = "> 0" if declared.least else ">= 0"
        not_whole = [(value, TypeError, ("an integer",)) for value in (0.5, math.nan, vector)]
        return [*of_kind, *not_whole, *((value, ValueError, (words,)) for value in outside)]
    if isinstance(declared, StepNumber):
        least = declared.least
        whole = [(value, TypeError, ("an integer",)) for value in (0.5, math.nan, pt.dscalar())]
        too_small = [(value, ValueError, (f">= {least}",)) for value in (least - 1, -7, 2**63)]
        return [*of_kind, *whole, *too_small, (pt.lvector(), ValueError, ("a scalar",))]
    assert isinstance(declared, Scalar | PlainNumber), (owner, argument)
    words = declared.interval.words
    outside = [(value, ValueError, (words, str(value))) for value in BAD_NUMBERS[words]]
    if isinstance(declared, PlainNumber):
        return [*of_kind, *outside, (vector, TypeError, ("a number",))]
    symbols = [
        (vector, ValueError, ("must be a scalar", "v")),
        (pt.zscalar("z"), TypeError, ("must be a real scalar", "z")),
        (pt.constant(math.nan), ValueError, (words, "nan")),
        (random, TypeError, ("must be a real scalar", "random")),
    ]
    return [*of_kind, *outside, *symbols]


# How a message names an argument where it does not by its very name.
SAID = {"loss_or_grads": "loss", "params": "param"}


def enter_averages(**given):
    """Start the ``with`` block, which is where the argument is looked at."""
    return updates.use_averages(**given).__enter__()


def cases(owner):
    """Make every argument of a function wrong in turn."""
    declared = declaration(owner)
    for argument in arguments(owner):
        waits = declared is not None and declared.leading == [argument]
        for value, error, words in bad_values(owner, argument):
            if value is None and waits:
                continue
            said = (SAID.get(argument, argument), *words)
            through = enter_averages if owner == "use_averages" else None
            yield Case(owner, argument, value, error, said, through=through)
        if argument == "params" and rows_are_refused(owner):
            yield Case(owner, argument, [rows], TypeError, ("params[0]", "'w'", "whole parameters"))
    yield from rounded(owner)
    yield from (case for case in BY_HAND if case.owner == owner)


def rows_are_refused(owner):
    return owner in AROUND_A_RULE or any(row.whole and row.name == owner for row in RULES)


def rounded(owner):
    """Give decays that are 1 in the dtype that they have beside the parameter."""
    if owner not in rules.__all__ or owner in AROUND_A_RULE:
        return
    for argument in arguments(owner)[2:]:
        declared = kind(owner, argument)
        if isinstance(declared, Scalar) and declared.interval.words == "in [0, 1)":
            for param in (half, single):
                words = (argument, "in [0, 1)", "0.999999999 in float32")
                beside = {arguments(owner)[0]: (param**2).sum(), "params": [param]}
                yield Case(owner, argument, 0.999999999, ValueError, words, beside)


BY_HAND = [
    # loss, gradients and parameters that do not match
    *(
        Case("sgd", "*", (given, params, 0.1), error, words)
        for given, params, error, words in [
            (loss, [w, half], ValueError, ("'half'", "does not depend")),
            ([2 * w], [w, b], ValueError, ("1 gradients", "2 parameters")),
            ([2 * w, 2 * b, b], [w, b], ValueError, ("3 gradients", "2 parameters")),
            ([2 * b, 2 * w], [w, b], ValueError, ("gradient", "'w'", "ndim 1")),
            ([pt.zeros((3, 2))], [w], ValueError, ("gradient", "'w'", "(3, 2)", "(2, 3)")),
            ([pt.zeros((1, 3))], [w], ValueError, ("gradient", "'w'", "(1, 3)", "(2, 3)")),
            ([None], [w], TypeError, ("gradient", "'w'", "None")),
            (["g"], [w], TypeError, ("gradient", "'w'", "'g'")),
            ([pt.lmatrix()], [w], TypeError, ("gradient", "'w'", "int64")),
            ([[[1.0]]], [w], TypeError, ("gradient", "'w'", "list")),
            (loss, [rows], ValueError, ("'w'", "the same W[index] object")),
            (loss, [w[0]], TypeError, ("params[0]", "pytensor.shared")),
            (loss, [w[:, pt.lvector()]], TypeError, ("params[0]", "pytensor.shared")),
            (None, [w], ValueError, ("loss_or_grads is missing",)),
            (loss, None, ValueError, ("params is missing",)),
        ]
    ),
    Case("adam", "*", (0.01,), ValueError, ("params is missing", "by name")),
    Case("amsgrad", "*", (loss, [w], 0.1, 0.9, 0.9, 0.1, 7), TypeError, ("takes", "7 arguments")),
    Case("adam", "lr", 0.1, TypeError, ("'lr'", "learning_rate")),
    Case("adam", "lr", 0.1, TypeError, ("'lr'", "learning_rate"), through=updates.adam()),
    Case("adam", "*", (loss, [w], *[0.1] * 6), TypeError, ("adam takes",), through=updates.adam()),
    Case("adam", "beta1", 1.0, ValueError, ("beta1", "in [0, 1)"), through=updates.adam(beta1=0.5)),
    Case("sam", "rule", lambda grads, params: 3, TypeError, ("updates", "dictionary", "got 3")),
    *(
        Case(owner, "rule", rule, TypeError, words)
        for owner in set(AROUND_A_RULE) - {"sam"}
        for rule, words in (
            (lambda g, p: 3, ("updates", "dictionary", "got 3")),
            (lambda g, p: {x: g}, ("shared variables only", "x")),
        )
    ),
    Case("get_or_compute_grads", "loss_or_grads", None, TypeError, ("loss_or_grads", "None")),
    Case("step_decay", "stop", 0.1, TypeError, ("'stop'", "did you mean steps")),
    Case("step_decay", "*", (0.1,), TypeError, ("steps is required",)),
    *(
        Case(owner, argument, REQUIRED, TypeError, (f"{argument} is required", f"{argument}="))
        for owner, argument in [
            *((name, "learning_rate") for name in ("sgd", "momentum", "sign_sgd", "signum", "sm3")),
            *((name, "learning_rate") for name in ("noisy_sgd", "nesterov_lookahead")),
            ("gradient_updates_momentum", "momentum"),
            ("accumulate_gradients", "rule"),
            ("accumulate_gradients", "every"),
            *((name, "rule") for name in AROUND_A_RULE),
            ("apply_norm_constraint", "max_norm"),
        ]
    ),
    # gradient transforms
    Case("get_or_compute_grads", "loss_or_grads", [w], ValueError, ("1 gradients",)),
    Case("clip_by_value", "min_value", 2.0, ValueError, ("min_value must be <=", "2.0")),
    Case("clip_by_value", "max_value", -1, ValueError, ("without min_value", ">= 0", "-1")),
    Case("scale_gradients", "*", (half, 1e5), ValueError, ("factor", "100000.0 in float16")),
    Case("norm_constraint", "*", (pt.vector(), 1), ValueError, ("norm_axes", "ndim 1")),
    *(
        Case(owner, "params", params, error, words)
        for owner in ("adaptive_clip", "add_weight_decay", "add_l1_penalty")
        for params, error, words in [
            ([b], ValueError, ("'b'", "ndim 2", "ndim 1")),
            ([w, b], ValueError, ("1 gradients", "2 parameters")),
            ([rows], TypeError, ("params[0]", "'w'", "whole parameters")),
            (None, TypeError, ("params", "None")),
        ]
    ),
    # update transforms
    *(
        Case(owner, "params", [half], ValueError, ("params[0]", "'half'", "not among"))
        for owner in transforms.__all__
        if owner.startswith("apply_") and owner != "apply_if_finite"
    ),
    *(
        Case(owner, "updates", updates_, error, ("w", "next value", word))
        for owner in transforms.__all__
        if owner.startswith("apply_") and owner != "apply_if_finite"
        for updates_, error, word in [
            ({w: "w"}, TypeError, "'w'"),
            ({w: None}, TypeError, "None"),
            ({w: pt.lmatrix()}, TypeError, "int64"),
            ({w: pt.vector(dtype="float64")}, ValueError, "ndim 1"),
        ]
    ),
    *(
        Case(owner, "updates", {w: next_value}, TypeError, ("w", "next value", str(next_value)))
        for owner in ("apply_if_finite", "freeze", "schedule_values")
        for next_value in ("w", None, {1})
    ),
    Case("apply_bounds", "*", (dictionary,), ValueError, ("low and high are both missing",)),
    Case("apply_bounds", "low", 2, ValueError, ("low must be <= high", "low=2")),
    Case("apply_norm_constraint", "params", [b], ValueError, ("norm_axes", "ndim 1")),
    *(
        Case("merge_updates", "*", ({b: b}, other), error, words)
        for other, error, words in [*UPDATES, ({b: 2 * b}, ValueError, ("b", "0 and 1"))]
        if other != {}
    ),
    # schedules
    Case("one_cycle", "*", (1, 9, 0.5, 2, 2, "linear", 0.4), ValueError, ("final_fraction", "0.4")),
    Case("piecewise_constant", "boundaries", [2], ValueError, ("values", "one more than")),
    Case("join_schedules", "boundaries", [2, 3], ValueError, ("schedules", "one more than")),
    Case("warmup", "schedule", lambda step: -1.0, ValueError, ("schedule", ">= 0", "-1.0")),
    Case("warmup", "schedule", lambda: 0.1, ValueError, ("schedule", "failed")),
    Case("halflife_to_decay", "halflife", lambda step: "3", TypeError, ("halflife", "'3'")),
]
CASES = {owner: list(cases(owner)) for owner in GOOD}
CASES["merge_updates"] = [case for case in BY_HAND if case.owner == "merge_updates"]


@pytest.fixture
def made(monkeypatch):
    """Count the shared variables that are made."""
    variables = []
    init = SharedVariable.__init__
    monkeypatch.setattr(
        SharedVariable,
        "__init__",
        lambda self, *a, **k: variables.append(self) or init(self, *a, **k),
    )
    return variables


def test_the_count_of_shared_variables_counts(made):
    updates.noisy_sgd(loss, [w, b], 0.1)
    assert {"noisy_sgd/step", "noisy_sgd/generator"} <= {variable.name for variable in made}


@pytest.mark.parametrize("owner", CASES)
def test_every_bad_argument_is_refused_by_name_and_nothing_is_made(owner, made):
    package = str(Path(updates.__file__).parent)
    for case in CASES[owner]:
        with pytest.raises((TypeError, ValueError)) as caught:
            pytest.fail(f"{case} was accepted: {case.run()}")
        message = str(caught.value)
        assert type(caught.value) is case.error, (case, message)
        assert message.startswith((f"{owner}: ", f"{owner} has no ", f"{owner} takes ")), case
        assert str(caught.traceback[-1].path).startswith(package), case
        assert [word for word in case.words if word not in message] == [], (case, message)
        assert [variable for variable in made if not is_number(variable)] == [], case


@pytest.mark.parametrize("owner", GOOD)
def test_the_arguments_that_are_made_bad_were_good(owner):
    assert getattr(updates, owner)(**GOOD[owner]) is not None


def test_there_are_hundreds_of_bad_inputs_and_each_argument_has_some():
    assert sum(map(len, CASES.values())) >= 300
    for owner in GOOD:
        assert {case.argument for case in CASES[owner]} >= set(arguments(owner))
    functions = {name for name in updates.__all__ if not isinstance(getattr(updates, name), type)}
    assert functions - ELSEWHERE == set(GOOD) - ELSEWHERE
