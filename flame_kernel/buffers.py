"""Bytes that are passed on without being copied.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

from typing import Union

# Views are of single bytes in a row, as ``memoryview.cast("B")`` makes them, so that ``len`` is a size in bytes.
Buffer = Union[bytes, bytearray, memoryview]

# From this size (bytes) on, copying costs more than a ZeroMQ frame of its own.
OWN_FRAME = 16 * 1024
