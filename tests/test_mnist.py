"""The data are what they should be, and a file is read without running anything in it."""

import copyreg
import gzip
import io
import os
import pickle
import struct

import mnist
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest


def images_and_labels(num_examples=20):
    rng = np.random.default_rng(0)
    return rng.random((num_examples, 784)).astype("float32"), np.arange(num_examples) % 10


def write(path, content):
    with gzip.open(path, "wb") as file:
        file.write(content)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mnist.pkl.gz"


# ---- scikit-learn's digits


def test_digits_are_split_reproducibly_and_in_proportion():
    first, second = mnist.digits(), mnist.digits()
    assert [len(x) for x, _ in first] == [1197, 300, 300]
    for (x, y), (again_x, again_y) in zip(first, second, strict=True):
        assert x.shape == (len(y), 784)
        assert x.min() == 0
        assert x.max() == 1
        assert np.ptp(np.bincount(y) / len(y)) < 0.02
        np.testing.assert_array_equal(x, again_x)
        np.testing.assert_array_equal(y, again_y)
    assert len(np.unique(np.concatenate([x for x, _ in first]), axis=0)) == 1797


def test_expanded_data_are_the_images_and_their_shifts():
    image = np.zeros((1, 28, 28), dtype="float32")
    image[0, 0, 5] = 1.0
    data = pytensor.shared(image.reshape((1, -1))), pt.constant(np.array([7], dtype="int32"))
    x, y = mnist.expand(data)
    pixels = {tuple(np.argwhere(row.reshape((28, 28))).ravel()) for row in x.get_value()}
    assert pixels == {(0, 5), (1, 5), (), (0, 4), (0, 6)}  # shifted up, the pixel leaves
    assert list(y.eval(mode="FAST_COMPILE")) == [7] * 5
    assert y.dtype == "int32"


@pytest.mark.parametrize("floatX", ["float32", "float64"])
def test_data_are_shared_as_in_the_book(floatX):
    with pytensor.config.change_flags(floatX=floatX):
        for x, y in mnist.load_data_shared():
            assert x.dtype == floatX
            assert y.dtype == "int32"
            labels = y.eval(mode="FAST_COMPILE")
            assert len(labels) == len(x.get_value())
            assert set(labels) == set(range(10))


def test_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "pytensor-updates\[demo\]"'):
        mnist.digits()


# ---- files


def python2_pickle(parts):
    """Pickle as Python 2 did with protocol 2: the bytes of an array are a byte string there."""

    def string(data):
        return b"T" + struct.pack("<I", len(data)) + data

    def array(values):
        shape = b"".join(b"J" + struct.pack("<i", n) for n in values.shape)
        return (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            + b"(K\x01("
            + shape
            + b"tcnumpy\ndtype\n"
            + b"U\x02"
            + values.dtype.str[1:].encode()
            + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
            + string(values.tobytes())
            + b"tb"
        )

    return b"\x80\x02(" + b"".join(array(x) + array(y) + b"\x86" for x, y in parts) + b"t."


FORMATS = {
    "python 2": python2_pickle,
    **{f"protocol {n}": lambda parts, n=n: pickle.dumps(parts, n) for n in range(6)},
    "expanded": lambda parts: pickle.dumps([[list(x), list(y)] for x, y in parts], 2),
    "big-endian": lambda parts: pickle.dumps([(x.astype(">f4"), y) for x, y in parts], 2),
    "fortran order": lambda parts: pickle.dumps([(np.asfortranarray(x), y) for x, y in parts], 5),
}


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_is_read(form, path):
    x, y = images_and_labels()
    write(path, FORMATS[form](((x, y), (x[:10], y[:10]), (x[5:], y[5:]))))
    (read_x, read_y), _, (test_x, _) = mnist.read(path)
    np.testing.assert_array_equal(read_x, x)
    np.testing.assert_array_equal(read_y, y)
    np.testing.assert_array_equal(test_x, x[5:])
    shared_x, _ = mnist.load_data_shared(path)[0]
    np.testing.assert_array_equal(shared_x.get_value(), x)


class Hostile:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def object_array(mark):
    array = np.empty(1, dtype=object)
    array[0] = Hostile(mark)
    return array


def persistent(mark):
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return "id" if obj is None else None

    file = io.BytesIO()
    Pickler(file).dump((None, None, None))
    return file.getvalue()


def extension(mark):
    """Return the code 77 for os.mkdir, cached by an earlier pickle, and a call of it."""
    copyreg.add_extension(os.mkdir.__module__, "mkdir", 77)
    try:
        pickle.loads(b"\x80\x02\x82\x4d.")
        return (
            b"\x80\x02\x82\x4dX"
            + struct.pack("<I", len(str(mark)))
            + str(mark).encode()
            + b"\x85R."
        )
    finally:
        # the cache alone would still know it
        copyreg._extension_registry.pop((os.mkdir.__module__, "mkdir"))
        copyreg._inverted_registry.pop(77)


