"""Calls: what a client asks of the worker inside a session, and what comes back.

A calls lane has a conversation of its own between client and worker: HELLO (one part: the conversation's 16 bytes),
WELCOME (one part: the worker's 16 bytes, which change when the session is restarted), then numbered messages as in
``delivery``. The server in between passes the packets on unread. Several requests or answers may come in one message
(``bundles``). A call is known by a number: that of the message that asked for it times 1,024, and its place in it.

===========  ==================================================================================================
message      parts
===========  ==================================================================================================
a request    head: 1 byte :class:`Operation`, 1 byte format, 1 byte flags; then the operands, a tuple, in that format
an answer    head: 1 byte :class:`Outcome`, 1 byte format, 8 bytes the call's number; then, by outcome,
RESULT       the value
REFERENCE    JSON: what names the value, which stays there (``references``)
STDOUT       the text, UTF-8 (any number of these come before the answer); STDERR likewise
ERROR        a JSON object (ename, evalue, traceback, code); then the exception itself where it could be written
PIECE        bytes that a port's stream says (``flows``); without any: it says no more
NOTE         a JSON object that tells of a stream or of what listens
DISPLAY      a JSON object (type, content): the Jupyter message that shows, updates or clears rich output; any number of
             these come before the answer, in their order with STDOUT and STDERR
===========  ==================================================================================================

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import enum
import functools
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.bundles import is_bundle, opened

PLAIN = 1  # flag: answer in plain data, and nothing pickled
ONEWAY = 2  # flag: answer nothing
RICH = 4  # flag: what the call displays comes as DISPLAY; else its plain text comes as STDOUT

_REQUEST = struct.Struct("!BBB")
_ANSWER = struct.Struct("!BBQ")

_PLACES = 1024  # more than a bundle has


class Operation(enum.IntEnum):
    """What can be asked. The operands are given in brackets."""

    EVALUATE = 1  # [expression] → its value
    EXECUTE = 2  # [code] → None
    # A root is a module's name, or the pair that names an object the session holds (``references``).
    CALL = 3  # [root, attribute path, args, kwargs] → what the call returns
    GET = 4  # [root, attribute path] → its value; of a callable a reference that holds nothing: it goes by its path
    PUSH = 5  # [name, value] → None
    PULL = 6  # [name] → the value
    # [msg_id, limit in bytes] → (note, value, None or [description, format, parts] of what was raised) of a cell that
    # was run with the "flame" metadata
    OUTCOME = 7
    PING = 8  # [] → None
    DELETE = 32  # [name] → None
    NAMES = 33  # [] → the names in the namespace
    REFER = 34  # [expression] → its value, which stays there
    OPERATE = 35  # [root, attribute path, operator, args] → what the operator gives
    DESCRIBE = 36  # [root, attribute path] → what there is to know of it: doc, signature, names, keys
    NEXT = 37  # [root, how many at most] → the next items of an iterator: (done, returned, mixed, items)
    CLOSE = 38  # [root] → None; closes an iterator
    # [list of (operation, operands)] → (None or [description, format, parts] of what was raised, mixed, values)
    BATCH = 39
    HOLD = 40  # [number of an earlier call] → its value, which could not be loaded by the client and stays there
    RELEASE = 41  # [pairs of (number, how often)] → None; the client has no use for these objects any more
    SO_FAR = 43  # [root] → as NEXT: the items that a NEXT that is under way has taken already, as soon as there's one
    ABOUT = 44  # [names of packages] → the machine, and those packages' versions
    PULL_UP_TO = 45  # [name, limit in bytes] → the value; it stays there if it's larger
    INTERRUPT = 42  # [conversation's name in hexadecimal digits, number of a call] → whether it still ran

    # Files. Operands and value are plain data, in the format PARTS; what it is about is in ``flame_kernel.files``.
    FIND = 64  # [pattern, what to do with links] → the sources that match
    WHERE = 65  # [destination] → what it is
    READ = 66  # [base, name, offset, length, stamp] → the piece's checksum; the piece is a buffer beside it
    SUMS = 67  # [root, name, tag, first, count] → checksums of pieces
    BEGIN = 68  # [root, name, tag, size, private] → what is there already
    WRITE = 69  # [root, name, tag, offset, checksum], and the piece beside it → None
    FINISH = 70  # [root, name, tag, size, mode, time of change] → None
    SAVE = 71  # [root, name, mode, time of change, checksum], and the content beside it → None
    DISCARD = 72  # [root, name, tag] → None
    FOLDERS = 73  # [root, names] → those that were made
    LINKS = 74  # [root, pairs of name and target] → None
    SETTLE = 75  # [root, names with modes and times of change] → None

    # Modules as source.
    SENDMODULE = 76  # [name, [name, source, whether it's a package] of each module, whether that is all of it] → None
    GETMODULE = 77  # [name] → its source

    # Ports. Operands are plain data, in the format PARTS; a stream is known by the id that its client draws for it.
    CONNECT = 96  # [id, host, port] → None, when the stream has ended
    LISTEN = 97  # [id, address, port, whether no other port will do] → None, when it listens no more
    ACCEPT = 98  # [id, id of what listens, number of who came] → as CONNECT
    SEND = 99  # [id], and a piece beside it; an empty one ends the stream in this direction
    CREDIT = 100  # [id, how many bytes more may come]
    ABANDON = 101  # [id]: of a stream or of what listens


class Outcome(enum.IntEnum):
    """What comes back."""

    RESULT = 1
    ERROR = 2
    STDOUT = 3
    STDERR = 4
    REFERENCE = 5
    PIECE = 6
    NOTE = 7
    DISPLAY = 8


_made = tuple.__new__  # how a named tuple makes itself, at half of what its own way there takes

# Looked up once a call; Operation(…) takes several times as long.
_OPERATIONS = {operation.value: operation for operation in Operation}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}

# What a call ends with.
LAST = frozenset({Outcome.RESULT, Outcome.ERROR, Outcome.REFERENCE})


class Asked(NamedTuple):
    """What a request's head says.

    Attributes:
        operation: What is asked for.
        format: What its operands are written in.
        plain: Whether its answer shall be plain data.
        oneway: Whether it shall have none.
        rich: Whether what it displays is wanted as it is.
    """

    operation: Operation
    format: int
    plain: bool
    oneway: bool
    rich: bool


class CallAnswer(NamedTuple):
    """An answer, taken apart; its value is still as it came."""

    outcome: Outcome
    format: int
    call: int
    parts: Sequence[Buffer]


@dataclass(frozen=True)
class Failure:
    """An exception on its way.

    Attributes:
        ename: The name of its type.
        evalue: Its message.
        traceback: The remote traceback as text.
        code: The error's name on the wire, of an error of ours.
    """

    ename: str
    evalue: str
    traceback: str
    code: str = ""

    def encode(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(vars(self)).encode("utf-8")

    @classmethod
    def decode(cls, data: Buffer) -> Failure:
        """Read it.

        Raises:
            ProtocolError: It isn't one.
        """
        try:
            fields = json.loads(str(data, "utf-8"))
            return cls(
                str(fields["ename"]), str(fields["evalue"]), str(fields["traceback"]), str(fields.get("code", ""))
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ProtocolError("an error came from the session that can't be read") from error


def encode_request(
    operation: Operation,
    form: int,
    operands: Sequence[Buffer],
    plain: bool = False,
    oneway: bool = False,
    rich: bool = False,
) -> list[Buffer]:
    """Return a request as the parts of a numbered message."""
    flags = (PLAIN if plain else 0) | (ONEWAY if oneway else 0) | (RICH if rich else 0)
    return [_REQUEST.pack(operation, form, flags), *operands]


def decode_requests(message: int, parts: Sequence[Buffer]) -> list[tuple[int, Buffer, Sequence[Buffer]]]:
    r"""Return the requests in a message.

    Args:
        message: The message's number.
        parts: Its parts.

    Returns:
        Of each the call's number, its head, which :func:`asked` reads, and its operands as they came.

    Raises:
        ProtocolError: It's empty, or a damaged bundle.

    Example:
        >>> decode_requests(2, [b"\xff\x08\x01\x00\x08\x01\x00", b"()", b"()"])
        [(2048, b'\x08\x01\x00', [b'()']), (2049, b'\x08\x01\x00', [b'()'])]
    """
    first = call_number(message)
    if len(parts) > 1 and not is_bundle(parts):  # most messages
        return [(first, parts[0], parts[1:])]
    return [(first + place, *request) for place, request in enumerate(opened(parts, _REQUEST.size))]


@functools.lru_cache(maxsize=64)  # nearly all requests begin with one of a few heads
def asked(head: bytes) -> Asked:
    """Read a request's head.

    Raises:
        ProtocolError: It isn't one.
    """
    try:
        operation, form, flags = _REQUEST.unpack(head)
        return Asked(_OPERATIONS[operation], form, bool(flags & PLAIN), bool(flags & ONEWAY), bool(flags & RICH))
    except (struct.error, KeyError) as error:
        raise ProtocolError("a call arrived that this version of Flame can't read") from error


def call_number(message: int, place: int = 0) -> int:
    """Return a call's number, given that of the message that asked for it and its place there."""
    return message * _PLACES + place


