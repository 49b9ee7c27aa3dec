"""The inputs of the compiled function, and the arrays that are given for them.

- ``Input``: an input, and what an array must be to take its place
- ``arrays_for``: one array for each input, from what the user gave for a batch
- ``is_array``, ``is_number``, ``is_sparse``: tell what may be given for an input
"""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.type import TensorType

from updates.named_dimensions import has_names, names_of


class Input:
    """An input of the compiled function, and what an array must be to take its place."""

    def __init__(self, variable: Variable) -> None:
        self.variable = variable
        is_tensor = isinstance(variable.type, TensorType) or has_names(variable)
        self.dtype: Any = np.dtype(variable.type.dtype) if is_tensor else None
        self.shape: tuple[int | None, ...] = variable.type.shape if is_tensor else ()
        self.ndim: int = getattr(variable.type, "ndim", 0)

    def __str__(self) -> str:
        return self.variable.name or str(self.variable)

    def converted(self, subject: str, value: Any) -> Any:
        """Return a value as an array of this input's type; raise an error if it cannot be one."""
        if isinstance(value, SharedVariable):
            value = value.get_value(borrow=True)
        if np.ma.is_masked(value):
            raise ValueError(
                f"{subject} is a masked array, and its mask would be lost: give .filled(number), "
                "and the mask as an input of its own if the loss needs it"
            )
        if is_sparse(value) or hasattr(self.variable.type, "format"):
            return self._sparse(subject, value)
        if self.dtype is None:
            return value
        names = names_of(self.variable)
        if names is not None and hasattr(value, "dims"):  # xarray's own
            if set(value.dims) != set(names):
                raise ValueError(
                    f"{subject} has the dimensions {value.dims}, the input {self} has {names}"
                )
            value = value.transpose(*names)
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{subject} is no array: {error}") from error
        if array.dtype != self.dtype:
            array = self._cast(subject, array)
        if array.ndim != self.ndim:
            raise ValueError(
                f"{subject} has ndim {array.ndim}, the input {self} has ndim {self.ndim}"
            )
        # Rows are compared once for all batches, see `Arrays`.
        if any(
            known not in (None, length)
            for known, length in zip(self.shape[1:], array.shape[1:], strict=True)
        ):
            raise ValueError(f"{subject} has shape {array.shape}, the input {self} {self.shape}")
        return array

    def _sparse(self, subject: str, value: Any) -> Any:
        own = getattr(self.variable.type, "format", None)
        if own is None:
            raise TypeError(
                f"{subject} is sparse, and the input {self} is dense; give .toarray(), or make the "
                "input with pytensor.sparse"
            )
        if not is_sparse(value):
            raise TypeError(
                f"{subject} is dense, and the input {self} is sparse; give it as "
                f"scipy.sparse.{own}_matrix"
            )
        matrix = value.asformat(own)
        dtype: Any = np.dtype(self.variable.type.dtype)  # type: ignore[attr-defined]
        if matrix.dtype != dtype:
            self._cast(subject, matrix.data, dtype)
            matrix = matrix.astype(dtype)
        return matrix

    def _cast(self, subject: str, array: np.ndarray, dtype: Any = None) -> np.ndarray:
        dtype = dtype or self.dtype
        is_number = array.dtype.kind in "biufc"
        can_cast = is_number and np.can_cast(array.dtype, dtype, "same_kind")
        with np.errstate(over="ignore"):
            cast = array.astype(dtype) if can_cast else array
        is_changed = (
            (cast != array).any()
            if array.dtype.kind in "iu"
            else can_cast and (np.isfinite(cast) != np.isfinite(array)).any()
        )
        if not can_cast or is_changed:
            raise TypeError(
                f"{subject} has dtype {array.dtype}, which does not fit the input {self} of dtype "
                f"{dtype}; convert it first"
            )
        return cast


def arrays_for(subject: str, given: Any, inputs: list[Input]) -> list[Any]:
    """Return one array for each input, from arrays in the order of the inputs or by name."""
    if isinstance(given, Mapping):
        given = _by_name(subject, given, inputs)
    elif is_array(given) or is_number(given):
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
            + ("; make one array of the numbers" if given and all(map(is_number, given)) else "")
        )
    return [
        variable.converted(f"{subject}[{index}]", value)
        for index, (variable, value) in enumerate(zip(inputs, given, strict=True))
    ]


def is_array(value: Any) -> bool:
    """Tell an array, a shared variable, a data frame or a sparse matrix from a list of them."""
    if isinstance(value, Variable):
        return isinstance(value, SharedVariable)
    return hasattr(value, "__array__") or is_sparse(value)


def is_number(value: Any) -> bool:
    """Tell a number, which is given for a scalar input."""
    return isinstance(value, Real)


def is_sparse(value: Any) -> bool:
    """Tell a sparse matrix of SciPy's."""
    return hasattr(value, "tocsr") and hasattr(value, "asformat")


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
