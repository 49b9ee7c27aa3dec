"""Handwritten digits for ``network3``, from scikit-learn or from the book's ``mnist.pkl.gz``.

- ``load_data_shared``: training, validation and test data in shared variables
- ``expand``: add shifted copies to training data, as the book does
- ``digits``: the 1,797 digits that scikit-learn ships, enlarged to the 28x28 pixels of MNIST
- ``read``: read and check a file in the book's format, without running any code from it
- ``ArrayUnpickler``: an unpickler that accepts numbers and arrays of numbers, and nothing else
"""

import copyreg
import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorVariable

Data = tuple[np.ndarray, np.ndarray]
SharedData = tuple[TensorSharedVariable, TensorVariable]

PARTS = ("training data", "validation data", "test data")
PIXELS = 28 * 28


def load_data_shared(filename: str | Path | None = None) -> list[SharedData]:
    """Put training, validation and test data into shared variables.

    Parameters
    ----------
    filename : path, optional
        A file in the format of the book's ``mnist.pkl.gz``; by default ``digits()`` is used.

    Returns
    -------
    list of three (x, y)
        ``x`` is a shared matrix of ``floatX`` with one row of 784 pixels in 0..1 for each image;
        ``y`` is the int32 vector of their labels.

    Raises
    ------
    ImportError
        If no file is given and scikit-learn is not installed.
    FileNotFoundError, ValueError
        If there is no such file, or if it does not hold what it should.
    """

    def shared(data: Data) -> SharedData:
        x, y = (np.array(part, dtype=pytensor.config.floatX) for part in data)
        return pytensor.shared(x, borrow=True), pt.cast(pytensor.shared(y, borrow=True), "int32")

    return [shared(data) for data in (digits() if filename is None else read(filename))]


def expand(data: SharedData) -> SharedData:
    """Add four copies of every image, shifted by one pixel up, down, left and right.

    The book's ``expand_mnist.py`` does the same. Pixels that are shifted out of the frame are
    lost, and those that are shifted in are blank. The images are shuffled, always in the same way.
    """
    x, y = data
    images = np.pad(x.get_value().reshape((-1, 28, 28)), ((0, 0), (1, 1), (1, 1)))
    windows = [(1, 1), (2, 1), (0, 1), (1, 2), (1, 0)]
    expanded = np.concatenate([images[:, i : i + 28, j : j + 28] for i, j in windows])
    order = np.random.default_rng(0).permutation(len(expanded))
    labels = np.tile(y.eval(), len(windows))[order].astype(x.type.dtype)
    pixels = expanded.reshape((-1, PIXELS))[order]
    return pytensor.shared(pixels, borrow=True), pt.cast(pytensor.shared(labels), "int32")


