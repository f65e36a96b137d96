"""What a call gave, on its way out: by value where that can be, else by reference."""

from __future__ import annotations

import io
from types import ModuleType
from typing import Any

from flame_kernel.buffers import Buffer, size_of
from flame_kernel.errors import SerializationError
from flame_kernel.protocol.calls import Outcome, encode_answer
from flame_kernel.protocol.references import CALLABLE, Reference
from flame_kernel.serialize import Format, crosses, dump, type_name
from flame_kernel.worker import failures
from flame_kernel.worker.objects import Objects, preview

# Values of these types load everywhere, and are asked for most of all.
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})

# In Python 3.11 looking up an enum's member takes as long as a small call.
_RESULT = Outcome.RESULT
_PICKLE = Format.PICKLE

# A value that the client may not be able to load is kept until it says so, but not a large one, in bytes.
_KEEP_UP_TO = 1024 * 1024


class ByReference:
    """A value that shall stay in the session although it could cross.

    Args:
        value: The value.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class ByPath:
    """A callable that the client names by its path, so that it isn't held.

    Args:
        value: The callable.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class UpTo:
    """A value that shall stay in the session if it's large.

    Args:
        value: The value.
        limit: Up to which size it crosses, in bytes.
    """

    __slots__ = ("limit", "value")

    def __init__(self, value: Any, limit: int) -> None:
        self.value = value
        self.limit = limit


class Several:
    """Values of which each may cross or stay by itself.

    Args:
        head: What comes before them: plain data, and at most an exception.
        values: The values.
    """

    __slots__ = ("head", "values")

    def __init__(self, head: tuple[Any, ...], values: list[Any]) -> None:
        self.head = head
        self.values = values


def by_value(value: Any) -> bool:
    """Whether a value is one that is copied rather than referred to, if it can be."""
    kind = type(value)
    return kind in _VALUES or not (kind in _NOT_VALUES or hasattr(kind, "__next__"))


def encode(value: Any, number: int, plain: bool, objects: Objects, client: bytes) -> tuple[list[Buffer], bool]:
    """Return a call's answer.

    Args:
        value: What it gave.
        number: The call's number.
        plain: Whether the client wants nothing pickled.
        objects: Holds what can't cross.
        client: Whose call it is.

    Returns:
        The answer's parts, and whether to keep the value until the client has it: it might be unable to load it.

    Raises:
        SerializationError: It isn't plain data, and the client takes nothing else.
    """
    kind = type(value)
    if kind in _ATOMS:
        form, parts = dump(value, plain)
        return encode_answer(_RESULT, number, form, parts), False
    limit: int | None = None
    if kind is UpTo:
        limit, value = value.limit, value.value
    if by_value(value):
        try:
            form, parts = dump(value, plain)
        except SerializationError:
            if plain:
                raise
        else:
            size = size_of(parts)
            if limit is None or size <= limit:
                keep = form is _PICKLE and type(value) not in _ATOMS and size <= _KEEP_UP_TO
                return encode_answer(_RESULT, number, form, parts), keep
    if type(value) is Several:
        form, parts = _several(value, plain, objects, client)
        return encode_answer(_RESULT, number, form, parts), size_of(parts) <= _KEEP_UP_TO
    return encode_answer(Outcome.REFERENCE, number, Format.JSON, [refer(value, objects, client).encode()]), False


_VALUES = _ATOMS | {io.BytesIO, io.StringIO}  # these are iterators too, of their lines
_NOT_VALUES = frozenset({ByReference, ByPath, Several, ModuleType})


def refer(value: Any, objects: Objects, client: bytes) -> Reference:
    """Return what names a value, which is held for a client if need be."""
    if type(value) is ByPath:
        return Reference(objects.epoch, 0, CALLABLE, type_name(value.value), preview(value.value))
    while type(value) is ByReference or type(value) is UpTo:
        value = value.value
    return objects.hold(client, value)


def _several(several: Several, plain: bool, objects: Objects, client: bytes) -> tuple[Format, list[Buffer]]:
    """Write several values; one that can't cross has a :class:`Reference` in its place."""
    head = [failed(part, plain) if isinstance(part, BaseException) else part for part in several.head]
    try:
        return dump((*head, False, several.values), plain)
    except SerializationError:
        if plain:
            raise
    mixed: list[Any] = []
    given: list[Reference] = []
    try:
        for value in several.values:
            if not (by_value(value) and crosses(value)):
                value = refer(value, objects, client)
                given.append(value)
            mixed.append(value)
        return dump((*head, True, mixed))
    except Exception:  # the client never hears of those that it was given so far
        objects.release(client, [(reference.number, 1) for reference in given])
        raise


def failed(error: BaseException, plain: bool) -> tuple[str, int, list[bytes]]:
    """Return an exception as what travels within a value: its description, and itself, to be read apart from that.

    Args:
        error: What was raised.
        plain: Whether the client wants nothing pickled.
    """
    form, (described, *parts) = failures.encode(error, plain)
    return bytes(described).decode("utf-8"), int(form), list(map(bytes, parts))
