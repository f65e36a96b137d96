"""Bytes as the vectors hold them.

A string of bytes is written in hexadecimal digits; one with long runs as a list of pieces, of which a run of a byte is
``{"hex": "4c", "times": 20000}``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from flame_kernel.buffers import Buffer

Vectors = dict[str, Any]

_RUN = re.compile(rb"(.)\1{255,}", re.DOTALL)


def in_hex(data: Buffer) -> Any:
    """Write bytes down."""
    raw = bytes(data)
    pieces: list[Any] = []
    end = 0
    for run in _RUN.finditer(raw):
        if run.start() > end:
            pieces.append(raw[end : run.start()].hex())
        pieces.append({"hex": run[1].hex(), "times": len(run[0])})
        end = run.end()
    if not pieces:
        return raw.hex()
    return pieces if end == len(raw) else [*pieces, raw[end:].hex()]


def all_in_hex(buffers: Sequence[Buffer]) -> list[Any]:
    """Write several down."""
    return list(map(in_hex, buffers))
