"""What the session holds for its clients: objects that could not cross by value, or were asked for by reference.

An object has one number, however often it's given out, so that two handles of one object are known as such. Each client
gives back what it was given as often as it was given; what nobody has any more is let go of.
"""

from __future__ import annotations

import itertools
import reprlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from flame_kernel.errors import LimitExceeded, UnknownHandle
from flame_kernel.protocol.references import ITERATOR, MODULE, OBJECT, Reference
from flame_kernel.serialize import type_name

# Objects that the session holds for one client; a loop that keeps every handle must not fill the session's memory.
MAX_PER_CLIENT = 10_000

_PREVIEW = reprlib.Repr()
_PREVIEW.maxother = _PREVIEW.maxstring = 200


@dataclass
class Held:
    """An object that some clients have a handle of.

    Attributes:
        value: The object.
        given: How often each client was given it.
        lock: Held while a client takes items of it, if it's an iterator.
        items: Those that were taken and not given out yet.
        running: Whether items are being taken.
        awaited: Whether a client waits for the items so far.
        changed: Notified when there are items for who waits, or no more are being taken.
        left: Set when nobody wants more items of it.
        failed: What it raised after the last items that were taken.
    """

    value: Any
    given: dict[bytes, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    items: list[Any] = field(default_factory=list)
    running: bool = False
    awaited: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)
    left: bool = False
    failed: BaseException | None = None


class Objects:
    """The objects that a worker holds.

    Args:
        epoch: What tells this process from any other.
    """

    def __init__(self, epoch: bytes) -> None:
        self.epoch = epoch.hex()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._held: dict[int, Held] = {}
        self._number_of: dict[int, int] = {}  # by id(), which is an object's own as long as it's held
        self._count: dict[bytes, int] = {}

    def hold(self, client: bytes, value: Any) -> Reference:
        """Hold an object for a client.

        Args:
            client: The client's name.
            value: The object.

        Returns:
            What names it.

        Raises:
            LimitExceeded: The client has too many already.
        """
        if isinstance(value, ModuleType):
            return Reference(self.epoch, 0, MODULE, value.__name__, preview(value))
        with self._lock:
            number = self._number_of.get(id(value))
            held = self._held[number] if number is not None else Held(value)
            if client not in held.given:
                count = self._count.get(client, 0)
                if count >= MAX_PER_CLIENT:
                    raise LimitExceeded(
                        f"this client has {count:,} handles of objects in this session, which is the limit; "
                        "let go of some (del) before you make more"
                    )
                self._count[client] = count + 1
            if number is None:
                number = next(self._numbers)
                self._held[number] = held
                self._number_of[id(value)] = number
            held.given[client] = held.given.get(client, 0) + 1
        kind = ITERATOR if hasattr(type(value), "__next__") else OBJECT
        return Reference(self.epoch, number, kind, type_name(value), preview(value))

    def find(self, epoch: Any, number: Any) -> Held:
        """Return what a client names.

        Raises:
            UnknownHandle: It isn't held (any more), or not in this process.
        """
        if epoch != self.epoch:
            raise UnknownHandle(
                "this handle is of another session, or of this one before it was restarted; get the object anew"
            )
        held = self._held.get(number) if type(number) is int else None
        if held is None:
            raise UnknownHandle("this session no longer holds the object of this handle; get it anew")
        return held

    def release(self, client: bytes, numbers: Iterable[tuple[int, int]]) -> None:
        """Take back what a client has no use for any more.

        Args:
            client: The client's name.
            numbers: Pairs of an object's number and how often the client gives it back.
        """
        gone = []
        with self._lock:
            for number, times in numbers:
                held = self._held.get(number)
                if held is None or client not in held.given:
                    continue
                held.given[client] -= times
                if held.given[client] <= 0:
                    gone.append(self._take_back(client, number, held))
        # The last reference to an object may run its finalizer, which may do anything: not under the lock.
        del gone

    def release_all(self, client: bytes) -> None:
        """Take back all that a client has: it's gone."""
        with self._lock:
            theirs = [(number, held) for number, held in self._held.items() if client in held.given]
            gone = [self._take_back(client, number, held) for number, held in theirs]
        del theirs, gone

    @property
    def anything(self) -> bool:
        """Whether anything is held for anybody."""
        return bool(self._count)

    @property
    def clients(self) -> list[bytes]:
        """The clients for which something is held."""
        return list(self._count)

    def _take_back(self, client: bytes, number: int, held: Held) -> Held:
        del held.given[client]
        self._count[client] -= 1
        if not self._count[client]:
            del self._count[client]
        if not held.given:
            held.left = True
            del self._held[number]
            del self._number_of[id(held.value)]
        return held


def preview(value: Any) -> str:
    """Return what an object looks like, in a line or a few, whatever its ``__repr__`` does."""
    try:
        return _PREVIEW.repr(value)
    except Exception as error:  # noqa: BLE001  # the object's own __repr__ may raise anything
        return f"<{type_name(value)}, which can't be shown: {type(error).__name__}>"
