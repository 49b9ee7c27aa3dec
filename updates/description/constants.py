"""Constants, as formulas write them.

- ``constant``: a small one, or one that is the same everywhere
- ``constant_number``: one that is the same everywhere, as that number
- ``is_uniform``: whether it is
"""

from typing import Any

import numpy as np

from updates.description.operations import Tree, call, listed, number

# Up to how many elements a constant is written out.
_FEW = 8


def is_uniform(variable: Any) -> bool:
    """Tell a constant that is the same number everywhere."""
    data = np.asarray(variable.data)
    is_plain = data.dtype.kind in "biuf" and data.size > 0
    return is_plain and bool((data == data.flat[0]).all() or (data != data).all())


def constant_number(variable: Any, user: Any = None) -> Tree:
    """Write a constant as one number; where it is used in a wider type, say which it is."""
    value = np.asarray(variable.data).flat[0]
    tree = number(value)
    if user is None or value.dtype.kind != "f" or np.dtype(user.type.dtype).kind != "f":
        return tree
    is_wider = np.dtype(user.type.dtype).itemsize > value.dtype.itemsize
    if is_wider and np.isfinite(value) and float(tree.text) != float(value):
        return call(value.dtype.name, [tree])
    return tree


def constant(variable: Any) -> Tree | None:
    """Write a small constant out, and None for others."""
    data = np.asarray(variable.data)
    if data.dtype.kind not in "biuf":
        return None
    if data.ndim == 0:
        return constant_number(variable)
    if is_uniform(variable) and data.size > 1:
        shape = listed([number(length) for length in data.shape])
        return call("broadcast_to", [constant_number(variable), shape])
    return _listed(data) if data.size <= _FEW else None


def _listed(data: np.ndarray) -> Tree:
    return listed([_listed(row) if row.ndim else number(row[()]) for row in data])
