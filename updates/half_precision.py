"""Half precision: state that is kept in 16 bits.

- ``CODES``: the dtype of what is kept
- ``stored``: from numbers to codes
- ``restored``: back
- ``threshold``: where a call rounds

A code is the 16th root of a number, with its sign, in steps of ``1 / 8192``. Neighbours differ by
0.2 percent at 1, by 0.6 at 1e-8, by 2 at 1e-16, and the largest is 4e9. float16 would flush squares
below 6e-8 to zero, and PyTensor compiles it neither for numba nor in C; these are ordinary
operations on int16 and float32, in every mode.

An average moves by less than a step in most calls. What is rounded is therefore rounded up or down
by a threshold that goes through the interval from 0 to 1 evenly from call to call, so that many
small changes add up to what they are.
"""

from typing import Any

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from updates.provenance import cast, reads_as

CODES = "int16"

_NAN = -(2**15)
_SQUARINGS = 4
_STEPS = 2.0**13  # so that 32767 is the code of nearly 4**16
_BEND = (2**_SQUARINGS - 1) / 2
_LARGEST = (32767 / _STEPS) ** 2**_SQUARINGS
_GOLDEN_RATIO = (5**0.5 - 1) / 2


def threshold(step: TensorVariable) -> TensorVariable:
    """Return where a call rounds, between 0 and 1: multiples of the golden ratio."""
    return pt.cast(((step + 0.5) * _GOLDEN_RATIO) % 1.0, "float32")


def stored(numbers: Any, threshold: TensorVariable) -> TensorVariable:
    """Return the codes of numbers. What is beyond 4e9 becomes 4e9, and NaN stays NaN."""
    narrow = cast(numbers, "float32")
    root = reads_as(pt.minimum(reads_as(pt.abs(narrow)), _float32(_LARGEST)))
    for _ in range(_SQUARINGS):
        root = reads_as(pt.sqrt(root))
    root = reads_as(root * _float32(_STEPS))
    part = root - pt.floor(root)
    # Of two codes the upper one stands for more above the root than the lower one below it.
    bend = part * (1 - part) * _float32(_BEND) / pt.maximum(root, 1)
    code = reads_as(pt.floor(reads_as(reads_as(root - bend) + threshold)))
    signed = reads_as(pt.switch(narrow < 0, reads_as(-code), code), 1)
    return cast(reads_as(pt.switch(pt.isnan(narrow), _float32(_NAN), signed), 2), CODES)


def restored(codes: Any, dtype: str) -> TensorVariable:
    """Return the numbers of codes."""
    power = root = reads_as(cast(codes, "float32") * _float32(1 / _STEPS))
    for _ in range(_SQUARINGS):
        power = reads_as(pt.sqr(power))
    signed = reads_as(pt.switch(root < 0, reads_as(-power), power), 1)
    return cast(reads_as(pt.switch(pt.eq(codes, _NAN), _float32("nan"), signed), 2), dtype)


def _float32(number: Any) -> TensorVariable:
    return pt.constant(number, dtype="float32")
