"""Stopwatches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

# However slow something is: one time could be an accident.
_AT_LEAST = 3


def time_of(action: Callable[[], object]) -> float:
    """Return how long an action takes, in seconds."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def times_of(action: Callable[[], object], at_most: int, seconds: float) -> list[float]:
    """Repeat an action until it was done often enough or the time is up; return how long each took, in seconds."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < _AT_LEAST or (len(taken) < at_most and time.perf_counter() < end):
        taken.append(time_of(action))
    return taken


def median_of(action: Callable[[], object], at_most: int, seconds: float) -> float:
    """Return an action's median time, in seconds."""
    return statistics.median(times_of(action, at_most, seconds))


def rate_of(burst: Callable[[int], object], at_most: int, seconds: float) -> float:
    """Return how many a second a burst makes; it is as large as the time allows.

    Args:
        burst: Does something a number of times.
        at_most: The largest burst.
        seconds: How long it may take, in seconds.
    """
    few = min(10, at_most)
    burst(few)  # what is made once is made now
    count = few
    while True:
        taken = time_of(lambda count=count: burst(count))  # type: ignore[misc]
        larger = min(at_most, int(count * seconds / taken), count * 20)
        if larger < 2 * count:
            return count / taken
        count = larger
