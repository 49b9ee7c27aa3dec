"""Precision: in which dtype the library computes what is not element by element.

- ``wide``: the dtype of time, schedules, norms, and numbers that a whole call has in common
"""

import pytensor


def wide(*dtypes: str) -> str:
    """Return the dtype to compute in beside tensors of some dtypes: float64.

    Where PyTensor's ``warn_float64`` asks for no float64 variables, it is float32 instead, unless
    a tensor is float64 itself. Then norms are still right wherever float32 can represent them, but
    numbers are rounded more coarsely: bias corrections to about 1e-5, for instance.
    """
    is_forbidden = pytensor.config.warn_float64 != "ignore" and "float64" not in dtypes
    return "float32" if is_forbidden else "float64"
