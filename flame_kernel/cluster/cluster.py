"""``FlameCluster``: a Dask cluster whose scheduler and workers Flame servers own."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
import secrets
import warnings
import weakref
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import dask.config
from dask.utils import parse_timedelta
from distributed.core import Status
from distributed.deploy.cluster import Cluster
from distributed.deploy.spec import SpecCluster
from distributed.security import Security
from distributed.utils import format_dashboard_link
from distributed.versions import VersionMismatchWarning

from flame_kernel import Host
from flame_kernel.cluster import record
from flame_kernel.cluster.members import Member, Terms, labels
from flame_kernel.cluster.node import versions
from flame_kernel.cluster.placement import Placement, Shares
from flame_kernel.cluster.processes import SchedulerProcess, WorkerProcess
from flame_kernel.cluster.versions import differences
from flame_kernel.errors import FlameError, SessionError, UnknownSession

# How long the end of the process may wait for that of the cluster, in seconds.
_LAST_S = 20.0

# Nothing of Dask's that isn't encrypted is open to the network: HTTP has no keys.
_LOOPBACK = "127.0.0.1:0"


class FlameCluster(SpecCluster):
    """A Dask cluster on the hosts of Flame servers.

    The scheduler has a session on the first host, and all workers of a host have one there: those hold the processes,
    outlive this client, and end with the cluster or with its lease.

    Args:
        hosts: The hosts, each as ``connect`` takes it.
        workers_per_host: How many workers to begin with on each.
        threads_per_worker: Threads of a worker; a host's cores divided among its workers unless told.
        memory_limit: What a worker may use, such as ``"8 GiB"``; its threads' share of the host's memory unless told.
        kernel: The kernelspec or environment that scheduler and workers run in; one for all, or by host.
        name: What to call the cluster, for :meth:`from_name`. One that was given a name goes on when this process ends.
        lease: How long it goes on when no client is there: seconds, or such as ``"8h"``; ``None`` for ever.
        scheduler: The host that the scheduler runs on; the first unless told.
        security: Whether to encrypt and authenticate with TLS, by a certificate made for this cluster; or a
            ``Security`` of the user's own.
        scheduler_options: More options of ``distributed.Scheduler``.
        worker_options: More options of ``distributed.Nanny`` and ``distributed.Worker``.
        shutdown_on_close: Whether it ends when this process ends; unless told, if it has no name of the user's.
        timeout: How long a session, the scheduler or a worker may take to start, in seconds.
        asynchronous: Whether it's used with ``await`` in an event loop.
        existing: Whether it has to be running already; :meth:`from_name` says so.

    Raises:
        ConnectError: A host can't be reached; the message says what to do.
        SessionError: A session or something in it can't be started.

    Example:
        >>> with FlameCluster(["gpu1", "gpu2"], workers_per_host=2) as cluster:
        ...     client = cluster.get_client()
        ...     total = client.submit(sum, range(10)).result()
    """

    status: Status

    def __init__(
        self,
        hosts: Sequence[str] | str,
        *,
        workers_per_host: int = 1,
        threads_per_worker: int | None = None,
        memory_limit: str | int | None = None,
        kernel: str | Mapping[str, str] | None = None,
        name: str | None = None,
        lease: float | str | None = "1 hour",
        scheduler: str | None = None,
        security: bool | Security = True,
        scheduler_options: Mapping[str, Any] | None = None,
        worker_options: Mapping[str, Any] | None = None,
        shutdown_on_close: bool | None = None,
        timeout: float = 60.0,
        asynchronous: bool = False,
        existing: bool = False,
        **kwargs: Any,
    ) -> None:
        targets = [hosts] if isinstance(hosts, str) else list(hosts)
        if not targets:
            raise SessionError("a cluster needs a host: FlameCluster(['gpu1', 'gpu2'])")
        # What one that comes back needs to know, kept beside the scheduler.
        self._notes: dict[str, Any] = {
            "hosts": targets,
            "workers_per_host": workers_per_host,
            "threads_per_worker": threads_per_worker,
            "memory_limit": memory_limit,
            "kernel": kernel,
            "lease": lease,
            "scheduler": scheduler,
            "scheduler_options": dict(scheduler_options or {}),
            "worker_options": dict(worker_options or {}),
            "timeout": timeout,
        }
        self._existing = existing
        self._leaving = False
        self._tasks: set[asyncio.Task[None]] = set()
        if isinstance(security, bool):
            security = Security.temporary() if security else Security(require_encryption=False)
        self._secrets = _fields(security)
        own_name = record.require_name(name or f"flame-{secrets.token_hex(4)}")

        seconds = None if lease is None else float(parse_timedelta(lease))
        terms = Terms(seconds, timeout, dict(dask.config.config))
        head = scheduler or targets[0]
        names = labels(targets)

        def member(target: str, label: str, part: str) -> Member:
            chosen = kernel.get(target) if isinstance(kernel, Mapping) else kernel
            return Member(target, label, f"dask-{own_name}-{part}", chosen, terms)

        self._head = member(head, labels([head])[0] if head not in targets else names[targets.index(head)], "scheduler")
        self._placement = Placement(
            [member(target, label, "workers") for target, label in zip(targets, names, strict=True)],
            Shares(workers_per_host, threads_per_worker, memory_limit, worker_options or {}, timeout),
        )
        try:
            super().__init__(
                scheduler={
                    "cls": SchedulerProcess,
                    "options": {"member": self._head, "security": self._secrets, "options": self._scheduler_options()},
                },
                worker={"cls": WorkerProcess, "options": {}},  # see new_worker_spec
                security=security,
                name=own_name,
                asynchronous=asynchronous,
                shutdown_on_close=(name is None) if shutdown_on_close is None else shutdown_on_close,
                **kwargs,
            )
        except RuntimeError as error:
            self._loop_runner.stop()
            if isinstance(error.__cause__, FlameError):  # what Dask makes of ours says less
                raise error.__cause__.with_traceback(None) from None
            raise
        except FlameError as error:
            self._loop_runner.stop()
            raise error.with_traceback(None) from None
        self._name = type(self).__name__  # what it's shown as
        # Before the connections are closed at the end of the process.
        atexit.register(_end, weakref.ref(self))

    @classmethod
    def from_name(cls, name: str, *, scheduler: str | None = None, asynchronous: bool = False) -> FlameCluster:
        """Come back to a cluster that an earlier process, or this one, has left running.

        Args:
            name: Its name.
            scheduler: The host of its scheduler, where another machine of this user began it.
            asynchronous: Whether it's used with ``await`` in an event loop.

        Raises:
            SessionError: There's none of that name, or it has ended, by its lease for instance.
            ConnectError: Its scheduler's host can't be reached.

        Example:
            >>> client = FlameCluster.from_name("night").get_client()
        """
        target = scheduler or record.read(name, os.environ)
        try:
            with Host(target) as host, host.attach(f"dask-{record.require_name(name)}-scheduler") as flame:
                found = flame.evaluate("(dask_node.notes, dask_node.security)")
        except UnknownSession:
            record.remove(name, os.environ)
            raise SessionError(
                f"cluster {name!r} has ended: it was closed, or its lease has run out (scheduler on {target})"
            ) from None
        notes, security = found
        known = {**notes, "scheduler": target}  # as it is reached from here
        return cls(**known, name=name, security=Security(**security), asynchronous=asynchronous, existing=True)

    @property
    def _everyone(self) -> list[Member]:
        return [self._head, *self._placement.members]

    @property
    def hosts(self) -> dict[str, str]:
        """The hosts of workers, and why those that are lost are; an empty string for those that aren't."""
        return {member.label: member.lost for member in self._placement.members}

    @property
    def dashboard_link(self) -> str:
        """Where the dashboard is found from here, through the connection to the scheduler's host."""
        port = self.scheduler.dashboard_port if self.scheduler is not None else 0
        return str(format_dashboard_link("127.0.0.1", port)) if port else ""

    def detach(self) -> Awaitable[None] | None:
        """Leave the cluster, which goes on until its lease has run out; :meth:`from_name` comes back to it.

        Returns:
            As ``close`` does, something to be awaited if it's used from asyncio.
        """
        self._leaving = True
        left: Awaitable[None] | None = self.close()
        return left

    def new_worker_spec(self) -> dict[str, Any]:
        """Return name and specification of the next worker."""
        return self._spec(*self._placement.next(self.worker_spec))

    def _spec(self, member: Member, name: str) -> dict[str, Any]:
        options = {
            "member": member,
            "name": name,
            "security": self._secrets,
            "options": self._placement.options(member),
        }
        return {name: {"cls": WorkerProcess, "options": options}}

    def _workers_of(self, member: Member) -> list[str]:
        return [name for name, spec in self.worker_spec.items() if spec["options"]["member"] is member]

    def _threads_per_worker(self) -> int:
        return self._placement.fewest_threads()

    def _memory_per_worker(self) -> int:
        return self._placement.least_memory()

    def _scheduler_options(self) -> dict[str, Any]:
        encrypted = self._secrets.get("require_encryption")
        return {
            "port": 0,
            "protocol": "tls" if encrypted else "tcp",
            "dashboard_address": _LOOPBACK,
            **self._notes["scheduler_options"],
        }

    async def _start(self) -> None:
        if self.status is Status.created:
            try:
                await self._open()
            except BaseException:
                await asyncio.gather(*(member.undo() for member in self._everyone))
                self.status = Status.closed
                raise
        await super()._start()
        if self._existing:
            return
        await self._head.call("note", {**self._notes}, self._secrets)
        record.write(self.name, self._head.target, os.environ)

    async def _open(self) -> None:
        await self._head.open(existing=self._existing)
        opened = await asyncio.gather(
            *(member.open(existing=self._existing) for member in self._placement.members), return_exceptions=True
        )
        for member, error in zip(self._placement.members, opened, strict=True):
            if isinstance(error, FlameError) and self._existing:
                self._lose(member, error)
            elif error is not None:
                raise error
        ours = versions()
        for member in self._everyone:
            line = "" if member.lost else differences(member.label, member.facts["versions"], ours)
            if line and not (member is not self._head and member.target == self._head.target):
                warnings.warn(line, VersionMismatchWarning, stacklevel=2)
        for member in self._placement.members:
            if self._existing and not member.lost:
                there = list(await member.call("workers"))
                member.numbers = itertools.count(1 + max((int(name.rpartition("-")[2]) for name in there), default=-1))
                for name in there:
                    self.worker_spec.update(self._spec(member, name))
        if not self._existing:
            for _ in range(self._notes["workers_per_host"] * len(self._placement.members)):
                self.worker_spec.update(self.new_worker_spec())

    async def _correct_state_internal(self) -> None:
        going = set(self.workers) - set(self.worker_spec)
        if going and self.status is Status.running:
            # What they hold moves to others first; SpecCluster asks for that by names where addresses are wanted.
            await self.scheduler_comm.retire_workers(names=list(going), remove=True, close_workers=True)
        try:
            await super()._correct_state_internal()
        except FlameError:
            # SpecCluster would count those that did not start as workers; whether their host is well is looked at.
            for name in [name for name, worker in self.workers.items() if worker.status is Status.failed]:
                del self.workers[name]
                asyncio.get_running_loop().call_later(_patience(), self._miss, name)
            raise

    def _update_worker_status(self, op: str, msg: Any) -> None:
        name = str(self.scheduler_info["workers"][msg]["name"]) if op == "remove" else ""
        Cluster._update_worker_status(self, op, msg)  # SpecCluster would give the worker up and leave it at that
        if name in self.worker_spec and self.status is Status.running:
            asyncio.get_running_loop().call_later(_patience(), self._miss, name)

    def _miss(self, name: str) -> None:
        """Look after a worker that its nanny did not bring back in time."""
        if self.status is Status.running and name in self.worker_spec and not self._is_present(name):
            self._keep(self._mend(self.worker_spec[name]["options"]["member"]))

    def _is_present(self, name: str) -> bool:
        return any(worker["name"] == name for worker in self.scheduler_info["workers"].values())

    async def _mend(self, member: Member) -> None:
        async with member.mending:
            if member.lost or self.status is not Status.running:
                return
            names = [name for name in self._workers_of(member) if not self._is_present(name)]
            try:
                again = await member.revive(_patience())
                alive: dict[str, bool] = dict.fromkeys(names, False) if again else await member.call("workers")
                for name in names:
                    await self._restore(member, name, alive.get(name))
            except FlameError as error:
                self._lose(member, error)
                return
            if again:
                self._log(f"the session on {member.label} had died; it's started again, with {len(names)} workers")
        await self._settle()

    async def _settle(self) -> None:
        try:
            await self._correct_state()
        except FlameError as error:  # whoever asked for it has gone on
            self._log(str(error))

    async def _restore(self, member: Member, name: str, alive: bool | None) -> None:
        """See to it that a worker comes back, unless somebody ended it on purpose."""
        if alive:
            asyncio.get_running_loop().call_later(_patience(), self._miss, name)  # its nanny is at it
            return
        self._count_out(name)
        if alive is None:
            self.worker_spec.pop(name, None)
        else:
            await member.call("close_worker", name)

    def _lose(self, member: Member, error: FlameError) -> None:
        """Give a host up; the others get its workers."""
        member.lost = str(error)
        names = self._workers_of(member)
        for name in names:
            del self.worker_spec[name]
            self._count_out(name)
        if all(member.lost for member in self._placement.members):
            self._log(f"{member.label} is lost, and no host is left: {error}")
            return
        for _ in names:
            self.worker_spec.update(self.new_worker_spec())
        where = ", ".join(other.label for other in self._placement.members if not other.lost)
        instead = f"; its {len(names)} workers are started on {where} instead" if names else ""
        self._log(f"{member.label} is lost: {error}{instead}")
        if self.status is Status.running:
            self._keep(self._settle())

    def _count_out(self, name: str) -> None:
        """Count a worker no more. Who closes the cluster finds it ended, if somebody remembers it."""
        worker = self.workers.pop(name, None)
        if worker is not None:
            worker.status = Status.failed

    async def _watch_worker_status(self, comm: Any) -> None:
        await super()._watch_worker_status(comm)
        if self.status is Status.running:
            self._keep(self._miss_scheduler())

    async def _miss_scheduler(self) -> None:
        """Find the scheduler again when the connection to it has ended, or say that it is gone."""
        try:
            there = await self._head.call("schedules", timeout=_patience())
            why = "it has ended there"
        except FlameError as error:
            there, why = False, str(error)
        if there and self.status is Status.running:
            self._sync_cluster_info_task.cancel()
            await Cluster._start(self)
        elif self.status is Status.running:
            self.scheduler.status = self.status = Status.failed
            self.shutdown_scheduler = False
            self._log(
                f"the scheduler on {self._head.label} is lost, and the cluster with it: {why}; close it, begin anew"
            )

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._leaving:
            await Cluster._close(self)
        else:
            try:
                await super()._close()
            except Exception as error:  # noqa: BLE001  # whatever Dask finds fault with: the sessions hold all that runs
                self._log(f"{self.name} is closed with its sessions, since Dask could not close it: {error!r}")
                await Cluster._close(self)
        await self._close_members()

    async def _close_members(self) -> None:
        members, self._placement.members = self._everyone, []
        if self._leaving:
            await asyncio.gather(*(member.leave() for member in members))
            return
        ends = await asyncio.gather(*(member.end() for member in members))
        for member, why in zip(members, ends, strict=True):
            if why:
                self._log(f"{member.label} could not be told to end what runs there, which ends with its lease: {why}")
        record.remove(self.name, os.environ)


def _fields(security: Security) -> dict[str, Any]:
    named = {name: getattr(security, name) for name in Security.__slots__}
    return {name: value for name, value in named.items() if value is not None}


def _patience() -> float:
    """Return how long a worker or host may be away before it is replaced, in seconds; it's Dask's own setting."""
    return float(parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout")))


def _end(reference: weakref.ref[FlameCluster]) -> None:
    cluster = reference()
    if cluster is None or cluster.status is Status.closed:
        return
    if not cluster.shutdown_on_close:
        cluster.detach()
        return
    with suppress(TimeoutError):  # what could not be told to end ends with its lease
        cluster.close(timeout=_LAST_S)
