"""What a user wants done, as a call: an expression, or something to call with its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flame_kernel.client.calls.proxies import RemoteObject
from flame_kernel.protocol.calls import Operation

_CALL = Operation.CALL  # in Python 3.11 looking up an enum's member takes as long as a small call


def work(what: str | Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return an operation and its operands.

    Args:
        what: An expression, something remote, or a function of this side.
        args: Its arguments.
        kwargs: Its keyword arguments.

    Raises:
        TypeError: It can't be called, or an expression came with arguments.
    """
    if isinstance(what, str):
        if args or kwargs:
            raise TypeError("an expression takes no arguments; write them into it, or give a function in its place")
        return Operation.EVALUATE, what
    if isinstance(what, RemoteObject):
        return _CALL, what._flame_root, what._flame_path, tuple(args), dict(kwargs)
    if not callable(what):
        raise TypeError(f"an expression or something to call is wanted, not a {type(what).__name__}")
    return _CALL, what, "", tuple(args), dict(kwargs)
