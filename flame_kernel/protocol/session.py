"""The life of a session, as a table: (state, event) to the next state."""

from __future__ import annotations

import enum


class SessionState(enum.Enum):
    """Where a session stands."""

    STARTING = "starting"  # its kernel process is coming up; what clients send is held
    READY = "ready"  # messages flow
    RESTARTING = "restarting"  # one process ends, the next comes up; what clients send is held
    DEAD = "dead"  # its process ended by itself; it can be restarted
    ENDED = "ended"  # closed on purpose, or never came up


class SessionEvent(enum.Enum):
    """What happens to a session."""

    UP = "up"  # the kernel answers and, if it is Python, has the worker loaded
    DIE = "die"  # the kernel process ended by itself
    RESTART = "restart"  # a client asks for a new process
    CLOSE = "close"  # a client, or the server, ends it


SESSION = {
    (SessionState.STARTING, SessionEvent.UP): SessionState.READY,
    (SessionState.STARTING, SessionEvent.DIE): SessionState.DEAD,
    (SessionState.STARTING, SessionEvent.CLOSE): SessionState.ENDED,
    (SessionState.READY, SessionEvent.DIE): SessionState.DEAD,
    (SessionState.READY, SessionEvent.RESTART): SessionState.RESTARTING,
    (SessionState.READY, SessionEvent.CLOSE): SessionState.ENDED,
    (SessionState.RESTARTING, SessionEvent.UP): SessionState.READY,
    (SessionState.RESTARTING, SessionEvent.DIE): SessionState.DEAD,
    (SessionState.RESTARTING, SessionEvent.CLOSE): SessionState.ENDED,
    (SessionState.DEAD, SessionEvent.RESTART): SessionState.RESTARTING,
    (SessionState.DEAD, SessionEvent.CLOSE): SessionState.ENDED,
}
