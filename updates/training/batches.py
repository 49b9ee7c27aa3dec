"""Mini-batches: the forms in which data may come, turned into arguments of a compiled function.

- ``Input``: an input of the function, and what an array must be to fit it
- ``source``: data in one of the forms that `minimize` takes, as one of the following
- ``Arrays``: rows in mini-batches, shuffled anew for every pass
- ``Stream``: batches as something else makes them

Both give ``epoch(number, skip)``, the batches of an epoch of training without the first few, and
``all()``, those of a validation: pairs of the list of arguments and the number of rows.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.tensor.type import TensorType

CALLS = 100  # calls that make an epoch when a callable has no length

Batch = tuple[list[Any], int]
_END = object()


class Input:
    """An input of the compiled function."""

    def __init__(self, variable: Variable) -> None:
        self.variable = variable
        is_tensor = isinstance(variable.type, TensorType)
        self.dtype: Any = np.dtype(variable.type.dtype) if is_tensor else None
        self.shape: tuple[int | None, ...] = variable.type.shape if is_tensor else ()
        self.known = any(length is not None for length in self.shape)

    def __str__(self) -> str:
        return self.variable.name or str(self.variable)

    def fit(self, subject: str, value: Any) -> Any:
        """Return a value as an array of this input's type, or say why it cannot be one."""
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
        if self.known and any(
            known not in (None, length)
            for known, length in zip(self.shape[1:], array.shape[1:], strict=True)
        ):
            raise ValueError(f"{subject} has shape {array.shape}, the input {self} {self.shape}")
        return array

    def _cast(self, subject: str, array: np.ndarray) -> np.ndarray:
        known = array.dtype.kind in "biufc" and np.can_cast(array.dtype, self.dtype, "same_kind")
        cast = array.astype(self.dtype) if known else array
        if not known or (array.dtype.kind in "iu" and (cast != array).any()):
            raise TypeError(
                f"{subject} has dtype {array.dtype}, which does not fit the input {self} of dtype "
                f"{self.dtype}; convert it first"
            )
        return cast