HOSTILE = {
    "a call": (lambda mark: pickle.dumps(Hostile(mark)), "mkdir"),
    "a call, protocol 0": (lambda mark: pickle.dumps(Hostile(mark), 0), "mkdir"),
    "inside the data": (
        lambda mark: pickle.dumps([(*images_and_labels(), Hostile(mark))] * 3),
        "mkdir",
    ),
    "an array of objects": (lambda mark: pickle.dumps(object_array(mark)), "'O8'|mkdir"),
    "an array of None": (lambda mark: pickle.dumps(np.array([None])), "'O8'"),
    "a scalar of objects": (
        lambda mark: b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x01OtRNtR.",
        "'O'",
    ),
    "a subclass": (lambda mark: pickle.dumps(np.ma.ones(3)), "MaskedArray|_mareconstruct"),
    "a builtin": (lambda mark: b"cbuiltins\neval\n(U\x011tR.", r"builtins.eval"),
    "a dotted name": (
        lambda mark: b"\x80\x04\x8c\x05numpy\x8c\x0bdtype.bytes\x93.",
        "numpy.dtype.",
    ),
    "another encoding": (lambda mark: b"c_codecs\nencode\n(Va\nVrot13\ntR.", "rot13"),
    "a persistent id": (persistent, "persistent"),
    "an extension code": (extension, "mkdir|extension code"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_and_nothing_in_it_runs(what, path, tmp_path):
    content, message = HOSTILE[what]
    mark = tmp_path / "mark"
    write(path, content(mark))
    with pytest.raises(ValueError, match=message) as refusal:
        mnist.read(path)
    assert str(path) in str(refusal.value)
    assert not mark.exists()


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(fraction, path):
    write(path, pickle.dumps((images_and_labels(),) * 3))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(ValueError, match=r"mnist\.pkl\.gz"):
        mnist.read(path)


def test_a_pickle_cut_short_is_refused(path):
    content = python2_pickle((images_and_labels(),) * 3)
    for end in (0, 1, 5, 40, 1000, len(content) - 1):
        with pytest.raises(ValueError, match=r"mnist\.pkl\.gz"):
            mnist.read(write(path, content[:end]))


def test_a_file_that_is_no_gzip_or_not_there_is_named(path):
    with pytest.raises(FileNotFoundError, match=r"mnist\.pkl\.gz"):
        mnist.read(path)
    path.write_bytes(pickle.dumps((images_and_labels(),) * 3))
    with pytest.raises(ValueError, match=r"mnist\.pkl\.gz.*gzip"):
        mnist.read(path)


X, Y = images_and_labels()
MISSHAPEN = {
    "two parts": (((X, Y), (X, Y)), "expected 3 parts"),
    "no parts": (7, "expected 3 parts"),
    "no pair": (((X, Y), (X, Y, Y), (X, Y)), r"validation data: expected a pair"),
    "no arrays": ((("x", "y"), (X, Y), (X, Y)), r"training data: expected x"),
    "fewer pixels": (((X, Y), (X, Y), (X[:, 1:], Y)), r"test data: expected x.*\(20, 783\)"),
    "images unflattened": (((X.reshape((-1, 28, 28)), Y),) * 3, r"expected x.*\(20, 28, 28\)"),
    "integer images": (((X.astype("uint8"), Y),) * 3, r"expected x.*uint8"),
    "ragged rows": ((([X[0], X[1, 1:]], [0, 1]),) * 3, "training data: x"),
    "one-hot labels": (((X, np.eye(10)[Y]),) * 3, r"expected y.*\(20, 10\)"),
    "float labels": (((X, Y.astype("float32")),) * 3, r"expected y.*float32"),
    "fewer labels": (((X, Y[1:]),) * 3, "20 and 19"),
    "empty": (((X[:0], Y[:0]),) * 3, "at least one"),
    "not finite": (((np.where(X > 0.9, np.nan, X), Y),) * 3, "finite"),
    "label 10": (((X, Y + 1),) * 3, r"labels 0\.\.9, got 1\.\.10"),
    "negative label": (((X, Y - 1),) * 3, r"labels 0\.\.9, got -1\.\.8"),
}


@pytest.mark.parametrize("what", MISSHAPEN)
def test_other_shapes_and_types_are_refused(what, path):
    parts, message = MISSHAPEN[what]
    write(path, pickle.dumps(parts))
    with pytest.raises(ValueError, match=message) as refusal:
        mnist.read(path)
    assert str(path) in str(refusal.value)
