"""A cluster's scheduler and workers as Dask's ``SpecCluster`` handles them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from distributed.core import Status
from distributed.deploy.spec import ProcessInterface

from flame_kernel.cluster.members import Member
from flame_kernel.errors import FlameError, SessionError

log = logging.getLogger(__name__)

# How long to try to reach the scheduler from a host before saying that it can't be reached, in seconds.
_REACH_S = 10.0

# How long a worker may take to end, in seconds; what does not is ended with its session.
_CLOSE_S = 20.0


class SchedulerProcess(ProcessInterface):
    """The scheduler, in a session of its own.

    Args:
        member: The session.
        security: The fields of the cluster's ``Security``.
        options: Of ``distributed.Scheduler``.

    Attributes:
        address: Where workers find it.
        external_address: Where clients find it, through the connection to its host.
        dashboard_port: Where its dashboard is found on this machine; 0 when it has none.
    """

    def __init__(self, member: Member, security: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        super().__init__()
        self.member = member
        self.dashboard_port = 0
        self._security = security
        self._options = options

    async def start(self) -> None:
        """Start it, unless it is running."""
        member, terms = self.member, self.member.terms
        try:
            found = await member.call(
                "start_scheduler",
                self._security,
                terms.config,
                self._options,
                terms.timeout,
                timeout=2 * terms.timeout,
            )
        except FlameError:
            self.status = Status.failed
            raise
        except Exception as error:  # whatever Dask raises over there
            self.status = Status.failed
            raise SessionError(f"the scheduler did not start on {member.label}: {error}") from error
        self.address = found["address"]
        protocol, _, place = found["address"].partition("://")
        host, _, port = place.rpartition(":")
        self.external_address = f"{protocol}://127.0.0.1:{await member.forward(host.strip('[]'), int(port))}"
        if found["dashboard"]:
            self.dashboard_port = await member.forward("127.0.0.1", found["dashboard"])
        await super().start()

    async def close(self) -> None:
        """Note that it was told to end; its session ends after it."""
        await super().close()


class WorkerProcess(ProcessInterface):
    """A worker and its nanny, in the session that holds all of a host's.

    Args:
        scheduler: The scheduler's address.
        member: The session.
        name: The worker's name.
        security: The fields of the cluster's ``Security``.
        options: Of ``distributed.Nanny`` and ``Worker``.
    """

    def __init__(
        self, scheduler: str, member: Member, name: str, security: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.member = member
        self.name = name
        self._scheduler = scheduler
        self._security = security
        self._options = options

    async def start(self) -> None:
        """Start it, unless it is running."""
        member, terms = self.member, self.member.terms
        try:
            why = await member.can_reach(self._scheduler, _REACH_S)
            if why:
                raise SessionError(
                    f"{member.label} can't reach the scheduler at {self._scheduler}: {why}; open that port between the "
                    "hosts, or choose address and port with scheduler_options={'host': …, 'port': …}"
                )
            self.address = await member.call(
                "start_worker",
                self.name,
                self._scheduler,
                self._security,
                terms.config,
                self._options,
                terms.timeout,
                timeout=2 * terms.timeout,
            )
        except FlameError:
            self.status = Status.failed
            raise
        except Exception as error:  # whatever Dask raises over there
            self.status = Status.failed
            raise SessionError(f"worker {self.name} did not start: {error}") from error
        await super().start()

    async def close(self) -> None:
        """End it; what does not end now ends with its session."""
        if self.status is Status.running and not self.member.lost:
            self.status = Status.closing
            try:
                await self.member.call("close_worker", self.name, timeout=_CLOSE_S)
            except Exception as error:  # noqa: BLE001  # whatever Dask raises over there
                log.warning("worker %s did not end, and ends with its session: %s", self.name, error)
        await super().close()
