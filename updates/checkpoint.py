"""Checkpoints: the state of a dictionary of updates in one file that is complete or is refused.

- ``save``: write a checkpoint, so that the path holds the old one or the new one at any moment
- ``load``: restore a checkpoint, all of it or nothing; ``read`` does everything but assign

The format is NumPy's ``.npz``, an uncompressed zip archive. Its first entry is ``%updates.npy``,
the bytes of a JSON text with the format's version, every key with its dtype and shape, and
``extra``. Then comes one ``<key>.npy`` for each variable, with keys as in `state_dict`. The
archive's comment is the CRC-32 of all bytes before it. There is no pickle in it, and none is ever
read.
"""

import json
import math
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from pytensor.compile.sharedvalue import SharedVariable

from updates.declaration import declared
from updates.keys import Saved, are_variables, check_names, keyed, listed, reusable
from updates.replacing import replacing
from updates.state_dict import (
    CheckpointError,
    assign,
    checked_value,
    matched,
    saved_arrays,
)

VERSION = 1
_MANIFEST = "%updates.npy"  # no key has a bare % in its file name
_CRC_LENGTH = 8
_BLOCK = 1 << 22


@declared
def save(path: str | os.PathLike[str], updates: Saved, extra: Any = None) -> None:
    """Write everything that a dictionary of updates changes into one file.

    The file is written next to `path`, flushed to the disk and moved into its place in one step.
    Whatever happens, even a kill, the path holds the old checkpoint or the new one, complete. A
    kill can leave the unfinished file behind, called ``.<name>.<letters>.tmp``. A symbolic link at
    `path` stays a link, and permissions stay as they are.

    Parameters
    ----------
    path : str or path
        The file, usually ``*.npz``; its folder must exist.
    updates : dict or list of pairs, or list of shared variables
        Shared variable to next value: everything that the compiled function changes, your own
        random generators and running means included, so that a resumed run is bit-identical
        to one that never stopped. Shared variables in hyperparameters are saved with it, and so
        are numbers that were changed since they were given. See `state_dict`.
    extra : JSON-able, optional
        Facts to keep with it: epoch, best score, ...

    Raises
    ------
    OSError
        If the file cannot be written. The old one is then untouched, unless only the last step
        failed, flushing the folder: then the new file is in place.
    ValueError, TypeError
        If `updates` is empty or not a dictionary of updates, if two of your variables have the
        same name or none, or if `extra` cannot be written as JSON.

    Examples
    --------
    >>> import pytensor, tempfile, updates
    >>> w = pytensor.shared(1.0, name="w")
    >>> rule = updates.adam(w**2, [w])
    >>> step = pytensor.function([], updates=rule)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     updates.save(f"{folder}/run.npz", rule, extra={"epoch": 3})
    ...     _ = step()
    ...     updates.load(f"{folder}/run.npz", rule)
    {'epoch': 3}
    >>> float(w.get_value())
    1.0
    """
    arrays = saved_arrays(updates)
    manifest = _manifest(arrays, extra)
    with replacing(Path(os.path.realpath(path))) as file:
        writer: Any = _CheckedWriter(file)
        with zipfile.ZipFile(writer, "w") as archive:
            archive.comment = b"0" * _CRC_LENGTH
            for member, array in (
                (_MANIFEST, manifest),
                *zip(_members(arrays), arrays.values(), strict=True),
            ):
                with archive.open(zipfile.ZipInfo(member), "w", force_zip64=True) as stream:
                    npy.write_array(stream, array, version=(1, 0), allow_pickle=False)
        writer.finish()


@declared
def load(
    path: str | os.PathLike[str],
    updates: Saved,
    strict: bool = True,
    names: Mapping[str, str] | None = None,
) -> Any:
    """Restore everything that `save` wrote, or nothing if something does not match.

    Parameters
    ----------
    path : str or path
        The file.
    updates : dict or list of pairs, or list of shared variables
        Updates of the same model and rule as those that were saved. Of a list of shared variables,
        parameters for instance, each must be in the file, which may hold more. Numbers that the
        file does not have are what they were given as, see `load_state_dict`.
    strict : bool, optional
        Whether the keys must be the same. Otherwise those without a counterpart are left alone and
        named in a warning; at least one parameter must have one.
    names : dict of str to str, optional
        Saved name to the name now, for a model whose variables have been renamed. The state of a
        renamed parameter goes with it.

    Returns
    -------
    JSON-able
        The `extra` that was saved.

    Raises
    ------
    CheckpointError
        If the file is damaged, not a checkpoint, of a newer version, or of another model: the
        message names the file and what does not match. Every variable then keeps its value.
    OSError
        If the file cannot be read.
    ValueError, TypeError
        If `updates` is empty or not a dictionary of updates.

    Examples
    --------
    See `save`.
    """
    values, extra, skipped = read(path, updates, strict, names)
    assign(values)
    if skipped:
        warnings.warn(f"load: {os.fspath(path)!r} {skipped}", UserWarning, stacklevel=3)
    return extra


def read(
    path: str | os.PathLike[str],
    updates: Saved,
    strict: bool = True,
    names: Mapping[str, str] | None = None,
) -> tuple[list[tuple[SharedVariable, Any]], Any, str]:
    """Read and check what `load` restores: the value of each variable, and ``extra``.

    Returns these two, and which keys have no counterpart, in words.
    """
    check_names(names)
    updates = reusable(updates)
    variables = keyed(updates)  # what is no dictionary is no fault of the file
    with open(path, "rb") as file:
        try:
            return _read(file, updates, variables, strict, names)
        except Exception as error:  # a hostile file can make any step of reading fail
            reason = error if isinstance(error, CheckpointError) else f"it is damaged ({error!r})"
            raise CheckpointError(f"{os.fspath(path)!r}: {reason}") from error


