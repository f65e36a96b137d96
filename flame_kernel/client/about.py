"""What a session's machine is, and how it differs from this one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flame_kernel.client.connection import Connection
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.calls import Operation
from flame_kernel.versions import PACKAGES, PYTHON, differing, installed


@dataclass(frozen=True)
class GraphicsCard:
    """A graphics card.

    Attributes:
        name: Its name.
        memory_used: How much of its memory is used, in bytes; ``None`` if it does not say. Likewise below.
        memory_total: How much memory it has.
    """

    name: str
    memory_used: int | None
    memory_total: int | None


@dataclass(frozen=True)
class About:
    """What a session's machine is.

    Attributes:
        host: Its name.
        system: Its operating system.
        pid: The session's process.
        folder: The session's current folder.
        python: The version of the session's Python.
        executable: Where that is.
        processor: The processor's name.
        processors: How many of them the session may use.
        memory_total: The machine's memory in bytes; ``None`` where it can't be told. Likewise below.
        memory_available: How much of it can be had.
        gpus: Its graphics cards.
        packages: Versions of packages whose values often cross between machines, as far as they are installed there.
        differs: What has another version there than here: name to (here, there).
        round_trip: How long the question took to be answered, in seconds.
    """

    host: str
    system: str
    pid: int
    folder: str
    python: str
    executable: str
    processor: str
    processors: int
    memory_total: int | None
    memory_available: int | None
    gpus: tuple[GraphicsCard, ...]
    packages: Mapping[str, str]
    differs: Mapping[str, tuple[str, str]]
    round_trip: float


def about(connection: Connection, timeout: float | None) -> About:
    """Ask a session what its machine is.

    Args:
        connection: The connection to it.
        timeout: How long to wait, in seconds; ``None`` for as long as it takes.

    Raises:
        ProtocolError: What it tells makes no sense.
    """
    connection.calls.call(Operation.PING, timeout=timeout)
    began = time.perf_counter()
    connection.calls.call(Operation.PING, timeout=timeout)
    round_trip = time.perf_counter() - began
    told = connection.calls.call(Operation.ABOUT, sorted(PACKAGES), timeout=timeout)
    return read(told, connection.where, round_trip)


def read(told: Any, where: str, round_trip: float = 0.0) -> About:
    """Read what a session tells.

    Raises:
        ProtocolError: It makes no sense.
    """
    try:
        python = str(told["python"])
        packages = {str(name): str(there) for name, there in told["packages"].items()}
        return About(
            str(told["host"]),
            str(told["system"]),
            int(told["pid"]),
            str(told["folder"]),
            python,
            str(told["executable"]),
            str(told["processor"]),
            int(told["processors"]),
            _figure(told["memory_total"]),
            _figure(told["memory_available"]),
            tuple(
                GraphicsCard(str(card["name"]), _figure(card["memory_used"]), _figure(card["memory_total"]))
                for card in told["gpus"]
            ),
            packages,
            differing(installed(), {PYTHON: python, **packages}),
            round_trip,
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ProtocolError(f"what {where} tells about its machine can't be read") from error


def _figure(value: Any) -> int | None:
    return None if value is None else int(value)
