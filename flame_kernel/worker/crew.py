"""The worker's threads: the one that leads listens and carries out quick calls, the others the slow ones.

Calls run side by side, and beside the session's cells. What came in one packet is carried out in order for as long as
it's quick; where a call turns out to be slow, another thread takes the lead (``lead``) and goes on with the next.
Somebody always listens, also when as many calls run as may: an interrupt has to be heard.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Callable

from flame_kernel.errors import LimitExceeded
from flame_kernel.worker.lead import PATIENCE_S, Lead
from flame_kernel.worker.running import Call

# Calls that run at the same time; one more waits until one of them has ended.
MAX_CALLS = 64

# Calls that wait for others to end; one more is an error.
MAX_WAITING = 10_000


class Crew:
    """The threads.

    Args:
        listen: Waits until something comes, and gives what is to be carried out to :meth:`put`; false once nothing
            will come any more. One thread at a time.
        carry_out: Carries out a call, whatever it raises.
        catch_up: Does what a thread that leads may have put off; any thread.
    """

    def __init__(
        self, listen: Callable[[], bool], carry_out: Callable[[Call], None], catch_up: Callable[[], None]
    ) -> None:
        self._listen = listen
        self._carry_out = carry_out
        self._catch_up = catch_up
        self._lead = Lead()
        self._lock = threading.Lock()
        self._threads = 0
        self._busy = 0
        self._ready: deque[Call] = deque()
        self._current: Call | None = None  # what the thread that leads carries out

    def start(self) -> None:
        """Begin, on threads that end with the process, or when nothing comes any more."""
        self._hire()

    def put(self, call: Call) -> None:
        """Have a call carried out, from within ``listen``.

        Raises:
            LimitExceeded: Too many wait.
        """
        if len(self._ready) >= MAX_WAITING:
            raise LimitExceeded(f"{MAX_WAITING:,} calls wait in this session already; try again later")
        self._ready.append(call)

    @property
    def more(self) -> bool:
        """Whether the thread that leads has more to carry out before it listens again."""
        return self._current is not None and bool(self._ready)

    def _hire(self) -> None:
        self._lead.follow()
        self._threads += 1  # only who leads hires
        threading.Thread(target=self._work, name=f"flame-call-{self._threads}", daemon=True).start()

    def _work(self) -> None:
        lead = self._lead
        while True:
            lead.take()
            slow, self._current = self._current, None
            if slow is not None:  # this thread took the lead from who is still at it
                slow.caller.quick = False
                self._catch_up()
            call = self._next()
            while call is not None and self._quickly(call):
                call = self._next(placed=True)
            if call is None:
                lead.leave()
                return
            call = self._another()
            while call is not None:
                self._carry_out(call)
                self._catch_up()
                call = self._another()
            lead.follow()

    def _quickly(self, call: Call) -> bool:
        """Carry out a call on the thread that leads; false when it leads no more. Else its place is for the next."""
        lead, caller = self._lead, call.caller
        if not lead.followers:
            self._hire()
        # Of a new caller nothing is known; beside calls that are slow its own may be as well.
        if caller.quick or (caller.quick is None and self._busy == 1):
            self._current = call
            lead.keep()
            self._carry_out(call)
            if lead.kept():
                self._current = None
                caller.quick = True
                return True
            self._catch_up()  # who leads now may have done so before this thread put off something
            return False
        self._catch_up()
        lead.leave()
        begun = time.monotonic()
        self._carry_out(call)
        caller.quick = time.monotonic() - begun < PATIENCE_S
        self._catch_up()
        return False

    def _next(self, placed: bool = False) -> Call | None:
        """Return the next call for the thread that leads; ``None`` when nothing will come any more.

        Args:
            placed: Whether this thread has its place among those that run calls already, from the one before.
        """
        while True:
            if self._ready and not placed:
                with self._lock:
                    placed = self._busy < MAX_CALLS
                    self._busy += placed
            if self._ready and placed:
                try:
                    return self._ready.popleft()
                except IndexError:  # another thread was quicker
                    continue
            self._catch_up()
            if not self._listen():
                return None

    def _another(self) -> Call | None:
        """Return a call that has waited for a thread; without one this thread goes back to follow."""
        with self._lock:
            if self._ready:
                return self._ready.popleft()
            self._busy -= 1
            return None
