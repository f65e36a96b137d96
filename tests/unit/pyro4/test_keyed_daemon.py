"""Which key a proxy is sent with, and what is said about the bridge where it's switched on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from Pyro4 import core
from Pyro4.configuration import config
from Pyro4.message import MSG_CONNECT, Message

from flame_kernel.pyro4.keyed_daemon import KeyedDaemon, is_signed
from flame_kernel.pyro4.settings import Settings, warnings

KEY = "the real key"


class Connection:
    """A connection from an address to an address."""

    def __init__(self, near: str, far: str) -> None:
        self.sock = self
        self.getsockname = lambda: (near, 9998)
        self.getpeername = lambda: (far, 40_000)


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyedDaemon]:
    monkeypatch.setattr(config, "SERIALIZER", "pickle")
    monkeypatch.setattr(config, "SERIALIZERS_ACCEPTED", {"pickle"})
    with KeyedDaemon("127.0.0.1", 0, KEY) as daemon:
        yield daemon


def lent(daemon: KeyedDaemon, near: str, far: str) -> Any:
    core.current_context.client = Connection(near, far)
    return daemon.lend(core.Proxy("PYRO:Pyro.Flame@localhost:1"))


@pytest.mark.parametrize(("near", "far"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::ffff:127.0.0.1",) * 2])
def test_a_client_on_this_machine_is_lent_a_key_which_is_not_the_real_one(
    daemon: KeyedDaemon, near: str, far: str
) -> None:
    key = lent(daemon, near, far)._pyroHmacKey
    assert len(key) == 32
    assert KEY.encode() not in key


def test_a_client_elsewhere_is_lent_none(daemon: KeyedDaemon) -> None:
    assert lent(daemon, "10.0.0.1", "10.0.0.7")._pyroHmacKey is None


@pytest.mark.parametrize(("near", "where"), [("10.0.0.1", "10.0.0.1:9998"), ("fd00::1", "[fd00::1]:9998")])
def test_proxies_lead_to_where_the_client_has_come(daemon: KeyedDaemon, near: str, where: str) -> None:
    assert lent(daemon, near, "10.0.0.7")._pyroUri.location == where


def test_without_a_key_none_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "SERIALIZERS_ACCEPTED", {"pickle"})
    with KeyedDaemon("127.0.0.1", 0, "") as daemon:
        assert lent(daemon, "127.0.0.1", "127.0.0.1")._pyroHmacKey is None
        assert daemon._pyroHmacKey is None


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "gpu1"])
def test_listening_beyond_this_machine_is_warned_of(host: str) -> None:
    assert any(f"listens at {host}, beyond this machine" in line for line in warnings(host, with_key=True))
    assert not any("beyond" in line for line in warnings("localhost", with_key=True))


def test_settings_show_no_key() -> None:
    assert KEY not in repr(Settings("/run/x.sock", "127.0.0.1", 9998, KEY))


@given(st.binary(max_size=200), st.integers(-100, 100), st.integers(0, 100))
def test_a_greeting_of_any_bytes_is_not_signed(rest: bytes, data_size: int, annotations_size: int) -> None:
    numbers = (48, MSG_CONNECT, 0, 0, data_size, 4, annotations_size, 0)
    head = struct.pack("!4sHHHHiHHHH", b"PYRO", *numbers, (sum(numbers) + Message.checksum_magic) & 0xFFFF)
    assert not is_signed(head + rest, KEY.encode())
    assert not is_signed(rest, KEY.encode())


def test_a_greeting_is_signed_with_its_key_alone() -> None:
    greeting = Message(MSG_CONNECT, b"data", 4, 0, 0, hmac_key=KEY.encode()).to_bytes()
    assert is_signed(greeting, KEY.encode())
    assert not is_signed(greeting, b"another key")
    assert not is_signed(greeting[:-1] + b"!", KEY.encode())
