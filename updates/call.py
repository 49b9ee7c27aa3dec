"""Calls: one call of a rule or of an update transform, and what its formula sees of it.

- ``Call``: the parameters, the hyperparameters, the time, and the dictionary that is built
- ``State``: where a formula keeps the state of one parameter
- ``once_a_call``: build what does not depend on the parameter once for all of them
- ``checked_updates``: a copy of a dictionary of updates
- ``Updates``, ``UpdatesLike``, ``Tensor``: the types that signatures use
"""

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

from updates import provenance
from updates.arguments import is_float_tensor, kind_of
from updates.choice import chosen
from updates.declaration import unnamed
from updates.given_numbers import Place
from updates.half_precision import CODES, restored, stored, threshold
from updates.kinds import Kind, Scalar, is_schedule
from updates.named_dimensions import with_names_of, without_names
from updates.precision import wide
from updates.rows import combined, table_of, whole, written
from updates.state import copy_of, filled, full_like, generator, step_counter, zeros_like
from updates.symbols import Symbols, evaluate

# Keys are shared variables, given as `Any` because dictionaries are invariant: for a type checker
# an ``OrderedDict[SharedVariable, Variable]`` is not a ``dict[Variable, Variable]``, which is what
# ``pytensor.function`` takes.
Updates = OrderedDict[Any, Variable]
UpdatesLike = Mapping[Any, Variable] | Iterable[tuple[SharedVariable, Variable]]
Tensor = TensorVariable
P = ParamSpec("P")
T = TypeVar("T")


