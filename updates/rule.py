"""The decorators that make a rule of a formula.

- ``rule``: of a formula that sees one parameter
- ``joint_rule``: of a formula that needs all parameters at once, or the loss itself
- ``Rule``, ``LossRule``: what they make, as type checkers see it

A formula of ``rule`` is called for each parameter with its `State`, the parameter, its gradient
and the hyperparameters as symbols of the parameter's dtype, and returns the next value. One of
``joint_rule`` is called once with the `Call` and the hyperparameters as float64 symbols, and
writes the next values itself.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, overload

from pytensor.graph.basic import Variable

from updates import provenance
from updates.arguments import LossOrGrads, Params, checked_training
from updates.call import Call, State, Updates, checked_updates
from updates.declaration import Declaration, Deferred, declare, parameters_of, waited_for
from updates.docstrings import Shared, training_example
from updates.mappings import beside
from updates.rows import whole

P = ParamSpec("P")


class Rule(Protocol[P]):
    """A rule: now an ``OrderedDict`` of updates, or without loss and parameters a `Deferred`.

    A rule may wait without a hyperparameter that it requires, too. Type checkers cannot be told.
    """

    __name__: str

    @overload
    def __call__(
        self, loss_or_grads: LossOrGrads, params: Params, *args: P.args, **kwargs: P.kwargs
    ) -> Updates: ...
    @overload
    def __call__(
        self,
        loss_or_grads: None = None,
        params: None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred: ...


class LossRule(Protocol[P]):
    """A rule that cannot do with gradients: it needs the loss itself."""

    __name__: str

    @overload
    def __call__(
        self, loss: Variable, params: Params, *args: P.args, **kwargs: P.kwargs
    ) -> Updates: ...
    @overload
    def __call__(
        self, loss: None = None, params: None = None, *args: P.args, **kwargs: P.kwargs
    ) -> Deferred: ...


@overload
def rule(formula: Callable[Concatenate[State, Any, Any, P], Any], /) -> Rule[P]: ...
@overload
def rule(*, rows: bool) -> Callable[[Callable[Concatenate[State, Any, Any, P], Any]], Rule[P]]: ...


def rule(formula: Any = None, /, *, rows: bool = True) -> Any:
    """Make a rule of a formula that sees one parameter.

    Parameters
    ----------
    formula : function
        From a `State`, the parameter, its gradient and hyperparameters to the next value. Its
        signature declares the hyperparameters.
    rows : bool, optional
        Whether ``W[index]`` may stand for a parameter. It may where the formula works element
        by element, and not where it looks at a tensor as a whole.
    """
    if formula is None:
        return functools.partial(rule, rows=rows)

    def run(call: Call) -> None:
        for state, param, grad in call:
            state.update(param, formula(state, param, grad, **state.hyperparameters))

    return _rule(formula, run, hidden=3, rows=rows)


@overload
def joint_rule(formula: Callable[Concatenate[Call, P], Updates | None], /) -> Rule[P]: ...
@overload
def joint_rule(
    *, needs_loss: str
) -> Callable[[Callable[Concatenate[Call, P], Updates | None]], LossRule[P]]: ...


def joint_rule(formula: Any = None, /, *, needs_loss: str = "") -> Any:
    """Make a rule of a formula that needs all parameters at once.

    Parameters
    ----------
    formula : function
        From a `Call` and hyperparameters to nothing, or to more items for the dictionary.
    needs_loss : str, optional
        Why the rule cannot do with gradients, if it cannot.
    """
    if formula is None:
        return functools.partial(joint_rule, needs_loss=needs_loss)

    def run(call: Call) -> None:
        more = formula(call, **call.hyperparameters)
        if more is not None:
            call.updates |= checked_updates(more)

    return _rule(formula, run, hidden=1, rows=False, needs_loss=needs_loss)


def _rule(
    formula: Callable[..., Any],
    run: Callable[[Call], None],
    hidden: int,
    rows: bool,
    needs_loss: str = "",
) -> Any:
    parameters = parameters_of(formula)[hidden:]
    first = "loss" if needs_loss else "loss_or_grads"
    leading = [
        waited_for(first, (Variable if needs_loss else LossOrGrads) | None),
        waited_for("params", Params | None),
    ]
    declaration = Declaration(formula.__name__, leading, parameters, Updates | Deferred)

    def run_all(arguments: dict[str, Any]) -> Updates:
        loss_or_grads, params = arguments.pop(first), arguments.pop("params")
        if loss_or_grads is None or params is None:
            missing = first if loss_or_grads is None else "params"
            raise ValueError(
                f"{missing} is missing; give both {first} and params, or neither (and "
                "hyperparameters by name) to call the rule later"
            )
        checked, grads, loss = checked_training(
            loss_or_grads, params, rows=rows, needs_loss=needs_loss
        )
        given = {whole(param): grad for param, grad in zip(checked, grads, strict=True)}
        writing = provenance.Writing(formula.__name__, given, checked, loss if needs_loss else None)
        call = Call(
            formula.__name__, checked, grads, OrderedDict(), arguments, declaration.kinds, writing
        )
        run(call)
        return call.updates | beside(loss_or_grads, call.owners)

    return declare(formula, declaration, run_all, _shared(first, rows))


def _shared(first: str, rows: bool) -> Shared:
    return Shared(
        leading={
            "loss": (
                "symbolic scalar",
                "The loss itself: its gradients are not enough. Without it and `params` the call "
                "is deferred.",
            ),
            "loss_or_grads": (
                "symbolic scalar, or list or mapping of symbolic tensors",
                "A loss to differentiate, or one gradient for each parameter: in the order of "
                "`params`, or by parameter. Without it and `params` the call is deferred.",
            ),
            "params": (
                "shared variable, or list of shared variables",
                "Floating-point parameters of any shapes and dtypes."
                + (
                    " ``W[index]`` stands for rows of a table ``W``; its other rows and their "
                    "state rest."
                    if rows
                    else ""
                ),
            ),
        },
        returns="OrderedDict\nShared variable to next value: the parameters{state}. A `Deferred` "
        "when the call is deferred.",
        raises="ValueError, TypeError\nIf an argument is out of range or of the wrong kind, or "
        "loss, gradients and parameters do not match; the message names it.",
        example=lambda declaration: training_example(declaration, "loss, [w]"),
    )
