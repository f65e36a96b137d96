"""The sessions that a cluster consists of, as its client sees them."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flame_kernel import Flame, Host, connect
from flame_kernel.errors import FlameError, FlameTimeout, SessionDied, SessionError, UnknownSession

T = TypeVar("T")

# What the node is called in its session.
_NODE = "dask_node"

_BEGIN = f"""
if {_NODE!r} not in globals():
    from flame_kernel.cluster.node import Node
    {_NODE} = Node()
    del Node
"""

# How long a host may take to answer what takes it no time, in seconds.
_SOON_S = 10.0


@dataclass(frozen=True)
class Terms:
    """What holds for each session of a cluster.

    Attributes:
        lease: How long it goes on when no client is there, in seconds; ``None`` for as long as the server lets it.
        timeout: How long it may take to start it or something in it, in seconds.
        config: Dask's configuration for what runs in it.
    """

    lease: float | None
    timeout: float
    config: Mapping[str, Any]


class Member:
    """A session on one of the cluster's hosts, with a :class:`~flame_kernel.cluster.node.Node` in it.

    Args:
        target: The host, as ``connect`` takes it.
        label: What to call it.
        session: The session's name.
        kernel: The kernelspec or environment; ``None`` for the server's default.
        terms: What holds for all members.

    Attributes:
        facts: What the host says of itself.
        lost: Why it can't be used any more; empty while it can.
        mending: Held by who looks after its workers.
        numbers: For the names of its workers.
    """

    def __init__(self, target: str, label: str, session: str, kernel: str | None, terms: Terms) -> None:
        self.target = target
        self.label = label
        self.session = session
        self.kernel = kernel
        self.terms = terms
        self.facts: dict[str, Any] = {}
        self.lost = ""
        self.mending = asyncio.Lock()
        self.numbers = itertools.count()
        self._begun = False
        self._flame: Flame | None = None
        self._node: Any = None

    async def open(self, *, existing: bool) -> None:
        """Start the session, or come back to it.

        Args:
            existing: Whether it has to be there already; else it must not.

        Raises:
            SessionError: It is there and must not be, or can't hold a node.
            UnknownSession: It is gone.
            FlameError: The host can't be reached, or the session can't be had.
        """
        self._flame = flame = await on_thread(self._attach if existing else self._connect)
        try:
            if not existing and _NODE in await flame.aio.evaluate("list(globals())", timeout=_SOON_S):
                raise SessionError(
                    f"{self.label} has a session {self.session!r} of a cluster already; "
                    "FlameCluster.from_name comes back to it"
                )
            self._begun = not existing
            await self._begin()
        except BaseException:
            await self.undo()
            raise

    def _connect(self) -> Flame:
        terms = self.terms
        return connect(
            self.target,
            session=self.session,
            kernel=self.kernel,
            lease=terms.lease,
            report=False,  # of what a cluster needs alike, it says itself what isn't
            timeout=terms.timeout,
        )

    def _attach(self) -> Flame:
        with Host(self.target, timeout=self.terms.timeout) as host:
            return host.attach(self.session)

    async def _begin(self) -> None:
        aio = self.flame.aio
        try:
            await aio.execute(_BEGIN, timeout=self.terms.timeout)
        except ModuleNotFoundError as error:
            raise self._lacking(error.name or str(error)) from None
        self._node = await aio.ref(_NODE, timeout=_SOON_S)
        self.facts = await self.call("facts")

    def _lacking(self, module: str) -> SessionError:
        if module.startswith("flame_kernel"):
            return SessionError(f"the Flame server on {self.label} is too old for clusters; update remote-flame there")
        kernel = self.flame.session.kernel
        return SessionError(
            f"{self.label} has no {module.partition('.')[0]} in the environment of kernel {kernel!r}; "
            "pip install 'dask[distributed]' there, or name another environment with kernel="
        )

    @property
    def flame(self) -> Flame:
        """The connection to the session."""
        assert self._flame is not None
        return self._flame

    async def call(self, method: str, *args: Any, timeout: float = _SOON_S) -> Any:
        """Call a method of the node.

        Args:
            method: Its name.
            *args: Its arguments.
            timeout: How long it may take, in seconds.

        Raises:
            FlameError: The host can't be reached, or the session has died.
            FlameTimeout: It took too long.
        """
        work = asyncio.ensure_future(self.flame.aio.call(getattr(self._node, method), *args))
        done, _ = await asyncio.wait({work}, timeout=timeout)
        if not done:
            work.cancel()
            raise FlameTimeout(f"{self.label} did not answer within {timeout:g} s")
        return work.result()

    async def can_reach(self, address: str, timeout: float) -> str:
        """Tell why an address can't be reached from the host; empty when it can."""
        aio = self.flame.aio
        unreachable = aio.module("flame_kernel.cluster.node").unreachable(address, timeout)
        return str(await asyncio.wait_for(unreachable, timeout + _SOON_S))

    async def forward(self, host: str, port: int) -> int:
        """Return a port of this machine through which one of the host's is reached, as long as the connection lasts.

        Args:
            host: Where the service is, as the host sees it.
            port: The service's port.
        """
        forward = await on_thread(lambda: self.flame.forward(port, host=host, timeout=self.terms.timeout))
        return forward.local_port

    async def revive(self, patience: float) -> bool:
        """Find out whether the node is there, and start it again where only its process has ended.

        Args:
            patience: How long to wait for an answer, in seconds.

        Returns:
            Whether it had to be started again, and so holds nothing any more.

        Raises:
            FlameError: The host does not answer, or can't start it.
        """
        try:
            await self.call("facts", timeout=patience)
        except SessionDied:
            await on_thread(lambda: self.flame.session.restart(timeout=self.terms.timeout))
            await self._begin()
            return True
        return False

    async def end(self) -> str:
        """End the session with all that runs in it.

        Returns:
            Why it could not be ended; empty when it was.
        """

        def end() -> None:
            # By a connection of its own, which fails soon where the first would wait for its host to come back.
            with Host(self.target, timeout=_SOON_S) as host:
                host.end(self.session)

        try:
            await on_thread(end)
        except UnknownSession:
            return ""
        except FlameError as error:
            return str(error)
        finally:
            await self.leave()
        return ""

    async def undo(self) -> None:
        """End what :meth:`open` has begun, and nothing else."""
        await (self.end() if self._begun else self.leave())

    async def leave(self) -> None:
        """Let go of the session, which goes on until its lease has run out."""
        flame, self._flame = self._flame, None
        if flame is not None:
            await on_thread(flame.close)

    def __repr__(self) -> str:
        return f"<{self.session} on {self.label}{': lost' if self.lost else ''}>"


