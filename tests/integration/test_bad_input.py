"""Everything that can be wrong when one connects: each gives one line that says what to do, and none of them hangs."""

from __future__ import annotations

import http.server
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from flame_kernel import connect
from flame_kernel.errors import (
    ConfigurationError,
    FlameError,
    HostKeyChanged,
    HostUnknown,
    InviteError,
    KeyRefused,
    NotAFlameServer,
    ServerUnreachable,
    UnknownKernel,
)
from flame_kernel.protocol import messages, packets
from flame_kernel.protocol.packets import Kind
from flame_kernel.security.authorized import AuthorizedKeys
from flame_kernel.security.invites import Invite
from flame_kernel.security.keys import KeyPair
from flame_kernel.security.known_hosts import KnownHosts
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, clean_environ, pair, run_script, until
from tests.ports import free_port

MakeServer = Callable[..., FlameServer]

# A refusal takes a look at what listens, which may take 3 s; a hang, of as long as a connection may take, is ruled out.
NO_HANG_S = 20.0


@contextmanager
def promptly() -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < NO_HANG_S


def refusal(target: str, kind: type[FlameError], *words: str, kernel: str | None = None, timeout: float = 30) -> str:
    """Connect where it has to fail, and return the line that says why."""
    with promptly(), pytest.raises(FlameError) as caught:
        connect(target, kernel=kernel, timeout=timeout)
    line = str(caught.value)
    assert type(caught.value) is kind, repr(caught.value)
    assert "\n" not in line
    assert line
    for word in words:
        assert word in line
    return line


