"""Handles: objects that stay in the session, and what keeps them there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flame_kernel.client.calls.proxies import Caller, RemoteObject, with_remote_doc
from flame_kernel.errors import SerializationError
from flame_kernel.protocol.references import Reference


class Held:
    """The right to an object that the session holds; given back when the last who has it is collected.

    Args:
        number: The object's number.
        release: Called with the number, on any thread and at any time, as the garbage collector does.
    """

    __slots__ = ("_number", "_release")

    def __init__(self, number: int, release: Callable[[int], None]) -> None:
        self._number = number
        self._release = release

    def __del__(self) -> None:
        self._release(self._number)


@with_remote_doc
class Handle(RemoteObject):
    """An object that stays over there: calls, attributes, items and operators happen there.

    Args:
        calls: Makes the calls.
        reference: What names it.
        held: What keeps it from being let go of.
    """

    __slots__ = ("_flame_type",)
    _flame_type: str

    def __init__(self, calls: Caller, reference: Reference, held: Held) -> None:
        super().__init__(calls, reference.root, "", reference.preview, held=held)
        self._flame_type = reference.type

    def value(self) -> Any:
        """Fetch a copy of it.

        Raises:
            SerializationError: It can't cross by value.
        """
        value = self._flame_operate("value")
        if isinstance(value, RemoteObject):
            raise SerializationError(f"a {self._flame_type} can't cross by value; use it through its handle")
        return value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), "value"]

    def _flame_name(self) -> str:
        return self._flame_type
