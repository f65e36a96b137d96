"""The measurements, by name, in the order in which a round makes them.

Each takes a subject and an effort, and returns figures by the keys of ``benchmarks.rows``; it raises ``NotOffered``
where the peer has no way to do the work.

What is quick is measured in turns, of which a full round has several: where the system puts two processes, and which
memory it gives them, decides about such figures as much as what they do, and lasts for a while. What takes a warm
kernel comes late in a round and apart: a server starts another one then, which shall be over before anything quick is
measured, whoever's it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.effort import FULL, Effort
from benchmarks.measure import bulk, calls, cells, scale, starts
from benchmarks.subject import Subject

Measurement = Callable[[Subject, Effort], Mapping[str, float]]

FIRST: Mapping[str, Measurement] = {"settle": starts.settle}

IN_TURNS: Mapping[str, Measurement] = {
    "call": calls.call,
    "evaluate": calls.evaluate,
    "raise": calls.fail,
    "echo": calls.echo,
    "clients": calls.clients,
    "pipeline": calls.pipeline,
    "batch": calls.batch,
    "iterate": calls.iterate,
    "connect": starts.connect,
    "bytes": bulk.blobs,
    "arrays": bulk.arrays,
    "pass": cells.nothing,
    "lines": cells.lines,
    "picture": cells.picture,
    "widgets": cells.widgets,
}

ONCE_A_ROUND: Mapping[str, Measurement] = {
    "start a kernel": starts.kernel,
    "import": starts.imports,
    "connect to a new session": starts.new_session,
    "help": starts.command,
}

# Once, with nothing else running.
AT_LAST: Mapping[str, Measurement] = {
    "crowds": scale.crowds,
    "sizes": scale.sizes,
    "backlogs": scale.backlogs,
    "idle sessions": scale.idle,
}

ALL = {**FIRST, **IN_TURNS, **ONCE_A_ROUND, **AT_LAST}

# The rows that a measurement fills, where they are not the one of its own name.
_FILLS: Mapping[str, tuple[str, ...]] = {
    "settle": (),
    "connect to a new session": ("connect_new",),
    "start a kernel": ("start",),
    "bytes": ("put_bytes", "get_bytes"),
    "arrays": ("put_array", "get_array"),
    "crowds": tuple(f"crowd_{count}" for count in FULL.crowds),
    "sizes": tuple(f"size_{size}" for size in FULL.sizes),
    "backlogs": tuple(f"{what}_{size}" for what in ("journal", "journal_server", "unseen") for size in FULL.backlogs),
    "idle sessions": ("session", *(f"{what}_{count}" for what in ("cpu", "server") for count in FULL.sessions)),
}
ROWS_OF: Mapping[str, tuple[str, ...]] = {name: _FILLS.get(name, (name,)) for name in ALL}
