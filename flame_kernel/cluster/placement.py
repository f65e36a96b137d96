"""Which host the next worker goes to, and what each gets of its host's cores and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dask.utils import parse_bytes

from flame_kernel.cluster.members import Member
from flame_kernel.errors import SessionError


@dataclass(frozen=True)
class Shares:
    """What a worker gets.

    Attributes:
        workers_per_host: Among how many a host's cores are divided.
        threads: Of each worker; ``None`` for its share of the cores.
        memory: Of each worker; ``None`` for its threads' share of the memory.
        options: More options of ``distributed.Nanny`` and ``Worker``; they come first.
        timeout: How long a worker looks for its scheduler, in seconds.
    """

    workers_per_host: int
    threads: int | None = None
    memory: str | int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 60.0


class Placement:
    """Places workers on hosts.

    Args:
        members: The hosts' sessions for workers.
        shares: What each worker gets.
    """

    def __init__(self, members: Sequence[Member], shares: Shares) -> None:
        self.members = list(members)
        self._shares = shares

    @property
    def usable(self) -> list[Member]:
        """The hosts that are not lost.

        Raises:
            SessionError: There's none.
        """
        found = [member for member in self.members if not member.lost]
        if not found:
            why = "; ".join(f"{member.label}: {member.lost}" for member in self.members)
            raise SessionError(f"the cluster has no host left ({why})")
        return found

    def next(self, specs: Mapping[str, Any]) -> tuple[Member, str]:
        """Return where the next worker goes, which is where the fewest are, and its name.

        Args:
            specs: The specifications of those that there are, by name.
        """
        there = [spec["options"]["member"] for spec in specs.values()]
        member = min(self.usable, key=there.count)
        # A name is never used again: what is heard late of the last worker of that name would count for the next.
        return member, f"{member.label}-{next(member.numbers)}"

    def options(self, member: Member) -> dict[str, Any]:
        """Return the options of a worker on a host."""
        return {
            "nthreads": self.threads(member),
            "memory_limit": self._shares.memory or "auto",
            "dashboard_address": "127.0.0.1:0",  # HTTP has no keys, so it is open to nobody else
            "death_timeout": self._shares.timeout,
            **self._shares.options,
        }

    def threads(self, member: Member) -> int:
        """Return how many threads a worker on a host has."""
        return self._shares.threads or max(1, int(member.facts["cores"]) // self._shares.workers_per_host)

    def fewest_threads(self) -> int:
        """Return how many threads any worker has at least."""
        return min(map(self.threads, self.usable))

    def least_memory(self) -> int:
        """Return how many bytes any worker may use at least."""
        if self._shares.memory:
            return int(parse_bytes(self._shares.memory))
        return min(int(m.facts["memory"] * min(1, self.threads(m) / m.facts["cores"])) for m in self.usable)
