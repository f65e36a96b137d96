from __future__ import annotations

from pathlib import Path

import pytest

from flame_kernel.client.target import Address, Embedded, Target, UnixSocket, parse
from flame_kernel.errors import ConfigurationError, InviteError
from flame_kernel.security.invites import Invite
from flame_kernel.security.keys import KeyPair


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("gpu1", Address("gpu1", 9999)),
        ("gpu1:1234", Address("gpu1", 1234)),
        ("  'gpu1:1234' ", Address("gpu1", 1234)),
        ("10.0.0.7:1", Address("10.0.0.7", 1)),
        ("[::1]", Address("::1", 9999)),
        ("[::1]:80", Address("::1", 80)),
        ("unix:flame.sock", UnixSocket(Path("flame.sock"))),
        ("/run/flame.sock", UnixSocket(Path("/run/flame.sock"))),
        ("./flame.sock", UnixSocket(Path("flame.sock"))),
        ("embedded", Embedded()),
        ("", Embedded()),
        (None, Embedded()),
    ],
)
def test_what_a_user_names_is_understood(text: str | None, target: Target) -> None:
    assert parse(text, {}) == target


def test_a_home_folder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")

    assert parse("~/flame.sock", {}) == parse("unix:~/flame.sock", {}) == UnixSocket(Path("/home/ada/flame.sock"))


def test_an_invite_is_understood() -> None:
    invite = Invite.mint("gpu1", 1234, KeyPair.generate().public)

    assert parse(f'"{invite}"', {}) == invite


def test_the_environment_counts_only_where_nothing_is_named() -> None:
    environ = {"FLAME_HOST": "gpu2"}

    assert parse(None, environ) == parse("", environ) == Address("gpu2", 9999)
    assert parse("gpu1", environ) == Address("gpu1", 9999)
    assert parse("embedded", environ) == Embedded()


@pytest.mark.parametrize(
    "text", ["gpu1:", ":80", "gpu1:0", "gpu1:65536", "gpu1:http", "gpu 1", "ada@gpu1", "gpu1#x", "tcp://gpu1:1", "[]"]
)
def test_what_names_no_server_is_refused_with_what_would(text: str) -> None:
    with pytest.raises(ConfigurationError, match="names no server; say host, host:port"):
        parse(text, {})


def test_a_damaged_invite_is_called_that() -> None:
    with pytest.raises(InviteError):
        parse("flame://gpu1:9999/#rubbish", {})


@pytest.mark.parametrize("text", ["gpu1:9999", "[::1]:80", "10.0.0.7:1"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(parse(text, {})) == text
