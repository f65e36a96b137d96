"""Bytes that are passed on without being copied.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence
from io import BytesIO
from typing import Union

# Views are of single bytes in a row, as ``memoryview.cast("B")`` makes them, so that ``len`` is a size in bytes.
Buffer = Union[bytes, bytearray, memoryview]

# From this size (bytes) on, copying costs more than a ZeroMQ frame of its own.
OWN_FRAME = 16 * 1024

# From this size (bytes) on, memory is asked for in huge pages, where there are any. numpy draws the line here too.
_HUGE = 4 * 1024 * 1024


def size_of(parts: Sequence[Buffer]) -> int:
    """Return how many bytes buffers have together.

    Example:
        >>> size_of([b"ab", b"c"])
        3
    """
    if len(parts) == 2:  # nearly all messages of calls, and half the work
        return len(parts[0]) + len(parts[1])
    return sum(map(len, parts))


class Arrival:
    """Memory of a known size that is filled piece by piece, and then handed over without a copy.

    Args:
        size: How many bytes will come.

    Attributes:
        missing: How many of them have not come yet.

    Example:
        >>> arrival = Arrival(6)
        >>> arrival.put(b"abc")
        >>> arrival.put(b"def")
        >>> arrival.end(read_only=True)
        b'abcdef'
    """

    def __init__(self, size: int) -> None:
        # ``bytes(size)`` is memory that the system has not even cleared yet, so that a size that is only claimed takes
        # none; and a BytesIO that alone has it lets it be filled, and gives it back as it is.
        self._file = BytesIO(bytes(size))
        self._view = self._file.getbuffer()
        self.missing = size
        if size >= _HUGE:
            _ask_for_huge_pages(self._view)

    @property
    def room(self) -> memoryview:
        """Where the next piece belongs, for who can put it there without holding it: then :meth:`filled` follows."""
        return self._view[len(self._view) - self.missing :]

    def filled(self, count: int) -> None:
        """Take note that the first so many bytes of the :attr:`room` have come."""
        self.missing -= count

    def put(self, piece: Buffer) -> None:
        """Put the next piece into its place; it is no longer than what is missing."""
        self.room[: len(piece)] = piece
        self.missing -= len(piece)

    def end(self, read_only: bool) -> Buffer:
        """Hand it over, now that all has come.

        Args:
            read_only: Whether as ``bytes`` instead of a view that may be written to.
        """
        if not read_only:
            return self._view
        self._view.release()
        return self._file.getvalue()


def _ask_for_huge_pages(view: memoryview) -> None:
    """Have memory come in pages of 2 MiB: in pages of 4 KiB, coming takes longer than being filled (25 of 40 ms)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes  # only here: small values never need it

    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    begin = ctypes.addressof(ctypes.c_char.from_buffer(view))
    first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
    # It is a hint: a system that can't take it says so, and all goes on as before.
    advise(first, begin + len(view) - first, mmap.MADV_HUGEPAGE)
