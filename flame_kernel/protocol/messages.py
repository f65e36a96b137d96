"""What client and server say to each other about connections and sessions, as JSON with checked types.

HELLO, WELCOME and REFUSED packets carry one of the first three. A numbered message on the session lane is either a
Jupyter message (``jupyter``) or, with the topic ``flame``, one of :data:`Request` going up and :data:`Answer` coming
down.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, ProtocolError, from_code

TOPIC = b"flame"

# The first part of a message of iopub that was said while nobody was attached; otherwise it looks like one.
MISSED = b"missed"

LANE_SESSION = "session"
LANE_SERVER = "server"
LANE_CALLS = "calls"
LANE_ENROL = "enrol"


class Hello(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first thing a client says on a connection.

    Attributes:
        versions: The protocol versions it speaks, best first.
        lane: ``session`` (Jupyter traffic and requests about the session), ``server`` (requests about any session,
            without being attached to one), ``calls`` or ``enrol``.
        attachment: The name it chose for its conversation with the session, 32 hex digits; the same after each cut.
            The first 16 name the client: a new conversation of a client that began one before ends that one. On a calls
            lane that of the client's conversation on the session lane, if it has one.
        session: The session's name; empty for a private one, which ends with the attachment.
        kernel: The kernelspec for a session that has to be started; empty for the server's default.
        client: What to call the client in listings, such as ``ada@laptop``.
        resumed: Whether the conversation began on an earlier connection, so that the server must still know it.
        folder: Where the client works. A server on the same machine starts a session there; others pay it no heed.
        key: For ``enrol``: the client's own public key, as text.
        existing: Whether the session has to be there already.
        observe: Whether the client only looks on: it attaches to a session that is there, and changes nothing in it.
        direct: Whether the client would call the session's worker directly, past the server, if it can.
        lease: How long a session that has to be started goes on without clients at most, in seconds; 0 for as long as
            the server lets it.
        rows: Whether the client reads rows of messages (``packets.Kind.ROW``).
    """

    versions: tuple[int, ...]
    lane: str
    attachment: str = ""
    session: str = ""
    kernel: str = ""
    client: str = ""
    resumed: bool = False
    folder: str = ""
    key: str = ""
    existing: bool = False
    observe: bool = False
    direct: bool = False
    lease: float = 0.0
    rows: bool = False


class Welcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The server's answer to a HELLO.

    Attributes:
        version: The protocol version that both will speak.
        host: The server's host name.
        session: The session's name, also when the server chose it.
        kernel: The kernelspec the session runs.
        language: The kernel's language, such as ``python``.
        created: Whether the session was started for this HELLO.
        calls: Whether the session answers calls (it runs Python and the worker is loaded).
        pid: The kernel's process id on the host, 0 when unknown.
        state: Where the session stands, as in ``session``.
        unseen: How many outputs of the session nobody has seen.
        role: What this client may do in the session, as in ``authorized_keys``.
        owner: What its owner is called when the session belongs to another key.
        message_bytes: The largest message that the server takes, in bytes; 0 when it does not say.
        worker: The unix socket at which the session's worker waits for streams, ``unix://path``, for a client that came
            by the server's own unix socket; else empty.
        versions: Those of Python and of packages whose values cross, as the session had them when it was started.
        direct: Whether a ``direct`` message follows as soon as the session's worker listens for this client.
        silence_s: After how long without a sign of life the server lets go of a connection, in seconds; 0 when it does
            not say.
    """

    version: int
    host: str = ""
    session: str = ""
    kernel: str = ""
    language: str = ""
    created: bool = False
    calls: bool = False
    pid: int = 0
    state: str = ""
    unseen: int = 0
    role: str = ""
    owner: str = ""
    message_bytes: int = 0
    worker: str = ""
    versions: dict[str, str] = {}
    direct: bool = False
    silence_s: float = 0.0


class Refusal(msgspec.Struct, frozen=True):
    """Why a connection or a request is refused.

    Attributes:
        code: The error's name, as in ``errors``.
        message: One line for the user.
    """

    code: str
    message: str

    def error(self) -> FlameError:
        """Return it as the exception it stands for."""
        return from_code(self.code, self.message)

    @classmethod
    def of(cls, error: FlameError) -> Refusal:
        """Return the refusal that stands for an exception."""
        return cls(error.code, str(error))


class Interrupt(msgspec.Struct, frozen=True, tag="interrupt", omit_defaults=True):
    """Interrupt what a session's main thread is doing (SIGINT, or the kernel's own way).

    Attributes:
        id: The client's number for the request, above 0.
        session: Which session; empty for the one this lane is attached to. Likewise in the requests below.
    """

    id: int
    session: str = ""


class Restart(msgspec.Struct, frozen=True, tag="restart", omit_defaults=True):
    """End a session's kernel process and start a new one in its place."""

    id: int
    session: str = ""


