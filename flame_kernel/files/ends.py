"""What an end of a copy can be asked, by operation: the one on this machine directly, the one in a session by calls.

Errors of the file system go as the name of their errno rather than as pickles: so a plain client gets the same
exceptions, and one on another system, whose numbers may differ, as well.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Protocol

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ProtocolError, TransferError, from_code
from flame_kernel.files import chunks, landing, tree
from flame_kernel.protocol.calls import Operation
from flame_kernel.serialize import Parts

_DONE, _FAILED, _REFUSED = "done", "failed", "refused"


@dataclass(frozen=True)
class Reply:
    """What an end answered.

    Attributes:
        value: Plain data.
        data: The buffer beside it, if any.
    """

    value: Any
    data: Buffer = b""


def reply(parts: object, where: str) -> Reply:
    """Read what an end answered, or raise what went wrong there.

    Args:
        parts: What came.
        where: What to call the other end; empty for this machine.

    Returns:
        The answer.

    Raises:
        OSError: The file system refused; of the class that fits, and with the host's name.
        TransferError: The end refused.
        ProtocolError: It isn't an answer.
    """
    told = parts.value if isinstance(parts, Parts) else None
    if not isinstance(parts, Parts) or not isinstance(told, list) or len(told) < 2:
        raise ProtocolError(f"an answer about a file came from {where} that can't be read")
    if told[0] == _DONE:
        return Reply(told[1], parts.buffers[0] if parts.buffers else b"")
    place = f" on {where}" if where else ""
    if told[0] == _FAILED and len(told) == 4:
        number = getattr(errno, str(told[1]), errno.EIO)
        raise OSError(number, f"{told[2]}{place}", None if told[3] is None else str(told[3]))
    if told[0] == _REFUSED and len(told) == 3:
        raise from_code(str(told[1]), f"{told[2]}{place and ' (' + place.strip() + ')'}")
    raise ProtocolError(f"an answer about a file came from {where} that can't be read")


class End(Protocol):
    """An end of a copy, wherever it is."""

    where: str

    def ask(self, operation: Operation, *operands: Any, data: Buffer | None = None) -> Reply:
        """Ask for something and wait for the answer; what was asked before need not be done by then."""

    def post(
        self,
        operation: Operation,
        *operands: Any,
        data: Buffer | None = None,
        weight: int = 0,
        then: Callable[[Reply], None] | None = None,
    ) -> None:
        """Ask for something whose answer may come later, when ``then`` is called with it.

        Args:
            operation: What to ask for.
            operands: With what.
            data: A buffer to go with it.
            weight: How many bytes it keeps under way; it waits while there are too many.
            then: Called with the answer.
        """

    def drain(self) -> None:
        """Wait for all answers."""


class LocalEnd:
    """The end on this machine: everything is done at once."""

    where = ""

    def ask(self, operation: Operation, *operands: Any, data: Buffer | None = None) -> Reply:
        """Do it."""
        return reply(carry_out(operation, Parts(list(operands), () if data is None else (data,))), self.where)

    def post(
        self,
        operation: Operation,
        *operands: Any,
        data: Buffer | None = None,
        weight: int = 0,
        then: Callable[[Reply], None] | None = None,
    ) -> None:
        """Do it."""
        answer = self.ask(operation, *operands, data=data)
        if then is not None:
            then(answer)

    def drain(self) -> None:
        """Nothing is under way."""


def carry_out(operation: Operation, operands: Parts) -> Parts:
    """Do what an end is asked, and tell what came of it.

    Args:
        operation: What to do.
        operands: With what.

    Raises:
        ProtocolError: It isn't one of the operations on files, or the operands are not a list.
    """
    function = _FUNCTIONS.get(operation)
    if function is None or not isinstance(operands.value, list):
        raise ProtocolError(f"{operation.name.lower()} came in a form that is meant for files")
    try:
        value = function(*operands.value, *operands.buffers)
    except TransferError as error:
        return Parts([_REFUSED, error.code, str(error)])
    except OSError as error:
        symbol = errno.errorcode.get(error.errno or 0, "EIO")
        return Parts([_FAILED, symbol, error.strerror or str(error), error.filename])
    return value if isinstance(value, Parts) else Parts([_DONE, value])


def _read(base: str, name: str, offset: int, length: int, stamp: Sequence[int] | None) -> Parts:
    data = chunks.read(tree.join(base, name), offset, length, stamp)
    return Parts([_DONE, chunks.digest(data)], [data])


def _sums(root: str, name: str, tag: str | None, first: int, count: int) -> list[str]:
    if tag is None:  # of a source, which may be reached through links
        return chunks.sums(tree.join(root, name), first, count)
    return landing.sums(root, name, tag, first, count)


_FUNCTIONS: dict[Operation, Callable[..., Any]] = {
    Operation.FIND: tree.find,
    Operation.WHERE: tree.where,
    Operation.READ: _read,
    Operation.SUMS: _sums,
    Operation.BEGIN: landing.begin,
    Operation.WRITE: landing.write,
    Operation.FINISH: landing.finish,
    Operation.SAVE: landing.save,
    Operation.DISCARD: landing.discard,
    Operation.FOLDERS: landing.folders,
    Operation.LINKS: landing.links,
    Operation.SETTLE: landing.settle,
}

OPERATIONS = frozenset(_FUNCTIONS)