def _manifest(arrays: dict[str, np.ndarray], extra: Any) -> np.ndarray:
    described = {key: [str(array.dtype), array.shape] for key, array in arrays.items()}
    content = {"version": VERSION, "arrays": described, "extra": extra}
    try:
        text = json.dumps(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            "extra must be made of what JSON knows (dictionaries, lists, strings, numbers, "
            f"True, False, None): {error}"
        ) from error
    return np.frombuffer(text.encode(), dtype="uint8")


def _members(keys: Iterable[str]) -> list[str]:
    """Name the entry of each key in the archive; characters that zip cannot hold are quoted."""
    quoted = r"[%\\\x00-\x1f\ud800-\udfff]"
    return [re.sub(quoted, lambda c: f"%{ord(c[0]):02x}", key) + ".npy" for key in keys]


class _CheckedWriter:
    """A file whose last bytes are replaced by the checksum of all bytes before them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._crc = 0
        self._tail = b""

    def write(self, data: Any) -> int:
        """Write all bytes so far except for the last few."""
        view = memoryview(data).cast("B")
        if len(view) < _CRC_LENGTH:
            view = memoryview(self._tail + bytes(view))
        else:
            self._emit(self._tail)
        self._emit(view[:-_CRC_LENGTH])
        self._tail = bytes(view[-_CRC_LENGTH:])
        return len(data)

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()

    def finish(self) -> None:
        """Write the checksum in place of the last bytes."""
        self._file.write(b"%08x" % self._crc)

    def _emit(self, data: Any) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._file.write(data)


def _read(
    file: BinaryIO,
    updates: Saved,
    variables: Mapping[str, Any],
    strict: bool,
    names: Mapping[str, str] | None,
) -> tuple[list[tuple[SharedVariable, Any]], Any, str]:
    """Do what `read` does, with a file that is open."""
    size = _check_crc(file)
    with zipfile.ZipFile(file) as archive:
        file.seek(size - _CRC_LENGTH)
        if archive.comment != file.read() or archive.infolist()[0].header_offset:
            raise CheckpointError("there is something before or after its archive")
        manifest = _checked_manifest(_read_array(archive, _MANIFEST, size))
        described = manifest["arrays"]
        members = dict(zip(described, _members(described), strict=True))
        if archive.namelist() != [_MANIFEST, *members.values()]:
            raise CheckpointError("its entries are not those that it lists")
        found = matched(updates, variables, described, strict, names)
        values = []
        for key, variable in found.variables:
            array = _read_array(archive, members[key], size)
            # Entries that overlap must not take more memory than the file has bytes.
            size -= array.nbytes
            if [str(array.dtype), list(array.shape)] != described[key]:
                raise CheckpointError(f"{key!r} is not what the file lists: {described[key]}")
            values.append((variable, checked_value(key, variable, array)))
        values += found.numbers
    skipped = [f"lacks {listed(found.missing)}"] if found.missing else []
    if found.unexpected and not are_variables(updates):
        skipped.append(f"has {listed(found.unexpected)}, which nothing is called now")
    return values, manifest["extra"], " and ".join(skipped)


def _check_crc(file: BinaryIO) -> int:
    """Compare the checksum with all bytes before it, and return the length of the file."""
    size = os.fstat(file.fileno()).st_size
    crc, left = 0, size - _CRC_LENGTH
    while left > 0:
        block = file.read(min(left, _BLOCK))
        if not block:
            break
        crc = zlib.crc32(block, crc)
        left -= len(block)
    if left != 0 or file.read() != b"%08x" % crc:
        raise CheckpointError("it is damaged or no checkpoint: its checksum does not fit")
    return size


def _checked_manifest(text: np.ndarray) -> dict[str, Any]:
    manifest = json.loads(text.tobytes().decode())
    version = manifest["version"]
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        raise CheckpointError(
            f"it has format version {version!r}, and this version of updates reads {VERSION}"
            + ("; install a newer one" if newer else "")
        )
    return manifest


def _read_array(archive: zipfile.ZipFile, member: str, size: int) -> np.ndarray:
    """Read one array of a file of a known size, trusting nothing that the file claims."""
    info = archive.getinfo(member)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise CheckpointError(f"{member!r} is compressed or encrypted, which no checkpoint is")
    with archive.open(info) as stream:
        if npy.read_magic(stream) != (1, 0):
            raise CheckpointError(f"{member!r} has another version of NumPy's format")
        shape, fortran_order, dtype = npy.read_array_header_1_0(stream)
        if dtype.hasobject:
            raise CheckpointError(f"{member!r} holds Python objects, which are never read")
        if dtype.itemsize * math.prod(shape) > size:
            raise CheckpointError(
                f"{member!r} of dtype {dtype} and shape {shape} is not in the file"
            )
        array = np.empty(shape, dtype, order="F" if fortran_order else "C")
        left = array.ravel(order="K").view("uint8").data
        while left:
            count = stream.readinto(left)  # type: ignore[attr-defined]
            if not count:
                raise CheckpointError(f"{member!r} ends early")
            left = left[count:]
        if stream.read(1):
            raise CheckpointError(f"{member!r} goes on after its end")
    return array