class Close(msgspec.Struct, frozen=True, tag="close", omit_defaults=True):
    """End a session and its kernel process."""

    id: int
    session: str = ""


class Rename(msgspec.Struct, frozen=True, tag="rename", omit_defaults=True):
    """Give a session another name; a private one is kept from then on.

    Attributes:
        name: The new name.
    """

    id: int
    name: str
    session: str = ""


class Detach(msgspec.Struct, frozen=True, tag="detach", omit_defaults=True):
    """Let a session go on without clients: a private one is kept, and on the server's lane all of its clients leave."""

    id: int
    session: str = ""


class AskMissed(msgspec.Struct, frozen=True, tag="missed", omit_defaults=True):
    """Hand over what nobody has seen of the session, and what it waits to be told.

    Attributes:
        keep: Whether it stays there for the next client all the same.
    """

    id: int
    keep: bool = False


class Share(msgspec.Struct, frozen=True, tag="share", omit_defaults=True):
    """Let another key use a session.

    Attributes:
        who: The key's fingerprint, its comment, or ``*`` for every key.
        role: What it may do there at most: ``observe``, ``execute`` or ``files``.
    """

    id: int
    who: str
    role: str = "observe"
    session: str = ""


class Unshare(msgspec.Struct, frozen=True, tag="unshare", omit_defaults=True):
    """Let another key use a session no more; its connections to it end.

    Attributes:
        who: As it was shared; empty for everybody whom it is shared with.
    """

    id: int
    who: str = ""
    session: str = ""


class ListSessions(msgspec.Struct, frozen=True, tag="sessions", omit_defaults=True):
    """List the sessions that belong to this key, and those that are shared with it.

    Attributes:
        memory: Whether to find out how much memory they use.
        everyone: Whether to list those of all other keys too, which takes the role ``admin``.
    """

    id: int
    memory: bool = False
    everyone: bool = False


class ListKernels(msgspec.Struct, frozen=True, tag="kernels"):
    """List the host's kernelspecs."""

    id: int


Request = Interrupt | Restart | Close | Rename | Detach | AskMissed | Share | Unshare | ListSessions | ListKernels


class SessionInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session, as a listing shows it.

    Attributes:
        name: Its name.
        kernel: Its kernelspec.
        state: ``starting``, ``ready``, ``restarting``, ``dead``.
        pid: Its process id, 0 when unknown.
        started: When it was started, in seconds since the epoch.
        clients: How many clients are attached now.
        host: The host it runs on.
        names: What those clients are called.
        private: Whether it ends with its client.
        activity: What its main thread does: ``busy``, ``idle``, ``waiting for input``; empty when that isn't known.
        unseen: How many outputs nobody has seen.
        memory: What its process and those that it has started use, in bytes; ``None`` when it was not asked for, or
            can't be found out.
        ends_in: After how many seconds it is ended unless a client comes back; ``None`` for never.
        cause: How it died, if it did.
        owner: What its owner is called, when that is another key.
        role: What this client may do in it.
        shared: Whom it is shared with, and what they may do: ``ann@laptop (observe)``.
    """

    name: str
    kernel: str
    state: str
    pid: int
    started: float
    clients: int
    host: str = ""
    names: tuple[str, ...] = ()
    private: bool = False
    activity: str = ""
    unseen: int = 0
    memory: int | None = None
    ends_in: float | None = None
    cause: str = ""
    owner: str = ""
    role: str = ""
    shared: tuple[str, ...] = ()


class KernelInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a session can run on the host.

    Attributes:
        name: Its name.
        display_name: Its name for people.
        language: Its language.
        kind: ``kernelspec``, or ``conda``, ``venv`` or ``pyenv`` for an environment that has none.
        path: Its folder.
        version: The version of an environment's Python, if its files tell.
        ready: Whether an environment has ipykernel, so that a session can run in it.
    """

    name: str
    display_name: str
    language: str
    kind: str = "kernelspec"
    path: str = ""
    version: str = ""
    ready: bool = True


