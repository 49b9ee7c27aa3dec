"""Hyperparameters between calls: read and change what a compiled function uses, without compiling.

- ``hyperparameters``: those of a dictionary of updates, by name
- ``Hyperparameters``: the mapping that it returns
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors

from updates import provenance
from updates.call import UpdatesLike, checked_updates
from updates.declaration import declared, named, public
from updates.given_numbers import is_number, present_value
from updates.keys import keyed_hyperparameters
from updates.kinds import Scalar, wrong_type
from updates.loss_graph import default_updates
from updates.state_dict import assign


@public
class Hyperparameters(MutableMapping[str, Any]):
    """The hyperparameters of a dictionary of updates: name to present value, see `hyperparameters`.

    Setting one is checked as if it had been given to the rule. Nothing can be deleted.

    Parameters
    ----------
    variables : dict of str to shared variable
        The variables that hold the values.
    uses : dict
        For each variable what may be given for the hyperparameters that it stands for, and the
        dtypes in which they are used.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> updates.hyperparameters(updates.momentum(w**2, [w], learning_rate=0.1))
    momentum/learning_rate  0.1
    momentum/momentum       0.9
    """

    def __init__(
        self, variables: Mapping[str, Any], uses: Mapping[Any, list[tuple[Any, str]]]
    ) -> None:
        self._variables, self._uses = variables, uses

    def __getitem__(self, name: str) -> Any:
        variable = self._found(name)
        if not is_number(variable):
            return variable.get_value(borrow=True).tolist()
        value = present_value(variable)
        return int(value) if isinstance(value, Integral) else float(value)

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name!r} cannot be deleted, because the formulas need it")

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        lines = [f"{name:{width}}  {value}" for name, value in self.items()]
        return "\n".join(lines) or "no hyperparameters"

    def update(self, *values: Any, **more: Any) -> None:
        """Set several hyperparameters, given as to ``dict.update``: all of them, or none."""
        given = dict(*values, **more)
        with named("hyperparameters"):
            assign([(self._found(name), self._checked(name, given[name])) for name in given])

    def _found(self, name: str) -> Any:
        if name in self._variables:
            return self._variables[name]
        close = [known for known in self if known.endswith(f"/{name}")]
        close = close or difflib.get_close_matches(str(name), self, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else "."
        known = ", ".join(map(repr, self)) or "none"
        raise KeyError(f"there is no hyperparameter {name!r}{meant} There are: {known}")

    def _checked(self, name: str, value: Any) -> np.ndarray:
        """Return a value as the variable holds it, or refuse it."""
        variable = self._variables[name]
        dtype, shape = np.dtype(variable.type.dtype), variable.get_value(borrow=True).shape
        if shape and np.shape(value) != shape:
            raise ValueError(f"{name} must have shape {shape}, got shape {np.shape(value)}")
        expected = Integral if dtype.kind in "iu" else Real
        numbers = np.ravel(np.asarray(value, dtype=object)) if shape else [value]
        for number in numbers:
            if not isinstance(number, expected) or isinstance(number, bool):
                words = "an integer" if expected is Integral else "a number"
                raise wrong_type(name, words, number)
            for kind, used_as in self._uses.get(variable, ()):
                kind.check(name, number, schedules=False)
                if isinstance(kind, Scalar):
                    kind.check_rounded(name, number, used_as)
        return np.asarray(value, dtype=dtype)


@declared
def hyperparameters(updates: UpdatesLike) -> Hyperparameters:
    """Give the hyperparameters of a dictionary of updates, to be read and changed between calls.

    Numbers that were given to rules, transforms and schedules are inputs of the compiled function.
    Another number takes effect in the next call, and nothing is compiled.

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value, as a rule or a transform returns it, or several of them
        merged.

    Returns
    -------
    Hyperparameters
        A mapping from names to present values, numbers of Python. A number has the name
        ``"<rule>/<hyperparameter>"``, in a schedule
        ``"<rule>/<hyperparameter>/<argument>"``, and in a list there its index behind it. A
        shared variable that was given has its own name. These are the keys of `state_dict`: of
        two calls of a rule, each has the alphabetically first of its parameters in front.

        ``h[name] = value`` sets one, ``h.update({...})`` several, all or none. What is out of
        range raises the `ValueError` that the rule would have raised, another type a `TypeError`,
        and an unknown name a `KeyError` that lists the known ones.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty or not a dictionary of updates.

    See Also
    --------
    schedule_values : the present value of each schedule.
    state_dict : numbers that were changed are part of what is saved.

    Notes
    -----
    What shapes the graph is none of them: integers such as ``n_win`` of `adagrad_window`, flags,
    None, and a `momentum` of 0 in `graves_rmsprop`. That two values fit together, such as the
    bounds of `apply_bounds`, is checked when the graph is built, and not again.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = updates.sgd(w**2, [w], learning_rate=0.1)
    >>> step = pytensor.function([], updates=rule)
    >>> h = updates.hyperparameters(rule)
    >>> for rate in (0.25, 0.5):
    ...     w.set_value(1.0)
    ...     h["sgd/learning_rate"] = rate
    ...     _ = step()
    ...     print(dict(h), float(w.get_value()))
    {'sgd/learning_rate': 0.25} 0.5
    {'sgd/learning_rate': 0.5} 0.0
    """
    items = checked_updates(updates)
    values = [*items.values(), *default_updates(items.values(), without=items).values()]
    found = keyed_hyperparameters(items)
    tensors = {key: variable for key, variable in found.items() if hasattr(variable.type, "dtype")}
    return Hyperparameters(tensors, _uses(values))


def _uses(values: list[Variable]) -> dict[Any, list[tuple[Any, str]]]:
    """Find what each variable stands for itself: what may be given there, and in which dtype."""
    uses: dict[Any, list[tuple[Any, str]]] = {}
    symbols: Iterable[Any] = ancestors(values)
    for symbol in symbols:
        record = provenance.of(symbol)
        if record.admits is not None:
            source = symbol if symbol.owner is None else symbol.owner.inputs[0]
            if isinstance(source, SharedVariable):
                uses.setdefault(source, []).append((record.admits, symbol.type.dtype))
    return uses
