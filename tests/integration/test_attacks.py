"""A server under attack: who is admitted notices nothing, memory and descriptors stay bounded, and the log says who."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import zmq

from flame_kernel import Flame, connect
from flame_kernel.errors import LimitExceeded
from flame_kernel.security.invites import Invite
from flame_kernel.security.key_text import fingerprint
from flame_kernel.security.keys import KeyPair, load_or_create
from tests.integration.guests import recorded, records
from tests.integration.servers import (
    RUNNING,
    FlameServer,
    Program,
    clean_environ,
    end_sessions,
    pair,
    short_folder,
    until,
)
from tests.integration.work import WAIT_FOR, in_thread

LIMITS = """
[limits]
handshakes = 32
connections = 200
connections_per_key = 12
clients = 3
message_bytes = 3000000
warm = 0
[direct]
ports = "none"
"""

# The start of a ZMTP 3.1 connection of a client that speaks CURVE, after which its first command would follow.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)

# What a connection that does nothing may cost the server at most, and what it may keep in the end, in bytes.
MEMORY = 60 * 1024**2


@pytest.fixture(scope="module")
def fort() -> Iterator[FlameServer]:
    """A server with narrow limits; this process is a client that is paired with it."""
    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        server = FlameServer(folder)
        config = server.home / "config"
        config.mkdir(parents=True, mode=0o700)
        (config / "server.toml").write_text(LIMITS)
        with server:
            patch.setenv("FLAME_HOME", str(server.client_home))
            pair(server.invite)
            yield server


class Watched:
    """A client at work, and the server's process, while something else goes on."""

    def __init__(self, server: FlameServer, flame: Flame, folder: Path) -> None:
        self.flame = flame
        self._process = psutil.Process(server.program.process.pid)
        self._gate = folder / "gate"
        flame.execute(WAIT_FOR)
        self._cell = in_thread(flame.run, f"print('a')\nwait_for({str(self._gate)!r})\nprint('b'); 6 * 7", quiet=True)
        self.memory = self._process.memory_info().rss
        self.most = self.memory
        self.descriptors = self._process.num_fds()
        self.most_descriptors = self.descriptors

    def look(self) -> None:
        """Make a call as a client does, which must not take long, and look at what the server uses."""
        assert self.flame.evaluate("1 + 1", timeout=20) == 2
        self.most = max(self.most, self._process.memory_info().rss)
        self.most_descriptors = max(self.most_descriptors, self._process.num_fds())

    def finish(self) -> None:
        """Make sure that the client's cell ends as if nothing had been."""
        self._gate.touch()
        result = self._cell.result(30)
        assert (result.value, result.outputs[0]["text"]) == (42, "a\nb\n")
        assert self.most - self.memory < MEMORY
        assert not self.flame.closed


@pytest.fixture
def watched(fort: FlameServer, tmp_path: Path) -> Iterator[Watched]:
    with connect(fort.address) as flame:
        yield Watched(fort, flame, tmp_path)


