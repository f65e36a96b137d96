"""Exceptions on their way out: the user's frames with their source, without the worker's own."""

from __future__ import annotations

import functools
import itertools
import linecache
import traceback
from collections import deque
from pathlib import Path
from types import CodeType, TracebackType

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, RemoteError, SerializationError
from flame_kernel.protocol.calls import Failure
from flame_kernel.serialize import Format, dump, type_name

_HERE = str(Path(__file__).resolve().parent)

# Source that was sent for evaluation is kept for tracebacks; beyond this many pieces the oldest goes.
_MAX_SOURCES = 500

# Stacks whose text is kept: so many, of so many characters at most.
_MAX_STACKS = 100
_MAX_TEXT = 10_000

# Exceptions that led to an exception cross with it, up to this many.
_MAX_CHAIN = 10

# What Python adds words of its own to: where it is, or which other name may have been meant.
_SAID_WITH_MORE = (SyntaxError, AttributeError, ImportError)


class Sources:
    """Compiles code that came over the wire, once, and keeps its source where tracebacks look for it."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._codes: dict[tuple[str, str], CodeType] = {}  # by mode and source
        self._order: deque[tuple[tuple[str, str], str]] = deque()  # those, and the names they were compiled under

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
        known = self._codes.get((mode, source))
        if known is not None:
            return known
        name = f"<flame {next(self._numbers)}>"
        code: CodeType = compile(source, name, mode)
        linecache.cache[name] = (len(source), None, [line + "\n" for line in source.splitlines()], name)
        self._codes[mode, source] = code
        self._order.append(((mode, source), name))
        if len(self._order) > _MAX_SOURCES:
            oldest, name = self._order.popleft()
            self._codes.pop(oldest, None)
            linecache.cache.pop(name, None)
        return code


def user_frames(tb: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the first frame on that isn't the worker's."""
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_HERE):
        tb = tb.tb_next
    return tb


class Stacks:
    """Stacks as text. What fails in a loop fails at the same place, and reading its source takes longer than a call."""

    def __init__(self) -> None:
        # By the places in it. The code objects are kept, so that no other one gets the identity of one of them.
        self._known: dict[tuple[tuple[int, int], ...], tuple[str, list[CodeType]]] = {}

    def text(self, tb: TracebackType | None) -> str:
        """Return the frames of a traceback as ``traceback.format_tb`` does."""
        codes: list[CodeType] = []
        places: list[tuple[int, int]] = []
        step = tb
        while step is not None:
            code = step.tb_frame.f_code
            codes.append(code)
            places.append((id(code), step.tb_lasti))
            step = step.tb_next
        key = tuple(places)
        known = self._known.get(key)
        if known is not None:
            return known[0]
        text = "".join(traceback.format_tb(tb))
        if len(text) <= _MAX_TEXT:
            if len(self._known) >= _MAX_STACKS:
                self._known.clear()
            self._known[key] = text, codes
        return text


_stacks = Stacks()


@functools.lru_cache(maxsize=_MAX_STACKS)  # what fails in a loop often says the same each time, too
def _encoded(*fields: str) -> bytes:
    return Failure(*fields).encode()


def _text(error: BaseException, said: str | None) -> str:
    tb = user_frames(error.__traceback__)
    # Which name may have been meant is found in the frame.
    whole = isinstance(error, NameError) or hasattr(error, "exceptions")
    if tb is None or whole or _cause(error) is not None:
        return "".join(traceback.format_exception(type(error), error, tb))
    return f"Traceback (most recent call last):\n{_stacks.text(tb)}{_last_line(error, said)}"


def _last_line(error: BaseException, said: str | None) -> str:
    """Return what ``traceback.format_exception_only`` does, which takes as long as the rest of a description."""
    kind = type(error)
    named = type(kind.__module__) is str
    if said is None or not named or isinstance(error, _SAID_WITH_MORE) or hasattr(error, "__notes__"):
        return "".join(traceback.format_exception_only(kind, error))
    name = type_name(error).removeprefix("__main__.")
    return f"{name}: {said}\n" if said else f"{name}\n"


def describe(error: BaseException) -> Failure:
    """Return an exception as text: name, message, and traceback with source lines, chained ones included."""
    return Failure(*_described(error))


def _described(error: BaseException) -> tuple[str, str, str, str]:
    said: str | None = None
    try:
        evalue = said = str(error)
    except Exception as broken:  # noqa: BLE001  # the exception's own __str__ may raise anything
        evalue = f"<its message can't be shown: {type(broken).__name__}>"
    code = error.code if isinstance(error, FlameError) and not isinstance(error, RemoteError) else ""
    return type(error).__qualname__, evalue, _text(error, said), code


def encode(error: BaseException, plain: bool) -> tuple[Format, list[Buffer]]:
    """Return an exception as the parts of an ERROR answer.

    Args:
        error: What was raised.
        plain: Whether the client wants nothing pickled.

    Returns:
        The format of what follows the description, and all parts.
    """
    fields = _described(error)
    # What a class of the user's calls its name or its message need be no string that can be looked up.
    known = len(fields[2]) <= _MAX_TEXT and {*map(type, fields)} == {str}
    described = _encoded(*fields) if known else Failure(*fields).encode()
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
    cause = _cause(error)
    if cause is None:
        return found
    seen = {id(error)}
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
