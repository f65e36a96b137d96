"""A session's kernel process, started from a kernelspec by jupyter_client, so that its provisioners work here too."""

from __future__ import annotations

import asyncio
import glob
import os
import signal
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import psutil
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from flame_kernel.errors import KernelStartFailed, UnknownKernel
from flame_kernel.server.adopted import AdoptedProcess
from flame_kernel.server.kernelspecs import HostKernels, inherited, no_such, why_not
from flame_kernel.transport.channels import ConnectionInfo
from flame_kernel.transport.entrance import control_address, stream_address

# What tells a program that it runs below another Jupyter or Flame; a session starts afresh. JPY_PARENT_PID above all:
# a kernel that has it ends with its launcher.
_NOT_INHERITED = (
    "JPY_PARENT_PID",
    "JPY_SESSION_NAME",
    "FLAME_HOST",
    "FLAME_SESSION",
    "FLAME_KERNEL",
    "FLAME_ENABLED",
    "NOTIFY_SOCKET",
)

# How long the system may take to end a process that was killed, in seconds.
_KILLED_S = 2.0


class Left(msgspec.Struct, frozen=True):
    """What a server leaves of a kernel process to the next one.

    Attributes:
        pid: Its process id, 0 when it runs elsewhere or not at all.
        born: When the system started it, in seconds since the epoch; tells it from another of the same number.
        provisioner: What jupyter_client's provisioner needs to find it again.
        connection: The fields of its connection file.
    """

    pid: int
    born: float
    provisioner: dict[str, Any]
    connection: dict[str, Any]


