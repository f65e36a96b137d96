"""Several calls in one message, and several answers: what each message costs is paid once for all of them.

Calls that are submitted one after the other travel together, and so do the answers to those that end soon after one
another. Each stays a call of its own: it has its own answer, runs beside the others where it's slow, and can be
interrupted by itself.

========  ==============================================================================================
part      content
========  ==============================================================================================
first     the byte 0xFF; then, one after the other, the heads of the requests or of the answers (``calls``)
others    what follows each head: one part for each, in the same order
========  ==============================================================================================

A message is bundled whose head is followed by one small part. A worker bundles its answers in conversations in which
the client has sent a bundle, so a client need not know them.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ProtocolError

# Measured: more in one message make nothing faster, and the far side begins later.
MOST = 64

# The size of a part from which a message goes by itself, in bytes.
SMALL = 1024

_MARK = b"\xff"


def is_bundle(parts: Sequence[Buffer]) -> bool:
    """Tell whether a message is a bundle of several."""
    return bool(parts) and parts[0][:1] == _MARK


def bundled(messages: Iterable[Sequence[Buffer]]) -> Iterator[tuple[Sequence[Buffer], int]]:
    r"""Return messages with those put together that can be, in their order.

    Args:
        messages: The parts of each.

    Yields:
        The parts of a message, and how many it holds.

    Example:
        >>> [*bundled([[b"a", b"1"], [b"b", b"2"], [b"c"], [b"d", b"3"]])]
        [([b'\xffab', b'1', b'2'], 2), ([b'c'], 1), ([b'd', b'3'], 1)]
    """
    waiting: list[Sequence[Buffer]] = []
    for parts in messages:
        if len(parts) != 2 or len(parts[1]) > SMALL:
            if waiting:
                yield _together(waiting), len(waiting)
                waiting = []
            yield parts, 1
            continue
        waiting.append(parts)
        if len(waiting) == MOST:
            yield _together(waiting), MOST
            waiting = []
    if waiting:
        yield _together(waiting), len(waiting)


def opened(parts: Sequence[Buffer], head: int) -> list[tuple[Buffer, Sequence[Buffer]]]:
    r"""Return what a message holds: the head of each request or answer, and what follows it.

    Args:
        parts: The message, a bundle or not.
        head: The size of each head, in bytes.

    Raises:
        ProtocolError: It's empty, or a bundle with more heads than parts, or less, or more than may be.

    Example:
        >>> opened([b"\xffab", b"1", b"2"], 1)
        [(b'a', [b'1']), (b'b', [b'2'])]
        >>> opened([b"a", b"1", b"2"], 1)
        [(b'a', [b'1', b'2'])]
    """
    if not parts:
        raise ProtocolError("a message about calls arrived that is empty")
    if not is_bundle(parts):
        return [(parts[0], parts[1:])]
    heads, count = bytes(parts[0]), len(parts) - 1
    if not 0 < count <= MOST or len(heads) != 1 + head * count:
        raise ProtocolError("a bundle of calls arrived that this version of Flame can't read")
    return [(heads[1 + head * place : 1 + head * (place + 1)], [part]) for place, part in enumerate(parts[1:])]


def _together(messages: list[Sequence[Buffer]]) -> Sequence[Buffer]:
    if len(messages) == 1:
        return messages[0]
    return [b"".join([_MARK, *[head for head, _ in messages]]), *[part for _, part in messages]]
