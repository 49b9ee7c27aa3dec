"""What every rule needs and none should repeat: deferral, checks, casting, time and names.

- ``rule``: the decorator that makes a rule callable now or later
- ``Deferred``: a rule with its hyperparameters bound, waiting for a loss and parameters
- ``rule_call``, ``transform_call``: check what was given and start a ``Call``
- ``checked_updates``: a copy of a dictionary of updates
- ``Call``: one call of a rule or an update transform, and the dictionary that it builds
"""

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any, ParamSpec

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.arguments import (
    LossOrGrads,
    Params,
    checked_grads,
    checked_loss,
    checked_params,
    fit,
    is_float_tensor,
    kind_of,
    label,
)
from updates.hyperparameters import (
    REQUIRED,
    as_scalar,
    check,
    evaluate,
    is_schedule,
    is_symbolic,
)
from updates.rows import combined, table_of, whole, written
from updates.state import (
    average_of,
    copy_of,
    filled,
    full_like,
    generator,
    is_state,
    step_counter,
    zeros_like,
)

Updates = OrderedDict[SharedVariable, Variable]
UpdatesLike = Mapping[SharedVariable, Variable] | Iterable[tuple[SharedVariable, Variable]]
P = ParamSpec("P")


class Call:
    """One call of a rule or of an update transform.

    Iterating gives, for each parameter, the parameter, its symbol (the gradient in a rule, the
    proposed next value in an update transform) and the hyperparameters in the parameter's
    dtype, in the order in which they were given. Item assignment adds to ``updates``.

    Parameters
    ----------
    owner : str
        The name of the rule or transform, for messages and for the names of the state.
    params, symbols : lists of the same length
        The parameters, and what there is for each of them.
    updates : OrderedDict
        The dictionary to add to.
    hyperparameters : dict
        Checked values by name.
    loss : symbolic scalar, optional
        The loss, of a rule that needs it.
    is_transform : bool
        Whether `symbols` are next values, and not gradients.
    """

    def __init__(
        self,
        owner: str,
        params: list[TensorSharedVariable],
        symbols: list[TensorVariable],
        updates: Updates,
        hyperparameters: dict[str, Any],
        loss: Variable | None = None,
        is_transform: bool = False,
    ) -> None:
        self.updates = updates
        self.owner = owner
        self._generator: Any = None
        given = {whole(p): symbol for p, symbol in zip(params, symbols, strict=True)}
        ends = [*params, *updates.values()]
        self._writing = provenance.Writing(owner, {} if is_transform else given, ends, loss)
        self._symbols: dict[TensorVariable, TensorVariable] = {}
        self._names: dict[TensorVariable, str] = {}
        for index, (param, symbol) in enumerate(zip(params, symbols, strict=True)):
            table = table_of(param)
            if table is not None:
                param, symbol = combined(param, symbol)
            self._symbols[param] = symbol
            self._names[param] = (param if table is None else table).name or f"param_{index}"
        schedules = {
            name: evaluate(owner, name, value, self.step)
            for name, value in hyperparameters.items()
            if is_schedule(value)
        }
        if schedules:
            schedules = {n: pt.as_tensor_variable(value) for n, value in schedules.items()}
            named = {f"{owner}/{name}": value for name, value in schedules.items()}
            provenance.mark(self.step, schedules=named)
        self._hyperparameters = {**hyperparameters, **schedules}
        self._writing.end_at(self._hyperparameters.values())
        self._scalars = {
            dtype: self.scalars(dtype) for dtype in {param.type.dtype for param in self._symbols}
        }

    def __iter__(self) -> Iterator[tuple[Any, TensorVariable, tuple[TensorVariable, ...]]]:
        for param, symbol in self._symbols.items():
            yield param, symbol, self._scalars[param.type.dtype]

    def __setitem__(self, variable: Any, new_value: TensorVariable) -> None:
        old, new = variable.type, new_value.type
        if (new.dtype, new.ndim) != (old.dtype, old.ndim):
            raise TypeError(f"{self.owner}: the next value of {variable} is {new}, not {old}")
        table = table_of(variable)
        if table is not None:
            variable, new_value = table, written(variable, new_value)
        self.updates[variable] = new_value
        self._writing.next_value(variable, new_value)

    def scalars(self, dtype: str = "float64") -> tuple[TensorVariable, ...]:
        """Cast the hyperparameters to a dtype; None, where it is allowed, stays None."""
        scalars: Iterable[Any] = (
            None if value is None else as_scalar(self.owner, name, value, dtype)
            for name, value in self._hyperparameters.items()
        )
        return tuple(scalars)

    @property
    def params(self) -> list[Any]:
        """The parameters, for a rule that needs all of them at once."""
        return list(self._symbols)

    @property
    def grads(self) -> list[TensorVariable]:
        """The gradients, in the order of the parameters."""
        return list(self._symbols.values())

    @functools.cached_property
    def step(self) -> TensorSharedVariable:
        """The number of calls before this one, as an int64 scalar: 0, 1, 2, ..."""
        counter = step_counter(f"{self.owner}/step")
        self[counter] = counter + 1
        return counter

    @property
    def time(self) -> TensorVariable:
        """The number of this call, as a float64 scalar: 1, 2, 3, ..."""
        return provenance.mark(pt.cast(self.step + 1, "float64"), symbol="t", owner=self.owner)

    def zeros_like(
        self, param: TensorVariable, slot: str, extra_axes: tuple[int, ...] = ()
    ) -> TensorVariable:
        """Make state for a parameter, named ``<param name>/<rule>/<slot>``.

        For rows of a table this is the same rows of state for the whole table.
        """
        return self._make(param, slot, functools.partial(zeros_like, extra_axes=extra_axes))

    def full_like(self, param: TensorVariable, slot: str, value: float) -> TensorVariable:
        """Make state like `zeros_like` that starts at one number."""
        return self._make(param, slot, functools.partial(full_like, value=value))

    def copy_of(self, param: TensorVariable, slot: str) -> TensorVariable:
        """Make state like `zeros_like` that starts at the present value of the parameter."""
        return self._make(param, slot, copy_of)

    def average_of(self, param: TensorVariable) -> TensorVariable:
        """Make state like `copy_of`, named ``average`` and tagged as the parameter's average."""
        return self._make(param, "average", average_of)

    def zeros(
        self, param: TensorVariable, slot: str, shape: tuple[int, ...] = ()
    ) -> TensorSharedVariable:
        """Make state of another shape for a parameter, of its dtype."""
        state = filled(self._name(param, slot), param.type.dtype, shape)
        return provenance.mark(state, param=param)

    def scalar(self, slot: str, value: float = 0.0) -> TensorSharedVariable:
        """Make a float64 state scalar for the whole call, named ``<rule>/<slot>``."""
        return filled(f"{self.owner}/{slot}", "float64", start=value)

    def average(
        self, param: TensorVariable, slot: str, value: TensorVariable, decay: TensorVariable
    ) -> TensorVariable:
        """Keep an exponential moving average and return it: ``a' = decay*a + (1 - decay)*x``."""
        old = self.zeros_like(param, slot)
        new = decay * old + (1 - decay) * value
        self[old] = new
        return new

    def unbiased(self, average: TensorVariable, decay: TensorVariable) -> TensorVariable:
        """Correct an average for its start at zero: ``a / (1 - decay^t)``."""
        return average / (1 - decay**self.time).astype(average.dtype)

    def normal(self, param: TensorVariable, seed: int) -> TensorVariable:
        """Draw standard normal noise of the dtype and shape of a parameter."""
        if self._generator is None:
            self._generator = self._drawn = generator(f"{self.owner}/generator", seed)
        self._drawn, noise = pt.random.normal(
            size=param.shape, rng=self._drawn, return_next_rng=True
        )
        self.updates[self._generator] = self._drawn
        provenance.mark(noise, symbol="normal()", param=param)
        return provenance.cast(noise, param.type.dtype)

    def _make(self, param: TensorVariable, slot: str, kind: Callable[..., Any]) -> TensorVariable:
        table = table_of(param)
        variable = param if table is None else table
        state = kind(variable, self._name(param, slot))
        provenance.mark(state, param=variable)
        return state if table is None else state[param.owner.inputs[1]]

    def _name(self, param: TensorVariable, slot: str) -> str:
        return f"{self._names[param]}/{self.owner}/{slot}"