def labels(targets: list[str]) -> list[str]:
    """Return what to call hosts: by their names alone where that tells them apart.

    Raises:
        SessionError: One of them is named twice.

    Example:
        >>> labels(["gpu1", "ssh://me@gpu2:9000", "127.0.0.1:1", "127.0.0.1:2"])
        ['gpu1', 'gpu2', '127.0.0.1:1', '127.0.0.1:2']
    """
    addresses = [re.sub(r"^\w+://([^@/]*@)?", "", target).partition("#")[0].rstrip("/") for target in targets]
    names = [re.sub(r"^(\[.*\]|[^:]*):\d+$", r"\1", address) for address in addresses]
    found = [name if names.count(name) == 1 else address for name, address in zip(names, addresses, strict=True)]
    for label in found:
        if found.count(label) > 1:
            raise SessionError(f"host {label} is named twice; workers_per_host= gives it more workers")
    return found


async def on_thread(work: Callable[[], T]) -> T:
    """Wait for blocking work on a thread of its own, which does not keep the interpreter from ending.

    Args:
        work: What to do.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if arrived.done():
            return
        if error is not None:
            arrived.set_exception(error)
        else:
            arrived.set_result(value)  # type: ignore[arg-type]  # it's work's own

    def run() -> None:
        try:
            value = work()
        except BaseException as error:  # noqa: BLE001  # it's raised where it is waited for
            loop.call_soon_threadsafe(settle, None, error)
        else:
            loop.call_soon_threadsafe(settle, value, None)

    threading.Thread(target=run, name="flame-cluster", daemon=True).start()
    return await arrived
