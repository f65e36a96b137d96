"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: How often everything is done; medians of the rounds count.
        calls: Repetitions of something quick in a round, at most.
        seconds: How long a measurement may take in a round, as far as it can be divided.
        burst: Calls, or items of a generator, that are under way together, at most.
        clients: Clients at the same time.
        mebibytes: The size of bulk data.
        sessions: Numbers of idle sessions.
        starts: Starts of a process in a round, of which the quickest counts.
        settle_s: How long a server is given to do what earlier work left it to do, in seconds.
        idle_s: How long idling is watched, in seconds.
        patience_s: After how long a peer that does not answer has failed, in seconds.
        last_s: The same for what is measured once, at last.
        budget_s: No round but the first is begun that would not end within this time, in seconds.
    """

    rounds: int
    calls: int
    seconds: float
    burst: int
    clients: int
    mebibytes: int
    sessions: tuple[int, ...]
    starts: int
    settle_s: float
    idle_s: float
    patience_s: float
    last_s: float
    budget_s: float


FULL = Effort(5, 1000, 0.3, 5000, 8, 64, (1, 10, 50), 3, 15.0, 5.0, 60.0, 240.0, 420.0)
QUICK = Effort(2, 200, 0.05, 1000, 8, 16, (1, 10), 2, 5.0, 2.0, 30.0, 60.0, 80.0)

# Enough to see that everything works; the figures say nothing.
TRIAL = Effort(1, 3, 0.01, 50, 2, 1, (1,), 1, 0.1, 0.1, 30.0, 30.0, 30.0)

EFFORTS = {"full": FULL, "quick": QUICK, "trial": TRIAL}
