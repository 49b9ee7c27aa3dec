"""A composition of transforms and a rule, as one value that waits.

- ``chain``: gradient transforms, a rule, update transforms, in the order in which they happen
- ``gradient_transformation``: a function of the user's in the same form
- ``Chain``: what they return
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pytensor.graph.basic import Variable

from updates.arguments import LossOrGrads, Params, checked_params
from updates.call import checked_updates
from updates.declaration import GRADIENT_TRANSFORM, RULE, UPDATE_TRANSFORM, Deferred, public
from updates.optimizer import Optimizer
from updates.rows import whole


@public
class Chain(Optimizer):
    """Transforms and a rule that wait for a loss or gradients, and parameters.

    Parameters
    ----------
    *parts : functions
        What `chain` was given.

    Examples
    --------
    See `chain`.
    """

    def __init__(self, *parts: Callable[..., Any]) -> None:
        self.parts = parts

    def __call__(
        self, loss_or_grads: LossOrGrads | None = None, params: Params | None = None
    ) -> Any:
        """Apply all parts, one after the other, and return the updates."""
        if loss_or_grads is None and params is None:
            return self
        if loss_or_grads is None or params is None:
            missing = "loss_or_grads" if loss_or_grads is None else "params"
            raise ValueError(f"chain: {missing} is missing; give both or neither")
        params = checked_params(params, rows=True)
        loss = loss_or_grads if isinstance(loss_or_grads, Variable) else None
        stage: Any = loss_or_grads
        for part in self.parts:
            stage = _applied(part, stage, params, loss)
        return checked_updates(stage)

    def applied(self, stage: Any, params: list[Any]) -> Any:
        """Apply it to gradients."""
        return self(stage, params)

    def __repr__(self) -> str:
        return f"chain({', '.join(map(_name, self.parts))})"


@public
def chain(*parts: Callable[..., Any]) -> Chain:
    """Compose gradient transforms, one rule and update transforms into one rule that waits.

    ``chain(f, rule, t)(loss, params) = t(rule(f(grads), params))``

    The result goes wherever a rule goes: `minimize`, `sam`, ``net.SGD(rule=...)``, ``pm.fit``,
    pymc-extras' ``fit_advi`` and ``Trainer``, pytensor-ml's ``compile_train``. It prints and
    pickles as what it is made of.

    Parameters
    ----------
    *parts : rules and transforms that wait, or functions
        In the order in which they happen: what changes gradients, as
        ``clip_by_global_norm(max_norm=10)``; one rule, as ``adam(learning_rate=0.01)``, or another
        chain; what changes updates, as ``apply_ema()``. A function of your own takes a loss or
        gradients and parameters, and returns a list of gradients before the rule, and a dictionary
        of updates in its place; after it, it takes updates and parameters, and returns updates.

    Returns
    -------
    Chain
        A function of a loss or gradients, and of parameters.

    Raises
    ------
    ValueError
        If there is no rule, or a second one, or a transform stands on the wrong side of it.
    TypeError
        If a part is no function, or does not wait.

    References
    ----------
    ``optax.chain`` (2020), whose parts all change gradients or steps.

    Examples
    --------
    >>> import pytensor, updates
    >>> rule = updates.chain(
    ...     updates.clip_by_global_norm(max_norm=1.0),
    ...     updates.sgd(learning_rate=0.5),
    ...     updates.apply_if_finite(),
    ... )
    >>> w = pytensor.shared(3.0, name="w")
    >>> train = pytensor.function([], updates=rule(w**2, [w]))
    >>> train()
    []
    >>> w.get_value()
    array(2.5)
    """
    if not parts:
        raise ValueError("chain: give at least a rule, such as updates.adam(learning_rate=0.01)")
    for index, part in enumerate(parts):
        _check_part(f"parts[{index}]", part)
    _check_order(parts)
    return Chain(*parts)


@public
def gradient_transformation(function: Callable[..., Any]) -> Chain:
    """Give a function of your own what pymc-extras asks of an optimizer.

    Rules, and what `chain` makes, have it already.

    Parameters
    ----------
    function : function
        From a loss or a list of gradients, and a list of parameters, to a dictionary of updates.

    Returns
    -------
    Chain
        The same function with ``init``, ``update`` and ``pytensor``.

    Raises
    ------
    TypeError
        If it is no function.

    Examples
    --------
    >>> import pytensor, updates
    >>> def halved(grads, params):
    ...     return updates.sgd([grad / 2 for grad in grads], params, 0.1)
    >>> optimizer = updates.gradient_transformation(halved)
    >>> w = pytensor.shared(1.0, name="w")
    >>> [step], state = optimizer.pytensor([w], [w])
    >>> step.eval(), state
    (array(-0.05), OrderedDict())
    """
    _check_part("function", function, "gradient_transformation")
    return Chain(function)


def _role(part: Any) -> str:
    """Return what a part is; "" for a function of the user's."""
    if isinstance(part, Chain):
        return RULE
    return part.role if isinstance(part, Deferred) else ""