def message_of(call: int) -> int:
    """Return the number of the message that asked for a call."""
    return call // _PLACES


def encode_answer(outcome: Outcome, call: int, form: int = 0, parts: Sequence[Buffer] | None = None) -> list[Buffer]:
    """Return an answer as the parts of a numbered message."""
    return [_ANSWER.pack(outcome, form, call), *(parts or ())]


def decode_answer(parts: Sequence[Buffer]) -> CallAnswer:
    """Take an answer apart that came by itself.

    Raises:
        ProtocolError: It isn't one.
    """
    if not parts:
        raise ProtocolError("an answer arrived that is empty")
    return _answer(parts[0], parts[1:])


def decode_answers(parts: Sequence[Buffer]) -> list[CallAnswer]:
    """Take the answers in a message apart.

    Raises:
        ProtocolError: Something in it isn't one.
    """
    return [_answer(head, values) for head, values in opened(parts, _ANSWER.size)]


def _answer(head: Buffer, values: Sequence[Buffer]) -> CallAnswer:
    try:
        outcome, form, call = _ANSWER.unpack(head)
        return _made(CallAnswer, (_OUTCOMES[outcome], form, call, values))
    except (struct.error, KeyError) as error:
        raise ProtocolError("an answer arrived that this version of Flame can't read") from error
