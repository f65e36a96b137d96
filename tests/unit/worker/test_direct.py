"""The worker's own door, over real sockets: what the server says, what it's answered, and what nobody says."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from flame_kernel.security.curve import secure_client
from flame_kernel.security.keys import KeyPair
from flame_kernel.worker.admitted import Admitted, Authority
from flame_kernel.worker.direct import DirectDoor
from tests.unit.rendezvous import rendezvous
from tests.unit.waiting import eventually

ANN = KeyPair(*zmq.curve_keypair())
LOCALHOST = "127.0.0.1"


class Server:
    """What the server is to a door."""

    def __init__(self, address: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(address)
        self._number = 0

    def say(self, message: bytes) -> Any:
        """Say something, and return what is answered."""
        self._socket.send(message)
        while "refused" in (told := self.hear()):
            continue
        return told

    def hear(self) -> Any:
        """Return what the worker says next."""
        assert self._socket.poll(10_000)
        return json.loads(self._socket.recv())

    def admit(self, *keys: KeyPair, hosts: tuple[str, ...] = (LOCALHOST,), ports: tuple[int, int] = (0, 0)) -> Any:
        """Let keys in, and nobody else."""
        self._number += 1
        roles = {key.public.decode(): "execute" for key in keys}
        told = self.say(json.dumps({"id": self._number, "hosts": hosts, "ports": ports, "roles": roles}).encode())
        assert told["id"] == self._number
        return told

    def leave(self) -> None:
        """End."""
        self._context.destroy(0)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[DirectDoor, str]]:
    with rendezvous(tmp_path / "w") as (entrance, _):
        door = DirectDoor(entrance.router, grace_s=0.2)
        address = f"ipc://{tmp_path / 'c'}"
        door.start(address)
        yield door, address
        door.close()


@pytest.fixture
def server(door: tuple[DirectDoor, str]) -> Iterator[Server]:
    server = Server(door[1])
    yield server
    server.leave()


def listens(port: int, host: str = LOCALHOST) -> bool:
    try:
        socket.create_connection((host, port), timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True


def test_it_is_open_while_somebody_may_come_in(server: Server) -> None:
    told = server.admit(ANN)
    port = told["ports"][LOCALHOST]

    assert len(told["key"]) == 40
    assert listens(port)
    assert server.admit(ANN) == {**told, "id": 2}
    assert server.admit()["ports"] == {}
    assert not listens(port)


def test_it_is_where_the_server_says_and_nowhere_else(server: Server) -> None:
    with socket.create_server((LOCALHOST, 0)) as taken:
        low = taken.getsockname()[1]
        there = server.admit(ANN, hosts=(LOCALHOST, "127.0.0.2"), ports=(low, low + 20))["ports"]
        assert low < there[LOCALHOST] <= low + 20
        assert listens(there["127.0.0.2"], "127.0.0.2")
        assert server.admit(ANN, hosts=("127.0.0.2",))["ports"] == {"127.0.0.2": there["127.0.0.2"]}
        assert not listens(there[LOCALHOST])
        told = server.admit(ANN, hosts=("127.0.0.2", LOCALHOST), ports=(low, low))
        assert told["error"] == f"OSError: no port of {low} to {low} is free at 127.0.0.1"
    assert "error" in server.admit(ANN, hosts=("192.0.2.1",))  # none of this machine's


def test_it_is_shut_when_the_server_is_gone_and_none_follows(door: tuple[DirectDoor, str], server: Server) -> None:
    port = server.admit(ANN)["ports"][LOCALHOST]
    following = Server(door[1])
    following.admit(ANN)
    server.leave()
    assert listens(port)
    following.leave()

    eventually(lambda: not listens(port))
    assert not door[0].admitted.admits(ANN.public.decode())


@pytest.mark.parametrize("message", [b"", b"{", b"[]", b"{}", b'{"id": 1}', b'{"id":1,"ports":3,"hosts":1,"roles":{}}'])
def test_what_it_cannot_understand_is_told_and_changes_nothing(server: Server, message: bytes) -> None:
    port = server.admit(ANN)["ports"][LOCALHOST]

    assert "error" in server.say(message)
    assert listens(port)


def test_whoever_comes_without_a_key_of_the_table_is_not_let_in_and_the_server_hears_of_it(server: Server) -> None:
    told = server.admit(ANN)
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        stranger = KeyPair(*zmq.curve_keypair())
        secure_client(dealer, stranger, told["key"].encode())
        dealer.connect(f"tcp://{LOCALHOST}:{told['ports'][LOCALHOST]}")
        notice = server.hear()
    assert notice == {
        "refused": "its key is not admitted to the session",
        "from": LOCALHOST,
        "key": stranger.public.decode(),
    }


def test_what_a_connection_may_do_ends_with_its_role() -> None:
    admitted = Admitted()
    admitted.change({"KEY": "files"})
    authority = Authority(b"files:KEY", "KEY")

    assert admitted.holds(authority)
    assert admitted.holds(Authority(b"execute:01234567"))  # the server's own socket
    admitted.change({"KEY": "execute"})
    assert not admitted.holds(authority)
    admitted.change({})
    assert not admitted.holds(authority)
    assert not admitted.holds(Authority(b":KEY", "KEY"))
