"""As many copies at a time as the server allows in a session, and not one more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from flame_kernel import Flame, connect
from flame_kernel.errors import LimitExceeded
from flame_kernel.security.folders import private
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, pair, until
from tests.integration.work import in_thread

MIB = 1024 * 1024


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlameServer]:
    """A server that allows one copy at a time; this process is paired with it."""
    server = FlameServer(folder)
    settings = private(private(server.home) / "config") / "server.toml"
    settings.write_text('[limits]\nwarm = 0\ntransfers = 1\n[direct]\nports = "none"\n')
    with server:
        monkeypatch.setenv("FLAME_HOME", str(server.client_home))
        pair(server.invite)
        yield server


def copied(flame: Flame, source: Path, target: Path) -> bool:
    with suppress(LimitExceeded):
        flame.put(source, str(target))
        return True
    return False


def test_one_more_copy_than_the_limit_is_refused_by_its_name(server: FlameServer, tmp_path: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(os.urandom(8 * MIB))
    small.write_text("small")
    there = tmp_path / "there"
    there.mkdir()
    with Relay(server.port) as relay, connect(server.address, session="copies") as near:
        pair(server.fresh_invite(relay.port))
        with connect(relay.address, session="copies") as far:
            relay.throttle(MIB)
            copy = in_thread(far.put, large, str(there / "large"), progress=False)
            until(lambda: list(there.glob(".*.flame-part")))
            for refused in (
                lambda: near.put(small, str(there / "small")),
                lambda: near.get(small, str(there / "small")),
                lambda: near.sendfile(str(there / "small"), b"small"),
                lambda: near.getfile(str(small)),
            ):
                with pytest.raises(LimitExceeded, match=r"1 copies .* \(limits\.transfers\); try again"):
                    refused()
            assert near.evaluate("1 + 1") == 2
            assert not copy.done()
            assert os.listdir(there) == [next(there.glob(".*.flame-part")).name]
            relay.heal()
            assert copy.result(30).files == 1
        # Its client has left, so its place is free at once.
        until(lambda: copied(near, small, there / "small"))
        assert (there / "small").read_text() == "small"
        near.session.close()
