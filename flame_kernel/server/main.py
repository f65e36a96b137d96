"""A running server: listeners bound, sessions behind them, until it's told to end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import zmq

from flame_kernel.errors import AddressInUse, ConfigurationError
from flame_kernel.security.admission import Admission
from flame_kernel.security.audit_log import AuditLog
from flame_kernel.security.authorized import AuthorizedKeys
from flame_kernel.security.curve import secure_server
from flame_kernel.security.folders import private
from flame_kernel.security.invite_book import InviteBook
from flame_kernel.security.keys import KeyPair, load_or_create
from flame_kernel.security.text_files import locked
from flame_kernel.security.zap import ZapHandler
from flame_kernel.server.access import Access
from flame_kernel.server.audit import Audit
from flame_kernel.server.config import ServerConfig
from flame_kernel.server.control import Control, Running
from flame_kernel.server.descriptors import make_room
from flame_kernel.server.direct import DirectLanes
from flame_kernel.server.doorkeeper import Doorkeeper
from flame_kernel.server.gate import Gate
from flame_kernel.server.key_watch import KeyWatch
from flame_kernel.server.lease import Leases
from flame_kernel.server.ledger import Ledger
from flame_kernel.server.listing import Lister
from flame_kernel.server.readiness import READY, STOPPING, notify
from flame_kernel.server.registry import Registry
from flame_kernel.server.requests import Requests
from flame_kernel.transport.doorway import Doorway
from flame_kernel.transport.listener import ZmqListener, server_socket

log = logging.getLogger(__name__)

# A server that ends when it's idle: how long after its last session, and when no session ever came, in seconds.
_IDLE_S = 2.0
_UNUSED_S = 30.0


@dataclass(frozen=True)
class Listening:
    """What a server that has started listens on.

    Attributes:
        host: The address, as it was asked for.
        port: The TCP port, 0 when there is none.
        socket: The unix socket, if any.
        keys: The server's keys.
    """

    host: str
    port: int
    socket: Path | None
    keys: KeyPair


def key_path(config: ServerConfig) -> Path:
    """Return where the server's key is."""
    return config.key_file or config.folders.config / "server.key"


def authorized_keys(config: ServerConfig) -> AuthorizedKeys:
    """Return the keys that may use the server."""
    return AuthorizedKeys(config.folders.config / "authorized_keys")


def invite_book(config: ServerConfig) -> InviteBook:
    """Return the invites that the server gave out."""
    return InviteBook(config.folders.state / "invites")


def audit_path(config: ServerConfig) -> Path:
    """Return where it is written down who did what."""
    return config.folders.state / "audit.jsonl"


