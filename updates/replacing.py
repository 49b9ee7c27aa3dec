"""Files that are replaced as a whole: at any moment a path holds the old content or the new.

- ``replacing``: open a file to write to, which takes the place of another in one move
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Open a file to write to, which replaces the target once it is on the disk.

    If anything fails before that, the target stays as it is.
    """
    temporary = target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with _synced(target.parent):
            descriptor = os.open(temporary, flags, 0o666)
            try:
                with open(descriptor, "wb") as file:
                    _copy_permissions(target, file.fileno())
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, target)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
    except OSError as error:
        error.filename = error.filename or str(target)
        raise


@contextmanager
def _synced(folder: Path) -> Iterator[None]:
    """Flush a folder in the end, so that the disk has the new entry."""
    if os.name == "nt":  # Windows cannot open folders
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_permissions(target: Path, descriptor: int) -> None:
    """Give the new file the permissions and the owner of the old one, which must be regular."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(target))
    if os.name != "nt":
        with suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
