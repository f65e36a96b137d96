"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: How often everything is done.
        turns: How often in a round what is quick is measured; medians of all turns of all rounds count.
        calls: Repetitions of something quick in a turn, at most.
        seconds: How long a measurement may take in a turn, as far as it can be divided.
        burst: Calls, or items of a generator, that are under way together, at most.
        clients: Clients at the same time.
        mebibytes: The size of bulk data.
        sessions: Numbers of idle sessions.
        crowds: Numbers of clients, for what many cost.
        sizes: Sizes of messages, for what large ones cost, in bytes.
        backlogs: How much a session says that nobody hears, in bytes.
        starts: Starts of a process in a round, of which the quickest counts.
        settle_s: How long a server is given to do what earlier work left it to do, in seconds.
        idle_s: How long idling is watched, in seconds.
        patience_s: After how long a peer that does not answer has failed, in seconds.
        last_s: The same for what is measured once, at last.
        budget_s: No round but the first is begun that would not end within this time, in seconds.
    """

    rounds: int
    turns: int
    calls: int
    seconds: float
    burst: int
    clients: int
    mebibytes: int
    sessions: tuple[int, ...]
    crowds: tuple[int, ...]
    sizes: tuple[int, ...]
    backlogs: tuple[int, ...]
    starts: int
    settle_s: float
    idle_s: float
    patience_s: float
    last_s: float
    budget_s: float


FULL = Effort(
    rounds=5,
    turns=2,
    calls=1000,
    seconds=0.3,
    burst=5000,
    clients=8,
    mebibytes=64,
    sessions=(1, 10, 50),
    crowds=(1, 8, 64),
    sizes=(100, 10_000, 1_000_000, 16_000_000, 256_000_000),
    backlogs=(1_000_000, 30_000_000, 1_000_000_000),
    starts=3,
    settle_s=15.0,
    idle_s=5.0,
    patience_s=60.0,
    last_s=240.0,
    budget_s=400.0,
)
QUICK = replace(
    FULL,
    rounds=2,
    turns=1,
    calls=200,
    seconds=0.05,
    burst=1000,
    mebibytes=16,
    sessions=(1, 10),
    crowds=(1, 8),
    sizes=(100, 10_000, 1_000_000, 16_000_000),
    backlogs=(1_000_000, 30_000_000),
    starts=2,
    settle_s=5.0,
    idle_s=2.0,
    patience_s=30.0,
    last_s=60.0,
    budget_s=80.0,
)

# Enough to see that everything works; the figures say nothing.
TRIAL = replace(
    QUICK,
    rounds=1,
    turns=2,
    calls=3,
    seconds=0.01,
    burst=50,
    clients=2,
    mebibytes=1,
    sessions=(1,),
    crowds=(1,),
    sizes=(100, 10_000),
    backlogs=(1_000_000,),
    starts=1,
    settle_s=0.1,
    idle_s=0.1,
)

EFFORTS = {"full": FULL, "quick": QUICK, "trial": TRIAL}