class Done(msgspec.Struct, frozen=True, tag="done", omit_defaults=True):
    """A request was carried out.

    Attributes:
        id: Which.
        sessions: The sessions that were asked for.
        kernels: The kernelspecs that were asked for.
        running: After what was missed: the ids of the cells that still run.
        dropped_outputs: How many outputs that were missed had to make room.
        dropped_lines: How many lines of text had to make room.
        shared: Whom the session is shared with now, and what they may do: ``ann@laptop (observe)``.
    """

    id: int
    sessions: tuple[SessionInfo, ...] = ()
    kernels: tuple[KernelInfo, ...] = ()
    running: tuple[str, ...] = ()
    dropped_outputs: int = 0
    dropped_lines: int = 0
    shared: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A request was not carried out."""

    id: int
    why: Refusal


class Died(msgspec.Struct, frozen=True, tag="died"):
    """The session's kernel process ended by itself.

    Attributes:
        cause: How, in a line for the user.
    """

    cause: str


class Restarted(msgspec.Struct, frozen=True, tag="restarted"):
    """The session has a new kernel process.

    Attributes:
        pid: Its process id, 0 when unknown.
        lost: The ids of this client's requests that the old process took with it; later ones are for the new process.
    """

    pid: int
    lost: tuple[str, ...] = ()


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The session was closed on purpose."""


class Renamed(msgspec.Struct, frozen=True, tag="renamed"):
    """The session has another name.

    Attributes:
        name: Its name from now on.
    """

    name: str


class Detached(msgspec.Struct, frozen=True, tag="detached"):
    """The session goes on without this client: another one sent all of its clients away."""


class Resumed(msgspec.Struct, frozen=True, tag="resumed"):
    """The server was started again: what the session said while there was none could not be kept.

    Attributes:
        since: When it was back, by the clock of its host.
    """

    since: str


class Direct(msgspec.Struct, frozen=True, tag="direct"):
    """The session's worker can be called directly, at the host where this client found the server.

    Attributes:
        port: The TCP port.
        key: The worker's public key in Z85; another one each time that the session gets a process.
    """

    port: int
    key: str


Answer = Done | Failed | Died | Restarted | Ended | Renamed | Detached | Resumed | Direct

M = TypeVar("M")

_encoder = msgspec.json.Encoder()

# What msgspec raises over bytes that are no JSON, no UTF-8, or nested without end.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode(message: msgspec.Struct) -> bytes:
    """Return a message as JSON.

    Example:
        >>> encode(Interrupt(id=3))
        b'{"type":"interrupt","id":3}'
    """
    return _encoder.encode(message)


def decode(data: Buffer, kind: type[M]) -> M:
    """Read a message and check its types.

    Args:
        data: JSON.
        kind: What it must be.

    Returns:
        The message.

    Raises:
        ProtocolError: It isn't one.

    Example:
        >>> decode(b'{"type":"interrupt","id":3}', Request)
        Interrupt(id=3, session='')
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except _UNREADABLE as error:
        raise ProtocolError(f"a message arrived that can't be read: {error}") from error


def decode_request(data: Buffer) -> Request:
    """Read what a client asks of its session; see :func:`decode`."""
    return decode(data, Request)  # type: ignore[arg-type]  # a union is no type for mypy


def decode_answer(data: Buffer) -> Answer:
    """Read what a server says about a session; see :func:`decode`."""
    return decode(data, Answer)  # type: ignore[arg-type]  # a union is no type for mypy
