"""Values to buffers and back.

==========  =====================================================================================================
format      parts
==========  =====================================================================================================
``PICKLE``  a pickle of protocol 5, then its out-of-band buffers, which are never copied: those worth a frame each
``RAW``     one ``bytes`` object as it is
``JSON``    plain data as JSON
``PARTS``   plain data as JSON, and any number of buffers beside it, which are never copied
==========  =====================================================================================================

Unpickling runs code. It is done only for a peer that CURVE has authenticated, and never for a plain one, which sends
and accepts JSON and PARTS alone; this is the only module of the project that unpickles.

This module is loaded inside sessions too: standard library and Python 3.9, with cloudpickle where it can be had.
"""

from __future__ import annotations

import enum
import functools
import io
import json
import pickle
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flame_kernel.buffers import OWN_FRAME, Buffer
from flame_kernel.errors import SerializationError, UnknownHandle

# Below this size (bytes) a bytes object is as cheap inside a pickle.
_RAW_FROM = 16 * 1024

# From this size (bytes) on, a bytes object among operands goes beside the pickle instead of into it.
_APART_FROM = 64 * 1024

# Measured: below this size (bytes) a buffer is as cheap inside a pickle, and a value has less parts. A message has so
# many only: what a value has beyond this many large buffers goes into the pickle as well.
_INSIDE = 1024
_MOST_APART = 2_000

# Formats of memoryviews that Python can cast to: the native ones of one letter.
_NATIVE = frozenset("bBcdfhHiIlLnNqQ?")


class Format(enum.IntEnum):
    """How a value is written; the number crosses the wire."""

    PICKLE = 0
    RAW = 1
    JSON = 2
    PARTS = 16


_PICKLE = Format.PICKLE  # in Python 3.11 looking up an enum's member takes as long as a small call
_PLAIN = frozenset({Format.JSON, Format.PARTS})

# What has nothing in it that could be apart, or be code.
_SCALARS = frozenset({type(None), bool, int, float, str})


@dataclass(frozen=True)
class Parts:
    """Plain data with buffers beside it: what carries files, also on a plain connection.

    Attributes:
        value: Plain data.
        buffers: Buffers that are passed on as they are.

    Example:
        >>> load(*dump(Parts(["name", 3], [b"abc"])))
        Parts(value=['name', 3], buffers=[b'abc'])
    """

    value: Any
    buffers: Sequence[Buffer] = ()


def dump(value: Any, plain: bool = False) -> tuple[Format, list[Buffer]]:
    """Write a value.

    Args:
        value: Anything that can cross by value.
        plain: Whether only JSON may be used.

    Returns:
        The format and the parts. Buffers of arrays are shared with the value, not copied: don't change it before it's
        sent.

    Raises:
        SerializationError: It can't cross by value.

    Example:
        >>> load(*dump({"a": [1, 2]}))
        {'a': [1, 2]}
    """
    kind = type(value)
    if kind is Parts:
        return Format.PARTS, [_dump_json(value.value), *value.buffers]
    if plain:
        return Format.JSON, [_dump_json(value)]
    if kind in _SCALARS:
        return _PICKLE, [pickle.dumps(value, 5)]
    if kind is bytes and len(value) >= _RAW_FROM:
        return Format.RAW, [value]
    if kind is tuple and _has_bytes(value):
        value = _bytes_apart(value, 2)
    buffers = _Beside()
    try:
        data = pickle.dumps(value, 5, buffer_callback=buffers)
        if b"__main__" not in data:
            return _PICKLE, [data, *[buffer.raw() for buffer in buffers]] if buffers else [data]
    except SerializationError:
        raise
    except Exception:  # noqa: BLE001  # a class's own __reduce__ may raise anything; cloudpickle has the last word
        pass
    # What __main__ defines exists on this side only, so it has to travel as code, which pickle alone can't do.
    return _PICKLE, _dump_code(value)


def load(form: int, parts: Sequence[Buffer], plain: bool = False) -> Any:
    """Read a value.

    Args:
        form: Its format.
        parts: Its parts. Arrays share memory with them.
        plain: Whether only JSON is accepted.

    Returns:
        The value.

    Raises:
        SerializationError: It can't be read here; the message says why.
    """
    if plain and form not in _PLAIN:
        raise SerializationError("a value came pickled, which a plain connection does not accept")
    if not parts:
        raise SerializationError("a value came without content")
    try:
        if form == _PICKLE:
            return pickle.loads(parts[0], buffers=_own(parts[1:])) if len(parts) > 1 else pickle.loads(parts[0])
        if form == Format.RAW:
            return bytes(parts[0])
        if form == Format.JSON:
            return json.loads(bytes(parts[0]))
        if form == Format.PARTS:
            return Parts(json.loads(bytes(parts[0])), parts[1:])
    except UnknownHandle:  # it names what was sent in place of the object, and why there's none
        raise
    except Exception as error:  # loading runs the value's own code, which may raise anything
        raise SerializationError(f"the value can't be loaded here: {type(error).__name__}: {_words(error)}") from error
    raise SerializationError(f"a value came in a format that is unknown here ({form})")


