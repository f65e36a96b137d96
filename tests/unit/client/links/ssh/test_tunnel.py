"""A way through ssh, with a program in the place of ssh that says what a test wants."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flame_kernel.client.links.ssh.tunnel import Tunnel
from flame_kernel.client.links.target import Ssh
from flame_kernel.errors import FlameTimeout, KeyFileError, ServerUnreachable
from flame_kernel.security.folders import Folders
from flame_kernel.security.key_text import public_to_text
from flame_kernel.security.keys import KeyPair
from tests.homes import short_home
from tests.integration.servers import until

KEY = public_to_text(KeyPair.generate().public)


@pytest.fixture
def home() -> Iterator[Path]:
    with short_home() as home:
        yield home


@pytest.fixture
def tunnel(home: Path) -> Callable[[str], Tunnel]:
    """Make a tunnel whose ssh is a shell script."""

    def make(script: str) -> Tunnel:
        ssh = home / "ssh"
        ssh.write_text(f"#!/bin/sh\necho called >>{home}/calls\nread request\n{script}\n")
        ssh.chmod(0o755)
        environ = {"FLAME_HOME": str(home), "FLAME_SSH": str(ssh), "PATH": os.environ["PATH"]}
        return Tunnel(Ssh("gpu1"), Folders.find(environ), environ, KeyPair.generate(), "ada@laptop")

    return make


def says(socket: str, key: str = KEY) -> str:
    return f"""echo Welcome; echo 'flame-ssh rubbish'; echo 'flame-ssh {{"socket":"{socket}","key":"{key}"}}'; cat"""


def calls(home: Path) -> int:
    return (home / "calls").read_text().count("called") if (home / "calls").exists() else 0


async def test_where_the_server_is_is_learnt_once(home: Path, tunnel: Callable[[str], Tunnel]) -> None:
    for expected in (2, 3):  # the first time it's called again, with what it has told
        way = tunnel(says("/run/s.sock"))
        endpoint = await way.open(20, start=True)
        way.leave()
        assert calls(home) == expected
        assert endpoint.name == "ssh://gpu1"
        assert endpoint.server_key
    way = tunnel(says("/run/elsewhere.sock"))
    await way.open(20, start=True)
    way.leave()
    assert calls(home) == 5


@pytest.mark.parametrize("socket", ["/run/a:b", "/run/%h", "/run/${HOME}", "run/s.sock", "/run/a b"])
async def test_a_far_side_can_not_put_anything_else_into_the_call(
    socket: str, home: Path, tunnel: Callable[[str], Tunnel]
) -> None:
    way = tunnel(says(socket))
    with pytest.raises(ServerUnreachable, match="to a plain path"):
        await way.open(20, start=True)
    way.leave()
    assert calls(home) == 1


async def test_a_key_that_is_none_is_refused(tunnel: Callable[[str], Tunnel]) -> None:
    way = tunnel(says("/run/s.sock", "rubbish"))
    with pytest.raises(KeyFileError):
        await way.open(20, start=True)
    way.leave()


async def test_silence_ends_in_time(tunnel: Callable[[str], Tunnel]) -> None:
    with pytest.raises(FlameTimeout, match="ssh://gpu1"):
        await tunnel("cat").open(0.2, start=True)


async def test_it_is_mended_until_it_works(home: Path, tunnel: Callable[[str], Tunnel]) -> None:
    way = tunnel(says("/run/s.sock"))
    await way.open(20, start=True)
    again = home / "again"
    refuses = f'touch {again}; echo "Connection refused" >&2; exit 255'
    tunnel(f"if [ -e {again} ]; then {says('/run/s.sock')}; else {refuses}; fi")
    before = calls(home)
    way._up_since = float("-inf")  # it was up for long
    await asyncio.wait_for(way.mend(), 20)
    way.leave()
    assert calls(home) == before + 2


async def test_a_way_that_is_left_while_it_is_mended_stays_left(home: Path, tunnel: Callable[[str], Tunnel]) -> None:
    way = tunnel("cat")
    mending = asyncio.create_task(way.mend())
    await asyncio.to_thread(until, lambda: calls(home))
    way.leave()
    await asyncio.wait_for(mending, 20)
    assert calls(home) == 1
