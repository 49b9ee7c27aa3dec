"""The hyperparameters of a call as symbols.

- ``Symbols``: all of them, in any dtype
- ``evaluate``: the value of a schedule at a step
"""

from collections.abc import Mapping
from typing import Any

from pytensor.graph.basic import Variable

from updates.given_numbers import HasNumbers, Place, as_input
from updates.kinds import Kind, Scalar, ScheduleFunction


class Symbols:
    """The hyperparameters of a call, as symbols of any dtype.

    Parameters
    ----------
    values : dict
        Checked values by name; none of those that enter a formula is a schedule any more.
    kinds : dict
        What each of them is.
    place : Place
        Whose they are.
    dtype : str
        The dtype in which numbers are kept, which is the widest that they are used in.

    Attributes
    ----------
    values : dict
        The values by name, with a variable in the place of each number that enters a formula.
    """

    def __init__(
        self, values: Mapping[str, Any], kinds: Mapping[str, Kind], place: Place, dtype: str
    ) -> None:
        self._scalars = {
            name: kind
            for name, value in values.items()
            if isinstance(kind := kinds.get(name), Scalar) and value is not None
        }
        self.values = {
            name: as_input(place, name, value, self._scalars[name], dtype)
            if name in self._scalars
            else value
            for name, value in values.items()
        }
        self._by_dtype: dict[str, dict[str, Any]] = {}

    def in_dtype(self, dtype: str) -> dict[str, Any]:
        """Return all hyperparameters by name, those that enter formulas as symbols of a dtype."""
        if dtype not in self._by_dtype:
            self._by_dtype[dtype] = {
                name: self._scalars[name].symbol(name, value, dtype)
                if name in self._scalars
                else value
                for name, value in self.values.items()
            }
        return self._by_dtype[dtype]

    def like(self, symbol: Any, dtype: str) -> Any:
        """Return the hyperparameter whose symbol is given in another dtype, or None for others.

        Casting the symbol would not do: a floor differs from dtype to dtype, and a number is
        rounded differently.
        """
        for symbols in self._by_dtype.values():
            for name, known in symbols.items():
                if known is symbol:
                    return self.in_dtype(dtype)[name]
        return None


def evaluate(
    kind: Scalar, name: str, schedule: ScheduleFunction, step: Variable, place: Place
) -> Any:
    """Call a schedule with the symbolic step and check what it returns, a symbol or a number.

    Raises
    ------
    ValueError
        If the schedule fails on a symbolic step, or returns a symbol that is not a scalar or
        a number out of range.
    TypeError
        If it returns something else.
    """
    given = f"the schedule given as {name}"
    try:
        inside = place.inside(name)
        value = schedule.at(step, inside) if isinstance(schedule, HasNumbers) else schedule(step)
    except Exception as error:
        raise ValueError(
            f"{given} failed on a symbolic step ({error}); it must build its value from PyTensor "
            "operations, for example pytensor.tensor.switch where Python would use if"
        ) from error
    try:
        Scalar.check(kind, name, value, schedules=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{given} returned a bad value: {error}") from None
    return value
