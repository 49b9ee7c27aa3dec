"""PyTensor's lazy condition, which has moved.

- ``ifelse``: of two branches, compute the one that is taken. Under numba before PyTensor 3.3, both
  are computed
"""

try:
    from pytensor.conditional.op import ifelse
except ImportError:  # before PyTensor 3.3
    from pytensor.ifelse import ifelse  # type: ignore[no-redef]  # noqa: F401
