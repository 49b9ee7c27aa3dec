"""Sums whose numbers travel in 16 bits and are added up in 32.

- ``allreduce_narrow``: sum an array over all processes of a communicator, in place
- ``WIRES``: how many bits of a number travel

Each process sends each other its part of the array, adds up what it gets, and sends the sums to
all. So a number is rounded once on its way to where it is added and once afterwards, however many
processes there are, and all of them hold the same bits. MPI's own sums know no 16 bits, and would
round at every addition.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

# Numbers that are sent in one call, so that counts stay small and memory bounded.
PIECE = 1 << 22


def allreduce_narrow(comm: Any, buffer: np.ndarray, wire: str) -> None:
    """Sum a float32 array over all processes of a communicator, in place.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        The processes.
    buffer : numpy.ndarray
        The numbers, float32.
    wire : str
        One of `WIRES`: how they travel.
    """
    for start in range(0, buffer.size, PIECE):
        _sum_piece(comm, buffer[start : start + PIECE], *WIRES[wire])


def _sum_piece(
    comm: Any,
    piece: np.ndarray,
    encode: Callable[[np.ndarray, np.ndarray], None],
    decode: Callable[[np.ndarray], np.ndarray],
) -> None:
    n = comm.size
    size = -(-piece.size // n)
    padded = np.zeros((n, size), np.float32)
    padded.reshape(-1)[: piece.size] = piece
    sent = np.empty((n, size + 2), np.uint16)  # the last two are the scale
    encode(padded, sent)
    parts = np.empty_like(sent)
    comm.Alltoall(sent, parts)
    own = padded[comm.rank]
    for rank, part in enumerate(decode(parts)):
        if rank != comm.rank:
            own += part
    encode(padded[comm.rank : comm.rank + 1], sent[:1])
    comm.Allgather(sent[0], parts)
    piece[:] = decode(parts).reshape(-1)[: piece.size]


def _encode_half(rows: np.ndarray, target: np.ndarray) -> None:
    """Write rows as float16, each scaled by a power of 2 so that its largest is about 2^14.

    Small gradients would be 0 in float16 otherwise, and large ones infinite.
    """
    largest = np.abs(rows).max(axis=1, initial=0)
    exponents = np.where(np.isfinite(largest) & (largest > 0), 14 - np.frexp(largest)[1], 0)
    exponents = np.clip(exponents, -126, 126)
    scales = np.ldexp(np.float32(1), exponents)[:, None]
    with np.errstate(under="ignore", over="ignore"):  # beside an infinity nothing is scaled
        target[:, :-2] = (rows * scales).astype(np.float16).view(np.uint16)
    target[:, -2:] = (1 / scales).view(np.uint16)


def _decode_half(rows: np.ndarray) -> np.ndarray:
    scales = np.ascontiguousarray(rows[:, -2:]).view(np.float32)
    return rows[:, :-2].view(np.float16) * scales


def _encode_brain(rows: np.ndarray, target: np.ndarray) -> None:
    """Write the upper half of each float32, rounded to the nearest, to the even one of two."""
    bits = rows.view(np.uint32)
    rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    target[:, :-2] = np.where(np.isnan(rows), 0x7FC0, rounded)


def _decode_brain(rows: np.ndarray) -> np.ndarray:
    return (rows[:, :-2].astype(np.uint32) << 16).view(np.float32)


WIRES = {"float16": (_encode_half, _decode_half), "bfloat16": (_encode_brain, _decode_brain)}
