"""Load JAX first: PyTensor switches its 64-bit numbers on or off then, by floatX at that time."""

from contextlib import suppress

with suppress(ImportError):
    import pytensor.link.jax.dispatch  # noqa: F401
