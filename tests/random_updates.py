"""Random update dictionaries, with the function around them and the calls that are made of it.

`Case(seed)` builds the same graphs in every process. The module imports nothing of `updates`, so
that a process without the library can build them as well; ``differential_run.py`` compares both.

Compiling is what costs: `VARIATIONS` seeds in a row share one graph and differ in values, sizes
of axes that are not static, and calls. Constants are few, so that PyTensor's cache knows formulas.

- ``Case``: one dictionary, its function and its calls
- ``PARTS``: what dictionaries are made of, one function each
- ``GRADIENTS``, ``LOSSES``, ``RULES``, ``FORMULAS``: what updates of many parameters are made of
"""

from collections import OrderedDict

import numpy as np
import pytensor
import pytensor.scalar as ps
import pytensor.sparse
import pytensor.tensor as pt
import scipy.sparse
from pytensor.raise_op import Assert
from pytensor.scalar.loop import ScalarLoop
from pytensor.tensor.elemwise import Elemwise

VARIATIONS = 16

SHAPES = [(), (3,), (5,), (2, 3), (4, 2), (1, 4), (3, 1), (2, 1, 3), (0,), (0, 2), (1, 1), (1,)]
LAYOUTS = ["Fortran", "strided", "reversed", "read-only C", "read-only Fortran"]
DTYPES = ["float32", "float64"] * 3 + ["int64", "int32", "bool", "complex64", "float16"]


