"""The inputs of the compiled function, and the arrays that are given for them.

- ``Input``: an input, and what an array must be to take its place
- ``arrays_for``: one array for each input, from what the user gave for a batch
- ``is_array``: tell an array from a list or an iterable of arrays
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.type import TensorType


class Input:
    """An input of the compiled function, and what an array must be to take its place."""

    def __init__(self, variable: Variable) -> None:
        self.variable = variable
        is_tensor = isinstance(variable.type, TensorType)
        self.dtype: Any = np.dtype(variable.type.dtype) if is_tensor else None
        self.shape: tuple[int | None, ...] = variable.type.shape if is_tensor else ()

    def __str__(self) -> str:
        return self.variable.name or str(self.variable)

    def converted(self, subject: str, value: Any) -> Any:
        """Return a value as an array of this input's type; raise an error if it cannot be one."""
        if self.dtype is None:
            return value
        if isinstance(value, SharedVariable):
            value = value.get_value(borrow=True)
        array = np.asarray(value)
        if array.dtype != self.dtype:
            array = self._cast(subject, array)
        if array.ndim != len(self.shape):
            raise ValueError(
                f"{subject} has ndim {array.ndim}, the input {self} has ndim {len(self.shape)}"
            )
        # Rows are compared once for all batches, see `Arrays`.
        if any(
            known not in (None, length)
            for known, length in zip(self.shape[1:], array.shape[1:], strict=True)
        ):
            raise ValueError(f"{subject} has shape {array.shape}, the input {self} {self.shape}")
        return array

    def _cast(self, subject: str, array: np.ndarray) -> np.ndarray:
        is_number = array.dtype.kind in "biufc"
        can_cast = is_number and np.can_cast(array.dtype, self.dtype, "same_kind")
        cast = array.astype(self.dtype) if can_cast else array
        if not can_cast or (array.dtype.kind in "iu" and (cast != array).any()):
            raise TypeError(
                f"{subject} has dtype {array.dtype}, which does not fit the input {self} of dtype "
                f"{self.dtype}; convert it first"
            )
        return cast


def arrays_for(subject: str, given: Any, inputs: list[Input]) -> list[Any]:
    """Return one array for each input, from arrays in the order of the inputs or by name."""
    if isinstance(given, Mapping):
        given = _by_name(subject, given, inputs)
    elif is_array(given):
        given = [given]
    elif not isinstance(given, list | tuple):
        raise TypeError(
            f"{subject} must be a list of arrays, one for each input, got {given!r} of type "
            f"{type(given).__name__}"
        )
    if len(given) != len(inputs):
        names = ", ".join(map(str, inputs))
        raise ValueError(
            f"{subject} has {len(given)} arrays, and the function has {len(inputs)} inputs"
            + (f": {names}" if names else "")
            + ("; for several batches, give a list of lists of arrays" if len(inputs) == 1 else "")
        )
    return [
        variable.converted(f"{subject}[{index}]", value)
        for index, (variable, value) in enumerate(zip(inputs, given, strict=True))
    ]


def is_array(value: Any) -> bool:
    """Tell an array, a shared variable or a data frame from a list or an iterable of them."""
    return (
        isinstance(value, SharedVariable)
        or (not isinstance(value, Variable) and hasattr(value, "shape") and hasattr(value, "dtype"))
        or hasattr(value, "iloc")
    )


def _by_name(subject: str, given: Mapping[Any, Any], inputs: list[Input]) -> list[Any]:
    values: dict[str | Variable, Any] = dict(given)
    found = []
    for each in inputs:
        keys = [key for key in (each.variable, each.variable.name) if key in values]
        if len(keys) != 1:
            raise ValueError(
                f"{subject} must have one array for each input, by its name or by the variable "
                f"itself, and has {'two' if keys else 'none'} for {each}"
            )
        found.append(values.pop(keys[0]))
    if values:
        raise ValueError(
            f"{subject} has an array for {next(iter(values))!r}, which is not an input; the inputs "
            f"are {', '.join(map(str, inputs)) or '(none)'}"
        )
    return found
