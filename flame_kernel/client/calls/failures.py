"""Remote exceptions, raised here: their own type where it loads, and the remote frames above the caller's."""

from __future__ import annotations

import builtins
import re
import traceback
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, RemoteError, RemoteTraceback, SerializationError, from_code
from flame_kernel.protocol.calls import CallAnswer, Failure
from flame_kernel.serialize import load

_PACKAGES = tuple(str(Path(__file__).resolve().parents[3] / name) for name in ("flame_kernel", "flame_magics"))

# Whose frames every exception of a future carries: two more each time it's asked.
_FUTURES = Future.result.__code__.co_filename

# IPython colours its tracebacks; Python's own, and the logs they end up in, have no colours.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

# How IPython names a cell in a traceback. Notebooks make that a link to their own cell of this number.
_CELL = re.compile(r"((?:Cell|Input)(?: |\x1b\[[0-9;]*m)*In ?\[\d+\])")

# What fails in a loop often says the same each time: so many descriptions of up to so many bytes are kept.
_decoded = lru_cache(maxsize=100)(Failure.decode)
_MAX_TEXT = 10_000


def from_answer(answer: CallAnswer, where: str, plain: bool) -> BaseException:
    """Return the exception that a call raised.

    Args:
        answer: The ERROR answer.
        where: What to call the place it happened, such as ``gpu1:9999, session 'work'``.
        plain: Whether nothing may be unpickled.

    Returns:
        An exception of its own type if that can be loaded here, else a :class:`RemoteError`.
    """
    described = answer.parts[0] if answer.parts else b""
    failure = _decoded(bytes(described)) if len(described) <= _MAX_TEXT else Failure.decode(described)
    return raised(failure, answer.format, answer.parts[1:], where, plain)


def raised(failure: Failure, form: int, parts: Sequence[Buffer], where: str, plain: bool) -> BaseException:
    """Return the exception that a call raised.

    Args:
        failure: What it is, in words.
        form: The format of the exception itself.
        parts: The exception itself, if it could be written; with it, what it came from.
        where: What to call the place it happened.
        plain: Whether nothing may be unpickled.

    Returns:
        An exception of its own type if that can be loaded here, else a :class:`RemoteError`.
    """
    error: object = None
    chain: object = ()
    if parts and not plain:
        with suppress(SerializationError):
            error = load(form, parts)
    if isinstance(error, tuple) and len(error) == 2:
        error, chain = error
    if not isinstance(error, BaseException):
        error = _in_words(failure, plain)
    return marked(error, where, failure.traceback, _linked(chain))


def _in_words(failure: Failure, plain: bool) -> BaseException:
    """Return an exception of which the words came only."""
    if failure.code and failure.code != FlameError.code:
        return from_code(failure.code, failure.evalue)
    kind = vars(builtins).get(failure.ename)
    if plain and isinstance(kind, type) and issubclass(kind, BaseException):
        with suppress(TypeError):  # it's made of more than a message
            return kind(failure.evalue)
    return RemoteError(failure.ename, failure.evalue, _COLOURS.sub("", failure.traceback))


def _linked(chain: object) -> BaseException | None:
    """Return what an exception came from, each the cause of the one before."""
    first: BaseException | None = None
    last: BaseException | None = None
    for ename, evalue, form, parts in chain if isinstance(chain, list) else ():
        cause: object = None
        with suppress(SerializationError):
            cause = load(form, parts)
        if not isinstance(cause, BaseException):
            cause = RemoteError(ename, evalue)
        if last is None:
            first = cause
        else:
            last.__cause__ = cause
        last = cause
    return first


def marked(error: BaseException, where: str, text: str, cause: BaseException | None = None) -> BaseException:
    """Give an exception its remote half.

    Plain Python prints the cause first and then the caller's frames; IPython asks the exception how it wants to be
    shown.

    Args:
        error: What will be raised here.
        where: What to call the place it happened.
        text: The remote traceback.
        cause: The exception over there that led to this one.

    Returns:
        The same exception.
    """
    told = f"Remote traceback ({where}):\n{text.rstrip()}"
    error.__cause__ = RemoteTraceback(_COLOURS.sub("", told) if "\x1b" in told else told, cause)
    # functools.partial, not a closure: the exception has to stay picklable.
    error._render_traceback_ = partial(_render, error, told, where)  # type: ignore[attr-defined]
    return error


def _render(error: BaseException, told: str, where: str) -> list[str]:
    server = where.partition(",")[0]
    lines = _CELL.sub(lambda found: f"{found[1]} on {server}", told).split("\n")
    callers = _callers(error.__traceback__)
    if callers:
        lines += ["", "Called from here:", *callers]
    return lines


def _callers(tb: TracebackType | None) -> list[str]:
    frames = []
    for frame in traceback.extract_tb(tb):
        ours = frame.filename.startswith(_PACKAGES) or "/IPython/" in frame.filename.replace("\\", "/")
        # How IPython spells a magic, which nobody has typed.
        magic = (frame.line or "").startswith("get_ipython().run_")
        if not ours and not magic and frame.filename != _FUTURES:
            frames.append(frame)
    return "".join(traceback.format_list(frames)).rstrip("\n").split("\n") if frames else []
