"""What each kind of request needs: the one place that says what a role is good for.

A *grant* says who is at the other end of a conversation and what they may do in its session. Each request is held
against the table below when it arrives; a kind of request that isn't in the table needs ``admin``.

| role | may |
|---|---|
| observe | attach read-only to a session shared with it, see its outputs; list what it may see |
| execute | own sessions: cells, calls, input, interrupt, restart, end |
| files | as ``execute``, and the transfers of ``put`` and ``get`` |
| admin | list and end other keys' sessions, share sessions |

``files`` is no wall around the file system: a cell opens files too. It keeps bulk transfers to those who are meant to
make them, as a restricted ssh account without sftp does.
"""

from __future__ import annotations

from dataclasses import dataclass

from flame_kernel.errors import NotPermitted
from flame_kernel.protocol import messages
from flame_kernel.security.authorized_key import Role


@dataclass(frozen=True)
class Grant:
    """Who is at the other end of a conversation with a session, and what they may do in it.

    Attributes:
        who: The fingerprint of their key; empty for the unix socket's user.
        name: What to call them.
        key: What their key may do on this server.
        role: What they may do in this session: no more than their key may, and no more than its owner lets them.
        owner: Whether the session belongs to their key.
    """

    who: str = ""
    name: str = ""
    key: Role = Role.OBSERVE
    role: Role = Role.OBSERVE
    owner: bool = False


# What a conversation has before anybody was let into it.
NOBODY = Grant()


@dataclass(frozen=True)
class Need:
    """What a request needs.

    Attributes:
        role: The role in its session.
        owner: Whether the session has to belong to the one who asks, or they be ``admin`` by their key.
    """

    role: Role
    owner: bool = False


LANES: dict[str, Role] = {
    messages.LANE_SESSION: Role.OBSERVE,
    messages.LANE_SERVER: Role.OBSERVE,
    messages.LANE_CALLS: Role.EXECUTE,
}

REQUESTS: dict[type, Need] = {
    messages.Interrupt: Need(Role.EXECUTE),
    messages.Restart: Need(Role.EXECUTE),
    messages.Close: Need(Role.EXECUTE, owner=True),
    messages.ListSessions: Need(Role.OBSERVE),
    messages.ListKernels: Need(Role.OBSERVE),
    messages.Rename: Need(Role.EXECUTE, owner=True),
    messages.Detach: Need(Role.EXECUTE, owner=True),
    messages.AskMissed: Need(Role.EXECUTE),
    messages.Share: Need(Role.ADMIN, owner=True),
    messages.Unshare: Need(Role.ADMIN, owner=True),
}

_UNHEARD_OF = Need(Role.ADMIN, owner=True)

# What only tells of the kernel and changes nothing. Completion and inspection run code of the objects they look at, and
# IPython's history is that of all sessions of the user, so neither is for observers.
OBSERVERS_MAY_ASK = frozenset({"kernel_info_request", "comm_info_request"})

START_SESSION = Role.EXECUTE
OTHERS_SESSIONS = Role.ADMIN


def require_role(role: Role, needed: Role, what: str) -> None:
    """Make sure that a role is enough.

    Args:
        role: What one has.
        needed: What it takes.
        what: What it is for, as a verb phrase.

    Raises:
        NotPermitted: It isn't.
    """
    if role < needed:
        raise NotPermitted(f"{what} needs the role {needed.value}; this client may {role.value} here")


def require(grant: Grant, request: messages.Request) -> None:
    """Make sure that somebody may make a request.

    Args:
        grant: Who asks, and what they may do.
        request: What they ask.

    Raises:
        NotPermitted: They may not.
    """
    need = REQUESTS.get(type(request), _UNHEARD_OF)
    what = f"the request {request.__struct_config__.tag!r}"
    require_role(grant.key if need.role is Role.ADMIN else grant.role, need.role, what)
    if need.owner and not grant.owner and grant.key < Role.ADMIN:
        raise NotPermitted(f"{what} is for the owner of the session, or for a key with the role admin")


def may_ask(grant: Grant, msg_type: str) -> bool:
    """Tell whether somebody may send the kernel a Jupyter message.

    Args:
        grant: Who sends it.
        msg_type: Its type.
    """
    return grant.role >= Role.EXECUTE or msg_type in OBSERVERS_MAY_ASK
