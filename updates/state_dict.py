"""State as a dictionary of arrays: read it, restore it, start it anew.

- ``state_dict``: everything that a dictionary of updates changes, by key
- ``load_state_dict``: restore such values, all of them or none
- ``CheckpointError``: the error for state that does not match
- ``reset``: return the library's state, but not the parameters, to its start
- ``saved_arrays``: the values that are saved
- ``matched``: which saved key each variable has
- ``to_array``, ``checked_value``, ``assign``: values as arrays and back

The keys are those of ``updates.keys``. A random generator becomes an array of bytes, the JSON text
of its state.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable

from updates import provenance
from updates.arguments import is_float_tensor
from updates.call import UpdatesLike, checked_updates
from updates.declaration import declared, public
from updates.given_numbers import is_changed, is_number, start_value
from updates.keys import (
    Saved,
    are_variables,
    check_names,
    keyed,
    listed,
    renamed,
    reusable,
    variables_of,
)
from updates.loss_graph import default_updates
from updates.state import is_state, start_of


@public
class CheckpointError(ValueError):
    """Saved state that does not match, or a file of it that is damaged, hostile or too new."""


@declared
def state_dict(updates: Saved) -> dict[str, np.ndarray]:
    """Return copies of the values of everything that a dictionary of updates changes.

    Parameters
    ----------
    updates : dict or list of pairs, or list of shared variables
        Shared variable to next value: what is given to ``pytensor.function``. It should hold
        everything that the function changes, your own random generators and running means included.
        Variables that the function advances by itself, such as the generator of
        `add_gradient_noise`, are found, and so are shared variables in hyperparameters: a learning
        rate that is lowered between calls. Numbers that were given as hyperparameters are among
        them once they have been changed, see `hyperparameters`. Of a list of shared variables these
        are returned.

    Returns
    -------
    dict of str to numpy.ndarray
        Key to value, of each variable's dtype and shape, in the order of `updates`. The key is the
        variable's name, and does not depend on any order; see the module ``updates.keys``.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty or not a dictionary of updates, or if two of your variables have the
        same name or none.

    See Also
    --------
    save : write the same to a file.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = updates.momentum(w**2, [w], learning_rate=0.1)
    >>> updates.state_dict(rule)
    {'w/momentum/velocity': array(0.), 'w': array(1.)}
    """
    return {key: np.array(array) for key, array in saved_arrays(updates).items()}


@declared
def load_state_dict(
    updates: Saved,
    state: Mapping[str, Any],
    strict: bool = True,
    names: Mapping[str, str] | None = None,
) -> tuple[list[str], list[str]]:
    """Restore values that `state_dict` returned: all of them, or none if one does not match.

    Parameters
    ----------
    updates : dict or list of pairs, or list of shared variables
        Updates of the same model and rule as those that the values came from. Of a list of shared
        variables, parameters for instance, each must be in `state`, which may hold more. A number
        that was given as a hyperparameter, and that `state` does not have, becomes again what it
        was given as: what is edited in a program holds when training is resumed.
    state : dict of str to array
        Key to value. Values are copied.
    strict : bool, optional
        Whether the keys must be the same. Otherwise keys without a counterpart are left alone; at
        least one parameter must have one, and dtypes and shapes must match in any case.
    names : dict of str to str, optional
        Saved name to the name now, for a model whose variables have been renamed. The state of a
        renamed parameter goes with it.

    Returns
    -------
    (list of str, list of str)
        The keys that `state` lacks, and its keys that no variable has, as they are called now.
        Both are empty if `strict`, except that a list of shared variables need not take all keys.

    Raises
    ------
    CheckpointError
        If a key, a dtype or a shape does not match, a number is out of range, or no parameter is
        found; the message names it. Every variable then keeps its value.
    ValueError, TypeError
        If `updates` is empty or not a dictionary of updates, or `state` is not a dictionary.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = updates.momentum(w**2, [w], learning_rate=0.1)
    >>> before = updates.state_dict(rule)
    >>> _ = pytensor.function([], updates=rule)()
    >>> updates.load_state_dict(rule, before)
    ([], [])
    >>> float(w.get_value())
    1.0
    """
    if not isinstance(state, Mapping):
        raise TypeError(
            f"state must be a dictionary of arrays by key, got {state!r} of type "
            f"{type(state).__name__}"
        )
    check_names(names)
    updates = reusable(updates)
    found = matched(updates, keyed(updates), state, strict, names)
    values = [(v, checked_value(key, v, _copy(key, state[key]))) for key, v in found.variables]
    assign([*values, *found.numbers])
    return found.missing, found.unexpected


@declared
def reset(updates: UpdatesLike) -> None:
    """Return the state that the library made to its start, as if no step had been taken.

    Averages, velocities, sums and step counters become zero again, and random generators start
    again from their seed. State that starts as a copy of a parameter becomes a copy of its present
    value. Parameters, hyperparameters and variables of your own stay as they are.

    Parameters
    ----------
    updates : dict or list of pairs
        Shared variable to next value.

    Raises
    ------
    ValueError, TypeError
        If `updates` is empty or not a dictionary of updates.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = updates.adam(w**2, [w], learning_rate=0.1)
    >>> _ = pytensor.function([], updates=rule)()
    >>> updates.reset(rule)
    >>> {key: float(value.round(1)) for key, value in updates.state_dict(rule).items()}
    {'w/adam/first_moment': 0.0, 'w/adam/second_moment': 0.0, 'adam/step': 0.0, 'w': 0.9}
    """
    copy = checked_updates(updates)
    variables = [*copy, *default_updates(copy.values(), without=copy)]
    assign([(variable, start_of(variable)) for variable in variables if is_state(variable)])


class Matched(NamedTuple):
    """Which variables have a saved value, by its key, and what has no counterpart.

    Numbers that were not saved have the value that they were given as.
    """

    variables: list[tuple[str, Any]]
    numbers: list[tuple[SharedVariable, Any]]
    missing: list[str]
    unexpected: list[str]


def matched(
    updates: Any,
    variables: Mapping[str, Any],
    keys: Iterable[str],
    strict: bool,
    names: Mapping[str, str] | None,
) -> Matched:
    """Find the saved key of each of the variables of `updates`, or say what does not match.

    If `strict`, nothing may be without a counterpart, except for what was saved beside the shared
    variables of a list.
    """
    try:
        saved = renamed(keys, names or {})
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    numbers = [v for key, v in variables.items() if is_number(v) and key not in saved]
    missing = [key for key, v in variables.items() if key not in saved and not is_number(v)]
    unexpected = [key for key in saved if key not in variables]
    parts = [f"lacks {listed(missing)}"] if missing else []
    if not are_variables(updates) and unexpected:
        parts.append(f"has unknown {listed(unexpected)}")
    changed = variables_of(updates)
    own = {key: v for key, v in variables.items() if v in changed and not is_state(v)}
    params = {key for key, variable in own.items() if is_float_tensor(variable)}
    if parts and (strict or (params and params <= set(missing))):
        why = "is it another model?" if strict else "no parameter of this model is in it."
        raise CheckpointError(f"the saved state {' and '.join(parts)}: {why}{_advice(saved)}")
    found = [(saved[key], variable) for key, variable in variables.items() if key in saved]
    return Matched(found, [(v, start_value(v)) for v in numbers], missing, unexpected)


def _advice(saved: Mapping[str, str]) -> str:
    """Say which names `names` can map, and why keys of version 0.1 may be others."""
    advice = " Renamed variables are found with names={saved name: name now}"
    if any(re.search(r"#\d+$|^variable_\d+$|^param_\d+/", key) for key in saved):
        advice += (
            "; up to version 0.1 variables without a name, and equal names, were numbered in the "
            "order of the dictionary"
        )
    return advice


def saved_arrays(updates: Saved) -> dict[str, np.ndarray]:
    """Return what is saved: all values, but for numbers that are what they were given as."""
    return {
        key: to_array(variable)
        for key, variable in keyed(updates).items()
        if not is_number(variable) or is_changed(variable)
    }


def to_array(variable: SharedVariable) -> np.ndarray:
    """Return the value of a variable as an array, which is not a copy if it is one already."""
    value = variable.get_value(borrow=True)
    if isinstance(value, np.random.Generator):
        return np.frombuffer(_text_of(value).encode(), dtype="uint8")
    return np.asarray(value)


def checked_value(key: str, variable: SharedVariable, value: np.ndarray) -> Any:
    """Return an array as a new value for a variable; raise an error if it does not match."""
    present = variable.get_value(borrow=True)
    if isinstance(present, np.random.Generator):
        return _generator(key, present, value)
    expected = np.asarray(present)
    if value.dtype != expected.dtype or value.shape != expected.shape:
        raise CheckpointError(
            f"{key!r} has dtype {value.dtype} and shape {value.shape}, the variable has dtype "
            f"{expected.dtype} and shape {expected.shape}"
        )
    if is_number(variable):
        try:
            provenance.of(variable).admits.check(key, value.item(), schedules=False)
        except (TypeError, ValueError) as error:
            raise CheckpointError(str(error)) from None
    return value


def assign(values: list[tuple[SharedVariable, Any]]) -> None:
    """Set values that have been checked."""
    for variable, value in values:
        variable.set_value(value, borrow=True)


def _copy(key: str, value: Any) -> np.ndarray:
    if np.ma.is_masked(value):
        raise CheckpointError(f"{key!r} is a masked array, and its mask would be lost")
    return np.array(value)


def _generator(key: str, present: np.random.Generator, value: np.ndarray) -> np.random.Generator:
    """Make a generator of the present one's kind from the bytes of its state."""
    kind = type(present.bit_generator)
    try:
        if value.dtype != np.uint8 or value.ndim != 1:
            raise ValueError(f"dtype {value.dtype} and shape {value.shape}, not bytes")
        state = json.loads(value.tobytes().decode())
        if _form(state) != _form(json.loads(_text_of(present))) or not _within_bounds(state):
            raise ValueError("its entries are not those of such a generator")
        bit_generator = kind(0)
        bit_generator.state = state
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise CheckpointError(
            f"{key!r} is not the state of a random generator of type {kind.__name__}: {error}"
        ) from error
    return np.random.Generator(bit_generator)


def _text_of(generator: np.random.Generator) -> str:
    return json.dumps(generator.bit_generator.state, default=np.ndarray.tolist)


def _form(state: Any) -> Any:
    """Return a JSON value with types in place of numbers, to compare it with another."""
    if isinstance(state, dict):
        return {key: _form(value) for key, value in state.items()}
    return [*map(_form, state)] if isinstance(state, list) else type(state)


def _within_bounds(state: dict[str, Any]) -> bool:
    """Check positions in a generator's tables, because NumPy reads memory wherever they point."""
    inner = state["state"]
    positions = [(inner.get("pos", 0), inner.get("key", ""))]
    positions += [(state.get("buffer_pos", 0), state.get("buffer", ""))]
    return all(0 <= position <= len(table) for position, table in positions)
