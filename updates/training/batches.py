"""Mini-batches: the forms in which data may come, turned into arguments of a compiled function.

- ``source``: from data in one of the forms that `minimize` takes to one of the following
- ``Arrays``: rows in mini-batches, shuffled anew for every pass
- ``Stream``: batches as an iterable or a callable makes them

Both classes give pairs of the list of arguments and the number of rows: ``epoch(number, skip)``
those of an epoch of training, except for the first few, and ``all()`` those of a validation.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from updates.declaration import named, unnamed
from updates.training.inputs import Input, arrays_for, is_array, is_number

CALLS = 100  # calls that make an epoch if a callable has no length

Batch = tuple[list[Any], int]
_END = object()


def source(
    subject: str,
    data: Any,
    inputs: list[Input],
    *,
    batch_size: int,
    seed: int,
    owner: str,
    per_epoch: int | None = None,
) -> "Arrays | Stream":
    """Return a source of batches for data in any form, and check what can be checked now.

    `owner` is the public function that is called: it has returned when batches turn out to be bad.
    """
    if data is None and not inputs:
        data = []
    if is_array(data):
        data = [data]
    is_list = isinstance(data, list | tuple) and all(is_array(x) or is_number(x) for x in data)
    if isinstance(data, list | tuple) and not data and inputs:
        raise ValueError(f"{subject} is empty")
    if isinstance(data, list | tuple) and any(each.ndim for each in inputs):
        for index, part in enumerate(data):
            if isinstance(part, list | tuple) and part and all(map(is_number, part)):
                raise TypeError(
                    f"{subject}[{index}] is a list of numbers, which may be an array or a batch; "
                    f"give an array, numpy.asarray({subject}[{index}])"
                )
    if isinstance(data, Mapping) or is_list:
        return Arrays(subject, data, inputs, batch_size, seed, per_epoch)
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | set | frozenset):
        return Stream(owner, subject, data, inputs, per_epoch)
    if callable(data) and not isinstance(data, type):
        length = len(data) if hasattr(data, "__len__") else CALLS
        return Stream(owner, subject, _Calls(data, length), inputs, per_epoch)
    names = ", ".join(map(str, inputs))
    raise TypeError(
        f"{subject} must be arrays for the inputs {names or '(none)'}, an iterable of batches, or "
        f"a callable that returns a batch, got {data!r} of type {type(data).__name__}"
    )


class Arrays:
    """Rows of arrays in mini-batches; their order depends only on the seed and the epoch."""

    def __init__(
        self,
        subject: str,
        arrays: list[Any],
        inputs: list[Input],
        batch_size: int,
        seed: int,
        per_epoch: int | None,
    ) -> None:
        self.arrays = arrays_for(subject, arrays, inputs)
        self.has_rows = [bool(each.ndim) for each in inputs]
        pairs = zip(self.arrays, self.has_rows, strict=True)
        lengths = [np.shape(array)[0] for array, has_rows in pairs if has_rows]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"{subject} has arrays of different lengths: {', '.join(map(str, lengths))}"
            )
        if 0 in lengths:
            raise ValueError(f"{subject} has arrays with no rows")
        self.rows = lengths[0] if lengths else 1  # without rows, an epoch is a step
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
        """Give the shuffled mini-batches of an epoch, except for the first `skip`."""
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
                yield self._rows(index), len(index)

    def all(self) -> Iterator[Batch]:
        """Give all rows in their original order."""
        for start in range(0, self.rows, self.batch_size):
            stop = min(start + self.batch_size, self.rows)
            yield self._rows(slice(start, stop)), stop - start

    def _rows(self, index: Any) -> list[Any]:
        """Return these rows of the arrays; scalars go with every batch."""
        pairs = zip(self.arrays, self.has_rows, strict=True)
        return [array[index] if has_rows else array for array, has_rows in pairs]


class Stream:
    """Batches from an iterable; it may be endless if an epoch has a given length."""

    def __init__(
        self,
        owner: str,
        subject: str,
        batches: Iterable[Any],
        inputs: list[Input],
        per_epoch: int | None,
    ) -> None:
        self.owner = owner
        self.subject = subject
        self.batches = batches
        self.inputs = inputs
        self.per_epoch = per_epoch
        with unnamed():
            self.is_iterator = iter(batches) is batches
        self._pass: Iterator[Any] = iter(())

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """Continue after the last batch that was drawn; if an epoch is a pass, begin a new pass."""
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
            yield self._batch(given, index)

    def all(self) -> Iterator[Batch]:
        """Give the batches of one pass."""
        for index, given in enumerate(itertools.islice(self.batches, self.per_epoch)):
            yield self._batch(given, index)

    def _batch(self, given: Any, index: int) -> Batch:
        with named(self.owner):
            arrays = arrays_for(f"{self.subject}, batch {index}", given, self.inputs)
        return arrays, next((np.shape(array)[0] for array in arrays if np.ndim(array)), 1)


class _Calls:
    """A callable as an iterable of what it returns."""

    def __init__(self, function: Callable[[], Any], length: int) -> None:
        self.function = function
        self.length = length

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.length):
            try:
                given = self.function()
            except StopIteration:  # of an iterator that the function draws from
                return
            yield given