async def serve(
    config: ServerConfig, environ: Mapping[str, str], stop: asyncio.Event, on_ready: Callable[[Listening], None]
) -> None:
    """Run a server.

    Args:
        config: What it is told.
        environ: The environment that kernels start from.
        stop: Set to end it.
        on_ready: Called once it listens.

    Raises:
        FlameDisabled: It was not enabled.
        AddressInUse: Another process listens at its address.
        KeyFileError: Its key or its folders can't be used.
    """
    config.require_enabled()
    for folder in (config.folders.config, config.folders.state, config.folders.runtime):
        private(folder)
    keys = load_or_create(key_path(config), f"server key of {socket.gethostname()}")
    authorized, invites = authorized_keys(config), invite_book(config)
    invites.sweep(time.time())
    audit_log = AuditLog(audit_path(config), log.warning)
    audit = Audit(audit_log.write, time.time)
    admission = Admission(authorized, invites, time.time, log.warning, audit.refused)
    host = socket.gethostname()
    loop = asyncio.get_running_loop()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    authenticator = ZapHandler(context, admission)
    authenticator.start()

    def stop_if_idle() -> None:
        if registry.idle:
            stop.set()

    def on_idle() -> None:
        if config.until_idle:
            loop.call_later(_IDLE_S, stop_if_idle)

    ledger = Ledger(config)
    registry = Registry(config, ledger, context, environ, on_idle)
    gates: list[Gate] = []
    listeners: list[ZmqListener] = []
    key_watch = KeyWatch(authorized, gates, audit, log.warning)
    access = Access(registry, authorized, host)
    direct = DirectLanes(config.direct, context, access, audit)
    doorkeeper = Doorkeeper(admission, authorized, invites, host, time.time)
    control = Control(config.folders.runtime, key_watch.look)

    def on_tick() -> None:
        key_watch.look()
        direct.look()
        audit.tick()

    leases = Leases(registry, gates, config.limits, loop.time, on_tick)
    requests = Requests(
        access, Lister(host, leases.ends_in), audit, registry.rename, registry.restart, key_watch.recheck
    )

    try:
        bound, port = _bind(context, config, keys, audit)
        await registry.adopt()  # before anybody is heard: who comes back must find its session
        for zmq_socket, doorway in bound:
            gate = Gate(doorkeeper, access, requests, audit, context, host, config.limits, loop.time, direct)
            gate.listener = ZmqListener(zmq_socket, gate, doorway)
            gates.append(gate)
            listeners.append(gate.listener)
        await control.start(Running(config.host, port, keys.public) if port else None)
        on_ready(Listening(config.host, port, config.socket, keys))
        notify(environ, READY)
        if config.until_idle:
            loop.call_later(_UNUSED_S, stop_if_idle)
        async with leases:
            await stop.wait()
        notify(environ, STOPPING)
    finally:
        await control.close()
        for gate in gates:
            gate.close()
        for listener in listeners:
            listener.close()
        direct.close()
        await registry.close()
        ledger.close()
        authenticator.stop()
        audit.flush()
        await asyncio.to_thread(audit_log.close)
        for path in (config.socket, config.keyed_socket):
            if path is not None and listeners:  # else it's another server's
                path.unlink(missing_ok=True)
        await asyncio.to_thread(context.destroy, 500)


def _bind(
    context: zmq.Context[zmq.Socket[bytes]], config: ServerConfig, keys: KeyPair, audit: Audit
) -> tuple[list[tuple[zmq.Socket[bytes], Doorway | None]], int]:
    bound: list[tuple[zmq.Socket[bytes], Doorway | None]] = []
    port = 0
    if config.port is not None:
        tcp = server_socket(context)
        secure_server(tcp, keys)
        limits = config.limits
        room = make_room(limits.connections, 2 * limits.sessions)  # as many dead ones may be kept beside them
        waiting = min(limits.handshakes, room // 2)
        doorway = Doorway(context, tcp, waiting, room, lambda address, why: audit.refused(why, address))
        name = f"[{config.host}]" if ":" in config.host else config.host
        _bind_one(tcp, f"tcp://{name}:{config.port or '*'}", f"{config.host}:{config.port}")
        port = int(tcp.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        bound.append((tcp, doorway))
    # Of servers that start at once none may look for others before the one that has looked listens.
    with locked(config.folders.state / "sockets"):
        if config.socket is not None:
            bound.append((_bind_local(server_socket(context), config.socket), None))
        if config.keyed_socket is not None:
            keyed = server_socket(context)
            secure_server(keyed, keys)
            bound.append((_bind_local(keyed, config.keyed_socket), None))
    if not bound:
        raise ConfigurationError("the server has nothing to listen at; give it a port (-p) or a unix socket (-u)")
    return bound, port


def _bind_local(zmq_socket: zmq.Socket[bytes], path: Path) -> zmq.Socket[bytes]:
    private(path.parent)
    if _answers(path):
        raise AddressInUse(f"another server listens at {path}; end it first, or choose another socket (-u)")
    _bind_one(zmq_socket, f"ipc://{path}", str(path))
    os.chmod(path, 0o600)
    return zmq_socket


def _bind_one(zmq_socket: zmq.Socket[bytes], address: str, name: str) -> None:
    try:
        zmq_socket.bind(address)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise AddressInUse(
                f"another program listens at {name}; end it, or choose another port (-p, 0 picks a free one)"
            ) from error
        raise ConfigurationError(f"the server can't listen at {name}: {error.strerror}") from error


def _answers(path: Path) -> bool:
    """Tell whether a server is behind a unix socket; libzmq would take the place of a living one without a word."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