class Case:
    """A random dictionary, with its function and its calls.

    Parameters
    ----------
    seed : int
        What decides everything. The graph depends on ``seed // VARIATIONS`` only.
    for_numba : bool
        Whether numba compiles it. Then it is small, as that takes seconds, nothing is float16,
        which numba does not know, and arrays may be read-only, which NumPy refuses to write on.
    """

    def __init__(self, seed, *, for_numba=True):
        self.seed, self.for_numba = seed, for_numba
        self.graph = np.random.default_rng([0, seed // VARIATIONS])
        self.data = np.random.default_rng([1, seed])
        self.magnitude = self.data.choice([1, 1, 1, 0.001, 30, 1000, np.nan])
        self.variables = {}  # by name, in the order in which they were made
        self.given, self.layout_of = {}, {}  # the arrays that variables were made from
        self.inputs, self.draws = [], []  # of the function, and what draws their values
        self.updates, self.results = [], []
        self.options = {"on_unused_input": "ignore"}
        # numba compiles for each number of axes and each layout: a case has few of them.
        self.shapes = [self.pick(*SHAPES) for _ in range(self.pick(1, 1, 1, 2, 2, 4))]
        layout = self.pick(*LAYOUTS) if self.chance(0.4) else "C"
        self.layouts = ["C", layout if for_numba else layout.removeprefix("read-only ")]
        weights = SMALL_WEIGHTS if for_numba else WEIGHTS
        for _ in range(1 if for_numba else self.pick(1, 1, 2)):
            PARTS[self.graph.choice(len(PARTS), p=weights)](self)
        self.finish()

    # --- What parts draw from --------------------------------------------------------------------

    def pick(self, *options):
        """Choose for the graph."""
        return options[self.graph.integers(len(options))]

    def chance(self, probability):
        """Decide for the graph."""
        return self.graph.random() < probability

    def any_dtype(self):
        """Draw a dtype."""
        return self.pick(*(DTYPES[:-1] if self.for_numba else DTYPES))

    def shape(self, *, static=False):
        """Draw a shape; axes that are longer than one differ between variations if not static."""
        return self.sizes(self.pick(*self.shapes), static=static)

    def sizes(self, shape, *, static=False):
        """Draw the sizes of axes anew if they are not static."""
        if static:
            return shape
        return tuple(int(self.data.integers(2, 6)) if size > 1 else size for size in shape)

    def array(self, dtype, shape):
        """Draw an array; one value in seven has no ordinary magnitude, or is not finite."""
        dtype = np.dtype(dtype)
        if dtype.kind == "b":
            return np.asarray(self.data.random(shape) < 0.5)
        if dtype.kind in "iu":
            return np.asarray(self.data.integers(-4, 5, shape), dtype)
        special = np.isnan(self.magnitude)
        values = np.asarray(self.data.normal(size=shape) * (1 if special else self.magnitude))
        if special:
            strange = self.data.choice([0.0, -0.0, 1e-30, 1e4, np.inf, -np.inf, np.nan], shape)
            values = np.where(self.data.random(shape) < 0.15, strange, values)
        if dtype.kind == "c":
            values = values + 1j * self.data.normal(size=shape)
        return np.asarray(values, dtype)

    def variable(self, dtype, shape, *, static="unknown", layout=None, value=None, name=None):
        """Make a shared variable of a memory layout, whose static shape is known or not."""
        layout = layout or self.pick(*self.layouts)
        value = self.array(dtype, shape) if value is None else value
        value = laid_out(np.asarray(value), layout)
        types = {
            "unknown": (None,) * len(shape),
            "known": tuple(shape),
            "ones": tuple(1 if size == 1 else None for size in shape),
        }
        name = name or f"p{len(self.variables)}"
        borrow = layout != "C" or self.chance(0.3)
        variable = pytensor.shared(value, name=name, borrow=borrow, shape=types[static])
        self.layout_of[name] = layout
        return self.add(variable, value)

    def add(self, variable, value=None):
        """Note a shared variable, and the array that it was made from."""
        self.variables[variable.name] = variable
        if value is not None:
            self.given[variable.name] = value
        return variable

    def state(self, param, *, fill=0, dtype=None):
        """Make a variable like another, as velocities are."""
        value = np.full_like(param.get_value(borrow=True), fill, dtype=dtype)
        name = f"{param.name}/s{len(self.variables)}"
        return self.add(pytensor.shared(value, name=name, shape=param.type.shape))

    def input(self, dtype, shape, *, static=None, draw=None):
        """Make an input of the function."""
        name = f"x{len(self.inputs)}"
        x = pt.tensor(name, dtype=dtype, shape=static or (None,) * len(shape))
        self.inputs.append(x)
        self.draws.append(draw or (lambda: self.array(dtype, shape)))
        return x

    def update(self, variable, value):
        """Give a variable its next value, in its dtype."""
        if getattr(value.type, "dtype", None) != getattr(variable.type, "dtype", None):
            value = value.astype(variable.type.dtype)
        self.updates.append((variable, value))

    def params(self, dtypes=("float32", "float64"), most=8):
        """Make several variables of the same dtype, or of two, and of any shapes."""
        if self.chance(0.05) and not self.for_numba:
            dtypes = ["float16"]
        dtype, other = self.pick(*dtypes), self.pick(*dtypes)
        static = self.pick("unknown", "known", "ones")
        count = self.pick(1, 2, 2, 2, 3, 3) if self.for_numba else self.pick(1, 2, 2, 3, 3, most)
        return [
            self.variable(
                other if k == 1 and self.chance(0.3) else dtype,
                self.shape(static=static == "known"),
                static=static,
            )
            for k in range(count)
        ]

    # --- The function and its calls --------------------------------------------------------------

    def finish(self):
        """Choose outputs, the form of the dictionary, options and what happens between calls."""
        old = [variable for variable, _ in self.updates]
        new = [value for _, value in self.updates]
        tensors = [v for v in old + new + self.results if hasattr(v, "ndim")]
        chosen = [self.pick(*tensors) for _ in range(self.pick(0, 0, 1, 2, 3) if tensors else 0)]
        outputs = [self.pick(v, v, v.T, v.sum()) if is_number(v) else v for v in chosen]
        if self.chance(0.3):
            outputs = [pytensor.Out(output, borrow=True) for output in outputs]
        self.outputs = outputs[0] if len(outputs) == 1 and self.chance(0.5) else outputs
        self.updates = [self.updates[k] for k in self.graph.permutation(len(self.updates))]
        wrap = self.pick(None, None, None, {"borrow": True}, {"borrow": True, "mutable": True})
        self.function_inputs = [x if wrap is None else pytensor.In(x, **wrap) for x in self.inputs]
        self.form = self.pick(list, dict, OrderedDict)
        self.trust_input = self.chance(0.1)
        self.given_layouts = [self.pick(*self.layouts) for _ in self.inputs]
        if old and self.chance(0.1):
            # The same memory is that of a variable that the function does not know.
            name = self.pick(*(v.name for v in old))
            if name in self.given:
                self.add(pytensor.shared(self.given[name], name=f"twin of {name}", borrow=True))
        if self.chance(0.08) and "givens" not in self.options and old:
            replaced = self.pick(*old)
            if is_number(replaced):
                self.options["givens"] = {replaced: replaced * np.asarray(2, replaced.dtype)}
        self.last = self.pick("nothing", "nothing", "copy", "pickle", "swap")
        self.last = self.pick(*[self.last] * 6, "copy without updates", "second function")

    def function(self):
        """Compile the function."""
        function = pytensor.function(
            self.function_inputs, self.outputs, updates=self.form(self.updates), **self.options
        )
        function.trust_input = self.trust_input
        return function

    def second_function(self):
        """Compile another function of the same variables, with half of the updates."""
        return pytensor.function(
            self.function_inputs,
            [],
            updates=self.updates[: len(self.updates) // 2],
            on_unused_input="ignore",
        )

    def arguments(self):
        """Draw the arguments of one call."""
        return [
            laid_out(np.asarray(draw()), layout)
            for draw, layout in zip(self.draws, self.given_layouts, strict=True)
        ]

    def variable_to_set(self):
        """Draw a variable that is set before a call, with its value; None for no variable."""
        arrays = [name for name in self.given if not name.startswith("twin")]
        if not arrays or self.data.random() < 0.7:
            return None
        name = arrays[self.data.integers(len(arrays))]
        variable = self.variables[name]
        value = self.array(variable.dtype, variable.get_value(borrow=True).shape)
        value = laid_out(value, self.layout_of[name])
        return name, value, bool(self.data.random() < 0.5)

    def text(self):
        """Describe the case: variables, graph, options."""
        lines = [f"seed {self.seed}: {len(self.updates)} updates, as {self.form.__name__}"]
        for name, variable in self.variables.items():
            value = variable.container.storage[0]
            flags = ""
            if isinstance(value, np.ndarray):
                writeable = "" if value.flags.writeable else ", read-only"
                flags = f", {value.shape}, strides {value.strides}{writeable}"
            lines.append(f"variable {name}: {variable.type}{flags}")
        for x, layout in zip(self.function_inputs, self.given_layouts, strict=True):
            lines.append(f"input {x}: {getattr(x, 'variable', x).type}, {layout}")
        outputs = self.outputs if isinstance(self.outputs, list) else [self.outputs]
        borrowed = any(isinstance(output, pytensor.Out) for output in outputs)
        outputs = [getattr(output, "variable", output) for output in outputs]
        names = ", ".join(variable.name for variable, _ in self.updates)
        lines.append(f"the next values of {names}, and {len(outputs)} outputs, {borrowed=}:")
        values = [value for _, value in self.updates] + outputs
        lines.append(pytensor.dprint(values, file="str", print_type=True).rstrip())
        lines.append(
            f"options: {self.options}, trust_input={self.trust_input}, at last {self.last}"
        )
        return "\n".join(lines)


def is_number(variable):
    return getattr(variable.type, "dtype", "bool") != "bool"


def laid_out(array, layout):
    """Return an equal array of a memory layout."""
    if "Fortran" in layout:
        array = np.array(array, order="F")
    if layout == "strided" and array.ndim:
        wide = np.zeros([2 * size for size in array.shape], array.dtype)
        wide = wide[(slice(None, None, 2),) * array.ndim]
        wide[...] = array
        array = wide
    if layout == "reversed" and array.ndim:
        array = array[::-1].copy()[::-1]
    if "read-only" in layout:
        array = array.copy(order="K")
        array.flags.writeable = False
    return array


# --- Gradients ----------------------------------------------------------------------------------


def given_as_inputs(case, params):
    return [
        case.input(p.dtype, p.get_value(borrow=True).shape, static=p.type.shape) for p in params
    ]


def given_without_static_shapes(case, params):
    return [case.input(p.dtype, p.get_value(borrow=True).shape) for p in params]


def given_as_variables(case, params):
    return [case.variable(p.dtype, p.get_value(borrow=True).shape) for p in params]


def of_a_sum(case, params):
    """Differentiate a sum of one formula over all parameters, with an input in it."""
    term = case.pick(*LOSSES)
    loss = sum(term(param).sum(dtype="float64") for param in params)
    if case.chance(0.3):
        loss = loss + 0.01 * sum((param**2).sum(dtype="float64") for param in params)
    if case.chance(0.3):
        loss = loss * case.input("float64", ())
    case.results.append(loss)
    return pytensor.grad(loss, params)


def of_a_product(case, params):
    """Differentiate a loss in which every gradient depends on all parameters."""
    joint = sum(pt.tanh(param).sum(dtype="float64") for param in params)
    loss = joint**2 / 10
    case.results.append(loss)
    return pytensor.grad(loss, params)


LOSSES = [
    pt.tanh,
    pt.sqr,
    lambda p: (p**2 - 1.5) ** 2,
    lambda p: -pt.log(pt.sigmoid(p)),
    lambda p: -pt.log(1 - pt.sigmoid(p)),
    lambda p: pt.log1p(pt.exp(p)),
    lambda p: pt.log(1 + pt.exp(-p)),
    pt.softplus,
    abs,
    lambda p: pt.exp(-(p**2)),
    lambda p: pt.sqrt(p**2 + 1e-6),
    lambda p: pt.maximum(p, 0),
    lambda p: pt.switch(abs(p) < 1, p**2 / 2, abs(p) - 0.5),
    lambda p: pt.log(pt.exp(p).sum() + 1),
    lambda p: p * pt.log(p**2),
]

GRADIENTS = [
    given_as_inputs,
    given_without_static_shapes,
    given_as_variables,
    of_a_sum,
    of_a_sum,
    of_a_sum,
    of_a_product,
]


def unchanged(case, params, grads):
    return grads


def clipped(case, params, grads):
    return [pt.clip(grad, -0.5, 0.5).astype(grad.dtype) for grad in grads]


def clipped_by_the_global_norm(case, params, grads):
    norm = pt.sqrt(sum((grad.astype("float64") ** 2).sum() for grad in grads))
    case.results.append(norm)
    factor = case.pick(
        lambda: pt.minimum(1, 1 / (norm + 1e-7)), lambda: pt.switch(norm > 1, 1 / norm, 1.0)
    )()
    return [(grad * factor).astype(grad.dtype) for grad in grads]


def decayed(case, params, grads):
    return [grad + number(0.01, p) * p for p, grad in zip(params, grads, strict=True)]


TRANSFORMS = [unchanged, unchanged, clipped, clipped_by_the_global_norm, decayed]


def number(value, like):
    """Return a constant of the dtype of a variable."""
    return np.asarray(value, like.dtype)


# --- Rules --------------------------------------------------------------------------------------
# A rule gives the next value of one parameter, and adds the updates of its state.


def sgd(case, param, grad, rate, count):
    return param - rate * grad


def momentum(case, param, grad, rate, count):
    velocity = case.state(param)
    after = number(0.9, param) * velocity - rate * grad
    case.update(velocity, after)
    return param + after.astype(param.dtype)


def nesterov(case, param, grad, rate, count):
    velocity = case.state(param)
    after = number(0.9, param) * velocity - rate * grad
    case.update(velocity, after)
    return param + number(0.9, param) * after - rate * grad


def adagrad(case, param, grad, rate, count):
    total = case.state(param)
    after = total + grad**2
    case.update(total, after)
    return param - rate * grad / pt.sqrt(after + number(1e-6, param))


def average(case, param, old, decay, rest, value):
    """Update a state variable that averages a value, and return its next value."""
    after = number(decay, param) * old + number(rest, param) * value
    case.update(old, after)
    return after


def rmsprop(case, param, grad, rate, count):
    after = average(case, param, case.state(param, fill=0.5), 0.9, 0.1, grad**2)
    return param - rate * grad / (pt.sqrt(after) + number(1e-3, param))


def centered_rmsprop(case, param, grad, rate, count):
    mean, mean_square = case.state(param), case.state(param)
    after = average(case, param, mean, 0.9, 0.1, grad)
    square = average(case, param, mean_square, 0.9, 0.1, grad**2)
    return param - rate * grad / pt.sqrt(pt.maximum(square - after**2, 0) + number(0.01, param))


def adam(case, param, grad, rate, count):
    first, second = case.state(param), case.state(param)
    m = average(case, param, first, 0.9, 0.1, grad)
    v = average(case, param, second, 0.99, 0.01, grad**2)
    step = rate * pt.sqrt(1 - 0.99 ** count.astype("float64")) / (1 - 0.9**count)
    if case.cast:
        step = step.astype(param.dtype)
    return param - step * m / (pt.sqrt(v) + number(1e-3, param))


def lamb(case, param, grad, rate, count):
    first = case.state(param)
    m = number(0.9, param) * first + number(0.1, param) * grad
    case.update(first, m)
    direction = m + number(0.01, param) * param
    norm, length = pt.sqrt((param**2).sum()), pt.sqrt((direction**2).sum())
    ratio = pt.switch(pt.and_(norm > 0, length > 0), norm / length, number(1, param))
    return param - rate * ratio * direction


def sign_of_the_gradient(case, param, grad, rate, count):
    return param - rate * pt.sign(grad)


def averaged(case, param, grad, rate, count):
    after = param - rate * grad
    shadow = case.state(param, fill=1)
    case.update(shadow, number(0.9, param) * shadow + number(0.1, param) * after)
    return after


def every_second_call(case, param, grad, rate, count):
    slow = case.state(param)
    after = param - rate * grad
    now = pt.eq(count % 2, 0)
    case.update(slow, pt.switch(now, slow + number(0.5, param) * (after - slow), slow))
    return pt.switch(now, slow, after)


RULES = [
    sgd,
    momentum,
    momentum,
    nesterov,
    adagrad,
    rmsprop,
    centered_rmsprop,
    adam,
    adam,
    lamb,
    sign_of_the_gradient,
    averaged,
    every_second_call,
]


def stepped(case, params, grads):
    """Add the updates of parameters under one rule."""
    rule = case.pick(*RULES)
    steps = case.variable("int64", (), value=0, name=f"steps{len(case.variables)}")
    count = steps + 1
    case.update(steps, count)
    case.cast = case.chance(0.5)
    of_own_dtype = case.chance(0.6)
    rate = case.pick(
        lambda: pt.constant(0.1),
        lambda: case.variable("float64", (), value=0.05, name=f"rate{len(case.variables)}"),
        lambda: case.input("float64", (), draw=lambda: np.asarray(0.02)),
        lambda: 0.1 / pt.sqrt(count),
    )()
    guard = case.chance(0.15)
    finite = pt.and_(*(pt.all(pt.isfinite(g)) for g in (grads * 2)[:2])) if guard else None
    before = len(case.updates)
    for param, grad in zip(params, grads, strict=True):
        own_rate = rate.astype(param.dtype) if of_own_dtype else rate
        case.update(param, rule(case, param, grad, own_rate, count))
    if guard:
        case.updates[before:] = [
            (old, pt.switch(finite, new, old)) for old, new in case.updates[before:]
        ]
    case.results += grads


# --- Parts of a dictionary -----------------------------------------------------------------------


def parameters_under_a_rule(case):
    params = case.params()
    grads = case.pick(*GRADIENTS)(case, params)
    stepped(case, params, case.pick(*TRANSFORMS)(case, params, grads))


def network(case):
    """Train a network with a hidden layer: regression, or classes with a softmax or a sigmoid."""
    dtype = case.pick("float32", "float64")
    static = case.pick("unknown", "known")
    batch, n, hidden, k = case.sizes((4, 3, 5, 2), static=static == "known")
    shapes = [(n, hidden), (hidden,), (hidden, k), (k,)]
    params = [case.variable(dtype, shape, static=static) for shape in shapes]
    W, b, V, c = params
    x, y = case.input(dtype, (batch, n)), case.input(dtype, (batch, k))
    result = pt.dot(pt.tanh(pt.dot(x, W) + b), V) + c
    loss = case.pick(
        lambda: pt.sqr(result - y).mean(),
        lambda: -(y * pt.log(pt.special.softmax(result, axis=-1))).sum(),
        lambda: -(y * pt.log(pt.sigmoid(result)) + (1 - y) * pt.log(1 - pt.sigmoid(result))).mean(),
    )()
    if case.chance(0.4):
        loss = loss + number(0.01, W) * sum(pt.sqr(param).sum() for param in params)
    case.results += [loss, result]
    grads = pytensor.grad(loss, params)
    stepped(case, params, case.pick(*TRANSFORMS)(case, params, grads))


FORMULAS = [
    lambda p: pt.switch(p > 0, p * 0.5, p - 1),
    lambda p: pt.log(pt.sigmoid(p)),
    lambda p: pt.log1p(pt.exp(p)),
    lambda p: pt.exp(p) / (1 + pt.exp(p)),
    lambda p: pt.log(1 - pt.sigmoid(p)),
    lambda p: p / p.sum(),
    lambda p: (p - p.mean()) / (p.std() + 1),
    lambda p: pt.switch(pt.isfinite(p), p, 0),
    lambda p: p**2 / p,
    lambda p: pt.sqrt(p) * pt.sqrt(p),
    lambda p: pt.clip(p, -0.1, 0.1) + p,
    lambda p: pt.maximum(p, 0.1 * p),
    lambda p: p + pt.arange(p.size).reshape(p.shape),
    lambda p: pt.round(p) + p % 0.5,
    lambda p: p // 0.5,
    lambda p: pt.erf(p) - pt.expm1(p),
    lambda p: p * 0,
    lambda p: 0 - p * 1 + 0,
    lambda p: p - p,
    lambda p: pt.log(pt.exp(p)),
    lambda p: abs(p) * pt.sign(p),
    lambda p: p + p.shape[0] if p.ndim else p + 1,
    lambda p: pt.specify_shape(p, p.type.shape) * 2,
    lambda p: pt.concatenate([p, p])[: p.shape[0]] * 2 if p.ndim else p * 2,
    pt.neg,
    lambda p: pt.cumsum(p).reshape(p.shape),
]


def parameters_under_a_formula(case):
    """Give several parameters next values by one formula, which may be no optimizer's."""
    formula = case.pick(*FORMULAS)
    params = case.params()
    for param in params:
        case.update(param, formula(param))
    if case.chance(0.4):
        case.results += [formula(param) for param in params]


def unlike(variable):
    """Return something else of the same dtype."""
    if variable.dtype == "bool":
        return ~variable
    if variable.dtype.startswith("int"):
        return variable + number(1, variable)
    return variable * number(0.5, variable)


def swapped(case):
    """Let variables read each other's old and new values."""
    dtype = case.any_dtype()
    shape = case.shape()
    a, b, c = (case.variable(dtype, shape) for _ in range(3))
    changed = unlike(b)
    pairs = case.pick(
        [(a, b), (b, a)],
        [(a, unlike(b)), (b, unlike(a))],
        [(a, b), (b, c), (c, a)],
        [(a, b), (b, unlike(c)), (c, a)],
        [(a, changed), (b, changed)],
        [(a, b), (b, changed), (c, changed)],
        [(a, pt.switch(pt.eq(a, changed), a, changed)), (b, changed), (c, a)],
        [(a, a), (b, changed)],
        [(a, b), (c, b)],
        [(a, pt.identity_like(a) if a.ndim == 2 and dtype != "bool" else b), (b, unlike(a))],
    )
    case.updates += pairs


COUPLINGS = [
    lambda q: q,
    pt.tanh,
    lambda q: q.sum(),
    lambda q: pt.cumsum(q).reshape(q.shape),
    lambda q: q[::-1] if q.ndim else q,
    lambda q: q.T.T,
]


def parameters_that_read_each_other(case):
    """Give parameters next values by one formula, of their own and another's old or new value."""
    dtype, shape = case.pick("float32", "float64"), case.shape()
    params = [case.variable(dtype, shape) for _ in range(case.pick(2, 3, 4))]
    coupling = case.pick(*COUPLINGS)
    after = []
    for k, param in enumerate(params):
        both = [old * new for old, new in zip(params, after[::-1], strict=False)]
        other = case.pick(params[k - 1], params[k - 1], *after, *both)
        through = coupling if case.chance(0.6) else case.pick(*COUPLINGS)
        new = param * number(0.5, param) + through(other) * number(0.25, param)
        after.append(new.astype(dtype))
        case.update(param, after[-1])


def constants(case):
    """Give next values that depend on shapes only, or are broadcast."""
    dtype = case.any_dtype()
    n, m = case.sizes((2, 3))
    matrix, other = case.variable(dtype, (n, m)), case.variable(dtype, (n, m))
    row = case.variable(dtype, (1, m), static="ones")
    column = case.variable(dtype, (n, 1), static="ones")
    vector = case.variable(dtype, (m,))
    case.update(
        matrix,
        case.pick(
            lambda: pt.constant(np.ones((2, 3), dtype)),
            lambda: pt.zeros_like(matrix),
            lambda: pt.alloc(number(1, matrix), *matrix.shape),
            lambda: pt.second(matrix, row),
            lambda: pt.broadcast_to(row, matrix.shape),
            lambda: row + column,
            lambda: row * column + other,
            lambda: matrix * vector,
            lambda: pt.switch(column > 0, row, vector) if dtype != "complex64" else row + column,
            lambda: pt.ones_like(matrix) * vector,
        )(),
    )
    case.update(other, case.pick(lambda: matrix, lambda: unlike(other), lambda: other * column)())
    if case.chance(0.5):
        case.update(row, unlike(row))
        case.update(vector, case.pick(lambda: row[0], lambda: vector * number(1, vector))())
    if case.chance(0.3):
        case.update(column, (matrix.sum(axis=1, keepdims=True)).astype(dtype))


def views(case):
    """Give next values that are views of other variables, which change themselves."""
    dtype = case.any_dtype()
    n, m = case.sizes((3, 2))
    a, b = case.variable(dtype, (n, m)), case.variable(dtype, (n, m))
    t, flat, vector = (case.variable(dtype, shape) for shape in [(m, n), (n * m,), (m,)])
    case.update(a, case.pick(lambda: b[::-1], lambda: t.T, lambda: flat.reshape(b.shape))())
    if case.chance(0.6):
        case.update(t, case.pick(lambda: a.T, lambda: b[:, ::-1].T, lambda: unlike(t))())
    if case.chance(0.6):
        case.update(flat, case.pick(lambda: b.ravel(), lambda: t.T.ravel(), lambda: unlike(flat))())
    if case.chance(0.6):
        case.update(vector, case.pick(lambda: a[0], lambda: b[-1, ::-1], lambda: t[:, 0])())
    if case.chance(0.7):
        case.update(b, case.pick(lambda: unlike(b), lambda: a, lambda: unlike(t.T))())
    case.results += [a.T, b[0], flat[::2], t[:, 0]]


def integers(case):
    """Count, compare and shift."""
    n, small, flag = (case.variable(dtype, (3,)) for dtype in ("int64", "int32", "bool"))
    counter = case.variable("int64", (), value=0)
    x = case.input("int32", (3,))
    case.update(counter, counter + 1)
    case.update(flag, case.pick(lambda: ~flag, lambda: flag & (small > 0), lambda: pt.eq(x, n))())
    case.update(n, case.pick(lambda: n + counter, lambda: n * 2 % 7, lambda: n + flag)())
    if case.chance(0.6):
        case.update(
            small, case.pick(lambda: small + x, lambda: small // 2, lambda: small + n, lambda: -x)()
        )
    case.results += [n.sum(), small, flag.any()]


def only_rows(case):
    """Change some rows of a table."""
    dtype = case.pick("float32", "float64", "int64")
    n, m = case.sizes((4, 3))
    table = case.variable(dtype, (n, m))
    index = case.input("int64", (3,), draw=lambda: case.data.integers(0, n, 3))
    rows = table[index]
    case.update(
        table,
        case.pick(
            lambda: pt.set_subtensor(rows, number(1, table)),
            lambda: pt.inc_subtensor(rows, -number(2, table) * rows),
            lambda: pt.set_subtensor(table[:2], table[-2:]),
            lambda: pt.inc_subtensor(table[index[0]], table[0]),
            lambda: pt.set_subtensor(table[index[0], 1:], number(0, table)),
        )(),
    )
    if case.chance(0.5):
        state = case.state(table)
        case.update(state, pt.set_subtensor(state[index], rows * number(3, table)))
    case.results += [rows, rows.sum()]


def random_draws(case):
    """Draw in an update, with the next state of the generator as an update, or as a default."""
    rng = case.add(pytensor.shared(np.random.default_rng(case.seed), name="rng"))
    w = case.variable(case.pick("float32", "float64"), (3,))
    next_rng, draw = pt.random.normal(size=w.shape, rng=rng).owner.outputs
    case.update(w, w - 0.1 * w + case.pick(0, 1) * draw)
    kind = case.pick("next", "default", "ignored default", "stays")
    if kind in ("next", "stays"):
        case.updates.append((rng, next_rng if kind == "next" else rng))
    else:
        rng.default_update = next_rng
        if kind == "ignored default":
            case.options["no_default_updates"] = True
    case.results.append(draw)


def sparse_matrices(case):
    """Multiply with a sparse matrix, which stays as it is or changes."""
    value = scipy.sparse.csr_matrix(np.diag([1.0, 2.0, 0.0]))
    table = case.add(pytensor.shared(value, name="table"))
    w = case.variable("float64", (3, 2))
    kind = case.pick("stays", "stays", "scaled")
    case.updates.append((table, table if kind == "stays" else table * 2.0))
    if case.chance(0.5):
        case.update(w, case.pick(lambda: w - 1, lambda: w - pytensor.sparse.dot(table, w))())


def loops(case):
    """Update with a scan, or a loop over numbers."""
    dtype = case.pick("float32", "float64")
    w, v = case.variable(dtype, (3,)), case.variable(dtype, (3,))
    if case.chance(0.5):
        x, c = (ps.get_scalar_type(dtype)(name) for name in "xc")
        loop = Elemwise(ScalarLoop(init=[x], constant=[c], update=[x * number(0.5, x) + c]))
        last = loop(pt.as_tensor(np.int64(3)), w, v)
    else:
        steps, _ = pytensor.scan(lambda s: pt.tanh(s) + v, outputs_info=[w], n_steps=3)
        last = steps[-1]
    case.update(w, w - number(0.1, w) * last)
    case.update(v, case.pick(lambda: unlike(v), lambda: last, lambda: w)())
    case.results.append(last)


def complex_numbers(case):
    """Give complex variables and their parts next values."""
    z, y = (case.variable("complex64", (3,)) for _ in range(2))
    size = case.variable("float32", (3,))
    i = np.complex64(1j)
    case.update(z, case.pick(lambda: z * i, lambda: z - y * i, lambda: pt.conj(z) + y)())
    case.update(y, case.pick(lambda: y * i, lambda: pt.conj(y), lambda: z)())
    case.update(size, case.pick(lambda: abs(z), lambda: pt.real(y), lambda: pt.imag(z) + size)())


def errors_in_calls(case):
    """Let some calls fail: an assertion, or a gradient of another shape."""
    params = case.params(most=3)
    fails = iter([False, True, False, True, False, True, False, True])
    if case.chance(0.5):
        flag = case.input("int64", (), draw=lambda: np.asarray(int(not next(fails))))
        grads = case.pick(given_as_variables, of_a_sum)(case, params)
        grads = [Assert("not now")(grad, pt.gt(flag, 0)) for grad in grads]
    else:
        grads = given_without_static_shapes(case, params)
        shape = params[-1].get_value(borrow=True).shape
        wrong = tuple(size + 2 for size in shape)
        dtype = params[-1].dtype
        case.draws[-1] = lambda: case.array(dtype, wrong if next(fails) else shape)
    stepped(case, params, grads)


def replaced_by_givens(case):
    """Replace a variable of the graph by another expression."""
    w, x = case.variable("float64", (3,)), pt.vector("replaced", dtype="float64")
    data = case.variable("float64", (3,))
    case.update(w, w - 0.1 * pt.tanh(x * w))
    case.options["givens"] = {x: case.pick(lambda: data, lambda: data * 2, lambda: w)()}


PARTS, WEIGHTS, SMALL_WEIGHTS = zip(
    (parameters_under_a_rule, 9, 9),
    (parameters_under_a_formula, 5, 6),
    (parameters_that_read_each_other, 6, 5),
    (network, 2, 0.3),
    (swapped, 3, 4),
    (constants, 3, 3),
    (views, 3, 3),
    (integers, 1.5, 1.5),
    (only_rows, 1.5, 1.5),
    (random_draws, 1, 0.7),
    (sparse_matrices, 0.5, 0.5),
    (loops, 1, 0.7),
    (complex_numbers, 0.7, 0.7),
    (errors_in_calls, 2, 2),
    (replaced_by_givens, 0.6, 0.6),
    strict=True,
)
WEIGHTS, SMALL_WEIGHTS = (np.asarray(w) / sum(w) for w in (WEIGHTS, SMALL_WEIGHTS))
