"""Every error that Remote Flame raises, in one tree.

Each message is one line that says what happened, on which host, and what to do about it; front ends print it as it is.
An error that a server reports crosses the wire as a *code* and a message (:class:`Refusal` in
``protocol/messages.py``), and :func:`from_code` turns it back into its class.

This module is loaded inside sessions too, so it keeps to the standard library and Python 3.9.
"""

from __future__ import annotations

from typing import ClassVar


class FlameError(Exception):
    """The root of the tree.

    Attributes:
        code: The error's name on the wire.

    Example:
        >>> str(ServerUnreachable("nothing listens at gpu1:9999"))
        'nothing listens at gpu1:9999'
    """

    code: ClassVar[str] = "error"


class ConfigurationError(FlameError):
    """An option, a configuration file or an environment variable can't be used as it stands."""

    code = "configuration"


class FlameDisabled(ConfigurationError):
    """The server was started without being enabled; it gives full access to the machine, so it must be asked for."""

    code = "disabled"


class KeyFileError(ConfigurationError):
    """A key file can be read by others, is damaged, or can't be written."""

    code = "key-file"


class AddressInUse(ConfigurationError):
    """Another process listens at the address the server was told to use."""

    code = "address-in-use"


class ConnectError(FlameError, ConnectionError):
    """A server could not be reached or did not let this client in."""

    code = "connect"


class ServerUnreachable(ConnectError):
    """Nothing answers at the address."""

    code = "unreachable"


class NotAFlameServer(ConnectError):
    """Something answers at the address, but it isn't a Flame server."""

    code = "not-flame"


class KeyRefused(ConnectError):
    """The server does not know this client's key."""

    code = "key-refused"


class InviteError(ConnectError):
    """The invite is damaged, unknown to the server, used, or expired."""

    code = "invite"


class HostUnknown(ConnectError):
    """This client has never been paired with the host, so it has no key to check it against."""

    code = "host-unknown"


class HostKeyChanged(ConnectError):
    """The server proves another identity than the one that was pinned: reinstalled, or somebody in the middle."""

    code = "host-key-changed"


class NotInstalled(ConnectError):
    """The host that ssh reached has no remote-flame."""

    code = "not-installed"


class VersionMismatch(ConnectError):
    """Client and server have no protocol version in common."""

    code = "version"


class LinkLost(ConnectError):
    """The connection ended and can't be resumed."""

    code = "link-lost"


class FlameTimeout(FlameError, TimeoutError):
    """The time given to a blocking call ran out. The connection stays usable."""

    code = "timeout"


class ProtocolError(FlameError):
    """A peer sent bytes that the protocol does not allow."""

    code = "protocol"


class LimitExceeded(FlameError):
    """A documented limit was reached; the message names it."""

    code = "limit"


class NotPermitted(FlameError):
    """The role of this client's key does not allow the request."""

    code = "not-permitted"


class SessionError(FlameError):
    """Something is wrong with a session rather than with the link to its server."""

    code = "session"


class UnknownSession(SessionError):
    """No session of that name belongs to this key."""

    code = "unknown-session"


class UnknownKernel(SessionError):
    """The host has no kernelspec of that name."""

    code = "unknown-kernel"


class KernelStartFailed(SessionError):
    """The session's kernel process ended, or gave no sign of life, before it was ready."""

    code = "kernel-start-failed"


class SessionDied(SessionError):
    """The session's kernel process ended by itself; the message says how."""

    code = "session-died"


class SessionRestarted(SessionError):
    """The session was restarted while something was still under way in it."""

    code = "session-restarted"


class CallsUnavailable(SessionError):
    """The session's kernel is not Python, so it runs cells but answers no calls."""

    code = "calls-unavailable"


class UnknownHandle(SessionError):
    """A handle names an object that its session does not hold (any more), or that another session holds."""

    code = "unknown-handle"


class SerializationError(FlameError):
    """A value can't cross between the two machines."""

    code = "serialization"


class TransferError(FlameError):
    """A file or a module could not be copied; the message says why, and what to do."""

    code = "transfer"


class UnsafePath(TransferError):
    """A name would lead out of the folder that something is copied to."""

    code = "unsafe-path"


class ForwardError(FlameError):
    """A port can't be forwarded, or nothing answers at its other end."""

    code = "forward"


class RemoteError(FlameError):
    """An exception of the remote side whose own type can't be loaded here.

    Args:
        ename: The name of the exception's type.
        evalue: Its message.
        traceback: The remote traceback as text, source lines included.

    Example:
        >>> error = RemoteError("CudaError", "out of memory", "Traceback (most recent call last): ...")
        >>> error.ename, str(error)
        ('CudaError', 'CudaError: out of memory')
    """

    code = "remote"

    def __init__(self, ename: str, evalue: str, traceback: str = "") -> None:
        super().__init__(f"{ename}: {evalue}" if evalue else ename)
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, str, str]]:
        return type(self), (self.ename, self.evalue, self.traceback)


class RemoteTraceback(FlameError):
    """The remote half of an exception, as the cause that Python prints above the local half.

    Args:
        text: Where it happened, and the remote frames with their source.
        cause: The exception over there that led to this one, as its own type where that loads here.
    """

    code = "remote-traceback"

    def __init__(self, text: str, cause: BaseException | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.cause = cause

    def __str__(self) -> str:
        return "\n" + self.text.rstrip("\n")


def _tree(root: type[FlameError]) -> dict[str, type[FlameError]]:
    found = {root.code: root}
    for branch in root.__subclasses__():
        found.update(_tree(branch))
    return found


# RemoteError and RemoteTraceback are built from more than a message and never cross as a code.
_BY_CODE = {code: cls for code, cls in _tree(FlameError).items() if cls not in (RemoteError, RemoteTraceback)}


def from_code(code: str, message: str) -> FlameError:
    """Build the error that a peer reported.

    Args:
        code: The error's name on the wire; an unknown one gives a plain :class:`FlameError`, so that a newer server's
            errors still reach the user.
        message: The one line for the user.

    Returns:
        The error, ready to be raised.

    Example:
        >>> from_code("unknown-kernel", "gpu1 has no kernel named 'r'")
        UnknownKernel("gpu1 has no kernel named 'r'")
    """
    return _BY_CODE.get(code, FlameError)(message)
