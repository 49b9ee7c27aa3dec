"""Keys: by which names the variables of a dictionary of updates are saved, and shown.

- ``keyed``: everything that may belong to a saved state, by keys that do not depend on any order
- ``keyed_hyperparameters``: the hyperparameters among them
- ``reusable``, ``are_variables``, ``variables_of``: what may be given in the place of a dictionary
- ``renamed``, ``check_names``: saved keys in the names that variables have now
- ``shown_names``: a name for each variable of a dictionary, equal ones numbered

The key of a parameter, and of any variable of the user, is its name. That of state is the name of
its parameter, the rule and the slot: ``W/adam/first_moment``. State of a whole call has only the
latter, ``adam/step``; where two calls of a rule are in one dictionary, the alphabetically first
of its parameters stands before it, and where that does not tell them apart, ``#2`` is put after
the one that was made later. Random generators without a name are ``generator_0``,
``generator_1``, ... in the order in which they were made, one other variable without a name is
``variable_0``, and a hyperparameter without one has the hyperparameter's. A number that was given
as a hyperparameter has the key ``adam/learning_rate``; the calls of a rule are told apart in the
same way.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors, graph_inputs

from updates import provenance
from updates.call import Updates, UpdatesLike, checked_updates
from updates.given_numbers import is_number
from updates.loss_graph import by_age, default_updates
from updates.state import in_use, is_state

Saved = UpdatesLike | SharedVariable | Iterable[SharedVariable]


def keyed(updates: Any) -> OrderedDict[str, Any]:
    """Return every variable that a saved state may hold by its key, those that change first.

    These are what the dictionary changes, what its function advances by itself, the shared
    variables in hyperparameters, and the numbers that were given, see `updates.given_numbers`. Of a
    list of shared variables these are all.

    Raises
    ------
    ValueError
        If variables of the user cannot be told apart by their names.
    """
    updates = reusable(updates)
    if are_variables(updates):
        return _by_key(dict.fromkeys(updates), _keys(list(dict.fromkeys(updates)), {}))
    copy = checked_updates(updates)
    if not in_use.isdisjoint(copy):
        raise ValueError(
            "use_averages has put averages in the place of parameters, so values would change "
            "places; do this outside of its block, or give a list of the parameters"
        )
    variables, used = _variables_and_hyperparameters(copy)
    return _by_key(variables, _keys(variables, used))


def keyed_hyperparameters(updates: UpdatesLike) -> OrderedDict[str, Any]:
    """Return the variables in hyperparameters by the same keys, in the order of their age.

    Other variables need not be told apart by their names.
    """
    variables, used = _variables_and_hyperparameters(checked_updates(updates))
    return _by_key(by_age(used), _keys(variables, used, needed=used))


def _variables_and_hyperparameters(updates: Updates) -> tuple[list[Any], dict[Any, str]]:
    """Return every variable that a saved state may hold, and which are in hyperparameters."""
    advanced = default_updates(updates.values(), without=updates)
    changed = [*updates, *advanced]
    used = _hyperparameters_in([*updates.values(), *advanced.values()])
    more = by_age(variable for variable in used if variable not in {*changed})
    return [*changed, *more], used


def _hyperparameters_in(values: Iterable[Any]) -> dict[Any, str]:
    """Find the variables in hyperparameters, each with the name of the hyperparameter.

    These are numbers that were given, and shared variables of the user.
    """
    found: dict[Any, str] = {}
    for variable in ancestors(values):
        name = provenance.of(variable).hyperparameter
        if name:
            found |= {
                source: name
                for source in graph_inputs([variable])
                if isinstance(source, SharedVariable)
                and not is_state(source)
                and (source is variable or not is_number(source))
            }
    return found


def reusable(updates: Any) -> Any:
    """Make a list of one variable, and of what can be gone through only once."""
    if isinstance(updates, SharedVariable):
        return [updates]
    is_list = isinstance(updates, Iterable) and not isinstance(updates, Mapping | Variable)
    return list(updates) if is_list else updates


def are_variables(updates: Any) -> bool:
    """Tell shared variables by themselves from updates."""
    is_list = isinstance(updates, list) and bool(updates)
    return is_list and all(isinstance(variable, SharedVariable) for variable in updates)


def variables_of(updates: Any) -> set[Any]:
    """Return the variables of a dictionary, of a list of pairs, or of a list."""
    return set(updates if are_variables(updates) else dict(updates))


def renamed(keys: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
    """Return saved keys by what they are called now: ``enc/adam/step`` is renamed with ``enc``.

    Raises
    ------
    ValueError
        If `names` has a name that was not saved, or makes two keys equal.
    """
    keys, used = list(keys), set()
    result: dict[str, str] = {}
    for key in keys:
        saved = [name for name in names if key == name or key.startswith(f"{name}/")]
        longest = max(saved, key=len, default="")
        used.add(longest)
        now = names[longest] + key.removeprefix(longest) if saved else key
        if now in result:
            raise ValueError(
                f"names would give {result[now]!r} and {key!r} the same key {now!r}; map each to "
                "a name of its own"
            )
        result[now] = key
    unused = [name for name in names if name not in used]
    if unused:
        raise ValueError(
            f"names has {unused[0]!r}, and nothing of that name was saved; the saved keys are "
            f"{listed(keys)}"
        )
    return result


def check_names(names: Any) -> None:
    """Refuse what is no dictionary from names to names."""
    are_names = isinstance(names, Mapping) and all(
        isinstance(name, str) for pair in names.items() for name in pair
    )
    if names is not None and not are_names:
        raise TypeError(
            f"names must be a dictionary from saved names to names now, got {names!r} of type "
            f"{type(names).__name__}"
        )


def shown_names(variables: Sequence[Any]) -> dict[Any, str]:
    """Name variables for display, with a number behind equal names in the order of their age."""
    taken = {variable.name for variable in variables}
    names: dict[Any, str] = {}
    for variable in by_age(variables):
        own = variable.name
        free = own if own and own not in names.values() else None
        number = 2 * bool(own)
        while free is None:
            name = f"{own}#{number}" if own else f"variable_{number}"
            free = None if name in taken or name in names.values() else name
            number += 1
        names[variable] = free
    return {variable: names[variable] for variable in variables}


def listed(keys: Iterable[str]) -> str:
    """Quote some keys, or the first of many."""
    keys = list(keys)
    return f"{', '.join(map(repr, keys[:5]))}{' ...' if len(keys) > 5 else ''}"


def _by_key(variables: Iterable[Any], keys: Mapping[Any, str]) -> OrderedDict[str, Any]:
    return OrderedDict((keys[variable], variable) for variable in variables)


def _keys(
    variables: Sequence[Any], used: Mapping[Any, str], needed: Collection[Any] | None = None
) -> dict[Any, str]:
    """Give each variable a key, or say which of those that are needed cannot be told apart."""
    clear = set(variables if needed is None else needed)
    users = [v for v in variables if not (is_state(v) or is_number(v))]
    keys = _keys_of_users(users, used, clear)

    def name_of(param: Any) -> str:
        return keys.get(param) or param.name or "variable_0"

    def own(variable: Any) -> str:
        record, parts = provenance.of(variable), str(variable.name).split("/")
        param = [] if record.param is None else [name_of(record.param)]
        return "/".join([*param, *parts[-2:]])

    def with_first_param(variable: Any) -> str:
        record = provenance.of(variable)
        names = sorted(map(name_of, record.params)) if record.param is None else []
        return "/".join([*names[:1], keys[variable]])

    state = by_age(v for v in variables if is_state(v))
    keys |= {variable: own(variable) for variable in state}
    keys |= {v: with_first_param(v) for group in _equal(keys, state) for v in group}
    for group in _equal(keys, state):
        keys |= {v: f"{keys[v]}#{number}" for number, v in enumerate(group, 1) if number > 1}
    for group in _equal(keys, keys):
        if not clear.isdisjoint(group):
            _refuse(group, f"are called {keys[group[0]]!r}")
    keys |= _keys_of_numbers(by_age(filter(is_number, variables)), set(keys.values()), name_of)
    return keys


def _keys_of_users(
    variables: Sequence[Any], used: Mapping[Any, str], clear: set[Any]
) -> dict[Any, str]:
    keys = {variable: variable.name or used.get(variable, "") for variable in variables}
    nameless: list[Any] = by_age(variable for variable in variables if not keys[variable])
    generators = [v for v in nameless if isinstance(v.get_value(borrow=True), np.random.Generator)]
    keys |= {variable: f"generator_{index}" for index, variable in enumerate(generators)}
    others = [variable for variable in nameless if variable not in generators]
    if len(others) > 1 and not clear.isdisjoint(others):
        _refuse(others, "have no name")
    return keys | dict.fromkeys(others, "variable_0")


def _keys_of_numbers(
    numbers: Sequence[Any], taken: set[str], name_of: Callable[[Any], str]
) -> dict[Any, str]:
    """Give each number its name, with a parameter before it where its rule was called twice."""
    calls: dict[str, set[Any]] = {}
    for number in numbers:
        owner = number.name.partition("/")[0]
        calls.setdefault(owner, set()).add(frozenset(provenance.of(number).params))
    keys: dict[Any, str] = {}
    for number in numbers:
        names = sorted(map(name_of, provenance.of(number).params))
        is_one = len(calls[number.name.partition("/")[0]]) == 1
        own = key = "/".join([*([] if is_one else names[:1]), number.name])
        count = 1
        while key in taken:
            count += 1
            key = f"{own}#{count}"
        taken.add(key)
        keys[number] = key
    return keys


def _equal(keys: Mapping[Any, str], variables: Iterable[Any]) -> list[list[Any]]:
    """Return the groups of variables that have the same key."""
    groups: dict[str, list[Any]] = {}
    for variable in variables:
        groups.setdefault(keys[variable], []).append(variable)
    return [group for group in groups.values() if len(group) > 1]


def _refuse(variables: list[Any], what: str) -> None:
    kinds = [
        f"{getattr(v.type, 'dtype', v.type)} of shape {np.shape(v.get_value(borrow=True))}"
        for v in variables
    ]
    raise ValueError(
        f"{len(variables)} variables {what} ({', '.join(kinds[:4])}{' ...' * (len(kinds) > 4)}); "
        "their values could change places when they are loaded, so give each a name of its own: "
        'pytensor.shared(value, name="W1"), or W.name = "W1"'
    )
