"""Calls straight to the session's own process over TCP: who gets in, who doesn't, and what happens when it breaks."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from flame_kernel import Flame, connect
from flame_kernel.errors import FlameError, KeyRefused, NotPermitted, SessionRestarted, UnknownSession
from flame_kernel.protocol import packets
from flame_kernel.protocol.packets import Kind
from flame_kernel.security.curve import secure_client
from flame_kernel.security.keys import KeyPair, load_or_create
from flame_kernel.security.known_hosts import KnownHosts
from tests.integration.guests import Guest, recorded
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, pair, short_folder, until
from tests.integration.test_direct import goes_direct, suspended
from tests.integration.work import in_thread, wait_until_set
from tests.ports import free_port

SLEEP = "import time\nstarted = 1\ntime.sleep(60)"
PATIENCE_MS = 10_000


@contextmanager
def serving(ports: str, *options: str) -> Iterator[FlameServer]:
    with short_folder() as folder:
        server = FlameServer(folder, *options)
        config = server.home / "config"
        config.mkdir(parents=True, mode=0o700)
        server.home.chmod(0o700)
        (config / "server.toml").write_text(f'[limits]\nwarm = 0\n[direct]\nports = "{ports}"\n')
        with server:
            yield server


@pytest.fixture(scope="module")
def house(module_environ: pytest.MonkeyPatch) -> Iterator[FlameServer]:
    """A server whose sessions can be called directly; this process is paired with it."""
    with serving("auto") as server:
        module_environ.setenv("FLAME_HOME", str(server.client_home))
        pair(server.invite)
        yield server


@pytest.fixture(scope="module")
def flame(house: FlameServer) -> Iterator[Flame]:
    """A session that the module's tests share, called directly."""
    with connect(house.address, session="lab") as flame:
        goes_direct(flame)
        yield flame
        flame.session.close()


@pytest.fixture
def guest(house: FlameServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Guest]:
    return lambda name, role="files": Guest(house, name, role, monkeypatch)


def door_of(flame: Flame) -> tuple[int, bytes]:
    """Return the port at which a session waits for direct calls, and its key."""
    direct = flame._connection._client.direct
    assert direct is not None
    return direct.port, direct.key.encode("ascii")


def ports_of(process: psutil.Process) -> set[int]:
    """Return the TCP ports at which a session listens; ipykernel may have one of its own."""
    return {at.laddr.port for at in process.net_connections("tcp") if at.status == psutil.CONN_LISTEN}


