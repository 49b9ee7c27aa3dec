"""Which variables a dictionary changes: leaving some out, and joining several dictionaries.

- ``freeze``: leave parameters, and their state, as they are
- ``merge_updates``: one dictionary of several, for groups of parameters with different rules
"""

from collections import OrderedDict

from pytensor.compile.sharedvalue import SharedVariable

from updates import provenance
from updates.call import Updates, UpdatesLike, checked_updates
from updates.choice import Choice, check_form, chosen
from updates.declaration import declared
from updates.state import is_state
from updates.update_transform import dictionary_transform


@dictionary_transform
def freeze(
    updates: Updates,
    params: Choice,
) -> Updates:
    """Leave parameters and the state that belongs to them as they are.

    params (name, shared variable, list of these, or function) : what to freeze. A function takes
        a parameter and returns whether to
    returns : those parameters and their state are missing. Step counters run on. What a
        rule computes from all gradients, a total norm for instance, still counts the frozen
        ones

    >>> import pytensor, updates
    >>> w, b = pytensor.shared(1.0, name="w"), pytensor.shared(0.0, name="b")
    >>> training = updates.momentum((w - b) ** 2, [w, b], learning_rate=0.1)
    >>> list(updates.freeze(training, "w"))
    [b/momentum/velocity, b]
    >>> list(updates.freeze(training, lambda param: param.name == "b"))
    [w/momentum/velocity, w]
    """
    own = [variable for variable in updates if not is_state(variable)]
    check_form("params", params, by_place=False)
    is_frozen = chosen("params", params, own, by_place=False)
    frozen = {param for param, choice in zip(own, is_frozen, strict=True) if choice}
    return OrderedDict(
        (variable, new_value)
        for variable, new_value in updates.items()
        if variable not in frozen and provenance.of(variable).param not in frozen
    )


@declared
def merge_updates(*dictionaries: UpdatesLike) -> Updates:
    """Join dictionaries of updates into one: parameter groups with different rules.

    Parameters
    ----------
    *dictionaries : dicts or lists of pairs
        Shared variable to next value, as rules return them. They may be empty, as what a scan
        without random generators returns.

    Returns
    -------
    OrderedDict
        All items, in the order given.

    Raises
    ------
    ValueError
        If a variable has a next value in two of them.
    TypeError
        If an argument is not a dictionary of updates.

    Examples
    --------
    >>> import pytensor, updates
    >>> w, b = pytensor.shared(1.0, name="w"), pytensor.shared(0.0, name="b")
    >>> loss = (w - b) ** 2
    >>> list(updates.merge_updates(updates.sgd(loss, w, 0.1), updates.momentum(loss, b, 0.01)))
    [w, b/momentum/velocity, b]
    """
    merged: Updates = OrderedDict()
    first_index: dict[SharedVariable, int] = {}
    for index, dictionary in enumerate(dictionaries):
        copy = checked_updates(dictionary, may_be_empty=True)
        for variable in copy:
            if variable in merged:
                raise ValueError(
                    f"dictionaries {first_index[variable]} and {index} both change "
                    f"{variable}; a variable can have one next value only, leave it out of one "
                    "of them"
                )
            first_index[variable] = index
        merged |= copy
    return merged
