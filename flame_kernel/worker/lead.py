"""Which thread of the worker listens: the lead, and how it passes on.

Handing a call to another thread costs a wake-up on its way, and so does waking another thread to listen while this one
carries the call out: two threads then want one interpreter. Most calls are quicker than that. So the thread that leads
carries calls out itself and listens on afterwards, while one other thread, the watch, looks now and then whether it is
still at the same call. If so the watch takes the lead. Somebody always listens, a few milliseconds later at most: also
beside a call that runs for hours, whose interrupt has to be heard.

While no calls come the watch sleeps, and the next call wakes it. A caller whose last call took long gets another thread
to listen at once, before its next call begins.

The lead is a token, which lies on the table while a call is carried out: whoever takes it away leads. Taking it is one
step that no other thread comes in between of, so neither side needs a lock, which would be the dearest part of a call.
"""

from __future__ import annotations

import threading
from contextlib import suppress

# A call that takes longer than this, in seconds, loses its thread the lead, at the next look of the watch.
PATIENCE_S = 0.002

_NOBODY = 0  # in place of a thread


class Lead:
    """Passes the lead between threads.

    Args:
        patience_s: How often the watch looks, in seconds.

    Attributes:
        followers: How many threads wait for the lead.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self.followers = 0
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._watch = threading.Lock()  # held by the thread that leads next
        self._bell = threading.Lock()  # released to wake it
        self._bell.acquire()
        self._table = {_NOBODY: True}  # the token, under who laid it down; or nothing: who leads has it
        self._begun = 0  # calls that a leader has begun
        self._left = True  # whether nobody leads, so that the token is for the next
        self._sleeping = False  # whether the watch waits for the bell alone

    def follow(self) -> None:
        """Count one more thread that will :meth:`take` the lead."""
        with self._lock:
            self.followers += 1

    def take(self) -> None:
        """Wait until this thread leads."""
        with self._watch:
            seen = -1
            while not ((self._left or self._begun == seen) and self._took()):
                idle, seen = self._begun == seen, self._begun
                if idle:
                    # Whoever lays the token down looks afterwards whether the watch sleeps, and the watch says that it
                    # does and then looks for the token: one of them sees the other.
                    self._sleeping = True
                    idle = not self._table
                self._bell.acquire(timeout=-1 if idle else self._patience_s)
            self._left = self._sleeping = False
        with self._lock:
            self.followers -= 1

    def keep(self) -> None:
        """Begin a call that's expected to be quick, with the lead; :meth:`kept` has to follow."""
        self._begun += 1
        self._table[threading.get_ident()] = True
        if self._sleeping:
            self._sleeping = False
            self._ring()

    def kept(self) -> bool:
        """End the call; false when the lead has passed to another thread meanwhile."""
        return self._table.pop(threading.get_ident(), False)

    def leave(self) -> None:
        """Let the next thread lead."""
        self._left = True
        self._table[_NOBODY] = True
        self._ring()

    def _took(self) -> bool:
        try:
            self._table.popitem()
        except KeyError:
            return False
        return True

    def _ring(self) -> None:
        with suppress(RuntimeError):  # it has been rung, and not been heard yet
            self._bell.release()