def rule_call(
    rule: Callable[..., Any],
    loss_or_grads: LossOrGrads | None,
    params: Params | None,
    *hyperparameters: Any,
    rows: bool = True,
    needs_loss: str = "",
) -> Call:
    """Check the arguments of a rule and start building its dictionary.

    Parameters
    ----------
    rule : function
        The rule itself; its signature gives the names.
    loss_or_grads, params
        What the user gave.
    *hyperparameters
        Those that may be symbols, in the order of the rule's signature. Flags, counts and others
        that shape the graph are no business of the call.
    rows : bool, optional
        Whether ``W[index]`` may stand for a parameter. It may where the formula works element
        by element, and not where it looks at a tensor as a whole.
    needs_loss : str, optional
        Why the rule cannot do with gradients, if it cannot.
    """
    owner = rule.__name__
    first, second, *names = inspect.signature(rule).parameters
    if loss_or_grads is None or params is None:
        missing = first if loss_or_grads is None else second
        raise ValueError(
            f"{owner}: {missing} is missing; give both {first} and {second}, or neither (and "
            "hyperparameters by name) to call the rule later"
        )
    if needs_loss:
        checked_loss(owner, loss_or_grads, needs_loss)
    params, grads = checked_grads(owner, loss_or_grads, params, rows=rows)
    values = dict(zip(filter(is_symbolic, names), hyperparameters, strict=True))
    loss: Any = loss_or_grads if needs_loss else None
    return Call(owner, params, grads, OrderedDict(), values, loss=loss)


