from __future__ import annotations

from pathlib import Path

import pytest

from flame_kernel.client.links.target import Address, Embedded, Ssh, Target, UnixSocket, parse
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


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ssh://gpu1", Ssh("gpu1")),
        ("ssh://gpu1/", Ssh("gpu1")),
        ("ssh://ada@gpu1.example.org:2222", Ssh("gpu1.example.org", "ada", 2222)),
        ("ssh://ada@[fe80::1%eth0]:22", Ssh("fe80::1%eth0", "ada", 22)),
        ("ssh://_alias-2", Ssh("_alias-2")),
        ("ssh://gpu1/opt/envs/ml/bin/python", Ssh("gpu1", python="/opt/envs/ml/bin/python")),
        ("ssh://ada@gpu1/~/venv/", Ssh("gpu1", "ada", python="~/venv")),
    ],
)
def test_a_host_for_ssh_is_understood(text: str, target: Ssh) -> None:
    assert parse(text, {}) == target
    assert parse(str(target), {}) == target


@pytest.mark.parametrize(
    "text",
    [
        "ssh:gpu1",
        "ssh://",
        "ssh://-oProxyCommand=reboot",
        "ssh://-lroot@gpu1",
        "ssh://ada@-gpu1",
        "ssh://gpu1:0",
        "ssh://gpu1:65536",
        "ssh://gpu1:http",
        "ssh://gpu 1",
        "ssh://ada:secret@gpu1",
        "ssh://`reboot`@gpu1",
        "ssh://$USER@gpu1",
        "ssh://gpu1;reboot",
        "ssh://%h",
        "ssh://gpu1/bin/py;reboot",
        "ssh://gpu1/bin/py'thon",
        "ssh://gpu1/$HOME/python",
        "ssh://gpu1/a b",
        "ssh://gpu1?x",
        "ssh://gpu1#x",
        "ssh://gpu1\n",
    ],
)
def test_what_ssh_could_take_for_something_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="names no host for ssh"):
        parse(f"{text}x" if text.endswith("\n") else text, {})


@pytest.mark.parametrize("text", ["gpu1:9999", "[::1]:80", "10.0.0.7:1"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(parse(text, {})) == text