def _name(part: Any) -> str:
    return repr(part) if isinstance(part, Optimizer) else getattr(part, "__name__", repr(part))


def _check_part(name: str, part: Any, owner: str = "chain") -> None:
    if isinstance(part, Mapping):
        raise TypeError(
            f"{owner}: {name} is a dictionary of updates, made already; give the rule without "
            "loss and parameters, such as updates.adam(learning_rate=0.01)"
        )
    if isinstance(part, Variable) or not callable(part):
        raise TypeError(f"{owner}: {name} must be a rule or transform that waits, got {part!r}")
    if isinstance(part, Deferred) and not part.role:
        raise TypeError(
            f"{owner}: {name} is {part!r}, which works on one tensor; use one of the functions "
            "that take all gradients, such as clip_by_norm, or apply_norm_constraint"
        )
    if hasattr(part, "__declaration__"):
        raise TypeError(
            f"{owner}: {name} is the function {_name(part)} itself; call it without loss and "
            f"parameters: {_name(part)}(...)"
        )


def _check_order(parts: Sequence[Any]) -> None:
    """Refuse parts that are no gradient transforms, one rule and update transforms in turn."""
    roles = [_role(part) for part in parts]
    rules = [part for part, role in zip(parts, roles, strict=True) if role == RULE]
    if len(rules) > 1:
        raise ValueError(
            f"chain: {_name(rules[0])} and {_name(rules[1])} are both rules, and a parameter has "
            "one next value; keep one, or use merge_updates for groups of parameters"
        )
    if not rules and "" not in roles:
        raise ValueError(
            f"chain: there is no rule among {', '.join(map(_name, parts))}; add one, such as "
            "updates.adam(learning_rate=0.01)"
        )
    # A function of the user's may be the rule.
    first = roles.index(RULE if rules else "")
    for index, (part, role) in enumerate(zip(parts, roles, strict=True)):
        if role == UPDATE_TRANSFORM and index < first:
            raise ValueError(
                f"chain: {_name(part)} changes the updates that a rule makes, so it comes after "
                f"{_name(parts[first])}"
            )
        if role == GRADIENT_TRANSFORM and {RULE, UPDATE_TRANSFORM} & {*roles[:index]}:
            raise ValueError(
                f"chain: {_name(part)} changes gradients, so it comes before the rule; what "
                "changes steps after it are the functions named apply_..."
            )


def _applied(part: Any, stage: Any, params: list[Any], loss: Variable | None) -> Any:
    """Apply one part to a loss, gradients or updates."""
    if _role(part) == "":
        result = part(stage, params)
        if not isinstance(result, Iterable) or isinstance(result, Variable | str):
            raise TypeError(
                f"chain: {_name(part)} must return a list of gradients or a dictionary of updates, "
                f"got {result!r}"
            )
        if isinstance(result, Mapping):
            return result
        items = list(result)
        return checked_updates(items) if any(isinstance(item, tuple) for item in items) else items
    if _role(part) == UPDATE_TRANSFORM:
        return part.on_updates(stage, [whole(param) for param in params], loss)
    return part(stage, params) if _role(part) == RULE else part.applied(stage, params)