@contextlib.contextmanager
def sockets() -> Iterator[Callable[[], socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(socket.socket())


def dial(one: socket.socket, port: int, data: bytes) -> None:
    """Connect and say something; being hung up on is part of it."""
    with contextlib.suppress(OSError):
        one.connect(("127.0.0.1", port))
        one.settimeout(0.2)
        one.sendall(data)


@pytest.mark.parametrize(
    ("data", "times"),
    [
        (b"GET / HTTP/1.1\r\n\r\n" * 20, 2000),
        (b"", 600),
        (GREETING[:11], 600),
        (GREETING, 600),
        (b"\xff" * 100_000, 300),
    ],
    ids=["garbage", "half-open", "half-greeting", "greeting-and-nothing", "noise"],
)
def test_thousands_that_prove_no_key(fort: FlameServer, watched: Watched, data: bytes, times: int) -> None:
    with sockets() as make:
        for number in range(times):
            dial(make(), fort.port, data)
            if number % 100 == 0:
                watched.look()
        watched.look()
        # Beside the 32 there are those that libzmq has accepted, and the server not yet heard of.
        assert watched.most_descriptors - watched.descriptors < times / 2
    watched.finish()
    until(lambda: psutil.Process(fort.program.process.pid).num_fds() < watched.descriptors + 20)
    assert recorded(fort, "refused", **{"from": "127.0.0.1"})


def test_slow_connections_that_send_a_byte_now_and_then(fort: FlameServer, watched: Watched) -> None:
    with sockets() as make:
        slow = [make() for _ in range(100)]
        for one in slow:
            dial(one, fort.port, GREETING[:1])
        for position in range(1, 12):
            for one in slow:
                with contextlib.suppress(OSError):
                    one.sendall(GREETING[position : position + 1])
            watched.look()
    watched.finish()
    assert any("limits.handshakes" in record.get("why", "") for record in records(fort))


def test_frames_that_announce_more_than_they_may_have(fort: FlameServer, watched: Watched) -> None:
    with sockets() as make:
        for size in (1 << 62, 1 << 40, 5 * 1024**2):
            one = make()
            dial(one, fort.port, GREETING + b"\x06" + struct.pack("!Q", size))
            with contextlib.suppress(OSError):
                while one.recv(1000):
                    pass
                continue
            one.settimeout(30)
            with contextlib.suppress(ConnectionError):
                assert one.recv(1000) == b"", "it is hung up on at once"
        # At the largest size that is let through, the memory is bounded by the number of those that may stand there.
        for _ in range(64):
            dial(make(), fort.port, GREETING + b"\x06" + struct.pack("!Q", 2 * 1024**2 - 1) + bytes(1024**2))
        watched.look()
    watched.finish()


def attack(server: FlameServer, context: zmq.Context, key: KeyPair | None, times: int, **options: int) -> None:
    for _ in range(times):
        dealer = context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.reconnect_ivl = -1
        if key is not None:
            dealer.curve_serverkey = Invite.parse(server.invite).server_key
            dealer.curve_publickey, dealer.curve_secretkey = key.public, key.secret
        dealer.connect(f"tcp://{server.address}")
        with contextlib.suppress(zmq.Again):  # it has been hung up on already
            dealer.send(b"x", zmq.NOBLOCK)
        yield_to(dealer)
        dealer.close()


def yield_to(dealer: zmq.Socket) -> None:
    """Give the handshake some time; nobody answers."""
    assert dealer.poll(10) == 0


def test_wrong_keys(fort: FlameServer, watched: Watched) -> None:
    key = KeyPair.generate()
    with zmq.Context() as context:
        attacking = in_thread(attack, fort, context, key, 200)
        while not attacking.done():
            watched.look()
        attacking.result()
    watched.finish()
    record = recorded(fort, "refused", key=fingerprint(key.public))
    assert (record["from"], record["why"]) == ("127.0.0.1", "its key is not admitted")
    assert sum(record.get("key") == fingerprint(key.public) for record in records(fort)) < 10, "they are counted"


def test_the_wrong_mechanism(fort: FlameServer, watched: Watched) -> None:
    with zmq.Context() as context:
        attacking = in_thread(attack, fort, context, None, 100)
        while not attacking.done():
            watched.look()
        attacking.result()
    watched.finish()
    assert any("does not speak CURVE" in record.get("why", "") for record in records(fort))


# ---------------------------------------------------------------- limits of those who are admitted


def test_a_key_with_too_many_connections_is_told_which_limit_it_is(
    fort: FlameServer, watched: Watched, tmp_path: Path
) -> None:
    flame = watched.flame
    gate = tmp_path / "calls"
    calls = [in_thread(flame.evaluate, f"wait_for({str(gate)!r})") for _ in range(20)]
    until(lambda: sum(call.done() for call in calls) >= 20 - 12)
    gate.touch()
    failed = [error for call in calls if (error := call.exception(30)) is not None]
    assert {type(error) for error in failed} == {LimitExceeded}
    assert all("limits.connections_per_key" in str(error) for error in failed)
    assert len(failed) < 12
    watched.look()
    watched.finish()


def test_a_session_with_too_many_clients_is_told_which_limit_it_is(fort: FlameServer) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(fort.address, session="full")) for _ in range(3)]
        with pytest.raises(LimitExceeded, match=r"limits\.clients"):
            connect(fort.address, session="full")
        clients.pop().close()
        with connect(fort.address, session="full") as flame:
            assert flame.evaluate("1") == 1
            flame.session.close()


def test_a_message_that_is_too_large_is_told_which_limit_it_is(fort: FlameServer, watched: Watched) -> None:
    flame = watched.flame
    flame["x"] = bytes(2_900_000)
    for too_much in (
        lambda: flame.__setitem__("x", bytes(3_000_001)),
        lambda: flame.run("#" * 3_000_001, quiet=True),
        lambda: flame.evaluate("len(" + repr("x" * 3_000_001) + ")"),
    ):
        with pytest.raises(LimitExceeded, match=r"limits\.message_bytes"):
            too_much()
    watched.look()
    watched.finish()
    assert flame.evaluate("len(x)") == 2_900_000


def test_a_peer_that_does_not_keep_to_the_limit_is_refused_and_nobody_else(
    fort: FlameServer, watched: Watched, tmp_path: Path
) -> None:
    own = load_or_create(Path(os.environ["FLAME_HOME"]) / "config" / "client.key", "")
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.curve_serverkey = Invite.parse(fort.invite).server_key
        dealer.curve_publickey, dealer.curve_secretkey = own.public, own.secret
        dealer.connect(f"tcp://{fort.address}")
        dealer.send_multipart([b"x" * 1_000_000] * 4)
        assert dealer.poll(5_000)
        assert b"limits.message_bytes" in b"".join(dealer.recv_multipart())
    watched.look()
    watched.finish()
    until(lambda: any("limits.message_bytes" in record.get("why", "") for record in records(fort)))


def test_a_system_that_allows_few_open_files_is_no_way_to_shut_everybody_out(folder: Path) -> None:
    server = FlameServer(folder)
    command = f"ulimit -n 300; exec {sys.executable} -m flame_kernel serve --enable -p 0"
    program = Program(["sh", "-c", command], clean_environ(server.home))
    try:
        program.wait_for(RUNNING)
        invite = next(line.split()[-1] for line in program.out if "flame://" in line)
        port = int(invite.split(":")[2].split("/")[0])
        assert any("takes 150 connections instead of" in line for line in program.err), program.err
        with pytest.MonkeyPatch.context() as patch, sockets() as make:
            patch.setenv("FLAME_HOME", str(server.client_home))
            for _ in range(500):
                dial(make(), port, b"")
            with connect(invite) as flame:
                assert flame.evaluate("6 * 7") == 42
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    finally:
        end_sessions(server.home)
        program.kill()
