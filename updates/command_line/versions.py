"""What the library runs with, as text for a bug report.

- ``versions_text``: versions, the settings of PyTensor that decide how functions are compiled, and
  the features that are lost because a private part of PyTensor or numba has changed
"""

import platform
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytensor
from pytensor.compile.mode import get_mode

import updates
from updates.multi_tensor import numba_is_ready
from updates.private import FEATURES

# What the library needs, and what it works with where that is installed.
_NEEDED = ("pytensor", "numpy", "numba")
_OPTIONAL = ("jax", "pymc", "pymc-extras", "pytensor-ml", "mpi4py")


def versions_text() -> str:
    """List what the library runs with, one fact a line.

    Nothing but PyTensor and numba is imported for it.

    Returns
    -------
    str
        Lines of a name and a value: versions of this library, Python, the platform and packages
        (those that are optional only where they are installed), then mode, linker, floatX, C++
        compiler, BLAS flags and compile directory of PyTensor, and finally the features that
        are lost because a private part that they need has changed.
    """
    facts = [*_versions(), *_settings(), *_lost_features()]
    width = max(len(name) for name, _ in facts) + 2
    return "".join(f"{name:<{width}}{value}\n" for name, value in facts)


def _versions() -> Iterator[tuple[str, str]]:
    yield "updates", updates.__version__
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "platform", platform.platform()
    for package in _NEEDED + _OPTIONAL:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            if package in _NEEDED:
                yield package, "not installed"


def _settings() -> Iterator[tuple[str, str]]:
    config = pytensor.config
    yield "mode", str(config.mode)
    yield "linker", f"{config.linker} ({type(get_mode(None).linker).__name__})"
    yield "floatX", config.floatX
    yield "C++ compiler", config.cxx or "none"
    with warnings.catch_warnings():  # PyTensor warns if it finds no BLAS, which the line says
        warnings.simplefilter("ignore")
        yield "BLAS flags", config.blas__ldflags or "none"
    # Reports are public, and the name of the home directory is often that of a person.
    yield "compile directory", str(config.compiledir).replace(str(Path.home()), "~", 1)


def _lost_features() -> Iterator[tuple[str, str]]:
    """Tell what is lost once the parts that compile with numba are imported, too."""
    numba_is_ready()
    lost = [feature for feature in FEATURES if feature.is_lost]
    for feature in lost:
        yield "lost feature", f"{feature.name}: {feature.without}"
    if not lost:
        yield "lost features", "none"
