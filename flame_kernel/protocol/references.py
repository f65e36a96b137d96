"""What stays over there: how a client names an object that did not cross by value.

A *root* is where a path of attributes starts: a module, by its name, or an object that the session holds for a client,
by the session process's epoch and a number. Among a call's operands, however deep, a proxy of the client's is pickled
as a call of :func:`resolve`, so that the session gets the object itself.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import contextvars
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Union

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ProtocolError, UnknownHandle

# A module's name, or (epoch in hexadecimal digits, number). JSON makes a list of the pair.
Root = Union[str, "tuple[str, int]"]
Resolver = Callable[[Any, str], Any]

OBJECT = "object"
ITERATOR = "iterator"
MODULE = "module"
CALLABLE = "callable"

_resolver: contextvars.ContextVar[Resolver | None] = contextvars.ContextVar("flame_resolver", default=None)


@dataclass(frozen=True)
class Reference:
    """An object that a session holds for a client.

    Attributes:
        epoch: What tells the session's process from any other, in hexadecimal digits.
        number: Its number in that process; 0 for what needs no holding: a module, or a callable whose path is known.
        kind: ``object``, ``iterator``, ``module`` or ``callable``.
        type: The name of its type; of a module, its own.
        preview: What it looks like.
    """

    epoch: str
    number: int
    kind: str
    type: str
    preview: str

    @property
    def root(self) -> Root:
        """What to call it in a call."""
        return self.type if self.kind == MODULE else (self.epoch, self.number)

    def encode(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(vars(self)).encode("utf-8")

    @classmethod
    def decode(cls, data: Buffer) -> Reference:
        """Read it.

        Raises:
            ProtocolError: It isn't one.

        Example:
            >>> lock = Reference("00ff", 7, "object", "lock", "<unlocked _thread.lock>")
            >>> Reference.decode(lock.encode()) == lock
            True
        """
        try:
            fields = json.loads(bytes(data))
            number = fields["number"]
            if type(number) is not int:
                raise TypeError("a reference's number is an integer")
            kind, name, look = str(fields["kind"]), str(fields["type"]), str(fields["preview"])
            return cls(str(fields["epoch"]), number, kind, name, look)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ProtocolError("a reference came from the session that can't be read") from error


@contextmanager
def resolving(resolver: Resolver) -> Iterator[None]:
    """Let what is unpickled by this thread find the objects that its references stand for."""
    token = _resolver.set(resolver)
    try:
        yield
    finally:
        _resolver.reset(token)


def resolve(root: Any, path: str) -> Any:
    """Return the object that a proxy among a call's operands stands for.

    Raises:
        UnknownHandle: Outside a call to the session there's nothing to find it by.
    """
    resolver = _resolver.get()
    if resolver is None:
        raise UnknownHandle(
            "a remote object is of use only in calls to its session; to keep what it stands for, fetch its value"
        )
    return resolver(root, path)