def once_a_call(
    build: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], T]:
    """Build what does not depend on the parameter once for all parameters of a call.

    The function gets a `Call` or a `State`, and symbols; with the same symbols, in the same call,
    it returns what it returned before.
    """

    @functools.wraps(build)
    def built(where: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        call: Call = where.call if isinstance(where, State) else where
        key = (build, *args, *kwargs.items())
        if key not in call.built:
            call.built[key] = build(where, *args, **kwargs)
        return call.built[key]

    return built


class Call:
    """One call of a rule or of an update transform.

    Iterating gives, for each parameter, its `State`, the parameter, and its symbol: the gradient
    in a rule, the proposed next value in an update transform.

    Parameters
    ----------
    owner : str
        The name of the rule or transform, for the names of the state.
    params, symbols : lists of the same length
        The parameters, and what there is for each of them.
    updates : OrderedDict
        The dictionary to add to.
    hyperparameters : dict
        Checked values by name.
    kinds : dict
        What each of them is.
    writing : Writing
        What marks the next values.

    Attributes
    ----------
    dtype : str
        What is computed in that the parameters have in common, see `updates.precision`.
    owners : tuple of shared variables
        The parameters as the user knows them: with names, and whole tables.
    in_16_bits : bool
        Whether state of the shape of parameters is kept in half precision.
    codes : dict
        For numbers that formulas see of such state, the variable that keeps their codes.
    """

    def __init__(
        self,
        owner: str,
        params: list[TensorSharedVariable],
        symbols: list[TensorVariable],
        updates: Updates,
        hyperparameters: dict[str, Any],
        kinds: Mapping[str, Kind],
        writing: provenance.Writing,
    ) -> None:
        self.owner = owner
        self.dtype = wide(*(param.type.dtype for param in params))
        self.updates = updates
        self.loss: Any = writing.loss
        self.built: dict[Any, Any] = {}
        self._generator: Any = None
        self.in_16_bits = hyperparameters.get("state_dtype") is not None
        self.codes: dict[Any, Any] = {}
        self.owners = tuple(map(whole, params))
        self._writing = writing
        place = Place(owner, self.owners)
        schedules = {
            name: evaluate(kind, name, value, self.step, place)
            for name, value in hyperparameters.items()
            if isinstance(kind := kinds.get(name), Scalar) and is_schedule(value)
        }
        self.symbols = Symbols({**hyperparameters, **schedules}, kinds, place, self.dtype)
        values = self.symbols.values
        if schedules:
            given = {f"{owner}/{name}": values[name] for name in schedules}
            provenance.mark(self.step, schedules=given)
        writing.end_at(values.values())
        for dtype in {param.type.dtype for param in params}:
            self.symbols.in_dtype(dtype)  # so that what leaves its range is refused now
        decays = chosen("mask", hyperparameters.get("mask"), self.owners)
        self.states = [
            State(self, param, symbol, index, decays[index])
            for index, (param, symbol) in enumerate(zip(params, symbols, strict=True))
        ]

    def __iter__(self) -> Iterator[tuple["State", Any, TensorVariable]]:
        for state in self.states:
            yield state, state.param, state.symbol

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All hyperparameters by name, those that enter formulas in the dtype of the call."""
        return self.symbols.in_dtype(self.dtype)

    @property
    def params(self) -> list[Any]:
        """All parameters."""
        return [state.param for state in self.states]

    @property
    def grads(self) -> list[TensorVariable]:
        """The gradients, in the order of the parameters."""
        return [state.symbol for state in self.states]

    def stepped_by(self, rule: Callable[..., Any], grads: Iterable[Any]) -> Any:
        """Return what a rule that was given makes of gradients of these parameters."""
        given = map(with_names_of, self.owners, grads)
        with unnamed():
            return rule(list(given), list(self.owners))

    @functools.cached_property
    def step(self) -> TensorSharedVariable:
        """The number of calls before this one, as an int64 scalar: 0, 1, 2, ..."""
        counter = self._of_all(step_counter(f"{self.owner}/step"))
        self.update(counter, counter + 1)
        return counter

    @functools.cached_property
    def time(self) -> TensorVariable:
        """The number of this call, as a scalar of the dtype of the call: 1, 2, 3, ..."""
        return provenance.mark(pt.cast(self.step + 1, self.dtype), symbol="t", owner=self.owner)

    def scalar(self, slot: str, start: float = 0.0) -> TensorSharedVariable:
        """Make a state scalar of the dtype of the call, named ``<rule>/<slot>``."""
        return self.array(slot, start=start)

    def array(
        self, slot: str, shape: tuple[int, ...] = (), dtype: str = "", start: float = 0.0
    ) -> Any:
        """Make state of all parameters, of any shape, that starts at one number."""
        return self._of_all(filled(f"{self.owner}/{slot}", dtype or self.dtype, shape, start))

    def update(self, variable: Any, new_value: T) -> T:
        """Write the next value of a variable into the dictionary, and return that value."""
        value: Any = new_value
        if variable in self.codes:
            variable, value = self.codes[variable], stored(value, self._threshold)
        if (variable.type.dtype, value.type.dtype) == ("float16", "float32"):
            new_value = value = provenance.cast(value, "float16")  # a decay is float32
        old, new = variable.type, value.type
        if (new.dtype, new.ndim) != (old.dtype, old.ndim):
            raise TypeError(f"the next value of {variable} is {new}, not {old}")
        target = whole(variable)
        if target is not variable:
            value = written(variable, value)
        self.updates[target] = value
        self._writing.next_value(target, value)
        return new_value

    def normal(self, param: TensorVariable, seed: int) -> TensorVariable:
        """Draw standard normal noise of the dtype and shape of a parameter."""
        if self._generator is None:
            self._generator = self._of_all(generator(f"{self.owner}/generator", seed))
            self._drawn = self._generator
        self._drawn, noise = pt.random.normal(
            size=param.shape, rng=self._drawn, return_next_rng=True
        )
        self.updates[self._generator] = self._drawn
        provenance.mark(noise, symbol="normal()", param=whole(param))
        return provenance.cast(noise, param.type.dtype)

    @functools.cached_property
    def _threshold(self) -> TensorVariable:
        """Where state in 16 bits is rounded in this call."""
        return threshold(self.step)

    def _of_all(self, state: T) -> T:
        """Mark state that belongs to all parameters."""
        return provenance.mark(state, params=self.owners)

    @once_a_call
    def cast(self, symbol: Any, dtype: str) -> Any:
        """Cast a symbol of the whole call, or a hyperparameter, to a parameter's dtype."""
        own = self.symbols.like(symbol, dtype)
        return provenance.cast(symbol, dtype) if own is None else own


class State:
    """Where a formula keeps the state of one parameter, and what it can ask of the call.

    State variables are made with a *slot*, the field's word for what they hold, and named
    ``<param name>/<rule>/<slot>``. For rows of a table they are the same rows of state for the
    whole table.

    Attributes
    ----------
    call : Call
        The call that this parameter is part of.
    param, symbol : symbolic tensors
        The parameter, and its gradient or proposed next value.
    """

    def __init__(
        self,
        call: Call,
        param: TensorVariable,
        symbol: TensorVariable,
        index: int,
        decays: bool = True,
    ) -> None:
        self.call = call
        self._decays = decays
        self.owner = whole(param)
        self._name = self.owner.name or f"param_{index}"
        self.param: Any = param
        self.symbol: Any = symbol
        self._is_rows = table_of(param) is not None
        if self._is_rows:
            self.param, self.symbol = combined(param, symbol)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All hyperparameters by name, those that enter formulas in the parameter's dtype.

        Where a ``mask`` leaves the parameter out, every ``weight_decay`` of it is 0.
        """
        dtype = self.param.type.dtype
        own = self.call.symbols.in_dtype(dtype)
        if self._decays:
            return own
        decays = [name for name in own if name.endswith("weight_decay")]
        return own | dict.fromkeys(decays, _zero(self, dtype))

    @property
    def step(self) -> TensorVariable:
        """The number of calls before this one, as an int64 scalar: 0, 1, 2, ..."""
        return self.call.step

    @property
    def time(self) -> TensorVariable:
        """The number of this call, as a scalar of the dtype of the call: 1, 2, 3, ..."""
        return self.call.time

    def zeros(self, slot: str, extra_axes: tuple[int, ...] = ()) -> Any:
        """Make state of the parameter's shape, and more axes behind it, that starts at zero.

        It is kept in 16 bits where that was asked for, see `updates.half_precision`.
        """
        if not self.call.in_16_bits:
            return self._make(slot, functools.partial(zeros_like, extra_axes=extra_axes))
        kind = functools.partial(zeros_like, extra_axes=extra_axes, dtype=CODES)
        codes = self._make(slot, kind)
        numbers = restored(codes, self.param.type.dtype)
        self.call.codes[numbers] = codes
        return numbers

    def full(self, slot: str, value: float) -> Any:
        """Make state of the parameter's shape that starts at one number."""
        return self._make(slot, functools.partial(full_like, value=value))

    def copy(self, slot: str, is_average: bool = False) -> Any:
        """Make state that starts at the parameter's present value; it may be its average."""
        return self._make(slot, copy_of, average_of=self.owner if is_average else None)

    def array(self, slot: str, shape: tuple[int, ...] = ()) -> Any:
        """Make state of the parameter's dtype and another shape that starts at zero."""
        return self._make(slot, lambda param, name: filled(name, param.type.dtype, shape))

    def update(self, variable: Any, new_value: T) -> T:
        """Write the next value of a variable into the dictionary, and return that value."""
        return self.call.update(variable, new_value)

    def average(self, slot: str, value: TensorVariable, decay: Any) -> Any:
        """Keep an exponential moving average and return it: ``a' = decay*a + (1 - decay)*x``."""
        old = self.zeros(slot)
        return self.update(old, decay * old + _rest(self, decay) * value)

    def change(self, slot: str, value: TensorVariable) -> Any:
        """Keep a value and return its change since the call before: zero in the first call."""
        previous = self.zeros(slot)
        self.update(previous, value)
        return pt.switch(pt.eq(self.step, 0), 0, value - previous)

    def unbiased(self, average: TensorVariable, decay: Any) -> Any:
        """Correct an average for its start at zero: ``a / (1 - decay^t)``."""
        return average / _bias_correction(self, decay, average.type.dtype)

    def cast(self, symbol: Any) -> Any:
        """Cast a symbol of the whole call to the parameter's dtype."""
        dtype = self.param.type.dtype
        if not self._decays and symbol is self.call.hyperparameters["weight_decay"]:
            return _zero(self, dtype)
        return self.call.cast(symbol, dtype)

    def wide(self, hyperparameter: Any) -> Any:
        """Return a hyperparameter in the dtype of the call, which is that of norms."""
        return self.call.cast(hyperparameter, self.call.dtype)

    def normal(self, seed: int) -> TensorVariable:
        """Draw standard normal noise of the dtype and shape of the parameter."""
        return self.call.normal(self.param, seed)

    def _make(
        self, slot: str, kind: Callable[..., Any], average_of: TensorSharedVariable | None = None
    ) -> Any:
        state = kind(self.owner, f"{self._name}/{self.call.owner}/{slot}")
        provenance.mark(state, param=self.owner, average_of=average_of)
        values = without_names(state)
        return values[self.param.owner.inputs[1]] if self._is_rows else values


def checked_updates(updates: UpdatesLike, may_be_empty: bool = False) -> Updates:
    """Copy a dictionary of updates, or say what in it is not one."""
    if isinstance(updates, Variable) or not isinstance(updates, Iterable):
        raise TypeError(
            "updates must be a dictionary or a list of (variable, next value) pairs, got "
            f"{updates!r} of type {type(updates).__name__}"
        )
    copy: Updates = OrderedDict()
    for index, pair in enumerate(updates.items() if isinstance(updates, Mapping) else updates):
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise TypeError(f"updates[{index}] must be a pair (variable, next value), got {pair!r}")
        variable, new_value = pair
        if not isinstance(variable, SharedVariable):
            raise TypeError(
                f"updates may change shared variables only, got {variable!r} of type "
                f"{type(variable).__name__}"
            )
        if variable in copy:
            raise ValueError(f"updates gives {variable} two next values")
        if isinstance(new_value, Real | np.ndarray) and np.asarray(new_value).dtype.kind in "fiub":
            # pytensor.function takes these as well.
            dtype = variable.type.dtype if is_float_tensor(variable) else None
            new_value = with_names_of(variable, pt.constant(np.asarray(new_value, dtype=dtype)))
        if not isinstance(new_value, Variable):
            raise TypeError(
                f"the next value of {variable} must be symbolic, got {new_value!r} of type "
                f"{kind_of(new_value)}"
            )
        copy[variable] = new_value
    if not copy and not may_be_empty:
        raise ValueError("updates is empty, there is nothing to transform")
    return copy


@once_a_call
def _zero(state: State, dtype: str) -> TensorVariable:
    return pt.constant(0, dtype=dtype)


@once_a_call
def _rest(state: State, decay: Any) -> Any:
    return 1 - decay


@once_a_call
def _bias_correction(state: State, decay: TensorVariable, dtype: str) -> TensorVariable:
    return state.call.cast(1 - decay**state.time, dtype)
