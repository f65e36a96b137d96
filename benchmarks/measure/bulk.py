"""Bulk: a large value there, and the same value back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.effort import Effort
from benchmarks.subject import Subject
from benchmarks.timing import time_of

_MEBIBYTE = 1024 * 1024

# A peer that would take longer gets less, in seconds.
_LONGEST_S = 1.5


def blobs(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time bytes."""
    put, get = _there_and_back(subject, effort, os.urandom)
    return {"put_bytes": put, "get_bytes": get}


def arrays(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time an array of floats."""
    put, get = _there_and_back(subject, effort, lambda size: np.random.default_rng().random(size // 8))
    return {"put_array": put, "get_array": get}


def _there_and_back(subject: Subject, effort: Effort, make: Any) -> tuple[float, float]:
    client = subject.client
    first = make(_MEBIBYTE)
    taken = time_of(lambda: client.put(first))
    mebibytes = max(1, min(effort.mebibytes, int(_LONGEST_S / taken)))
    value = make(mebibytes * _MEBIBYTE)
    put_s = time_of(lambda: client.put(value))
    back: list[Any] = []
    get_s = time_of(lambda: back.append(client.get()))
    assert memoryview(back[0]).cast("B") == memoryview(value).cast("B"), "what came back differs"
    megabytes = mebibytes * _MEBIBYTE / 1e6
    return megabytes / put_s, megabytes / get_s
