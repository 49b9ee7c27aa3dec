"""What `describe` prints is what is computed: formulas, evaluated, give the compiled values."""

import copy
import pickle
import re
import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from catalogue import every_update, loss_of, parameters
from formula_text import evaluate
from pytensor.compile.mode import Mode
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.variable import TensorVariable

import updates
from updates import provenance

# Nothing is rewritten: the graph itself is what is described.
AS_IT_IS = Mode(linker="py", optimizer=None)


def described(dictionary, loss=None):
    return updates.describe(dictionary, loss).rows


def names_in(row):
    """Return what each name in the formula of a row stands for."""
    own_name = row.names.params.get(row.own, "")
    params = {p: name for p, name in row.names.params.items() if p is not row.own}
    found = {name: param for param, name in params.items()} | {own_name: row.own}
    found |= {
        row.names.of(leaf, row.own, own_name): leaf.variable
        for leaf in row.names.leaves
        if isinstance(leaf.variable, TensorVariable)
    }
    return {name: variable for name, variable in found.items() if variable is not None}


# --- Random formulas --------------------------------------------------------------------------

ELEMENTWISE = sorted(
    {
        name: op
        for name, op in vars(pt.math).items()
        if isinstance(op, Elemwise)
        and op.scalar_op.nin > 0
        and not {"complex", "conj", "imag", "real", "angle"} & {*name.strip("_").split("_")}
    }.items()
)
INTEGERS = {"AND", "OR", "XOR", "Invert"}
# Of these one argument says how often something is done, or which of a family of functions it is.
WITH_ORDER = {"Jv", "Ive", "Kve", "PolyGamma", "BetaInc", "Hyp2F1", "GammaIncInv", "GammaIncCInv"}
CONSTANTS = [0, 1, -1, 2, 0.5, 0.1, -0.75, 1 - 1e-9, 1e-9, 1e12, -1e-30, 1_000_000.0, 3.0, np.pi]
CONSTANTS += [np.float32(0.1), np.float32(1e-7), np.float16(0.1)]


