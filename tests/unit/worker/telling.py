"""A call that keeps what its caller would be told."""

from __future__ import annotations

from typing import Any

from flame_kernel.protocol.calls import Outcome


class Told:
    """Stands for a call.

    Attributes:
        said: What its caller was told.
        processes: What it has started.
    """

    def __init__(self) -> None:
        self.said: list[tuple[Outcome, str]] = []
        self.processes: list[Any] = []

    def say(self, stream: Outcome, text: str) -> None:
        self.said.append((stream, text))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *raised: object) -> None:
        pass
