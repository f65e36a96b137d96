"""Exceptions on their way out: the user's frames with their source, without the worker's own."""

from __future__ import annotations

import itertools
import linecache
import traceback
from collections import deque
from pathlib import Path
from types import CodeType, TracebackType

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, RemoteError, SerializationError
from flame_kernel.protocol.calls import Failure
from flame_kernel.serialize import Format, dump

_HERE = str(Path(__file__).resolve().parent)

# Source that was sent for evaluation is kept for tracebacks; beyond this many pieces the oldest goes.
_MAX_SOURCES = 500

# Exceptions that led to an exception cross with it, up to this many.
_MAX_CHAIN = 10


class Sources:
    """Compiles code that came over the wire, and keeps its source where tracebacks look for it."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._names: deque[str] = deque()

    def compile(self, source: str, mode: str) -> CodeType:
        """Compile source under a name of its own.

        Args:
            source: An expression or statements.
            mode: ``eval`` or ``exec``.

        Returns:
            The code object.

        Raises:
            SyntaxError: It isn't Python.
        """
        if mode == "eval":
            source = source.strip()
        name = f"<flame {next(self._numbers)}>"
        code: CodeType = compile(source, name, mode)
        linecache.cache[name] = (len(source), None, [line + "\n" for line in source.splitlines()], name)
        self._names.append(name)
        if len(self._names) > _MAX_SOURCES:
            linecache.cache.pop(self._names.popleft(), None)
        return code


def user_frames(tb: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the first frame on that isn't the worker's."""
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_HERE):
        tb = tb.tb_next
    return tb


def describe(error: BaseException) -> Failure:
    """Return an exception as text: name, message, and traceback with source lines, chained ones included."""
    text = "".join(traceback.format_exception(type(error), error, user_frames(error.__traceback__)))
    try:
        evalue = str(error)
    except Exception as broken:  # noqa: BLE001  # the exception's own __str__ may raise anything
        evalue = f"<its message can't be shown: {type(broken).__name__}>"
    code = error.code if isinstance(error, FlameError) and not isinstance(error, RemoteError) else ""
    return Failure(type(error).__qualname__, evalue, text, code)


def encode(error: BaseException, plain: bool) -> tuple[Format, list[Buffer]]:
    """Return an exception as the parts of an ERROR answer.

    Args:
        error: What was raised.
        plain: Whether the client wants nothing pickled.

    Returns:
        The format of what follows the description, and all parts.
    """
    described = describe(error).encode()
    if plain:
        return Format.JSON, [described]
    led_to_it = _chain(error)
    try:
        form, parts = dump((error, led_to_it) if led_to_it else error)
    except SerializationError:
        return Format.PICKLE, [described]
    return form, [described, *parts]


def _chain(error: BaseException) -> list[tuple[str, str, int, list[bytes]]]:
    """Return what an exception came from, each written by itself: one that can't be read must not spoil the others."""
    found: list[tuple[str, str, int, list[bytes]]] = []
    seen = {id(error)}
    cause = _cause(error)
    while cause is not None and id(cause) not in seen and len(found) < _MAX_CHAIN:
        seen.add(id(cause))
        try:
            form, parts = dump(cause)
        except SerializationError:
            form, parts = Format.PICKLE, []
        failure = describe(cause)
        found.append((failure.ename, failure.evalue, int(form), list(map(bytes, parts))))
        cause = _cause(cause)
    return found


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)