class Generator:
    """Makes random formulas, from seeds, on variables of which several have one name."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        normal = self.random.normal
        self.inputs = {
            pt.vector("data", dtype="float64"): normal(size=4),
            pt.vector("data", dtype="float64"): normal(size=4),
            pt.scalar("data", dtype="float64"): np.float64(normal()),
            pt.vector("n", dtype="int64"): self.random.integers(-3, 4, size=4),
            pt.vector("single", dtype="float32"): normal(size=4).astype("float32"),
            pt.matrix("x y", dtype="float64"): normal(size=(4, 4)),
        }
        self.shared = [
            pytensor.shared(normal(size=shape), name=name)
            for shape, name in [((4,), "data"), ((4, 4), "rate"), ((), "rate"), ((1, 4), "sum")]
        ]

    def choose(self, among):
        return among[self.random.integers(len(among))]

    def leaf(self):
        if self.random.random() < 0.25:
            constant = pt.constant(self.choose(CONSTANTS))
            return constant if self.random.random() < 0.8 else pt.constant(np.full(4, 0.3))
        return pt.cast(self.choose([*self.inputs, *self.shared]), "float64")

    def floats(self, depth):
        """Make a formula of a float dtype."""
        if depth <= 0:
            return self.leaf()
        return self.choose([self.elementwise] * 6 + [self.reduced, self.indexed, self.moved])(
            depth - 1
        )

    def condition(self, depth):
        """Make a formula that is true or false."""
        compare = self.choose([pt.lt, pt.le, pt.gt, pt.ge, pt.eq, pt.neq])
        found = compare(self.floats(depth - 1), self.floats(depth - 1))
        kind = self.random.integers(5)
        if kind == 0:
            return ~found
        if kind == 1:
            return self.choose([pt.and_, pt.or_, pt.xor])(found, self.condition(depth - 1))
        return found

    def integers(self):
        [n] = [v for v in self.inputs if v.name == "n"]
        return self.choose([n, n + 2, n * n, n // 2, n % 3, -n, pt.constant(5)])

    def elementwise(self, depth):
        _, op = self.choose(ELEMENTWISE)
        kind = type(op.scalar_op).__name__
        if kind in INTEGERS:
            return op(*(self.integers() for _ in range(op.scalar_op.nin)))
        if kind == "Switch":
            return pt.switch(self.condition(depth), self.floats(depth), self.floats(depth))
        if kind in WITH_ORDER:
            order = pt.constant(float(self.random.integers(1, 4)))
            others = [abs(self.floats(0)) % 1 for _ in range(op.scalar_op.nin - 1)]
            return op(order, *others)
        return op(*(self.floats(depth) for _ in range(op.scalar_op.nin)))

    def reduced(self, depth):
        inner = self.floats(depth)
        reduce = self.choose([pt.sum, pt.prod, pt.max, pt.min, pt.mean])
        if inner.ndim == 0:
            return inner
        axis = self.choose([None, *range(inner.ndim)])
        return reduce(inner, axis=axis, keepdims=bool(self.random.integers(2)))

    def indexed(self, depth):
        inner = self.floats(depth)
        if inner.ndim == 0:
            rounded = pt.cast(5 * pt.tanh(inner), self.choose(["float32", "int32"]))
            return pt.cast(rounded, "float64")
        kind = self.random.integers(6)
        if inner.type.shape[0] == 1:
            return inner[0]
        if kind == 0:
            return inner[::-1]
        if kind == 1:
            return inner[0] if inner.ndim > 1 else inner[:1].sum() + inner[-1]
        if kind == 2:
            return inner[pt.constant(np.array([3, 1, 0, 1]))]
        if kind >= 3 and inner.type.dtype not in ("float64", "float32"):
            return inner
        if kind == 3:
            return pt.set_subtensor(inner[1:3], self.choose(CONSTANTS[:5]))
        if kind == 4:
            return pt.inc_subtensor(inner[pt.constant(np.array([1, 1]))], 0.5)
        return pt.concatenate([inner[2:], inner[:2]])

    def moved(self, depth):
        inner = self.floats(depth)
        kind = self.random.integers(6)
        if kind == 0:
            return inner.T + 1
        if kind == 1:
            return pt.second(self.floats(depth), inner) if inner.ndim == 0 else inner
        if kind == 2 and inner.ndim == 1:
            return inner[:, None] * self.choose([1.0, 2.0])
        if kind == 3 and inner.ndim == 2:
            return pt.sum(inner.dimshuffle("x", 1, 0), axis=0)
        if kind == 4 and inner.ndim == 2:
            return inner @ self.shared[1] if inner.type.shape[1] != 1 else inner.sum()
        if inner.type.dtype == "bool":
            return ~inner
        return pt.cumsum(inner, axis=0) if inner.ndim else inner.reshape((1,))

    def formula(self):
        while True:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    made = self.floats(self.random.integers(1, 5))
            except (TypeError, ValueError, NotImplementedError):
                continue  # shapes or types that do not go together
            dtypes = {v.type.dtype for v in ancestors([made]) if v.owner and v.owner.inputs}
            if made.owner is not None and made.ndim <= 3 and "float16" not in dtypes:
                return made


def values_of(variables, inputs, values):
    """Evaluate variables as they are, those that can be; a random graph may not fit together."""
    known = {}
    for variable in variables:
        needed = [v for v in inputs if v in set(graph_inputs([variable]))]
        function = pytensor.function(needed, variable, mode=AS_IT_IS)
        try:
            known[variable] = function(*(values[v] for v in needed))
        except (ValueError, TypeError, IndexError, AssertionError):
            continue
    return known


def check_formula(row, new_value, computed, inputs):
    """Compare the value of what is printed with what was computed."""
    values = {}
    for name, variable in names_in(row).items():
        if variable in inputs:
            values[name] = inputs[variable]
        elif isinstance(variable, Constant):
            values[name] = variable.data
        elif isinstance(variable, SharedVariable):
            values[name] = variable.get_value()
    values = {n: v.astype("float64") if v.dtype == "float32" else v for n, v in values.items()}
    text = row.text(template=False, cut=False)
    got = evaluate(text, values)
    assert np.shape(got) == computed.shape, text
    dtypes = {getattr(v.type, "dtype", "") for v in ancestors([new_value]) if v.owner}
    tolerance = (
        {"rtol": 1e-3, "atol": 1e-5} if "float32" in dtypes else {"rtol": 1e-7, "atol": 1e-12}
    )
    np.testing.assert_allclose(
        np.asarray(got, "float64"), computed.astype("float64"), err_msg=text, **tolerance
    )


def check_formulas(seed, count):
    generator = Generator(seed)
    made = [generator.formula() for _ in range(count)]
    targets = {
        pytensor.shared(np.zeros((1,) * m.ndim), name=f"w{i}"): m for i, m in enumerate(made)
    }
    checked = 0
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = values_of(made, list(generator.inputs), generator.inputs)
        for row in described(targets):
            new = targets[row.variable]
            if new in known:
                check_formula(row, new, known[new], generator.inputs)
                checked += 1
    return checked


@pytest.mark.parametrize("seed", range(20))
def test_five_hundred_random_formulas_are_printed_as_they_are_computed(seed):
    assert check_formulas(seed, 25) >= 20


# --- Every rule and composition ---------------------------------------------------------------


class Evaluated:
    """The formulas of a dictionary, evaluated from the values of what they name."""

    def __init__(self, dictionary, loss, params):
        self.rows, self.params = described(dictionary), params
        [self.names] = {row.names for row in self.rows}
        self.new_values = {v: new for v, new in dictionary.items() if isinstance(v, TensorVariable)}
        leaves = [v.variable for v in self.names.leaves if isinstance(v.variable, TensorVariable)]
        wanted = list(dict.fromkeys([*leaves, *self.names.params, *self.new_values.values()]))
        computed = pytensor.function([], wanted, mode=AS_IT_IS)()
        self.computed = dict(zip(wanted, computed, strict=True))
        inputs = [param.type() for param in params]
        grads = clone_replace(pytensor.grad(loss, params), dict(zip(params, inputs, strict=True)))
        self.gradient = pytensor.function(inputs, grads, mode=AS_IT_IS)

    def values(self, own):
        """Return the values of all names in a formula in which a parameter is called p."""
        named = {
            self.names.of(leaf, own, "p"): leaf.variable
            for leaf in self.names.leaves
            if not leaf.owners or leaf.of is None  # or else a gradient at another point
        }
        named |= {name: param for param, name in self.names.params.items() if param is not own}
        values = {name: self.computed[v] for name, v in named.items() if v in self.computed}
        new = {
            self.names.of(leaf, own, "p", "'"): self.computed[self.new_values[leaf.variable]]
            for leaf in self.names.leaves
            if leaf.variable in self.new_values
        }
        named_p = {} if own is None else {"p": self.computed[own]}
        return values | new | named_p

    def of(self, text, own):
        def call(name, inside):
            if name != "g":
                return None
            points = [self.of(f"x = {inside}", param) for param in self.params]
            return self.gradient(*points)[self.params.index(own)]

        def for_all(inside):
            return [self.of(f"x = {inside}", param) for param in self.params]

        return evaluate(text, self.values(own), call, for_all)


@every_update
def test_every_rule_and_composition_is_printed_as_it_is_computed(make_updates):
    params = parameters()
    loss = loss_of(params)
    dictionary = make_updates(loss, params)
    random = np.random.default_rng(1)
    for variable in dictionary:  # state that is not 0, so that no guard against 0/0 has work
        if isinstance(variable, TensorVariable) and variable not in params:
            is_float = variable.dtype == "float64"
            size = variable.get_value().shape
            new = random.uniform(0.5, 1.0, size) if is_float else np.full(size, 3)
            variable.set_value(new.astype(variable.dtype))
    evaluated = Evaluated(dictionary, loss, params)
    for row in evaluated.rows:
        if row.variable in evaluated.new_values:
            text = row.text(template=True, cut=False)
            computed = evaluated.computed[dictionary[row.variable]]
            np.testing.assert_allclose(
                evaluated.of(text, row.own), computed, rtol=1e-9, atol=1e-12, err_msg=text
            )
            assert row.text(template=True) == text or "..." in row.text(template=True)


# --- What was said untruly once ---------------------------------------------------------------


def shared(value, name):
    return pytensor.shared(np.asarray(value, "float64"), name=name)


def drawn():
    random = pytensor.shared(np.random.default_rng(0), name="random")
    following, first = pt.random.normal(rng=random, return_next_rng=True)
    return first, pt.random.normal(rng=following)


w, x, y = shared(np.ones(3), "w"), pt.vector("x"), pt.vector("y")
TOLD = {
    "w' = (w + 0.25) % 1": (w + 0.25) % 1,
    "w' = w - 0.1*(`p` % 1)": w - 0.1 * (shared(np.ones(3), "p") % 1),
    "w' = w + constant - constant#2": w
    + pt.constant(np.arange(9.0))
    - pt.constant(-np.arange(9.0)),
    "w' = w + [1, 2, 3] - [3, 2, 1]": w + np.array([1.0, 2, 3]) - np.array([3.0, 2, 1]),
    "w' = w - 0.1*(data - data#2)": w
    - 0.1 * (shared(np.ones(3), "data") - shared(np.ones(3), "data")),
    "w' = w + 1000000 + 0.75": w + 1_000_000 + 0.75,
    "w' = w*0.999999999": w * (1 - 1e-9),
    "w' = w*(1 + 1e-9)": w * (pt.constant(1.0) + 1e-9),
    "w' = w + sum(x)/shape(y)[0]": w + x.sum() / y.shape[0],
    "w' = w + (normal() - normal#2())": w + (lambda a, b: a - b)(*drawn()),
    "w' = w - (x - y)": w - (x - y),
    "w' = w - x - y": w - x - y,
    "w' = (-w)^2": (-w) ** 2,
    "w' = -w^2": -(w**2),
    "w' = w/(x*y)": w / (x * y),
    "w' = w/x*y": w / x * y,
    "w' = float32(x)": pt.cast(x.astype("float32"), "float64"),
    "w' = w + float64(int64(x))": w + pt.cast(pt.cast(x, "int64"), "float64"),
    "w' = sum(x[:, None]*y, axis=1)": pt.sum(x[:, None] * y, axis=1),
    "w' = sum(x[None, :], axis=1)": pt.sum(x[None], axis=1),
    "w' = `a + b` + `sum of squares`": shared(np.ones(3), "a + b") + pt.vector("sum of squares"),
    "w' = where(w < 0, `t`, `g`)": pt.switch(w < 0, pt.vector("t"), pt.vector("g")),
}


@pytest.mark.parametrize(("text", "new"), TOLD.items(), ids=TOLD)
def test_what_is_printed_is_what_is_computed(text, new):
    assert [row.formula for row in described({w: new})] == [text]


def test_variables_of_one_name_are_told_apart_in_all_formulas_alike():
    a, b, c = shared(np.ones(3), "a"), shared(np.ones(3), "a"), shared(np.ones(3), "a")
    first, second = shared(np.ones(3), "v"), shared(np.ones(3), "w")
    formulas = [row.formula for row in described({first: a * c - b, second: c - 2 * first - a})]
    assert formulas == ["v' = a*a#3 - a#2", "w' = a#3 - 2*v - a"]
    both = {shared(np.ones(3), "W"): b, shared(np.ones(3), "W"): a}
    assert [row.formula for row in described(both)] == ["W' = a#2", "W#2' = a"]


def test_two_gradients_of_one_parameter_are_told_apart():
    a, b = shared(np.ones(3), "a"), shared(np.ones(3), "b")
    [both, _] = updates.get_or_compute_grads(((a + b) ** 2).sum(), [a, b])
    [alone] = updates.get_or_compute_grads((a**3).sum(), [a])
    formulas = [row.formula for row in described({a: a - both + alone, b: b - both * alone})]
    assert formulas == ["a' = a - g + g#2", "b' = b - g*g#2(a)"]


# --- Provenance -------------------------------------------------------------------------------


def test_a_second_dictionary_changes_nothing_that_is_said_of_the_first():
    p, q = shared(np.ones(3), "p"), shared(np.ones(3), "q")
    g = pt.vector("data") * 2
    first = updates.sgd([g], [p], 0.1)
    before = str(updates.describe(first))
    updates.sgd([g], [q], 0.1)
    updates.apply_if_finite(updates.momentum(updates.clip_by_norm([g], 1.0), [q], 0.1))
    assert str(updates.describe(first)) == before
    assert "p' = p - 0.1*g" in before


def tags(variables):
    return {variable: dict(vars(variable.tag)) for variable in variables}


@every_update
def test_nothing_is_written_on_variables_of_the_user(make_updates):
    params = parameters()
    loss = loss_of(params)
    before = tags(ancestors([loss]))
    dictionary = make_updates(loss, params)
    updates.describe(dictionary, loss)
    assert tags(before) == before
    assert all(vars(variable.tag).keys() <= {"trace", "test_value"} for variable in before)


def test_nothing_is_written_on_given_gradients_symbols_and_indices():
    table, index, rate = shared(np.ones((5, 2)), "table"), pt.lvector("index"), pt.scalar("rate")
    given = [pt.matrix("rows") * 2, pt.vector("g") + 1]
    step = rate / 2
    mine = [table, index, rate, step, w, *ancestors(given), table[index]]
    before = tags(mine)
    rows = mine[-1]
    noisy = updates.add_gradient_noise(updates.clip_by_global_norm(given, step))
    for grads in (given, noisy):
        dictionary = updates.adam(grads, [rows, w], learning_rate=step)
        averaged = updates.apply_ema(updates.apply_momentum(dictionary), decay=step)
        described(updates.apply_if_finite(averaged))
    by_hand = {w: w - step * given[1]}
    mine += by_hand.values()
    before |= tags(by_hand.values())
    described(updates.reduce_on_plateau(updates.apply_weight_decay(by_hand), step**2))
    assert tags(mine) == before


COPIES = {
    "dict": dict,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda dictionary: pickle.loads(pickle.dumps(dictionary)),
    "merged": lambda dictionary: updates.merge_updates(
        dictionary, {shared(0.0, "z"): pt.zeros(())}
    ),
}


@pytest.mark.parametrize("form", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("given", [False, True])
def test_copies_of_a_dictionary_say_the_same(form, given):
    params = parameters()
    loss = loss_of(params)
    grads = [pt.tanh(p) * 3 for p in params] if given else loss
    rule = updates.sam(rule=updates.nadam(learning_rate=updates.cosine_decay(0.1, 9)))
    rule = updates.nadam(learning_rate=updates.cosine_decay(0.1, 9)) if given else rule
    dictionary = updates.apply_if_finite(updates.apply_ema(rule(grads, params)))
    formulas = {row.name: row.formula for row in described(dictionary)}
    copied = {row.name: row.formula for row in described(form(dictionary)) if row.name != "z"}
    assert copied == formulas
    assert updates.reset(form(dictionary)) is None
    names = {variable.name for variable in provenance.stepped(form(dictionary))}
    assert names == {"matrix", "vector", "row", "scalar"}


def test_a_copy_with_other_inputs_says_what_it_computes():
    p, data, other = shared(np.ones(3), "p"), pt.vector("data"), pt.vector("other")
    [first] = updates.sgd((p * data).sum() ** 2, [p], 0.1).values()
    [replaced] = clone_replace([first], {data: other})
    assert [row.formula for row in described({p: replaced})] == ["p' = p - 0.1*g"]
    [moved] = clone_replace([first], {p: 2 * p})
    [row] = described({p: moved})
    assert "g" not in re.findall(r"\w+", row.formula)  # it is the gradient at another point


def test_running_means_are_not_stepped_and_changed_steps_are():
    mean, p, q = shared(np.ones(3), "mean"), shared(np.ones(3), "p"), shared(np.ones(3), "q")
    dictionary = updates.adam((p**2).sum() + (q**2).sum(), [p, q])
    dictionary[mean] = 0.9 * mean + 0.1 * p
    dictionary[q] = dictionary[q] * 0.5
    assert provenance.stepped(dictionary) == [p, q]


# --- Mathematics ------------------------------------------------------------------------------


def assert_well_formed(latex):
    assert latex.isascii() or "`" not in latex
    bare = latex.replace(r"\{", "").replace(r"\}", "")
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0, latex
    assert depth == 0, latex
    assert bare.count(r"\left") == bare.count(r"\right"), latex
    assert not re.search(r"(?<!\\)[<>$#%_&]", bare.replace(r" & \text{if }", "").replace(" & ", ""))


@every_update
def test_mathematics_of_every_rule_is_well_formed(make_updates):
    params = parameters()
    for row in described(make_updates(loss_of(params), params)):
        for template in (False, True):
            for formula in row.latex(template):
                assert_well_formed(formula)


def test_mathematics_shows_fractions_roots_and_powers():
    p = shared(np.ones(3), "p_1")
    rule = updates.rmsprop((p**2).sum(), [p], 0.1)
    texts = [row.latex(template=False) for row in described(rule)]
    assert texts == [
        [
            r"\mathrm{p\_1}' = \mathrm{p\_1} - "
            r"\frac{0.1 \cdot g}{\sqrt{\mathrm{mean\_square}' + 10^{-6}}}"
        ],
        [
            r"\mathrm{mean\_square}' = 0.9 \cdot \mathrm{mean\_square} + "
            r"\left(1 - 0.9\right) \cdot {g}^{2}"
        ],
    ]
    page = updates.describe(rule)._repr_html_()
    assert r"\frac{0.1 \cdot g}{\sqrt{" in page
    assert page.count("$") == 4


@pytest.mark.parametrize("name", ["<b>&$x_{1}^2$</b>", "a\\b", "50%", "#1 {", "x~y", "<script>"])
def test_mathematics_escapes_names(name):
    evil = shared(np.ones(3), name)
    description = updates.describe({evil: evil * (evil < 1)})
    [row] = description.rows
    for formula in row.latex(template=False):
        assert_well_formed(formula)
    page = description._repr_html_()
    assert not re.search(r"<(?!/?(table|thead|tbody|tr|th|td|p|br|small)\b)", page)