def digits() -> list[Data]:
    """Return scikit-learn's digits at 28x28 pixels, always split in the same way.

    Returns
    -------
    list of three (x, y)
        1197 training, 300 validation and 300 test images, in which the digits are equally frequent.
    """
    try:
        from scipy.ndimage import zoom
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(
            "the default data are scikit-learn's digits, and scikit-learn is not installed: "
            'pip install "pytensor-updates[demo]", or give the path of an mnist.pkl.gz'
        ) from error
    bunch = load_digits()
    # as in MNIST: 20x20 pixels in the middle of 28x28, so that filters see all of the digit
    images = np.pad(zoom(bunch.images / 16.0, (1, 2.5, 2.5), order=1), ((0, 0), (4, 4), (4, 4)))
    x, y = images.reshape((-1, PIXELS)), bunch.target

    def split(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        return train_test_split(x, y, test_size=300, stratify=y, random_state=0)

    rest_x, test_x, rest_y, test_y = split(x, y)
    training_x, validation_x, training_y, validation_y = split(rest_x, rest_y)
    return [(training_x, training_y), (validation_x, validation_y), (test_x, test_y)]


def read(filename: str | Path) -> list[Data]:
    """Read a gzip'd pickle of training, validation and test data.

    Parameters
    ----------
    filename : path
        Three pairs: ``x`` of shape (n, 784), floats, and ``y`` of shape (n,), integers in 0..9;
        arrays, or lists of rows and labels as in the book's expanded data. Pickles of Python 2
        and 3 are read.

    Returns
    -------
    list of three (x, y)
        As they are in the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is cut short, is not a gzip'd pickle, names anything but numbers and arrays,
        or holds something of another shape or type.
    """
    try:
        with gzip.open(filename, "rb") as file:
            # A cached extension code would be used without asking find_class.
            copyreg.clear_extension_cache()
            parts = ArrayUnpickler(file, encoding="latin1").load()
    except FileNotFoundError:
        raise FileNotFoundError(f"{filename}: no such file") from None
    except Exception as error:  # damaged pickles raise almost anything
        raise ValueError(
            f"{filename}: expected a gzip'd pickle of arrays, but reading it failed with "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(parts, list | tuple) or len(parts) != len(PARTS):
        raise ValueError(f"{filename}: expected {len(PARTS)} parts, {', '.join(PARTS)}")
    return [_checked(f"{filename}: {name}", part) for name, part in zip(PARTS, parts, strict=True)]


def _checked(place: str, part: Any) -> Data:
    """Return the pair (x, y) of one part; errors begin with the place where it stands."""
    if not isinstance(part, list | tuple) or len(part) != 2:
        raise ValueError(f"{place}: expected a pair (x, y)")
    x, y = (_as_array(f"{place}: {name}", data) for name, data in zip("xy", part, strict=True))
    if x.ndim != 2 or x.shape[1] != PIXELS or x.dtype.kind != "f":
        raise ValueError(
            f"{place}: expected x of shape (n, {PIXELS}) and floats, got {x.shape} of {x.dtype}"
        )
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise ValueError(
            f"{place}: expected y of shape (n,) and integers, got {y.shape} of {y.dtype}"
        )
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"{place}: expected as many images as labels and at least one, "
            f"got {len(x)} and {len(y)}"
        )
    if not np.isfinite(x).all():
        raise ValueError(f"{place}: expected finite x, got NaN or infinity")
    if y.min() < 0 or y.max() > 9:
        raise ValueError(f"{place}: expected labels 0..9, got {y.min()}..{y.max()}")
    return x, y


def _as_array(place: str, data: Any) -> np.ndarray:
    try:
        rows = [getattr(row, "value", row) for row in data] if isinstance(data, list) else data
        array = np.asarray(getattr(rows, "value", rows))
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{place}: {error}") from error
    return array


class ArrayUnpickler(pickle.Unpickler):
    """Unpickle numbers, strings, tuples, lists and arrays of numbers; refuse any other name.

    In the place of numpy, a pickle calls the stand-ins below, which check their arguments.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name, or refuse it."""
        module = module.replace("numpy._core", "numpy.core")  # renamed in numpy 2
        try:
            return STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, and only numbers and arrays of numbers are read"
            ) from None


class _Dtype:
    """Stand-in for ``numpy.dtype``: integers, floats and booleans."""

    CODES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])

    def __init__(self, code: Any, *flags: Any) -> None:
        if not isinstance(code, str) or code not in self.CODES:
            raise pickle.UnpicklingError(f"it holds an array of {code!r}, not of numbers")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        _version, byteorder, *rest = state
        if byteorder not in ("<", ">", "|", "=") or rest[:3] != [None, None, None]:
            raise pickle.UnpicklingError(f"it holds an array of the unknown type {state!r}")
        self.value = self.value.newbyteorder(byteorder)


class _Array:
    """Stand-in for ``numpy.ndarray``: shape, type and bytes arrive in ``__setstate__``."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, in_fortran_order, data = state
        self.value = _array(data, dtype, shape, "F" if in_fortran_order else "C")


def _array(data: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    # numpy itself would also accept other kinds of dtypes and buffers
    if not isinstance(dtype, _Dtype) or not isinstance(data, str | bytes | bytearray):
        raise pickle.UnpicklingError("it holds an array that is not made of bytes and a type")
    buffer = data.encode("latin1") if isinstance(data, str) else data  # a string of Python 2
    return np.frombuffer(buffer, dtype.value).reshape(shape, order=order)


def _reconstruct(kind: Any, *placeholders: Any) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("it holds a subclass of numpy.ndarray")
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any, *rest: Any) -> _Array:
    array = _Array()
    array.value = _array(data, dtype, shape, order)
    return array


def _scalar(dtype: Any, data: Any) -> int | float:
    return _array(data, dtype, ()).item()


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes a string as {encoding!r}")
    return text.encode("latin1")


STAND_INS = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
}