def _own(buffers: Sequence[Buffer]) -> list[Buffer]:
    """Return buffers so that what is made of them can be written to: small ones come as bytes (``OWN_FRAME``).

    What was read-only where it came from says so in its pickle.
    """
    return [bytearray(one) if type(one) is bytes and len(one) < OWN_FRAME else one for one in buffers]


class _Beside(list[pickle.PickleBuffer]):
    """The buffers that go beside a pickle; a pickler calls it with each, and is told whether it goes inside instead."""

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        if memoryview(buffer).nbytes < _INSIDE or len(self) >= _MOST_APART:
            return True
        self.append(buffer)
        return False


class _Apart:
    """Stands for a bytes object in a pickle, which takes it in unless told otherwise; it's read as that again.

    Args:
        data: The bytes object.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return bytes, (pickle.PickleBuffer(self.data),)


def _has_bytes(value: tuple[Any, ...]) -> bool:
    """Tell whether there are bytes objects in a tuple, or in tuples in it; there are none in most."""
    for part in value:
        kind = type(part)
        if kind is bytes or (kind is tuple and bytes in map(type, part)):
            return True
    return False


def _bytes_apart(value: tuple[Any, ...], levels: int) -> tuple[Any, ...]:
    """Return a tuple with its large bytes objects, and those of tuples in it, written so that they aren't copied.

    Operands are tuples in a tuple. What is deeper in a value stays in the pickle: looking at all of it costs more.
    """
    changed: list[Any] | None = None
    for place, part in enumerate(value):
        kind = type(part)
        if kind is bytes and len(part) >= _APART_FROM:
            inner: Any = _Apart(part)
        elif kind is tuple and levels > 1:
            inner = _bytes_apart(part, levels - 1)
        else:
            continue
        if inner is not part:
            changed = changed or list(value)
            changed[place] = inner
    return value if changed is None else tuple(changed)


def _dump_json(value: Any) -> bytes:
    try:
        return json.dumps(value, allow_nan=True).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(f"a plain connection carries plain data only: {error}") from error


def _dump_code(value: Any) -> list[Buffer]:
    try:
        import cloudpickle  # type: ignore[import-untyped,unused-ignore]  # only here: most values never need it
    except ImportError as error:
        raise SerializationError("a value that __main__ defines can't cross without cloudpickle") from error
    buffers = _Beside()
    try:
        file = io.BytesIO()
        _pickler(cloudpickle.CloudPickler)(file, protocol=5, buffer_callback=buffers).dump(value)
        return [file.getvalue(), *[buffer.raw() for buffer in buffers]]
    except SerializationError:
        raise
    except Exception as error:  # a class's own __reduce__ may raise anything
        raise SerializationError(f"a {type_name(_culprit(value))} can't cross by value: {_words(error)}") from error


def crosses(value: Any) -> bool:
    """Tell whether a value can cross by value; that takes as long as writing it."""
    try:
        dump(value)
    except SerializationError:
        return False
    return True


def _culprit(value: Any) -> Any:
    """Return what of the operands of a call it is that can't cross: they are tuples in a tuple, and a dict."""
    for part in value.values() if type(value) is dict else value if type(value) is tuple else ():
        if not crosses(part):
            return _culprit(part)
    return value


@functools.lru_cache(maxsize=1)
def _pickler(cloudpickler: Any) -> Any:
    """Return cloudpickle's pickler, with memoryviews apart instead of copied into the pickle as bytes.

    And without what it makes of an open file: a copy in memory of all that is in it.
    """
    own: dict[type, Any] = {memoryview: _reduce_view, io.TextIOWrapper: _reduce_file}
    table = ChainMap(own, cloudpickler.dispatch_table)
    return type("CodePickler", (cloudpickler,), {"dispatch_table": table})


def _reduce_view(view: memoryview) -> tuple[Any, ...]:
    whole = view if view.c_contiguous else memoryview(view.tobytes())
    shape = tuple(view.shape or ())
    if view.format not in _NATIVE or 0 in shape:  # what Python itself can't make a view of
        return memoryview, (pickle.PickleBuffer(view.tobytes()),)
    return view_of, (pickle.PickleBuffer(whole), view.format, shape)


def _reduce_file(file: io.TextIOWrapper) -> tuple[Any, ...]:
    raise TypeError("an open file belongs to its process")


def view_of(memory: Buffer, form: Any, shape: tuple[int, ...]) -> memoryview:
    """Return a memoryview as it was written; pickles name this function."""
    flat = memoryview(memory).cast("B")
    return flat.cast(form) if len(shape) == 1 else flat.cast(form, shape)


def _words(error: Exception) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001  # the exception's own __str__ may raise anything
        return f"<its message can't be shown: {type(broken).__name__}>"


def type_name(value: Any) -> str:
    """Return the name of an object's type, with its module unless it's a builtin.

    Example:
        >>> type_name(Parts([])), type_name(1)
        ('flame_kernel.serialize.Parts', 'int')
    """
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
