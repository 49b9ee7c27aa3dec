"""Numbers that are given as hyperparameters: each enters the compiled function as an input.

A number in the graph would be part of the compiled code, and another one would be compiled anew.
So the library keeps each of them in a shared variable of its own, called
``<owner>/<hyperparameter>``.

- ``Place``: whose hyperparameters they are, which names the variables
- ``as_input``: make a variable of a number
- ``is_number``: tell such a variable from parameters, data and state
- ``given_as``: the number that a hyperparameter was given as
- ``present_value``, ``is_changed``, ``start_value``: what it is now, and what it was

What such a variable is stands in its record in `updates.provenance`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytensor
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable

from updates import provenance


@dataclass(frozen=True)
class Place:
    """Whose hyperparameters are given: of a rule or a transform, or of a schedule in one of them.

    Parameters
    ----------
    path : str
        The start of their names: ``adam``, or ``adam/learning_rate`` for those of a schedule.
    params : tuple of shared variables
        The parameters of the call, as far as they are known.
    """

    path: str
    params: tuple[Any, ...] = ()

    def inside(self, name: str) -> "Place":
        """Return the place of what is given inside of a hyperparameter."""
        return Place(f"{self.path}/{name}", self.params)


class HasNumbers(ABC):
    """A schedule that has hyperparameters of its own."""

    @abstractmethod
    def at(self, step: Any, place: Place) -> Any:
        """Return the value at a step, with numbers that are called after a place."""


def as_input(place: Place, name: str, value: Any, kind: Any, dtype: str) -> Any:
    """Keep a number, or a constant, in a shared variable; what is symbolic stays as it is."""
    if isinstance(value, Constant):
        value = value.data.item()
    if isinstance(value, Variable):
        return value
    with np.errstate(over="ignore"):  # what leaves its range is refused where it is used
        array = np.asarray(value, dtype=dtype)
    variable = pytensor.shared(array, name=f"{place.path}/{name}", borrow=True)
    return provenance.mark(
        variable,
        is_number=True,
        hyperparameter=name,
        admits=kind,
        start=value,
        params=place.params,
    )


def is_number(variable: Variable) -> bool:
    """Tell whether the library made this variable to hold a number that was given."""
    return provenance.of(variable).is_number


def given_as(symbol: Any) -> Any:
    """Return the number that a hyperparameter was given as, or None if it was symbolic."""
    while (position := provenance.of(symbol).reads_as) is not None:
        symbol = symbol.owner.inputs[position]
    return provenance.of(symbol).start if is_number(symbol) else None


def start_value(variable: SharedVariable) -> np.ndarray:
    """Return the number that was given as the variable holds it."""
    return np.asarray(provenance.of(variable).start, dtype=variable.type.dtype)


def is_changed(variable: SharedVariable) -> bool:
    """Tell whether the number is another than the one that was given."""
    return bool(variable.get_value(borrow=True) != start_value(variable))


def present_value(variable: SharedVariable) -> Any:
    """Return the number as it was given, or as it has been set since."""
    return variable.get_value().item() if is_changed(variable) else provenance.of(variable).start
