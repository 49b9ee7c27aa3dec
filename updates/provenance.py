"""Provenance: what a variable is to the library, in one record that is found by the variable.

- ``Provenance``: the record
- ``of``, ``mark``: read it, and add facts to it
- ``computed_gradients``, ``gradient_at``: mark gradients that the library computed
- ``transformed``: mark what a gradient transform made of gradients
- ``Writing``, ``chosen``: mark what a rule or an update transform writes into its dictionary
- ``reads_as``: let an expression read as one of its inputs, as `describe` shows it
- ``stepped``: the variables of a dictionary that a rule or an update transform moves
- ``given_gradient``, ``loss_in``, ``is_unchanged``: what `describe` asks
- ``source_of``: the gradient that gradient transforms started from

The record is kept in the tag of variables that the library itself made: state, numbers, next
values, gradients that it computed, guards and casts. Nothing is written on variables of the user:
parameters, losses, inputs, gradients that were given. What a rule was given is told by the next
value that the rule wrote, as the way from there down to the gradient: the positions of the inputs
to take. Such a way needs no reference to a second graph, and a copy of the graph, made by
``copy.deepcopy``, by pickle or by ``graph_replace``, has the same ways.

How a rule uses it: ``computed_gradients`` after differentiating, one ``Writing`` for its call and
``Writing.next_value`` for every item, ``mark(state, is_state=True, ...)`` where state is made, and
``reads_as`` where the formula has an operation that says nothing to a reader. Casts within the
formula are found by ``Writing`` itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.scalar.basic import Cast
from pytensor.tensor.elemwise import Elemwise

from updates.private import age_of

# The positions of the inputs that lead from a variable down to another.
Way = tuple[int, ...]


@dataclass(frozen=True)
class Provenance:
    """What a variable is to the library. Everything is empty for variables of the user.

    Parameters
    ----------
    made_as : int
        The number of the variable that this was written for, which copies of the graph made by
        ``graph_replace`` do not share. 0 if PyTensor does not number variables.
    owner : str
        The rule or transform that made it.
    is_state : bool
        Whether it is state that a rule or transform keeps.
    param : shared variable, optional
        The parameter that the state belongs to.
    is_number : bool
        Whether it holds a number that was given as a hyperparameter, see `updates.given_numbers`.
    params : tuple of shared variables
        The parameters of the call that state, or a number, belongs to, where it is not one
        parameter's.
    start : number, seed or parameter
        What the state starts from, or the number that was given.
    average_of : shared variable, optional
        The parameter that it averages.
    schedules : dict
        Of a step counter: ``"<rule>/<hyperparameter>"`` to the value that a schedule gives.
    steps : shared variable, optional
        What this is the next value of, if a rule or an update transform wrote it.
    gradient : way, optional
        From a next value, or from the result of a gradient transform, to the gradient given.
    gradient_params : tuple of shared variables
        Whose gradient is at the end of this way.
    loss : way, optional
        From a next value to the loss.
    gradient_of : tuple of shared variables
        The parameters that the library computed this gradient of, several where they enter the
        loss alike.
    kind : {"g", "Hu"}
        Whether that is a gradient of the loss, or the Hessian times a vector.
    at : tuple of variables
        Where the gradient is taken, for each parameter, if not at the parameters themselves.
    hyperparameter : str
        The hyperparameter that this is the symbol of.
    admits : Kind, optional
        What may be given for that hyperparameter, see `updates.kinds`.
    reads_as : int, optional
        The input of its operation that it reads as.
    symbol : str
        What it reads as: "finite", "t", "normal()".
    joint : {"", "norm", "sum of squares"}
        Whether it joins all elements of several tensors.
    """

    made_as: int = 0
    owner: str = ""
    is_state: bool = False
    is_number: bool = False
    param: Any = None
    params: tuple[Any, ...] = ()
    start: Any = None
    average_of: Any = None
    schedules: Mapping[str, Variable] = field(default_factory=dict)
    steps: Any = None
    gradient: Way | None = None
    gradient_params: tuple[Any, ...] = ()
    loss: Way | None = None
    gradient_of: tuple[Any, ...] = ()
    kind: str = "g"
    at: tuple[Any, ...] = ()
    hyperparameter: str = ""
    admits: Any = None
    reads_as: int | None = None
    symbol: str = ""
    joint: str = ""


_NOTHING = Provenance()


def of(variable: Variable) -> Provenance:
    """Return what a variable is to the library."""
    return getattr(variable.tag, "updates_provenance", _NOTHING)


def mark(variable: Any, **facts: Any) -> Any:
    """Add facts to the record of a variable that the library made, and return the variable."""
    record = replace(of(variable), made_as=age_of(variable), **facts)
    variable.tag.updates_provenance = record
    return variable


def is_unchanged(variable: Variable) -> bool:
    """Tell a variable from a copy of it that may have other values in the place of its inputs."""
    return of(variable).made_as == age_of(variable) != 0


def reads_as(variable: Any, position: int = 0) -> Any:
    """Let an expression that the library made read as the input at a position.

    This is for guards and casts. What needed no operation, a cast to the same type for
    instance, is left alone, as it may be a variable of the user.
    """
    return variable if variable.owner is None else mark(variable, reads_as=position)


def cast(variable: Any, dtype: str) -> Any:
    """Cast to a dtype without a trace in what is printed."""
    result = pt.cast(variable, dtype)
    return result if result is variable else reads_as(result)


def computed_gradients(
    grads: Sequence[Any], params: Sequence[Any], loss: Variable, kind: str = "g"
) -> list[Any]:
    """Mark gradients that were just computed, each with the parameters that it is of.

    One that is part of the loss, and so of the user, is copied first.
    """
    of_user = set(ancestors([loss]))
    copies = {g: pt.tensor_copy(g) if g in of_user else g for g in grads}
    found: dict[Any, tuple[Any, ...]] = {}
    for gradient, param in zip(grads, params, strict=True):
        found[copies[gradient]] = (*found.get(copies[gradient], ()), param)
    for gradient, own in found.items():
        mark(gradient, gradient_of=own, kind=kind, at=())
    return [copies[gradient] for gradient in grads]


def gradient_at(
    copies: Sequence[Any], grads: Sequence[Any], params: Sequence[Any], points: Sequence[Any]
) -> None:
    """Mark copies of gradients that have points in the place of the parameters."""
    point_of = dict(zip(params, points, strict=True))
    writing = Writing("", {}, [*params, *copies])
    for point in points:
        writing.hide_casts(point)
    for copy, gradient in zip(copies, grads, strict=True):
        own = of(gradient).gradient_of
        at = tuple(point_of.get(param, param) for param in own)
        mark(copy, gradient_of=own, kind=of(gradient).kind, at=at)


def transformed(owner: str, grads: Sequence[Any], results: Sequence[Any]) -> list[Any]:
    """Mark what a gradient transform made of each gradient, and return it."""
    writing = Writing(owner, {}, grads)
    for gradient, result in zip(grads, results, strict=True):
        way = writing.way(result, gradient)
        if way:
            mark(result, owner=owner, gradient=way)
            writing.hide_casts(result)
    return list(results)


def chosen(value: Any, new_value: Variable) -> Any:
    """Mark a choice between a next value and an old one as the next value that it may be."""
    return mark(value, owner=of(new_value).owner, steps=of(new_value).steps)


class Writing:
    """What one call of a rule or of a transform writes into its dictionary.

    Parameters
    ----------
    owner : str
        The name of the rule or transform.
    given : dict
        Parameter to the gradient that the rule was given or computed for it. Empty in an update
        transform.
    ends : iterable
        What else the user gave: hyperparameters, the next values that an update transform
        started from. Formulas of the library end there.
    loss : symbolic scalar, optional
        The loss, where formulas may contain it.
    """

    def __init__(
        self,
        owner: str,
        given: Mapping[Any, Any],
        ends: Iterable[Any] = (),
        loss: Variable | None = None,
    ) -> None:
        self.owner, self.given, self.loss = owner, given, loss
        self.ends: set[Variable] = set()
        self.end_at([*given.values(), *ends, loss])
        self._seen: set[Any] = set()

    def end_at(self, given: Iterable[Any]) -> None:
        """Let formulas end at what else the user gave, where it is symbolic."""
        self.ends |= {variable for variable in given if isinstance(variable, Variable)}

    def next_value(self, variable: Any, value: Any) -> None:
        """Mark an item of the dictionary, unless its value is a variable of the user."""
        if value.owner is None or value in self.ends:
            return
        own = of(variable).param if of(variable).is_state else variable
        facts: dict[str, Any] = {"owner": self.owner, "steps": variable}
        if own in self.given:
            gradient = self.given[own]
            facts["gradient"] = self.way(value, gradient)
            facts["gradient_params"] = tuple(p for p in self.given if self.given[p] is gradient)
        if self.loss is not None:
            facts["loss"] = self.way(value, self.loss)
        mark(value, **facts)
        self.hide_casts(value)

    def way(self, start: Any, target: Variable) -> Way | None:
        """Find the shortest way down to a variable, through what the library computed."""
        ways: dict[Any, Way] = {start: ()}
        queue = [start]
        for variable in queue:
            if variable is target:
                return ways[variable]
            if not self._is_end(variable):
                for position, source in enumerate(variable.owner.inputs):
                    if source not in ways:
                        ways[source] = (*ways[variable], position)
                        queue.append(source)
        return None

    def hide_casts(self, start: Any) -> None:
        """Let the casts of a formula of the library read as what they cast."""
        queue = [start]
        for variable in queue:
            if self._is_end(variable) or variable in self._seen:
                continue
            self._seen.add(variable)
            node = variable.owner
            queue += node.inputs
            is_cast = isinstance(node.op, Elemwise) and isinstance(node.op.scalar_op, Cast)
            if is_cast and of(variable).reads_as is None:
                reads_as(variable)

    def _is_end(self, variable: Any) -> bool:
        """Tell what the formula is about from the formula: gradients and what the user gave."""
        return variable.owner is None or variable in self.ends or bool(of(variable).gradient_of)


def stepped(updates: Mapping[Any, Variable]) -> list[Any]:
    """Return the floating-point variables of a dictionary that a rule or a transform moves.

    Not among them are state, and what the user computes and merged in: running means for
    instance. What a rule wrote counts even where the user has changed it afterwards.
    """
    return [
        variable
        for variable, value in updates.items()
        if not of(variable).is_state
        and "float" in str(getattr(variable.type, "dtype", ""))
        and (
            of(value).steps is variable
            or any(of(inner).steps is variable for inner in ancestors([value]))
        )
    ]


def given_gradient(value: Variable) -> Variable | None:
    """Return the gradient that a next value, or what a transform returned, was computed from."""
    found = _at_end(value, of(value).gradient)
    while found is not None:
        record = of(found)
        if record.gradient is not None:
            found = _at_end(found, record.gradient)
        elif record.reads_as is not None:
            found = _at_end(found, (record.reads_as,))
        else:
            break
    return found


def source_of(gradient: Variable) -> Variable:
    """Return the gradient that gradient transforms started from, which may be this one."""
    found = given_gradient(gradient)
    return gradient if found is None else found


def loss_in(value: Variable) -> Variable | None:
    """Return the loss that a next value contains, as far as that was marked."""
    return _at_end(value, of(value).loss)


def _at_end(start: Any, way: Way | None) -> Any:
    """Follow a way, or return None where the graph is another by now."""
    for position in way or ():
        if start.owner is None or position >= len(start.owner.inputs):
            return None
        start = start.owner.inputs[position]
    return start if way else None
