"""Replies to their requests: the one place where somebody waits for an answer by its id."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class ReplyMatcher(Generic[Waiter]):
    """Keeps who waits for which reply, and forgets each exactly once.

    Example:
        >>> matcher = ReplyMatcher()
        >>> matcher.expect(1, "me")
        >>> matcher.take(1), matcher.take(1)
        ('me', None)
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, Waiter] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def expect(self, key: Hashable, waiter: Waiter) -> None:
        """Let somebody wait for the reply to ``key``."""
        self._waiting[key] = waiter

    def find(self, key: Hashable) -> Waiter | None:
        """Return who waits for the reply to ``key``, who goes on waiting."""
        return self._waiting.get(key)

    def take(self, key: Hashable) -> Waiter | None:
        """Return who waits for the reply to ``key``, who then waits no longer."""
        return self._waiting.pop(key, None)

    def drop_all(self, tell: Callable[[Waiter], None]) -> None:
        """Tell everybody that no reply will come.

        Args:
            tell: Called once for each who waits.
        """
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            tell(waiter)