class KernelProcess:
    """One kernel process after another, at the same five addresses.

    Args:
        kernel: The kernelspec's name.
        folder: Where connection file and sockets go; only the user can enter it.
        environ: The environment it starts from.
        cwd: The folder it works in.
        kernel_id: What an earlier server knew it by; a new id unless given.

    Raises:
        UnknownKernel: The host has no such kernelspec.
    """

    def __init__(
        self, kernel: str, folder: Path, environ: Mapping[str, str], cwd: Path, kernel_id: str | None = None
    ) -> None:
        self.kernel = kernel
        self.kernel_id = kernel_id or uuid.uuid4().hex[:12]
        self.cwd = cwd
        self.files = f"{glob.escape(str(folder / self.kernel_id))}*"  # all that it leaves in the folder
        self.log = folder / f"{self.kernel_id}.log"
        self.worker_address = f"ipc://{folder / f'{self.kernel_id}-w'}"
        self.control_address = control_address(self.worker_address)
        self.stream_address = stream_address(self.worker_address)
        addresses = (self.worker_address, self.control_address, self.stream_address)
        self._sockets = [Path(address.partition("://")[2]) for address in addresses]
        self._manager = AsyncKernelManager(
            kernel_name=kernel,
            kernel_id=self.kernel_id,
            transport="ipc",
            ip=str(folder / self.kernel_id),
            connection_file=str(folder / f"{self.kernel_id}.json"),
            kernel_spec_manager=HostKernels(),
        )
        try:
            self.language: str = self._manager.kernel_spec.language if self._manager.kernel_spec else ""
        except NoSuchKernel:
            raise UnknownKernel(no_such(kernel)) from None
        inherit = inherited(environ, self._manager.kernel_spec)
        self._environ = {name: value for name, value in inherit.items() if name not in _NOT_INHERITED}
        if _takes_unsigned(self._manager.kernel_spec):
            # The folder keeps everybody else out, and a signature passes over the whole of a large picture, twice.
            self._manager.session.key = b""

    async def start(self) -> ConnectionInfo:
        """Start the process.

        Returns:
            How to reach its channels.

        Raises:
            KernelStartFailed: It could not be started at all.
        """
        await self._launch("started")
        return ConnectionInfo.of(self._manager.get_connection_info())

    async def restart(self) -> ConnectionInfo:
        """End the process at once and start another one, at the same addresses unless its provisioner gives it others.

        Returns:
            How to reach its channels.

        Raises:
            KernelStartFailed: It could not be started.
        """
        # Not by the manager: it can't end a process that it did not start, and looks for an end every 100 ms only.
        provisioner = self._manager.provisioner
        if provisioner is not None and provisioner.has_process:
            await provisioner.kill(restart=True)
            await self.ended()
            await provisioner.cleanup(restart=True)
        self._manager.cleanup_ipc_files()
        await self._launch("restarted")
        return ConnectionInfo.of(self._manager.get_connection_info())

    async def adopt(self, left: Left) -> ConnectionInfo:
        """Go on with the process that an earlier server has started; it may have ended meanwhile.

        Args:
            left: What that server has left of it.

        Returns:
            How to reach its channels.
        """
        self._manager.load_connection_info(cast(KernelConnectionInfo, left.connection))
        self._manager.write_connection_file()  # the end of the other server has removed it
        factory = KernelProvisionerFactory.instance(parent=self._manager.parent)
        provisioner: Any = factory.create_provisioner_instance(
            self.kernel_id, self._manager.kernel_spec, parent=self._manager
        )
        await provisioner.load_provisioner_info(left.provisioner)
        if left.pid:
            with suppress(ProcessLookupError):
                provisioner.process = AdoptedProcess(left.pid, left.born)
        self._manager.provisioner = provisioner
        return ConnectionInfo.of(self._manager.get_connection_info())

    async def left(self) -> Left:
        """Return what the next server needs to find the process again."""
        provisioner = self._manager.provisioner
        info = {} if provisioner is None else await provisioner.get_provisioner_info()
        connection: dict[str, Any] = {**self._manager.get_connection_info()}
        connection["key"] = connection["key"].decode("ascii")
        born = psutil.Process(self.pid).create_time() if self.pid else 0.0
        return Left(self.pid, born, _as_text(info), connection)

    async def _launch(self, verb: str) -> None:
        environ = {**self._environ, "PWD": str(self.cwd)}
        try:
            with self._open_log() as log:
                # "independent" keeps JPY_PARENT_PID away from it: the session outlives this server.
                await self._manager.start_kernel(
                    independent=True, env=environ, cwd=str(self.cwd), stdout=log, stderr=log
                )
        except Exception as error:  # provisioners raise what they like; each is a failed start
            raise KernelStartFailed(f"kernel {self.kernel!r} could not be {verb}: {error}") from error

    async def interrupt(self) -> None:
        """Send the kernel's process group SIGINT, or the kernel its interrupt message, as its kernelspec says."""
        await self._manager.interrupt_kernel()

    async def why_not(self) -> str:
        """Tell why it may not have come up, as far as its environment tells."""
        return await why_not(self._manager.kernel_spec)

    def interrupt_children(self) -> None:
        """Send SIGINT to the kernel's descendants in other groups, which a signal to its own does not reach."""
        if not self.pid:
            return
        with suppress(psutil.Error, ProcessLookupError):  # they may end meanwhile
            for child in psutil.Process(self.pid).children(recursive=True):
                # The debugger's adapter is a child too, and no business of the cell's.
                if os.getpgid(child.pid) != os.getpgid(self.pid) and "debugpy" not in " ".join(child.cmdline()):
                    child.send_signal(signal.SIGINT)

    async def close(self) -> None:
        """End the process at once and remove its files."""
        # The manager kills too, but then looks every 100 ms only whether it has gone; the system tells at once.
        provisioner = self._manager.provisioner
        if provisioner is not None and provisioner.has_process:
            await provisioner.kill()
            with suppress(TimeoutError):  # what the system can't end for now: as the manager sees fit
                await asyncio.wait_for(self.ended(), _KILLED_S)
        await self._manager.shutdown_kernel(now=True)
        for path in (*self._sockets, self.log):
            path.unlink(missing_ok=True)

    def _open_log(self) -> BinaryIO:
        return open(self.log, "ab", opener=_private_opener)

    @property
    def elsewhere(self) -> bool:
        """Whether a provisioner that its kernelspec names places it, on this host or another."""
        return self._manager.kernel_spec is not None and "kernel_provisioner" in self._manager.kernel_spec.metadata

    @property
    def pid(self) -> int:
        """The process id, 0 when it runs elsewhere or not at all."""
        process = getattr(self._manager.provisioner, "process", None)
        return 0 if process is None else int(process.pid)

    async def ended(self) -> str:
        """Wait until the process has ended.

        Returns:
            How it ended, in words.
        """
        provisioner = self._manager.provisioner
        if provisioner is None:
            return "it is not running"
        if not provisioner.has_process:
            return "it ended while no server was there"
        if self.pid and hasattr(os, "pidfd_open"):
            await _exit_of(self.pid)
        status = await provisioner.wait()
        return how_it_ended(status)


def end(left: Left) -> None:
    """End a process that an earlier server has left, and that no session needs."""
    if left.pid:
        with suppress(ProcessLookupError):
            AdoptedProcess(left.pid, left.born).kill()


def _as_text(info: dict[str, Any]) -> dict[str, Any]:
    """Return what a provisioner wants to be kept, with signing keys as the text that JSON can hold."""
    found = {**info}
    for name, value in info.items():
        if isinstance(value, dict):
            found[name] = _as_text(value)
        elif isinstance(value, bytes):
            found[name] = value.decode("ascii")
    return found


def _takes_unsigned(spec: KernelSpec | None) -> bool:
    """Tell whether a kernel is known to do without signatures, and runs where its sockets' folder is."""
    if spec is None or "kernel_provisioner" in spec.metadata:
        return False
    return any(argument in ("ipykernel", "ipykernel_launcher") for argument in spec.argv)


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


async def _exit_of(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def how_it_ended(status: int | None) -> str:
    """Return an exit status in words.

    Args:
        status: As ``subprocess`` gives it: negative for a signal.

    Example:
        >>> how_it_ended(-9)
        'it was killed (SIGKILL), which is what the system does when memory runs out'
    """
    if status is None:
        return "it ended; how is not known, because the server was started again since"
    if status >= 0:
        return f"it ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # real-time signals have numbers only
        name = f"signal {-status}"
    if -status == signal.SIGKILL:
        return f"it was killed ({name}), which is what the system does when memory runs out"
    return f"it was ended by {name}"
