"""Which calls a client may make: its role stands in front of what its connection is known by.

Through the server that is the name of the server's socket, which only the server gives. Over TCP it's what the table
of admitted keys says. A client on the same host that reaches the worker by the unix socket, past the server, is the
same user and has no such name.
"""

from __future__ import annotations

from flame_kernel.errors import NotPermitted
from flame_kernel.protocol.calls import Operation

# Those of put and get; code and modules are sent by whoever may execute.
FILES = frozenset(range(Operation.FIND, Operation.SETTLE + 1))

# Those of forwarded ports: whoever may execute may open sockets by code as well.
PORTS = frozenset(range(Operation.CONNECT, Operation.ABANDON + 1))

_MAY_TRANSFER = (b"files", b"admin")


def require(peer: bytes, operation: int) -> None:
    """Make sure that a client may make a call.

    Args:
        peer: What the connection is known by that it comes over.
        operation: What it asks for.

    Raises:
        NotPermitted: It may not.

    Example:
        >>> require(b"admin:01234567", Operation.READ)
    """
    if operation not in FILES:
        return
    role, colon, _ = peer.partition(b":")
    # libzmq's own names begin with a zero byte, and may have a colon by chance.
    if colon and not peer.startswith(b"\0") and role not in _MAY_TRANSFER:
        raise NotPermitted(
            f"putting and getting files needs the role files; this client may {role.decode('ascii', 'replace')} here"
        )
