"""What a session knows of code that is being written: what may stand at the cursor, and what a name there means.

The session's kernel is asked, whatever its language, as a notebook asks it. It answers between two cells, not while one
runs, so whoever asks while a user types gives it little time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flame_kernel.client.connection import Connection
from flame_kernel.errors import FlameTimeout

# Paths that are given at most: nobody reads more.
_MOST_PATHS = 1_000

# What a path may go on with, over there. It takes no name of the session's on the way.
_PATHS = (
    "(lambda os, glob, path: [name[len(path):] + '/' * os.path.isdir(name) for name in "
    "sorted(glob.glob(glob.escape(path) + '*'))][:{most}])"
    "(__import__('os'), __import__('glob'), __import__('os').path.expanduser({path!r}))"
)


@dataclass(frozen=True)
class Completion:
    """What may stand at the cursor.

    Attributes:
        text: What stands in the place of what is there.
        type: What it is (``function``, ``module``, ``keyword``, …), as far as the kernel says.
    """

    text: str
    type: str = ""


@dataclass(frozen=True)
class Completions(Sequence[Completion]):
    """What may stand at the cursor, in the place of the code from ``start`` to ``end``.

    Attributes:
        start: Where what they replace begins.
        end: Where it ends.
        found: They themselves.
    """

    start: int
    end: int
    found: tuple[Completion, ...] = ()

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def __len__(self) -> int:
        return len(self.found)


def complete(connection: Connection, code: str, cursor: int | None, timeout: float | None) -> Completions:
    """Ask what may stand at the cursor; see :meth:`flame_kernel.client.flame.Flame.complete`."""
    place = len(code) if cursor is None else cursor
    told = _ask(connection, "complete_request", {"code": code, "cursor_pos": place}, timeout)
    types = {
        str(one.get("text")): str(one.get("type") or "")
        for one in (told.get("metadata") or {}).get("_jupyter_types_experimental", ())
    }
    found = tuple(Completion(match, types.get(match, "")) for match in map(str, told.get("matches", ())))
    return Completions(int(told.get("cursor_start", place)), int(told.get("cursor_end", place)), found)


def inspect(
    connection: Connection, code: str, cursor: int | None, detail: int, timeout: float | None
) -> dict[str, Any] | None:
    """Ask what a name means; see :meth:`flame_kernel.client.flame.Flame.inspect`."""
    content = {"code": code, "cursor_pos": len(code) if cursor is None else cursor, "detail_level": detail}
    told = _ask(connection, "inspect_request", content, timeout)
    return dict(told.get("data") or {}) if told.get("found") else None


def paths(evaluate: Any, path: str, timeout: float | None) -> list[str]:
    """Ask what a path may go on with; see :meth:`flame_kernel.client.flame.Flame.paths`."""
    rest = evaluate(_PATHS.format(most=_MOST_PATHS, path=path), timeout=timeout)
    return [path + str(one) for one in rest]


def _ask(connection: Connection, kind: str, content: dict[str, Any], timeout: float | None) -> dict[str, Any]:
    told = connection.ask_kernel(kind, content, timeout)
    if told is None:
        raise FlameTimeout(f"no answer within {timeout:g} s: a cell runs, or the link is slow ({connection.where})")
    return told
