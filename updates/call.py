"""What every rule needs and none should repeat: deferral, checks, casting, time and names.

- ``rule``: the decorator that makes a rule callable now or later
- ``Deferred``: a rule with its hyperparameters bound, waiting for a loss and parameters
- ``rule_call``, ``transform_call``: check what was given and start a ``Call``
- ``Call``: one call of a rule or an update transform, and the dictionary that it builds
"""

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ParamSpec

import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

from updates.arguments import (
    LossOrGrads,
    Params,
    checked_grads,
    checked_params,
    fit,
    is_float_tensor,
    label,
)
from updates.hyperparameters import REQUIRED, as_scalar, check, evaluate, is_schedule
from updates.state import is_state, step_counter, zeros_like

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
    """

    def __init__(
        self,
        owner: str,
        params: list[TensorSharedVariable],
        symbols: list[TensorVariable],
        updates: Updates,
        hyperparameters: dict[str, Any],
    ) -> None:
        self.updates = updates
        self._owner = owner
        self._names = {param: param.name or f"param_{index}" for index, param in enumerate(params)}
        self._symbols = symbols
        values = {
            name: evaluate(owner, name, value, self.step) if is_schedule(value) else value
            for name, value in hyperparameters.items()
        }
        self._scalars = {
            dtype: tuple(as_scalar(owner, name, value, dtype) for name, value in values.items())
            for dtype in {param.type.dtype for param in params}
        }

    def __iter__(
        self,
    ) -> Iterator[tuple[TensorSharedVariable, TensorVariable, tuple[TensorVariable, ...]]]:
        for param, symbol in zip(self._names, self._symbols, strict=True):
            yield param, symbol, self._scalars[param.type.dtype]

    def __setitem__(self, variable: TensorSharedVariable, new_value: TensorVariable) -> None:
        old, new = variable.type, new_value.type
        if (new.dtype, new.ndim) != (old.dtype, old.ndim):
            raise TypeError(f"{self._owner}: the next value of {variable} is {new}, not {old}")
        self.updates[variable] = new_value

    @functools.cached_property
    def step(self) -> TensorSharedVariable:
        """The number of calls before this one, as an int64 scalar: 0, 1, 2, ..."""
        counter = step_counter(f"{self._owner}/step")
        self[counter] = counter + 1
        return counter

    @property
    def time(self) -> TensorVariable:
        """The number of this call, as a float64 scalar: 1, 2, 3, ..."""
        return pt.cast(self.step + 1, "float64")

    def zeros_like(
        self, param: TensorSharedVariable, slot: str, extra_axes: tuple[int, ...] = ()
    ) -> TensorSharedVariable:
        """Make state for a parameter, named ``<param name>/<rule>/<slot>``."""
        return zeros_like(param, f"{self._names[param]}/{self._owner}/{slot}", extra_axes)


def rule_call(
    rule: Callable[..., Any],
    loss_or_grads: LossOrGrads | None,
    params: Params | None,
    *hyperparameters: Any,
) -> Call:
    """Check the arguments of a rule and start building its dictionary.

    The hyperparameters come in the order of the rule's signature, after the first two arguments.
    """
    owner = rule.__name__
    if loss_or_grads is None or params is None:
        missing = "loss_or_grads" if loss_or_grads is None else "params"
        raise ValueError(
            f"{owner}: {missing} is missing; give both loss_or_grads and params, or neither (and "
            "hyperparameters by name) to call the rule later"
        )
    names = list(inspect.signature(rule).parameters)[2:]
    params, grads = checked_grads(owner, loss_or_grads, params)
    values = dict(zip(names, hyperparameters, strict=False))
    return Call(owner, params, grads, OrderedDict(), values)


def transform_call(
    owner: str, updates: UpdatesLike, params: Params | None, **hyperparameters: Any
) -> Call:
    """Check the arguments of an update transform and start from a copy of its dictionary."""
    for name, value in hyperparameters.items():
        check(owner, name, value)
    copy = _checked_updates(owner, updates)
    own = [variable for variable in copy if is_float_tensor(variable) and not is_state(variable)]
    chosen = checked_params(owner, own if params is None else params)
    for index, param in enumerate(chosen):
        if param not in copy:
            raise ValueError(
                f"{owner}: {label(param, index)} is not among the variables that updates changes"
            )
    next_values = fit(owner, "next value", [copy[param] for param in chosen], chosen)
    return Call(owner, chosen, next_values, copy, hyperparameters)


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
            raise TypeError(f"{name}: {error}; its signature is {name}{signature}") from None
        bound.apply_defaults()
        hyperparameters = dict(bound.arguments)
        loss_or_grads, params = (hyperparameters.pop(x) for x in ("loss_or_grads", "params"))
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

    Examples
    --------
    >>> import updates
    >>> rule = updates.momentum(momentum=0.5)
    >>> rule
    momentum(momentum=0.5)
    >>> rule(learning_rate=0.1)
    momentum(learning_rate=0.1, momentum=0.5)
    """

    def __init__(self, rule: Callable[..., Any], hyperparameters: dict[str, Any]) -> None:
        self.rule = rule
        self.hyperparameters = hyperparameters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the rule to ``(loss_or_grads, params)``, or bind more hyperparameters."""
        given = inspect.signature(self.rule).bind_partial(*args, **kwargs).arguments
        return self.rule(**{**self.hyperparameters, **given})

    def __repr__(self) -> str:
        bound = (
            f"{name}={value!r}"
            for name, value in self.hyperparameters.items()
            if value is not REQUIRED
        )
        return f"{self.rule.__name__}({', '.join(bound)})"


def _checked_updates(owner: str, updates: UpdatesLike) -> Updates:
    if not isinstance(updates, Iterable):
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
        copy[variable] = new_value
    if not copy:
        raise ValueError(f"{owner}: updates is empty, there is nothing to transform")
    return copy
