"""The work on the far side, for peers that serve an object of the user's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any


class Far:
    """What such a server serves."""

    def __init__(self) -> None:
        self._kept: Any = None

    def sqrt(self, number: float) -> float:
        """Return a square root."""
        return math.sqrt(number)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression."""
        return eval(expression)

    def echo(self, data: bytes) -> bytes:
        """Return what was given."""
        return data

    def keep(self, value: Any) -> None:
        """Keep a value."""
        self._kept = value

    def give(self) -> Any:
        """Return the value that is kept."""
        return self._kept

    def items(self, count: int) -> Iterator[int]:
        """Give many items, one after the other."""
        yield from range(count)
