"""Which thread of the worker listens: the lead, and how it passes on.

Handing a call to another thread costs a wake-up on its way, and so does waking another thread to listen while this one
carries the call out: two threads then want one interpreter. Most calls are quicker than that. So the thread that leads
carries calls out itself and listens on afterwards, while one other thread, the watch, looks now and then whether it is
still at the same call. If so the watch takes the lead. Somebody always listens, a few milliseconds later at most: also
beside a call that runs for hours, whose interrupt has to be heard.

While no calls come the watch sleeps, and the next call wakes it. A caller whose last call took long gets another thread
to listen at once, before its next call begins.
"""

from __future__ import annotations

import threading
from contextlib import suppress

# A call that takes longer than this, in seconds, loses its thread the lead, at the next look of the watch.
PATIENCE_S = 0.002


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
        self._leader: int | None = None  # a thread
        self._begun = 0  # calls that a leader has begun
        self._carrying = False  # whether the leader carries a call out
        self._sleeping = False  # whether the watch waits for the bell alone

    def follow(self) -> None:
        """Count one more thread that will :meth:`take` the lead."""
        with self._lock:
            self.followers += 1

    def take(self) -> None:
        """Wait until this thread leads."""
        with self._watch:
            seen = -1
            while True:
                with self._lock:
                    if self._leader is None or (self._carrying and self._begun == seen):
                        self._leader = threading.get_ident()
                        self._carrying = self._sleeping = False
                        self.followers -= 1
                        return
                    sleeping = self._sleeping = self._begun == seen
                    seen = self._begun
                self._bell.acquire(timeout=-1 if sleeping else self._patience_s)

    def keep(self) -> None:
        """Begin a call that's expected to be quick, with the lead; :meth:`kept` has to follow."""
        with self._lock:
            self._begun += 1
            self._carrying = True
            wake, self._sleeping = self._sleeping, False
        if wake:
            self._ring()

    def kept(self) -> bool:
        """End the call; false when the lead has passed to another thread meanwhile."""
        with self._lock:
            if self._leader != threading.get_ident():
                return False
            self._carrying = False
            return True

    def leave(self) -> None:
        """Let the next thread lead."""
        with self._lock:
            self._leader = None
        self._ring()

    def _ring(self) -> None:
        with suppress(RuntimeError):  # it has been rung, and not been heard yet
            self._bell.release()
