"""What a peer's process tells the conductor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ready:
    """The peer's server is up.

    Attributes:
        versions: Of the peer's packages.
    """

    versions: Mapping[str, str]


@dataclass(frozen=True)
class Figures:
    """What was measured.

    Attributes:
        figures: By the keys of rows.
    """

    figures: Mapping[str, float]


@dataclass(frozen=True)
class Absent:
    """The peer has no way to do it."""


@dataclass(frozen=True)
class Failed:
    """It did not work.

    Attributes:
        error: What happened, in one line.
    """

    error: str


Answer = Ready | Figures | Absent | Failed
