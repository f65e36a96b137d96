"""What a session gave, on its way to a Pyro4 client, which has Pyro4 and the standard library and nothing of ours."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from typing import Any

from Pyro4 import errors
from Pyro4.configuration import config

from flame_kernel import Flame
from flame_kernel.errors import FlameError, RemoteError, RemoteTraceback


class Pickled:
    """A value that the session has pickled and that need not load here; it loads at the client.

    Args:
        data: The pickle.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self._data,)  # the client's own, whatever it's called there


def outgoing(flame: Flame, value: Any) -> Any:
    """Return what stands for a value at the client.

    Args:
        flame: The session that gave it.
        value: What it gave.

    Returns:
        Iterators as such, which Pyro4 streams; everything else by value.

    Raises:
        Exception: It can't be pickled over there; what was raised there.
    """
    if type(value).__module__.partition(".")[0] != "flame_kernel":
        return value
    if isinstance(value, Iterator):
        return _items(flame, value)
    return Pickled(flame.module("pickle").dumps(value, config.PICKLE_PROTOCOL_VERSION))


def _items(flame: Flame, items: Iterator[Any]) -> Iterator[Any]:
    try:
        for item in items:
            yield outgoing(flame, item)
    except BaseException as error:  # noqa: BLE001  # it's the client's
        raise outgoing_error(error) from error.__cause__


def outgoing_error(error: BaseException) -> Exception:
    """Return what stands for an exception at the client.

    Args:
        error: What a call to the session raised.

    Returns:
        The same exception if its class can be named there, without what our client has put on it; else a
        ``PyroError`` that says what it was. Its ``_pyroTraceback`` is the remote one.
    """
    cause = error.__cause__
    told: Exception
    if isinstance(error, RemoteError):
        told = errors.PyroError(str(error))
    elif isinstance(error, FlameError):
        told = errors.PyroError(f"{error} ({error.code})")
    elif isinstance(error, Exception) and _has_a_name(type(error)):
        told = error
        vars(told).pop("_render_traceback_", None)  # for IPython, at our own clients
        if isinstance(told, SyntaxError) and len(told.args) == 2:
            told.args = (told.args[0], told.args[1][:4])  # Pythons before 3.10 know of no more
    else:
        told = errors.PyroError(f"{type(error).__name__}: {error}")
    text = cause.text if isinstance(cause, RemoteTraceback) else f"{type(told).__name__}: {told}"
    told._pyroTraceback = text.splitlines(keepends=True)  # type: ignore[attr-defined]
    return told


def _has_a_name(kind: type) -> bool:
    """Tell whether a class is found by its name, so that a pickle may name it."""
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is kind
