"""Items of an iterator, some at a time: as many as the client wants, as fit, and as come within a moment."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from flame_kernel.worker.objects import Held

# A few items that are there shall not wait for many that are slow, in seconds.
_AT_MOST_S = 0.02

# Nor shall they fill memory, in bytes as far as ``sys.getsizeof`` knows.
_AT_MOST_BYTES = 1024 * 1024


def advance(held: Held, count: int) -> tuple[list[Any], bool, Any]:
    """Take items.

    Args:
        held: The iterator.
        count: How many at most.

    Returns:
        The items, whether the iterator is exhausted, and what it returned then.

    Raises:
        BaseException: Whatever it raises, once the items before have been taken.
    """
    with held.lock:
        if held.failed is not None:
            failed, held.failed = held.failed, None
            raise failed
        items: list[Any] = []
        try:
            _take(held.value, count, held, items)
        except StopIteration as end:
            return items, True, end.value
        except KeyboardInterrupt:  # whoever waits for these items has given up
            raise
        except BaseException as error:  # what came before it comes first
            if not items:
                raise
            held.failed = error
        return items, False, None


def close(held: Held) -> None:
    """Close an iterator, if it's one that can be closed; its own clearing up may raise anything."""
    held.left = True
    with held.lock:
        closing = getattr(held.value, "close", None)
        if closing is not None:
            closing()


def _take(source: Iterator[Any], count: int, held: Held, items: list[Any]) -> None:
    end = time.monotonic() + _AT_MOST_S
    weight = 0
    step = type(source).__next__
    for _ in range(count):
        item = step(source)
        items.append(item)
        weight += sys.getsizeof(item, 0)
        if weight > _AT_MOST_BYTES or held.left or time.monotonic() > end:
            return
