"""The decorators that make an update transform of a formula.

- ``update_transform``: of a formula that sees one parameter and its proposed next value
- ``joint_update_transform``: of a formula that needs all parameters at once
- ``dictionary_transform``: of a formula that needs all items of the dictionary
- ``UpdateTransform`` and others: what they make, as type checkers see it

A transform copies: the dictionary that it is given stays as it is. Without `params` it acts on
what rules step. In a dictionary that was made by hand, it acts on what has a gradient of the loss
in its next value, if `pytensor.grad` made it, or on its only floating-point variable.
"""

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, overload

from pytensor.graph.basic import Variable

from updates import provenance
from updates.arguments import Params, checked_params, in_types_of, is_float_tensor
from updates.call import Call, State, Updates, UpdatesLike, checked_updates
from updates.declaration import Declaration, Deferred, declare, parameters_of, waited_for
from updates.docstrings import Shared, training_example
from updates.given_numbers import Place
from updates.loss_graph import trained
from updates.precision import wide
from updates.rows import label, stand_in
from updates.state import is_state
from updates.symbols import Symbols

P = ParamSpec("P")


class UpdateTransform(Protocol[P]):
    """A transform of the steps of parameters; without a dictionary it waits for it."""

    __name__: str

    @overload
    def __call__(
        self, updates: UpdatesLike, params: Params | None = None, *args: P.args, **kwargs: P.kwargs
    ) -> Updates: ...
    @overload
    def __call__(
        self,
        updates: None = None,
        params: Params | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred: ...


class LossTransform(Protocol[P]):
    """A transform of the steps of parameters that looks at the loss as well."""

    __name__: str

    @overload
    def __call__(
        self,
        updates: UpdatesLike,
        loss: Variable,
        params: Params | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Updates: ...
    @overload
    def __call__(
        self,
        updates: None = None,
        loss: Variable | None = None,
        params: Params | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred: ...


class DictionaryTransform(Protocol[P]):
    """A transform of all items of a dictionary; without one it waits for it."""

    __name__: str

    @overload
    def __call__(self, updates: UpdatesLike, *args: P.args, **kwargs: P.kwargs) -> Updates: ...
    @overload
    def __call__(self, updates: None = None, *args: P.args, **kwargs: P.kwargs) -> Deferred: ...


@overload
def update_transform(
    formula: Callable[Concatenate[State, Any, Any, P], Any], /
) -> UpdateTransform[P]: ...
@overload
def update_transform(
    *, acts_on: Callable[[Any], bool]
) -> Callable[[Callable[Concatenate[State, Any, Any, P], Any]], UpdateTransform[P]]: ...


def update_transform(formula: Any = None, /, *, acts_on: Any = None) -> Any:
    """Make an update transform of a formula that sees one parameter.

    Parameters
    ----------
    formula : function
        From a `State`, the parameter, its proposed next value and hyperparameters as symbols of
        the parameter's dtype to the next value.
    acts_on : function, optional
        Which parameters the transform acts on where `params` does not say.
    """
    if formula is None:
        return functools.partial(update_transform, acts_on=acts_on)

    def run(call: Call) -> None:
        for state, param, proposed in call:
            state.update(param, formula(state, param, proposed, **state.hyperparameters))

    return _transform(formula, run, hidden=3, acts_on=acts_on)


def joint_update_transform(
    formula: Callable[Concatenate[Call, Variable, P], None],
) -> LossTransform[P]:
    """Make an update transform of a formula that needs all parameters at once, and the loss.

    The formula takes a `Call`, the loss, and hyperparameters as float64 symbols, and writes the
    next values.
    """
    writes: Callable[..., None] = formula

    def run(call: Call) -> None:
        writes(call, **call.hyperparameters)

    return _transform(formula, run, hidden=1)


def dictionary_transform(
    formula: Callable[Concatenate[Updates, P], Updates],
) -> DictionaryTransform[P]:
    """Make an update transform of a formula that takes a copy of the dictionary and returns it."""
    transform: Callable[..., Updates] = formula
    parameters = parameters_of(formula)[1:]
    declaration = Declaration(
        formula.__name__, [_UPDATES], parameters, Updates | Deferred, schedules=False
    )

    def run(arguments: dict[str, Any]) -> Updates:
        copy = checked_updates(arguments.pop("updates"))
        dtype = wide(*(variable.type.dtype for variable in copy if is_float_tensor(variable)))
        place = Place(declaration.name, tuple(v for v in copy if not is_state(v)))
        symbols = Symbols(arguments, declaration.kinds, place, dtype)
        return transform(copy, **symbols.in_dtype(dtype))

    return declare(formula, declaration, run, _SHARED)


def _transform(
    formula: Callable[..., Any],
    run: Callable[[Call], None],
    hidden: int,
    acts_on: Callable[[Any], bool] | None = None,
) -> Any:
    parameters = parameters_of(formula)[hidden:]
    works_with = [p.name for p in parameters if p.annotation is Variable]
    parameters[len(works_with) : len(works_with)] = [_PARAMS]
    declaration = Declaration(formula.__name__, [_UPDATES], parameters, Updates | Deferred)

    def run_all(arguments: dict[str, Any]) -> Updates:
        copy = checked_updates(arguments.pop("updates"))
        besides = [arguments[name] for name in works_with]
        params = arguments.pop("params")
        if params is None:
            params = [v for v in _params_of(copy) if acts_on is None or acts_on(v)]
        chosen = checked_params(params)
        for index, param in enumerate(chosen):
            if param not in copy:
                raise ValueError(
                    f"{label(param, index)} is not among the variables that updates changes"
                )
        values = [copy[param] for param in chosen]
        chosen = list(map(stand_in, chosen))
        proposed = in_types_of(chosen, "next value", values)
        ends = [*chosen, *copy.values(), *proposed, *besides]
        writing = provenance.Writing(formula.__name__, {}, ends)
        call = Call(formula.__name__, chosen, proposed, copy, arguments, declaration.kinds, writing)
        run(call)
        return call.updates

    return declare(formula, declaration, run_all, _SHARED)


def _params_of(updates: Updates) -> list[Any]:
    """Return what rules step, or the parameters of a dictionary made by hand, if it tells them."""
    found = provenance.stepped(updates)
    own = [variable for variable in updates if is_float_tensor(variable) and not is_state(variable)]
    if found or len(own) < 2:
        return found or own
    found = [variable for variable in trained(updates) if variable in own]
    if not found:
        raise ValueError(
            f"params is needed here: no rule made this dictionary, and nothing tells which of "
            f"{', '.join(map(str, own))} are parameters; give params, a list of them"
        )
    return found


_UPDATES = waited_for("updates", UpdatesLike | None)
_PARAMS = waited_for("params", Params | None)


def _example(declaration: Declaration) -> str:
    besides = ", loss" * ("loss" in declaration.signature.parameters)
    return training_example(declaration, f"updates.sgd(loss, [w], 0.1){besides}")


_SHARED = Shared(
    leading={
        "updates": (
            "dict or list of pairs",
            "Shared variable to next value, as a rule returns it. Without it the call is deferred.",
        ),
        "params": (
            "shared variable, or list of shared variables",
            "Which of the updated variables to act on. By default those that rules step; they "
            "are needed in a dictionary made by hand whose gradients `pytensor.grad` did not make.",
        ),
    },
    returns="OrderedDict\nA copy of `updates` with new next values{state}. A `Deferred` when the "
    "call is deferred.",
    raises="ValueError, TypeError\nIf an argument is out of range or of the wrong kind, `updates` "
    "is empty or not a dictionary, or a parameter is not among its variables; the message names "
    "it.",
    example=_example,
)