def transform_call(
    owner: str,
    updates: UpdatesLike,
    params: Params | None,
    loss: Variable | None = None,
    **hyperparameters: Any,
) -> Call:
    """Check the arguments of an update transform and start from a copy of its dictionary."""
    for name, value in hyperparameters.items():
        check(owner, name, value)
    copy = checked_updates(owner, updates)
    own = [variable for variable in copy if is_float_tensor(variable) and not is_state(variable)]
    chosen = checked_params(owner, own if params is None else params)
    for index, param in enumerate(chosen):
        if param not in copy:
            raise ValueError(
                f"{owner}: {label(param, index)} is not among the variables that updates changes"
            )
    next_values = fit(owner, "next value", [copy[param] for param in chosen], chosen)
    symbolic = {name: value for name, value in hyperparameters.items() if is_symbolic(name)}
    return Call(owner, chosen, next_values, copy, symbolic, loss, is_transform=True)


def checked_updates(owner: str, updates: UpdatesLike) -> Updates:
    """Copy a dictionary of updates, or say why it is none."""
    if isinstance(updates, Variable) or not isinstance(updates, Iterable):
        raise TypeError(
            f"{owner}: updates must be a dictionary or a list of (variable, next value) pairs, "
            f"got {updates!r} of type {type(updates).__name__}"
        )
    copy: Updates = OrderedDict()
    for index, pair in enumerate(updates.items() if isinstance(updates, Mapping) else updates):
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise TypeError(
                f"{owner}: updates[{index}] must be a pair (variable, next value), got {pair!r}"
            )
        variable, new_value = pair
        if not isinstance(variable, SharedVariable):
            raise TypeError(
                f"{owner}: updates may change shared variables only, got {variable!r} of type "
                f"{type(variable).__name__}"
            )
        if variable in copy:
            raise ValueError(f"{owner}: updates gives {variable} two next values")
        if isinstance(new_value, Real | np.ndarray) and np.asarray(new_value).dtype.kind in "fiub":
            # pytensor.function takes these as well.
            dtype = variable.type.dtype if is_float_tensor(variable) else None
            new_value = pt.constant(np.asarray(new_value, dtype=dtype))
        if not isinstance(new_value, Variable):
            raise TypeError(
                f"{owner}: the next value of {variable} must be symbolic, got {new_value!r} of "
                f"type {kind_of(new_value)}"
            )
        copy[variable] = new_value
    if not copy:
        raise ValueError(f"{owner}: updates is empty, there is nothing to transform")
    return copy


def rule(formula: Callable[P, Updates]) -> Callable[P, Any]:
    """Let a rule be called now, or later when it is called without loss and parameters.

    The decorated function checks every hyperparameter first. The return type is ``Any`` because
    a call gives an ``OrderedDict`` or, without loss and parameters, a `Deferred`.
    """
    signature = inspect.signature(formula)
    name = formula.__name__

    @functools.wraps(formula)
    def now_or_later(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise _wrong_call(name, signature, error) from None
        bound.apply_defaults()
        hyperparameters = dict(bound.arguments)
        loss_or_grads, params = (hyperparameters.pop(name) for name in list(bound.arguments)[:2])
        deferred = loss_or_grads is None and params is None
        for argument, value in hyperparameters.items():
            if not (deferred and value is REQUIRED):
                check(name, argument, value)
        return Deferred(now_or_later, hyperparameters) if deferred else formula(*args, **kwargs)

    return now_or_later


class Deferred:
    """A rule with its hyperparameters bound; calling it with a loss and parameters applies it.

    ``adam(learning_rate=0.1)(loss, params)`` is ``adam(loss, params, learning_rate=0.1)``.
    Hyperparameters given in the second call replace the bound ones.

    Parameters
    ----------
    rule : function
        What to apply, for instance `adam`.
    hyperparameters : dict
        All its hyperparameters by name.

    Examples
    --------
    >>> import updates
    >>> rule = updates.rmsprop(rho=0.5)
    >>> rule
    rmsprop(learning_rate=1.0, rho=0.5, epsilon=1e-06, max_scaling=None)
    >>> rule(learning_rate=0.1)
    rmsprop(learning_rate=0.1, rho=0.5, epsilon=1e-06, max_scaling=None)
    """

    def __init__(self, rule: Callable[..., Any], hyperparameters: dict[str, Any]) -> None:
        self.rule = rule
        self.hyperparameters = hyperparameters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the rule to ``(loss_or_grads, params)``, or bind more hyperparameters."""
        signature = inspect.signature(self.rule)
        try:
            given = signature.bind_partial(*args, **kwargs).arguments
        except TypeError as error:
            raise _wrong_call(self.rule.__name__, signature, error) from None
        return self.rule(**{**self.hyperparameters, **given})

    def __repr__(self) -> str:
        bound = (
            f"{name}={value!r}"
            for name, value in self.hyperparameters.items()
            if value is not REQUIRED
        )
        return f"{self.rule.__name__}({', '.join(bound)})"


def _wrong_call(name: str, signature: inspect.Signature, error: TypeError) -> TypeError:
    return TypeError(f"{name}: {error}; its signature is {name}{signature}")
