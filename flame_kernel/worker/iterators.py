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
        held.running = True
        done, returned = False, None
        try:
            _take(held.value, count, held)
        except StopIteration as end:
            done, returned = True, end.value
        except KeyboardInterrupt:  # whoever waits for these items has given up
            raise
        except BaseException as error:  # what came before it comes first
            if not held.items:
                raise
            held.failed = error
        finally:
            with held.changed:
                held.running = False
                held.changed.notify_all()
        return _given(held), done, returned


def so_far(held: Held) -> list[Any]:
    """Return the items that are there while more are being taken, as soon as there's one.

    Args:
        held: The iterator.

    Returns:
        The items; none when no more are being taken.
    """
    with held.changed:
        held.awaited = True
        try:
            held.changed.wait_for(lambda: held.items or not held.running)
        finally:
            held.awaited = False
        return _given(held) if held.running else []


def _given(held: Held) -> list[Any]:
    given = held.items[:]
    del held.items[: len(given)]
    return given


def close(held: Held) -> None:
    """Close an iterator, if it's one that can be closed; its own clearing up may raise anything."""
    held.left = True
    with held.lock:
        closing = getattr(held.value, "close", None)
        if closing is not None:
            closing()


def _take(source: Iterator[Any], count: int, held: Held) -> None:
    end = time.monotonic() + _AT_MOST_S
    weight = 0
    step = type(source).__next__
    keep = held.items.append
    for _ in range(count):
        item = step(source)
        keep(item)
        weight += sys.getsizeof(item, 0)
        if held.awaited:
            with held.changed:
                held.changed.notify_all()
        if weight > _AT_MOST_BYTES or held.left or time.monotonic() > end:
            return