@pytest.fixture
def stranger(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make this process a client that nobody knows, with a home of its own."""
    home = folder / "stranger"
    monkeypatch.setenv("FLAME_HOME", str(home))
    return home


@pytest.fixture
def pinned(stranger: Path) -> Callable[[str, bytes], None]:
    """Give a function that lets the stranger know a server by its key."""

    def pin(address: str, key: bytes) -> None:
        KnownHosts(stranger / "config" / "known_hosts").pin(address, key)

    return pin


# ---------------------------------------------------------------- invites


def test_invite_of_another_server_that_this_one_does_not_know(server: FlameServer, stranger: Path) -> None:
    real = Invite.parse(server.invite)
    refusal(str(Invite.mint("127.0.0.1", server.port, real.server_key)), InviteError, "flame invite", server.address)


def test_invite_with_the_key_of_another_server(server: FlameServer, stranger: Path) -> None:
    other = Invite.mint("127.0.0.1", server.port, KeyPair.generate().public)
    refusal(str(other), HostKeyChanged, "fresh invite", server.address)


def test_used_invite(server: FlameServer, stranger: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invite = server.fresh_invite()
    pair(invite)
    monkeypatch.setenv("FLAME_HOME", str(folder / "another"))
    refusal(invite, InviteError, "used already", "flame invite")


def test_expired_invite(server: FlameServer, stranger: Path) -> None:
    invite = server.command("invite", "-p", str(server.port), "--minutes", "0.00001").stdout.strip()
    refusal(invite, InviteError, "expired", "flame invite")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1],
        lambda text: text[:-4] + "AAAA",
        lambda text: text.partition("#")[0],
        lambda text: text.replace("#", ""),
        lambda text: re.sub(r":\d+/", "/", text),
        lambda text: "flame://",
    ],
    ids=["short", "changed", "no-token", "no-hash", "no-port", "nothing"],
)
def test_damaged_invite(server: FlameServer, stranger: Path, damage: Callable[[str], str]) -> None:
    line = refusal(damage(server.invite), InviteError)
    assert Invite.parse(server.invite).secret.hex() not in line
    assert server.invite.partition("#")[2] not in line


@pytest.mark.parametrize("text", ["gpu1:port", "gpu1:0", "gpu1:70000", "http://gpu1:9999", "a b", "user@gpu1"])
def test_address_that_is_none(stranger: Path, text: str) -> None:
    refusal(text, ConfigurationError, "host:port")


# ---------------------------------------------------------------- keys


def test_host_that_was_never_paired(server: FlameServer, stranger: Path) -> None:
    refusal(server.address, HostUnknown, "flame invite", server.address)


def test_unknown_key(server: FlameServer, pinned: Callable[[str, bytes], None]) -> None:
    pinned(server.address, Invite.parse(server.invite).server_key)
    refusal(server.address, KeyRefused, "flame invite", server.address)


def test_removed_key(lone_server: MakeServer) -> None:
    server = lone_server()
    pair(server.invite)
    keys = AuthorizedKeys(server.home / "config" / "authorized_keys")
    (entry,) = keys.entries()
    assert keys.remove(entry.fingerprint)
    refusal(server.address, KeyRefused, "flame invite", server.address)
    with connect(server.fresh_invite()) as flame:
        assert flame.evaluate("1") == 1


def test_changed_server_key(lone_server: MakeServer) -> None:
    server = lone_server()
    pair(server.invite)
    port = str(server.port)
    server.stop()
    (server.home / "config" / "server.key").unlink()
    server.start("-p", port)
    line = refusal(server.address, HostKeyChanged, "known_hosts", "somebody is in the middle", "fresh invite")
    assert server.address in line
    with connect(server.invite) as flame:  # pairing again mends it
        assert flame.evaluate("1") == 1
    with connect(server.address) as flame:
        assert flame.evaluate("1") == 1


# ---------------------------------------------------------------- not a Flame server


@contextmanager
def web_server() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        web.RequestHandlerClass.log_message = lambda *_: None
        try:
            yield web.server_port
        finally:
            web.shutdown()


@contextmanager
def silent_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()[1]


@contextmanager
def hasty_server() -> Iterator[int]:
    """A server that hangs up at once."""
    with socket.create_server(("127.0.0.1", 0)) as hasty:

        def hang_up() -> None:
            try:
                while True:
                    hasty.accept()[0].close()
            except OSError:
                return

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        yield hasty.getsockname()[1]
        hasty.shutdown(socket.SHUT_RDWR)
        thread.join(30)


@contextmanager
def open_zmq_server() -> Iterator[int]:
    """A ZeroMQ server without CURVE."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        yield router.bind_to_random_port("tcp://127.0.0.1")


@pytest.mark.parametrize("other", [web_server, silent_server, hasty_server, open_zmq_server])
@pytest.mark.parametrize("how", ["invite", "address"])
def test_something_else_listens_there(other, how: str, pinned: Callable[[str, bytes], None]) -> None:
    key = KeyPair.generate().public
    with other() as port:
        address = f"127.0.0.1:{port}"
        if how == "address":
            pinned(address, key)
        refusal(
            address if how == "address" else str(Invite.mint("127.0.0.1", port, key)),
            NotAFlameServer,
            address,
            "not a Flame server",
            timeout=1,
        )


def test_nothing_listens_there(pinned: Callable[[str, bytes], None]) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    key = KeyPair.generate().public
    pinned(address, key)
    refusal(address, ServerUnreachable, address, "flame-server")
    refusal(str(Invite.mint("127.0.0.1", port, key)), ServerUnreachable, address, "flame-server")


def test_unknown_host_name(pinned: Callable[[str, bytes], None]) -> None:
    key = KeyPair.generate().public
    pinned("no-such-host.invalid:9999", key)
    refusal("no-such-host.invalid", ServerUnreachable, "no-such-host.invalid", "check the name")


def test_network_that_swallows_everything(client: FlameServer, relay: Relay) -> None:
    relay.cut()
    relay.black_hole()
    with promptly(), pytest.raises(FlameError) as caught:
        connect(relay.address, timeout=1)
    assert "\n" not in str(caught.value)
    relay.heal()
    with connect(relay.address) as flame:
        assert flame.evaluate("1") == 1


def test_no_unix_socket(stranger: Path, folder: Path) -> None:
    refusal(str(folder / "none.sock"), ServerUnreachable, "flame-server -u")


# ---------------------------------------------------------------- sessions


def test_unknown_kernel(client: FlameServer) -> None:
    line = refusal(client.address, UnknownKernel, "'fortran'", "python3", kernel="fortran")
    assert "there are" in line
    until(lambda: not client.kernels())  # those of the tests before are about to end


def test_server_of_another_version_is_named(stranger: Path) -> None:
    """The other way round: a server that speaks another version says so in its refusal, and the user reads it."""
    from flame_kernel.errors import VersionMismatch

    refusal_text = "old speaks protocol version 0; install the same version of remote-flame on both"
    pair = KeyPair.generate()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.curve_server, router.curve_secretkey, router.curve_publickey = True, pair.secret, pair.public
        port = router.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            name, *_ = router.recv_multipart()
            why = messages.encode(messages.Refusal("version", refusal_text))
            router.send_multipart([name, *packets.encode(Kind.REFUSED, [why])])

        thread = threading.Thread(target=answer)
        thread.start()
        KnownHosts(stranger / "config" / "known_hosts").pin(f"127.0.0.1:{port}", pair.public)
        assert refusal(f"127.0.0.1:{port}", VersionMismatch) == refusal_text
        thread.join(30)


# ---------------------------------------------------------------- how it looks


BAD_TARGETS = {
    "HostUnknown": "127.0.0.1:1",
    "InviteError": "flame://127.0.0.1:1/#AAAA",
    "ServerUnreachable": "/no/such/socket",
    "ConfigurationError": "not a host",
}


@pytest.mark.parametrize(("error", "target"), BAD_TARGETS.items(), ids=BAD_TARGETS)
def test_in_a_script_the_last_line_says_it_and_the_traceback_is_short(folder: Path, error: str, target: str) -> None:
    code = "import sys\nfrom flame_kernel import connect\nconnect(sys.argv[1])"
    done = run_script(code, clean_environ(folder), target)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith(f"flame_kernel.errors.{error}: ")
    assert sum(line.lstrip().startswith("File ") for line in lines) <= 2
    assert "During handling" not in done.stderr


@pytest.fixture
def shell(stranger: Path) -> Iterator[InteractiveShell]:
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "flame_magics")
    yield shell
    shell.run_line_magic("unload_ext", "flame_magics")
    InteractiveShell.clear_instance()


@pytest.mark.parametrize(("error", "target"), BAD_TARGETS.items(), ids=BAD_TARGETS)
def test_in_a_notebook_it_is_one_line(shell: InteractiveShell, error: str, target: str) -> None:
    with capture_output() as captured:
        result = shell.run_cell(f"%flame_connect {target!r}" if " " in target else f"%flame_connect {target}")
    assert type(result.error_in_exec).__name__ == error
    (line,) = captured.stdout.strip().splitlines()
    assert line.startswith(f"{error}: ")


def test_without_a_connection_the_cell_says_how_to_get_one(shell: InteractiveShell) -> None:
    for cell in ("%%flame\n1", "%flame 1"):
        with capture_output() as captured:
            assert shell.run_cell(cell).error_in_exec
        assert "%flame_connect" in captured.stdout
        assert len(captured.stdout.strip().splitlines()) == 1