@contextmanager
def knocking(door: tuple[int, bytes], keys: KeyPair, name: bytes = b"") -> Iterator[tuple[int, zmq.Socket[bytes]]]:
    """Connect to a session's door, and tell what came of it first."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    if name:
        dealer.setsockopt(zmq.ROUTING_ID, name)
    secure_client(dealer, keys, door[1])
    monitor = dealer.get_monitor_socket(
        zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_CONNECT_RETRIED
    )
    dealer.connect(f"tcp://127.0.0.1:{door[0]}")
    try:
        assert monitor.poll(PATIENCE_MS)
        yield recv_monitor_message(monitor)["event"], dealer
    finally:
        dealer.disable_monitor()
        monitor.close(0)
        context.destroy(0)


def hung_up(stranger: socket.socket, within_s: float) -> bool:
    stranger.settimeout(within_s)
    try:
        while stranger.recv(1000):
            continue
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def key_of(guest: Guest) -> KeyPair:
    return load_or_create(guest.home / "config" / "client.key", "")


def answer(dealer: zmq.Socket[bytes]) -> packets.Packet:
    assert dealer.poll(PATIENCE_MS)
    return packets.decode(dealer.recv_multipart())


# ---------------------------------------------------------------- what works


def test_the_server_has_no_part_in_calls(house: FlameServer, flame: Flame, tmp_path: Path) -> None:
    with suspended(house):
        assert flame.evaluate("6 * 7") == 42
        flame["x"] = bytes(3_000_000)
        assert len(flame["x"]) == 3_000_000
        flame.sendfile(str(tmp_path / "file"), b"content")
        with pytest.raises(ZeroDivisionError):
            flame.evaluate("1 / 0")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert flame.link.address == f"tcp://127.0.0.1:{door_of(flame)[0]}"
    recorded(house, "direct", session="lab")


def test_a_door_is_open_only_for_who_may_come_in(house: FlameServer, guest: Callable[..., Guest]) -> None:
    ann = guest("ann", "execute")
    with ann.connect(session="doors") as one:
        goes_direct(one)
        port, _ = door_of(one)
        process = psutil.Process(one.evaluate("__import__('os').getpid()"))
        assert port in ports_of(process)
    until(lambda: port not in ports_of(process))  # the session goes on, and nobody is there
    with ann.connect(session="doors") as one:
        one.session.close()


def test_a_restart_has_another_door_and_the_old_key_opens_nothing(house: FlameServer) -> None:
    with connect(house.address) as flame:
        goes_direct(flame)
        before = door_of(flame)
        pending = in_thread(flame.execute, SLEEP)
        wait_until_set(flame, "started")
        flame.session.restart()
        with pytest.raises(SessionRestarted):
            pending.result(20)
        until(lambda: door_of(flame) != before)
        goes_direct(flame)
        assert door_of(flame)[1] != before[1]
        assert flame.evaluate("'started' in globals()") is False


def test_direct_calls_go_on_without_a_server_and_under_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("auto", "-p", str(free_port())) as server:
        monkeypatch.setenv("FLAME_HOME", str(server.client_home))
        with connect(server.invite) as flame:
            goes_direct(flame)
            door = door_of(flame)
            server.kill()
            assert flame.evaluate("6 * 7", timeout=20) == 42
            assert flame.link.way == "direct"
            server.start()
            assert flame.sessions()
            flame.execute("n = 1")
            goes_direct(flame)
            assert door_of(flame) == door  # it's the same process, and the door was never shut
            key = server.command("keys", "list").stdout.split()[0]
            server.command("keys", "remove", key)
            until(lambda: flame.closed)
            with pytest.raises(KeyRefused):
                flame.evaluate("n")


# ---------------------------------------------------------------- who does not get in


def test_a_key_that_is_not_admitted(house: FlameServer, flame: Flame) -> None:
    with knocking(door_of(flame), KeyPair(*zmq.curve_keypair())) as (event, _):
        assert event == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    recorded(house, "refused", why="its key is not admitted to the session")
    assert flame.evaluate("1") == 1


def test_a_key_of_the_servers_that_has_no_share_in_the_session(flame: Flame, guest: Callable[..., Guest]) -> None:
    with knocking(door_of(flame), key_of(guest("eve", "admin"))) as (event, _):
        assert event == zmq.EVENT_HANDSHAKE_FAILED_AUTH


def test_an_observer(flame: Flame, guest: Callable[..., Guest]) -> None:
    olga = guest("olga", "observe")
    flame.session.share("olga", "observe")
    owner = flame.sessions()[0]
    assert owner.name == "lab"
    with olga.connect(session=f"{name_of_owner(flame)}/lab", observe=True) as looking:
        assert looking._connection._client.direct is None
        with knocking(door_of(flame), key_of(olga)) as (event, _):
            assert event == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    flame.session.unshare("olga")


def name_of_owner(flame: Flame) -> str:
    """Return the fingerprint of the key that this process is paired with."""
    from flame_kernel.security.key_text import fingerprint

    return fingerprint(flame._connection.endpoint.public)


def test_a_guest_may_do_directly_what_it_may_through_the_server_whatever_it_calls_itself(
    flame: Flame, guest: Callable[..., Guest], tmp_path: Path
) -> None:
    gus = guest("gus", "execute")
    flame.session.share("gus", "execute")
    (tmp_path / "file").write_bytes(b"content")
    with gus.connect(session=f"{name_of_owner(flame)}/lab") as other:
        goes_direct(other)
        with pytest.raises(NotPermitted, match="needs the role files"):
            other.getfile(str(tmp_path / "file"))
        assert other.link.way == "direct"
        # Names with a role in front are the server's; over TCP nobody is taken at their word.
        with knocking(door_of(other), key_of(gus), b"admin:01234567") as (event, dealer):
            assert event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            dealer.send_multipart(packets.encode(Kind.HELLO, [os.urandom(16)]))
            assert answer(dealer).kind is Kind.REFUSED
            dealer.send_multipart(packets.encode(Kind.DATA, [b"\x08\x02\x00"], number=1))
            assert answer(dealer).kind is Kind.RESET
        # The owner ends the share: what is under way ends, and the door is shut for this key.
        door = door_of(other)
        pending = in_thread(other.execute, "time = __import__('time'); gus_started = 1; time.sleep(60)")
        wait_until_set(flame, "gus_started")
        assert flame.session.unshare("gus") == ()
        with pytest.raises(FlameError) as raised:
            pending.result(20)
        assert isinstance(raised.value, UnknownSession)
        with knocking(door, key_of(gus)) as (event, _):
            assert event == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    goes_direct(flame)  # nobody else was disturbed


def test_a_removed_key_is_let_go_at_once(house: FlameServer, guest: Callable[..., Guest]) -> None:
    rita = guest("rita", "admin")
    with rita.connect() as flame:
        goes_direct(flame)
        door = door_of(flame)
        pending = in_thread(flame.execute, SLEEP)
        wait_until_set(flame, "started")
        house.command("keys", "remove", "rita")
        with pytest.raises(KeyRefused):
            pending.result(20)
        with pytest.raises(KeyRefused):
            flame.evaluate("1")
        with knocking(door, key_of(rita)) as (event, _):
            assert event in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_CONNECT_RETRIED)  # nobody is let in any more


def test_a_lowered_role_counts_at_once_and_on_the_direct_way(
    house: FlameServer, guest: Callable[..., Guest], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    lou = guest("lou", "files")
    with lou.connect() as flame:
        goes_direct(flame)
        assert flame.getfile(str(tmp_path / "file")) == b"content"
        lou.admit("execute")
        until(lambda: flame.session.role == "execute")
        with pytest.raises(NotPermitted, match="needs the role files"):
            flame.getfile(str(tmp_path / "file"))
        goes_direct(flame)
        with pytest.raises(NotPermitted, match="needs the role files"):
            flame.getfile(str(tmp_path / "file"))


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b""], ids=["garbage", "silence"])
def test_strangers_at_the_door(house: FlameServer, flame: Flame, data: bytes) -> None:
    port, _ = door_of(flame)
    process = psutil.Process(flame.evaluate("__import__('os').getpid()"))
    before = process.num_fds()
    strangers = []
    try:
        for _ in range(150):
            stranger = socket.create_connection(("127.0.0.1", port), timeout=30)
            strangers.append(stranger)
            if data:
                stranger.sendall(data)
        assert flame.evaluate("6 * 7", timeout=20) == 42
        if not data:  # the session needs its file descriptors itself: beyond some strangers the oldest is shut out
            recorded(house, "refused", why="32 newer ones had not proved a key either")
            assert hung_up(strangers[0], 8.0)  # libzmq lets them stand there for ten seconds
        until(lambda: process.num_fds() < before + 50)
        goes_direct(flame)
    finally:
        for stranger in strangers:
            stranger.close()
    until(lambda: process.num_fds() <= before + 2)


# ---------------------------------------------------------------- what breaks


@pytest.fixture(scope="module")
def walled(module_environ: pytest.MonkeyPatch) -> Iterator[tuple[FlameServer, Relay, Relay]]:
    """A server, and a network that leads to its port and to the one direct port by a relay each."""
    port = free_port()
    with (
        serving(f"{port}-{port}") as server,
        Relay(server.port, "127.0.0.2") as to_server,
        Relay(port, "127.0.0.2", port) as to_session,
    ):
        module_environ.setenv("FLAME_HOME", str(server.client_home))
        pair(server.invite)
        known = KnownHosts(server.client_home / "config" / "known_hosts")
        key = known.lookup(server.address)
        assert key is not None
        known.pin(to_server.address, key)
        yield server, to_server, to_session


def test_a_direct_port_that_swallows_everything_costs_nothing_and_is_found_again(
    walled: tuple[FlameServer, Relay, Relay],
) -> None:
    _, to_server, to_session = walled
    to_session.black_hole()
    with connect(to_server.address) as flame:
        flame.execute("runs = []")
        for number in range(50):
            assert flame.evaluate(f"runs.append({number}) or len(runs)", timeout=30) == number + 1
        until(lambda: to_session.connections)  # it was tried
        assert str(flame.link) == f"through the server, tcp://{to_server.address}"
        to_session.heal()
        flame._connection.ways.again()  # else it's some seconds before the next attempt
        goes_direct(flame)
        assert flame.link.address == f"tcp://{to_session.address}"
        assert flame.evaluate("len(runs)") == 50


def test_calls_run_once_each_while_direct_connections_are_cut_and_shut_off(
    walled: tuple[FlameServer, Relay, Relay],
) -> None:
    _, to_server, to_session = walled
    with connect(to_server.address) as flame:
        goes_direct(flame)
        flame.execute("runs = []")
        slow = in_thread(flame.evaluate, "runs.append('slow') or __import__('time').sleep(1.5) or 'slow'")
        ahead = [flame.submit(f"runs.append({number}) or {number}") for number in range(100)]
        to_session.refuse()  # cut, and firewalled from now on
        ahead += [flame.submit(f"runs.append({number}) or {number}") for number in range(100, 200)]
        assert [future.result(20) for future in ahead] == list(range(200))
        assert slow.result(20) == "slow"
        assert flame.evaluate("sorted(runs, key=str)") == sorted([*range(200), "slow"], key=str)
        assert flame.link.way == "through the server"
        to_session.heal()
        flame._connection.ways.again()
        goes_direct(flame)


def test_a_session_without_a_free_port_is_called_through_the_server(
    walled: tuple[FlameServer, Relay, Relay],
) -> None:
    server, to_server, _ = walled
    with connect(to_server.address) as first:
        goes_direct(first)
        with connect(server.address) as second:
            assert second.evaluate("6 * 7") == 42
            assert second.link.way == "through the server"
        program = server.program
        assert program is not None
        until(lambda: any("can't be called directly" in line for line in program.err))
