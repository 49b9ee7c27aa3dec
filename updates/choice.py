"""Choices of parameters: by a list of bools, by name, by the variable, or by a function.

- ``chosen``, ``check_form``: which parameters a choice means, and whether it is one
- ``factors_of``: a number for each parameter, given in one of these ways
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pytensor.graph.basic import Variable

from updates.rows import label, whole

Choice = str | Variable | Iterable[bool | str | Variable] | Callable[[Any], bool]


def chosen(argument: str, choice: Any, params: Sequence[Any], by_place: bool = True) -> list[bool]:
    """Tell of each parameter whether a `Choice` means it; None means all.

    Raises
    ------
    TypeError, ValueError
        If the choice is of no such form, does not fit the parameters, or names none of them. A
        list of bools is refused unless the parameters are in the user's order, `by_place`.
    """
    if choice is None:
        return [True] * len(params)
    params = list(map(whole, params))
    answers: list[Any] = []
    if _is_function(choice):
        answers = [choice(param) for param in params]
    elif isinstance(choice, str | Variable):
        return _named(argument, [choice], params)
    elif isinstance(choice, Iterable) and not isinstance(choice, Mapping):
        answers = list(choice)
        if not any(isinstance(answer, bool | np.bool_) for answer in answers):
            return _named(argument, answers, params)
        if len(answers) != len(params) or not by_place:
            raise ValueError(
                f"{argument} has {len(answers)} entries for {len(params)} parameters; give one "
                "for each, names, or a function from parameter to bool"
            )
    else:
        check_form(argument, choice, by_place)
    for index, (param, answer) in enumerate(zip(params, answers, strict=True)):
        if not isinstance(answer, bool | np.bool_):
            raise TypeError(
                f"{argument} must say True or False for {label(param, index)}, got {answer!r} of "
                f"type {type(answer).__name__}"
            )
    return [bool(answer) for answer in answers]


def check_form(argument: str, choice: Any, by_place: bool = True) -> None:
    """Refuse what can be no choice of parameters, whatever they are."""
    is_list = isinstance(choice, Iterable) and not isinstance(choice, Mapping)
    if not (isinstance(choice, str | Variable) or callable(choice) or is_list):
        raise TypeError(
            f"{argument} must be a list of {'bools, of ' * by_place}names or of parameters, or a "
            f"function from parameter to bool, got {choice!r} of type {type(choice).__name__}"
        )


def factors_of(argument: str, given: Any, params: Sequence[Any] | None, count: int) -> list[Any]:
    """Return a number for each of several gradients, None for those that a dictionary leaves out.

    Without `params`, these can only be given one for all, or in a list.
    """
    if not _is_function(given) and not isinstance(given, Mapping | list | tuple | np.ndarray):
        return [given] * count
    if isinstance(given, list | tuple | np.ndarray):
        factors = list(given)
        if np.ndim(given) != 1 or len(factors) != count:
            raise ValueError(
                f"{argument} has shape {np.shape(given)} for {count} gradients; give a number, or "
                "one for each"
            )
        return factors
    if params is None:
        raise ValueError(
            f"params is needed, because {argument} is given by parameter and nothing tells whose "
            "gradients these are"
        )
    if _is_function(given):
        return [given(param) for param in params]
    factors = [None] * count
    for asked, factor in given.items():
        for place, is_meant in enumerate(_named(argument, [asked], params)):
            factors[place] = factor if is_meant else factors[place]
    return factors


def _named(argument: str, asked: Iterable[Any], params: Sequence[Any]) -> list[bool]:
    """Tell which parameters are meant by names and variables, each of which must be one's."""
    found = [False] * len(params)
    for name in asked:
        if not isinstance(name, str | Variable):
            raise TypeError(
                f"{argument} must hold names or shared variables, or be a function, got {name!r} "
                f"of type {type(name).__name__}"
            )
        places = [i for i, p in enumerate(params) if name is p or (name == p.name and name)]
        if not places:
            names = ", ".join(map(str, params))
            raise ValueError(f"{name!r} is not among [{names}], which {argument} chooses from")
        for place in places:
            found[place] = True
    return found


def _is_function(given: Any) -> bool:
    return callable(given) and not isinstance(given, Variable)
