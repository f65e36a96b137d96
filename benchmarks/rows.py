"""The rows of the tables, and what each shall reach.

A target is a bound on the ratio of our figure to another in the same run: figures of two runs, or two machines, say
nothing beside each other. Where there is nothing to compare with, it is a bound on the figure itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.catalogue import CATALOGUE, FLOOR, OURS
from benchmarks.effort import FULL

# The fastest peer that has a figure. Floors are no peers: nobody can do less than they do.
BEST = "the best peer"

PEERS = tuple(entry.key for entry in CATALOGUE if entry.kind == "peer")


@dataclass(frozen=True)
class Target:
    """A bound.

    Attributes:
        bound: The largest ratio, or the smallest where more is better.
        of: Whose figure it is a ratio to: a key, ``BEST``, or empty for a bound on the figure itself.
        row: The key of the row in which that figure stands; the same row if empty.
        ours: Whose figure is bounded.
        but: Who is left out of ``BEST``.
    """

    bound: float
    of: str = ""
    row: str = ""
    ours: str = OURS
    but: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A row.

    Attributes:
        key: Its name in the results.
        title: What it says.
        unit: The unit of its figures.
        more: Whether more is better.
        targets: What it shall reach.
    """

    key: str
    title: str
    unit: str
    more: bool = False
    targets: tuple[Target, ...] = ()

    def best(self, figures: dict[str, float]) -> str | None:
        """Return whose figure is best, if there are any."""
        pick = max if self.more else min
        return pick(figures, key=figures.__getitem__) if figures else None


@dataclass(frozen=True)
class Group:
    """Rows that belong together.

    Attributes:
        title: Its title.
        text: What is to be known of it.
        rows: Its rows.
    """

    title: str
    text: str
    rows: tuple[Row, ...]


_LEVEL = Target(1.0, BEST)
_ON_THE_MACHINE = Target(1.0, BEST, ours="flame-unix")
_BULK = (
    Target(0.95, FLOOR),
    Target(1.0, BEST, but=("dask",)),  # not encrypted, and scattered straight from the client's memory
    Target(1.5, BEST, ours="flame-unix"),
)

_NOTHING = Target(0.5)  # what the clock's ticks can tell from nothing
_SMALL = Target(100.0)

_SIZES = {100: "100 B", 10_000: "10 KB", 1_000_000: "1 MB", 16_000_000: "16 MB", 256_000_000: "256 MB"}
_SIZES |= {30_000_000: "30 MB", 1_000_000_000: "1 GB"}


def _cells(bound: float) -> tuple[Target, ...]:
    return (Target(bound, "ipykernel"),)


GROUPS = (
    Group(
        "Calls",
        "A call is `math.sqrt(500)` on the far side. Eight clients are as many connections, a thread each.",
        (
            Row("call", "a call", "µs", targets=(Target(1.1, FLOOR), _ON_THE_MACHINE)),
            Row("evaluate", "an expression", "µs"),
            Row("raise", "an exception", "µs", targets=(Target(1.3, OURS, "call"),)),
            Row("echo", "1 KB there and back", "/s", more=True),
            Row("clients", "the same, eight clients", "/s", more=True, targets=(_LEVEL,)),
            Row("pipeline", "calls that don't wait", "/s", more=True, targets=(Target(1.5, "rpyc"),)),
            Row("batch", "calls in one batch", "/s", more=True, targets=(Target(1.0, "pyro5"),)),
            Row("iterate", "an item of a generator", "µs", targets=(Target(1.0),)),
        ),
    ),
    Group(
        "Bulk",
        "64 MiB (16 in a quick run), or as much as a peer moves in a second and a half.",
        (
            Row("put_bytes", "bytes there", "MB/s", more=True, targets=_BULK),
            Row("get_bytes", "bytes back", "MB/s", more=True, targets=_BULK),
            Row("put_array", "an array there", "MB/s", more=True, targets=_BULK),
            Row("get_array", "an array back", "MB/s", more=True, targets=_BULK),
        ),
    ),
    Group(
        "Cells",
        "From the request to the reply, the idle status and everything shown in between.",
        (
            Row("pass", "a `pass` cell", "ms", targets=_cells(1.2)),
            Row("lines", "10,000 printed lines", "ms", targets=_cells(1.1)),
            Row("picture", "a picture of 5 MB", "ms", targets=_cells(1.1)),
            Row("widgets", "64 widget updates", "ms", targets=_cells(1.1)),
        ),
    ),
    Group(
        "Starts",
        "Until there is a first result; ends are not included. An import is measured beyond Python's own start, a "
        "command with it.",
        (
            Row("connect", "connect to what is up", "ms", targets=(Target(10.0),)),
            Row("connect_new", "connect to a new session", "ms", targets=(Target(50.0),)),
            Row("start", "start a kernel", "ms", targets=_cells(1.0)),
            Row("import", "import the client", "ms", targets=(Target(60.0),)),
            Row("help", "`flame --help`", "ms", targets=(Target(150.0),)),
        ),
    ),
    Group(
        "Scale",
        "Remote Flame alone: clients of one session that echo 1 KB each, echoes of several sizes, what a session shows "
        "(pictures of 1 MB) while its client stands still, or has left, and a server with sessions that nobody is "
        "connected to (resident memory).",
        (
            *(Row(f"crowd_{n}", f"echoes of all clients, of whom there are {n}", "/s", more=True) for n in FULL.crowds),
            *(Row(f"size_{n}", f"{_SIZES[n]} there and back", "ms") for n in FULL.sizes),
            *(Row(f"journal_{n}", f"catch up with a journal of {_SIZES[n]}", "ms") for n in FULL.backlogs),
            *(Row(f"journal_server_{n}", f"server's memory meanwhile, {_SIZES[n]}", "MB") for n in FULL.backlogs),
            *(Row(f"unseen_{n}", f"attach, and what was missed of {_SIZES[n]}", "ms") for n in FULL.backlogs),
            *(Row(f"cpu_{n}", f"server's CPU, idle sessions: {n}", "%", targets=(_NOTHING,)) for n in FULL.sessions),
            *(Row(f"server_{n}", f"server's memory, sessions: {n}", "MB", targets=(_SMALL,)) for n in FULL.sessions),
            Row("session", "a session's memory", "MB"),
        ),
    ),
)
ROWS = tuple(row for group in GROUPS for row in group.rows)
