"""Over real TCP: who gets through, and what the other side sees when somebody doesn't."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from flame_kernel.security.admission import Admission
from flame_kernel.security.authorized import AuthorizedKeys, Role
from flame_kernel.security.curve import secure_client, secure_server
from flame_kernel.security.invite_book import InviteBook
from flame_kernel.security.invites import Invite
from flame_kernel.security.keys import KeyPair
from flame_kernel.security.zap import ZapHandler

NOW = 1_700_000_000.0
SERVER, ANN, STRANGER = KeyPair.generate(), KeyPair.generate(), KeyPair.generate()


class Line:
    """A CURVE server on a real port and what is needed to call it."""

    def __init__(self, config: Path) -> None:
        self.context = zmq.asyncio.Context()
        self.sockets: list[zmq.asyncio.Socket] = []
        self.authorized = AuthorizedKeys(config / "authorized_keys")
        self.invites = InviteBook(config / "invites")
        self.reports: list[str] = []
        self.admission = Admission(self.authorized, self.invites, lambda: NOW, self.reports.append)
        self.authorized.add(ANN.public, Role.ADMIN, "ann")
        self.server = self.socket(zmq.ROUTER)
        secure_server(self.server, SERVER)
        self.endpoint = ""

    def socket(self, kind: int) -> zmq.asyncio.Socket:
        socket = self.context.socket(kind)
        socket.linger = 0
        self.sockets.append(socket)
        return socket

    def monitor(self, socket: zmq.asyncio.Socket, events: int) -> zmq.asyncio.Socket:
        name = f"inproc://monitor-{len(self.sockets)}"
        socket.monitor(name, events)
        monitor = self.socket(zmq.PAIR)
        monitor.connect(name)
        return monitor

    def bind(self) -> None:
        self.endpoint = f"tcp://127.0.0.1:{self.server.bind_to_random_port('tcp://127.0.0.1')}"

    def client(self, keys: KeyPair, server_key: bytes = SERVER.public) -> zmq.asyncio.Socket:
        client = self.socket(zmq.DEALER)
        secure_client(client, keys, server_key)
        return client

    async def served(self, keys: KeyPair) -> str:
        """Call with these keys and return the user id that the server saw; any earlier call shows up first."""
        client = self.client(keys)
        client.connect(self.endpoint)
        await client.send(keys.public)
        sender, body = await self.server.recv_multipart(copy=False)
        assert body.bytes == keys.public
        await self.server.send_multipart([sender.bytes, b"served"])
        assert await client.recv() == b"served"
        assert sender["User-Id"] == body["User-Id"]
        return str(body["User-Id"])

    def close(self) -> None:
        for socket in self.sockets:
            socket.disable_monitor()
            socket.close()
        self.context.term()


async def next_event(monitor: zmq.asyncio.Socket) -> tuple[int, int]:
    event = parse_monitor_message(await monitor.recv_multipart())
    return int(event["event"]), int(event["value"])


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


@pytest.mark.parametrize("closed", [False, True])
def test_an_admitted_key_is_served_under_its_own_name_and_a_stranger_is_not(config: Path, closed: bool) -> None:
    async def work() -> None:
        line = Line(config)
        authenticator = ZapHandler(line.context, line.admission)
        authenticator.start()
        line.bind()
        try:
            stranger = line.client(STRANGER)
            monitor = line.monitor(stranger, zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_SUCCEEDED)
            stranger.connect(line.endpoint)
            await stranger.send(b"let me in", zmq.NOBLOCK)
            assert await next_event(monitor) == (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)
            # The stranger spoke first, so anything of theirs that got through would be received before Ann's.
            assert await line.served(ANN) == ANN.public.decode()
            if closed:
                line.authorized.remove("ann")
                again = line.client(ANN)
                monitor = line.monitor(again, zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_SUCCEEDED)
                again.connect(line.endpoint)
                assert await next_event(monitor) == (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)
            assert line.reports == []
        finally:
            authenticator.stop()
            line.close()

    run(work())


@contextmanager
def answered(config: Path) -> Iterator[Line]:
    """Give a line that is open, and whose handler answers who may come in."""
    line = Line(config)
    authenticator = ZapHandler(line.context, line.admission)
    authenticator.start()
    line.bind()
    try:
        yield line
    finally:
        authenticator.stop()
        line.close()


def test_all_who_come_at_once_are_answered(config: Path) -> None:
    async def work() -> None:
        with answered(config) as line:
            crowd = [line.client(ANN if number % 2 else STRANGER) for number in range(20)]
            monitors = [
                line.monitor(one, zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_SUCCEEDED) for one in crowd
            ]
            for one in crowd:
                one.connect(line.endpoint)
            events = [(await next_event(monitor))[0] for monitor in monitors]
            assert events == [zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_SUCCEEDED] * 10

    run(work())


def test_the_holder_of_an_invite_connects_with_the_key_derived_from_it(config: Path) -> None:
    async def work() -> None:
        with answered(config) as line:
            invite = Invite.mint("gpu1", 9999, SERVER.public)
            line.invites.issue(invite, 60.0, NOW)
            keys = Invite.parse(str(invite)).keypair()
            assert await line.served(keys) == keys.public.decode()

    run(work())


def test_a_client_that_expects_another_server_key_does_not_talk(config: Path) -> None:
    async def work() -> None:
        line = Line(config)
        authenticator = ZapHandler(line.context, line.admission)
        authenticator.start()
        events = line.monitor(line.server, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        line.bind()
        try:
            client = line.client(ANN, STRANGER.public)
            seen = line.monitor(client, zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
            client.connect(line.endpoint)
            assert await next_event(events) == (
                zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
                zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC,
            )
            assert (await next_event(seen))[0] == zmq.EVENT_DISCONNECTED
        finally:
            authenticator.stop()
            line.close()

    run(work())


def test_there_is_no_plaintext_mode(config: Path) -> None:
    async def work() -> None:
        line = Line(config)
        authenticator = ZapHandler(line.context, line.admission)
        authenticator.start()
        events = line.monitor(line.server, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        line.bind()
        try:
            client = line.socket(zmq.DEALER)
            client.connect(line.endpoint)
            await client.send(b"plain")
            assert (await next_event(events))[0] == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        finally:
            authenticator.stop()
            line.close()

    run(work())


def test_without_a_zap_handler_nobody_is_admitted(config: Path) -> None:
    async def work() -> None:
        line = Line(config)
        failed = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        events = line.monitor(line.server, failed | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        line.bind()
        try:
            client = line.client(ANN)
            client.connect(line.endpoint)
            assert (await next_event(events))[0] & failed
        finally:
            line.close()

    run(work())


def test_a_handler_for_another_domain_admits_nobody(config: Path) -> None:
    async def work() -> None:
        line = Line(config)
        authenticator = ZapHandler(line.context, line.admission, domain="other")
        authenticator.start()
        line.bind()
        try:
            client = line.client(ANN)
            monitor = line.monitor(client, zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_SUCCEEDED)
            client.connect(line.endpoint)
            assert await next_event(monitor) == (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)
        finally:
            authenticator.stop()
            line.close()

    run(work())
