"""What a run gave, as a file: the page and the chart are made of it."""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec


class Failure(msgspec.Struct, frozen=True):
    """Something that did not work.

    Attributes:
        peer: With whom.
        what: The measurement, or empty if the peer could not be started at all.
        error: What happened, in one line.
    """

    peer: str
    what: str
    error: str


class Results(msgspec.Struct):
    """What a run gave.

    Attributes:
        made: When and on what, by the words for it.
        effort: How much was measured.
        rounds: How many rounds there were.
        peers: Who took part.
        versions: Of their packages.
        samples: A figure for each time that something was measured, by row and peer.
        failures: What did not work.
    """

    made: dict[str, str]
    effort: str
    peers: list[str]
    rounds: int = 0
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    samples: dict[str, dict[str, list[float]]] = msgspec.field(default_factory=dict)
    failures: list[Failure] = msgspec.field(default_factory=list)

    def note(self, row: str, peer: str, figure: float) -> None:
        """Add a figure."""
        self.samples.setdefault(row, {}).setdefault(peer, []).append(figure)

    def figure(self, row: str, peer: str) -> float | None:
        """Return the median of a row with a peer, if there is one."""
        samples = self.samples.get(row, {}).get(peer)
        return statistics.median(samples) if samples else None

    def save(self, path: Path) -> None:
        """Write them to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))


def load(path: Path) -> Results:
    """Read results from a file."""
    return msgspec.json.decode(path.read_bytes(), type=Results)