class Arrays:
    """Rows of arrays in mini-batches, which depend on nothing but the seed and their number."""

    def __init__(
        self,
        subject: str,
        arrays: list[Any],
        inputs: list[Input],
        batch_size: int,
        seed: int,
        per_epoch: int | None,
    ) -> None:
        self.arrays = _listed(subject, arrays, inputs)
        for index, array in enumerate(self.arrays):
            if not np.ndim(array):
                raise ValueError(f"{subject}[{index}] has no axis of rows, it is 0-d")
        lengths = [np.shape(array)[0] for array in self.arrays]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"{subject} has arrays of different lengths: {', '.join(map(str, lengths))}"
            )
        if 0 in lengths:
            raise ValueError(f"{subject} has arrays of no rows")
        self.rows = lengths[0] if lengths else 1  # without inputs, an epoch is a step
        self.seed = seed
        self.batch_size = min(batch_size, self.rows) if batch_size > 0 else self.rows
        self.per_pass = -(-self.rows // self.batch_size)
        self.per_epoch = self.per_pass if per_epoch is None else per_epoch
        for array, variable in zip(self.arrays, inputs, strict=True):
            self._check_sizes(subject, array, variable)

    def _check_sizes(self, subject: str, array: Any, variable: Input) -> None:
        expected = variable.shape[0] if variable.shape else None
        remainder = self.rows % self.batch_size or self.batch_size
        if expected is not None and {expected} != {self.batch_size, remainder}:
            raise ValueError(
                f"{subject}: the input {variable} takes {expected} rows, and {self.rows} rows in "
                f"mini-batches of {self.batch_size} end with one of {remainder}"
            )

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Give the shuffled mini-batches of an epoch, without the first `skip`."""
        if self.per_pass == 1:
            yield from itertools.repeat((self.arrays, self.rows), self.per_epoch - skip)
            return
        first, last = number * self.per_epoch + skip, (number + 1) * self.per_epoch
        for pass_ in range(first // self.per_pass, -(-last // self.per_pass)):
            order = np.random.default_rng([self.seed, pass_]).permutation(self.rows)
            begin = max(first - pass_ * self.per_pass, 0)
            end = min(last - pass_ * self.per_pass, self.per_pass)
            for position in range(begin, end):
                start = position * self.batch_size
                index = order[start : start + self.batch_size]
                yield [array[index] for array in self.arrays], len(index)

    def all(self) -> Iterator[Batch]:
        """Give all rows in their order."""
        for start in range(0, self.rows, self.batch_size):
            stop = min(start + self.batch_size, self.rows)
            yield [array[start:stop] for array in self.arrays], stop - start


class Stream:
    """Batches from an iterable; it may be endless where an epoch has a length."""

    def __init__(
        self, subject: str, batches: Iterable[Any], inputs: list[Input], per_epoch: int | None
    ) -> None:
        self.subject = subject
        self.batches = batches
        self.inputs = inputs
        self.per_epoch = per_epoch
        self.is_iterator = iter(batches) is batches
        self._pass: Iterator[Any] = iter(())

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Go on where the last batch was drawn, in a new pass if an epoch is a pass."""
        if self.per_epoch is None and not skip:
            self._pass = iter(self.batches)
        for index in itertools.count(skip):
            if index == self.per_epoch:
                return
            given = next(self._pass, _END)
            if given is _END and self.per_epoch is not None:
                self._pass = iter(self.batches)
                given = next(self._pass, _END)
            if given is _END:
                return
            yield self._fitted(given, index)

    def all(self) -> Iterator[Batch]:
        """Give the batches of one pass."""
        for index, given in enumerate(itertools.islice(self.batches, self.per_epoch)):
            yield self._fitted(given, index)

    def _fitted(self, given: Any, index: int) -> Batch:
        arrays = _listed(f"{self.subject}, batch {index}", given, self.inputs)
        return arrays, next((len(array) for array in arrays if np.ndim(array)), 1)


class _Calls:
    """A callable as an iterable of what it returns."""

    def __init__(self, function: Callable[[], Any], length: int) -> None:
        self.function = function
        self.length = length

    def __iter__(self) -> Iterator[Any]:
        return (self.function() for _ in range(self.length))


def source(
    subject: str,
    data: Any,
    inputs: list[Input],
    *,
    batch_size: int,
    seed: int,
    per_epoch: int | None = None,
) -> Arrays | Stream:
    """Tell the forms in which data may come apart, and check what can be checked now."""
    if data is None and not inputs:
        data = []
    if _is_array(data):
        data = [data]
    is_list = isinstance(data, list | tuple) and all(map(_is_array, data))
    if isinstance(data, list | tuple) and not data and inputs:
        raise ValueError(f"{subject} is empty")
    if isinstance(data, Mapping) or is_list:
        return Arrays(subject, data, inputs, batch_size, seed, per_epoch)
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | set | frozenset):
        return Stream(subject, data, inputs, per_epoch)
    if callable(data) and not isinstance(data, type):
        length = len(data) if hasattr(data, "__len__") else CALLS
        return Stream(subject, _Calls(data, length), inputs, per_epoch)
    names = ", ".join(map(str, inputs))
    raise TypeError(
        f"{subject} must be arrays for the inputs {names or '(none)'}, an iterable of batches, or "
        f"a callable that returns a batch, got {data!r} of type {type(data).__name__}"
    )


def _is_array(value: Any) -> bool:
    return (
        isinstance(value, SharedVariable)
        or (not isinstance(value, Variable) and hasattr(value, "shape") and hasattr(value, "dtype"))
        or hasattr(value, "iloc")
    )


def _listed(subject: str, given: Any, inputs: list[Input]) -> list[Any]:
    """Return one fitting array for each input, given in their order or by name."""
    if isinstance(given, Mapping):
        given = _by_name(subject, given, inputs)
    elif _is_array(given):
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
        variable.fit(f"{subject}[{index}]", value)
        for index, (variable, value) in enumerate(zip(inputs, given, strict=True))
    ]


def _by_name(subject: str, given: Mapping[Any, Any], inputs: list[Input]) -> list[Any]:
    values: dict[str | Variable, Any] = dict(given)
    found = []
    for each in inputs:
        keys = [key for key in (each.variable, each.variable.name) if key in values]
        if len(keys) != 1:
            raise ValueError(
                f"{subject} must have one array for each input by its name or the variable itself, "
                f"and has {'two' if keys else 'none'} for {each}"
            )
        found.append(values.pop(keys[0]))
    if values:
        raise ValueError(
            f"{subject} has an array for {next(iter(values))!r}, which is no input; the inputs are "
            f"{', '.join(map(str, inputs)) or '(none)'}"
        )
    return found
