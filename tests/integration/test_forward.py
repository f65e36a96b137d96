"""Ports through a session's connection: real services over there and here, real cuts in between."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest

from flame_kernel import Flame, connect
from flame_kernel.client.calls.forward import Forward, Wanted
from flame_kernel.errors import ForwardError, NotPermitted
from tests.integration.guests import Guest
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, Program, flame_command, until
from tests.integration.work import in_thread
from tests.ports import free_port

MIB = 1024 * 1024

# A web server that sends as many bytes as it's asked for; what echoes line by line and says BYE at the end of the
# lines; what pours until nobody listens.
SERVICES = """
import hashlib, http.server, socketserver, threading

class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", self.path[1:])
        self.end_headers()
        left = int(self.path[1:])
        while left:
            piece = b"x" * min(left, 1 << 16)
            self.wfile.write(piece)
            left -= len(piece)

    def do_POST(self):
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read(min(left, 1 << 16))
            digest.update(piece)
            left -= len(piece)
        self.send_response(200)
        self.send_header("Content-Length", "64")
        self.end_headers()
        self.wfile.write(digest.hexdigest().encode())

    def log_message(self, *args):
        pass

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
        self.wfile.write(b"BYE")

poured = 0

class Pour(socketserver.BaseRequestHandler):
    def handle(self):
        global poured
        try:
            while True:
                self.request.sendall(b"y" * 65536)
                poured += 65536
        except OSError:
            poured = -1

class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

def serve(handler):
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]

web, echo, pour = serve(Web), serve(Echo), serve(Pour)
"""


@pytest.fixture(scope="module")
def there(flame: Flame) -> dict[str, int]:
    """The ports of services in the module's session."""
    flame.execute(SERVICES)
    return {name: flame[name] for name in ("web", "echo", "pour")}


@contextmanager
def connected(forward: Forward) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", forward.local_port), timeout=30) as own:
        yield own


def fetched(forward: Forward, count: int) -> int:
    with urllib.request.urlopen(f"{forward.url}/{count}", timeout=60) as answer:
        return sum(map(len, iter(lambda: answer.read(MIB), b"")))


def echoed(own: socket.socket, line: bytes) -> bytes:
    own.sendall(line)
    return own.makefile("rb").readline()


def rest(own: socket.socket) -> bytes:
    return b"".join(iter(lambda: own.recv(65536), b""))


def test_a_web_server_over_there_answers_here(flame: Flame, there: dict[str, int]) -> None:
    with flame.forward(there["web"]) as forward:
        assert forward.remote_port == there["web"]
        assert forward.url == f"http://127.0.0.1:{forward.local_port}"
        assert fetched(forward, 5) == 5
        data = os.urandom(8 * MIB)
        with urllib.request.urlopen(forward.url, data, timeout=60) as answer:
            assert answer.read().decode() == hashlib.sha256(data).hexdigest()
    assert forward.closed
    with pytest.raises(ConnectionRefusedError):
        connected(forward).__enter__()


def test_many_connections_at_once(flame: Flame, there: dict[str, int]) -> None:
    with flame.forward(there["echo"]) as forward, ThreadPoolExecutor(8) as pool:
        owns = [socket.create_connection(("127.0.0.1", forward.local_port), timeout=30) for _ in range(100)]
        answers = list(pool.map(lambda pair: echoed(pair[1], b"%d\n" % pair[0]), enumerate(owns)))
        assert answers == [b"%d\n" % number for number in range(100)]
        for own in owns:
            own.close()


def test_each_direction_ends_by_itself(flame: Flame, there: dict[str, int]) -> None:
    with flame.forward(there["echo"]) as forward, connected(forward) as own:
        assert echoed(own, b"there and back\n") == b"there and back\n"
        own.shutdown(socket.SHUT_WR)
        assert rest(own) == b"BYE"


def test_a_slow_reader_is_waited_for_and_stalls_nobody(flame: Flame, there: dict[str, int]) -> None:
    with flame.forward(there["pour"]) as pouring, flame.forward(there["web"]) as web:
        with connected(pouring) as own:
            own.recv(1)
            poured = -1
            while poured != (poured := flame["poured"]):
                assert fetched(web, 4 * MIB) == 4 * MIB
            assert 0 < poured < 32 * MIB  # windows, and what the system's own sockets hold
        until(lambda: flame["poured"] == -1)  # it was told that nobody reads any more


def test_memory_does_not_grow_with_a_download(flame: Flame, there: dict[str, int]) -> None:
    here, worker = psutil.Process(), psutil.Process(flame.evaluate("__import__('os').getpid()"))
    with flame.forward(there["web"]) as forward:
        fetched(forward, 16 * MIB)
        before = [process.memory_info().rss for process in (here, worker)]
        assert fetched(forward, 200 * MIB) == 200 * MIB
        after = [process.memory_info().rss for process in (here, worker)]
    assert all(now < then + 60 * MIB for then, now in zip(before, after, strict=True))


def test_calls_go_on_beside_a_download(flame: Flame, there: dict[str, int]) -> None:
    with flame.forward(there["pour"]) as forward, connected(forward) as own:
        reading = in_thread(lambda: [own.recv(MIB) for _ in range(200)])
        assert [flame.evaluate(str(number)) for number in range(20)] == list(range(20))
        assert len(reading.result(60)) == 200


def test_a_connection_survives_cuts(relay: Relay) -> None:
    with connect(relay.address) as flame:
        flame.execute(SERVICES)
        with flame.forward(flame["echo"]) as echo, flame.forward(flame["web"]) as web, connected(echo) as own:
            relay.throttle(32 * MIB)
            download = in_thread(fetched, web, 24 * MIB)
            for number in range(3):
                assert echoed(own, b"before %d\n" % number) == b"before %d\n" % number
                relay.cut()
                assert echoed(own, b"after %d\n" % number) == b"after %d\n" % number
            relay.heal()
            assert download.result(60) == 24 * MIB
            own.shutdown(socket.SHUT_WR)
            assert rest(own) == b"BYE"


def test_nothing_there_closes_the_connection_and_says_so_once(flame: Flame, capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    with flame.forward(port) as forward:
        for _ in range(2):
            with connected(forward) as own, pytest.raises(ConnectionResetError):
                own.recv(1)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"[flame] a connection to the forwarded port {forward.local_port} was closed")
    assert lines[0].endswith(f": localhost:{port}: Connection refused")


def test_a_connection_that_is_reset_over_there_is_reset_here(flame: Flame) -> None:
    flame.execute(
        "import socket, struct\nlistening = socket.create_server(('127.0.0.1', 0))\n"
        "def reset():\n    own, _ = listening.accept()\n    own.recv(1)\n"
        "    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n    own.close()"
    )
    with flame.forward(flame.evaluate("listening.getsockname()[1]")) as forward, connected(forward) as own:
        done = flame.submit("reset()")
        own.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            own.recv(1)
        done.result(30)


def test_a_port_of_this_machine_is_reached_over_there(flame: Flame) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with flame.forward(port, reverse=True) as forward:
            assert (forward.local_port, forward.reverse) == (port, True)
            flame.execute(
                "import socket\n"
                f"own = socket.create_connection(('127.0.0.1', {forward.remote_port}), timeout=30)\nown.sendall(b'up')"
            )
            here, _ = listening.accept()
            with here:
                here.settimeout(30)
                assert here.recv(2) == b"up"
                here.sendall(b"down")
                here.shutdown(socket.SHUT_WR)
                assert flame.evaluate("own.recv(10), own.recv(10)") == (b"down", b"")
                flame.execute("own.close()")
                assert here.recv(1) == b""
        until(lambda: not reached(flame, forward.remote_port))


def test_nothing_here_closes_the_connection_over_there(flame: Flame, capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    with flame.forward(port, reverse=True) as forward:
        flame.execute(
            f"import socket\nown = socket.create_connection(('127.0.0.1', {forward.remote_port}), timeout=30)"
        )
        with pytest.raises(ConnectionResetError):
            flame.evaluate("own.recv(1)")
    assert f": localhost:{port}: Connection refused" in capfd.readouterr().err


def test_a_port_that_is_taken_is_refused_if_it_was_asked_for(flame: Flame, there: dict[str, int]) -> None:
    with pytest.raises(ForwardError, match=f"can't listen at 127.0.0.1:{there['web']} here: Address already in use"):
        flame.forward(there["echo"], there["web"])
    with pytest.raises(ForwardError, match=f"can't listen at 127.0.0.1:{there['web']}: Address already in use"):
        flame.forward(there["echo"], there["web"], reverse=True)
    forwards = flame._connection.calls.forwards
    for reverse in (False, True):  # the number of the other machine's port, where nobody asked for a certain one
        with forwards.open(Wanted(there["echo"], there["web"], exactly=False, reverse=reverse), 30) as forward:
            assert forward.port not in (0, there["web"])


def test_a_port_that_is_asked_for_is_had(flame: Flame, there: dict[str, int]) -> None:
    port = free_port()
    with flame.forward(there["web"], port) as forward:
        assert forward.local_port == port
        assert fetched(forward, 1) == 1


def test_it_ends_with_the_connection(client: FlameServer) -> None:
    with connect(client.address) as flame:
        flame.execute(SERVICES)
        forward = flame.forward(flame["echo"])
        back = flame.forward(1, reverse=True)
        own = socket.create_connection(("127.0.0.1", forward.local_port), timeout=30)
        assert echoed(own, b"x\n") == b"x\n"
    with own:
        assert closes(own)
    assert forward.closed
    assert back.closed
    forward.close()  # does nothing any more


def closes(own: socket.socket) -> bool:
    try:
        return own.recv(1) == b""
    except ConnectionResetError:
        return True


def test_it_ends_with_the_session(client: FlameServer) -> None:
    with connect(client.address, session="ports") as flame, connect(client.address, session="ports") as other:
        forward = flame.forward(1)
        other.session.close()
        forward.wait()
        assert "was closed" in str(forward.error)
        with pytest.raises(ConnectionRefusedError):
            connected(forward).__enter__()


def test_after_a_restart_new_connections_reach_the_new_process(own: Flame) -> None:
    port = free_port()
    fixed = (
        f"fixed = Server(('127.0.0.1', {port}), Echo)\n"
        "threading.Thread(target=fixed.serve_forever, daemon=True).start()"
    )
    own.execute(SERVICES + fixed)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        back = own.forward(listening.getsockname()[1], reverse=True)
        with own.forward(port) as forward, connected(forward) as stream:
            assert echoed(stream, b"x\n") == b"x\n"
            own.session.restart()
            assert closes(stream)
            own.execute(SERVICES + fixed)
            with connected(forward) as fresh:
                assert echoed(fresh, b"y\n") == b"y\n"
        until(lambda: reached(own, back.remote_port))
        listening.accept()[0].close()
        back.close()


def reached(flame: Flame, port: int) -> bool:
    try:
        flame.execute(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=30).close()")
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        pass  # it was still waiting to be taken when the port was closed
    return True


def test_a_plain_connection_forwards_too(client: FlameServer, flame: Flame, there: dict[str, int]) -> None:
    with connect(client.address, plain=True) as plain, plain.forward(there["web"]) as forward:
        assert fetched(forward, MIB) == MIB


def test_whoever_may_execute_may_forward(client: FlameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest(client, "worker", "execute", monkeypatch)
    with guest.connect() as working:
        working.execute(SERVICES)
        with working.forward(working["web"]) as forward:
            assert fetched(forward, 5) == 5


def test_an_observer_forwards_nothing(client: FlameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest(client, "looker", "observe", monkeypatch)
    owner = client.client_environ()["FLAME_HOME"]
    with connect(client.address, session="watched") as flame:
        flame.session.share("looker", "observe")
        who = flame.session.name
        name = next(info.name for info in flame.sessions() if info.name == who)
        with guest.connect(session=f"{own_name(client)}/{name}", observe=True) as looking:
            for reverse in (False, True):
                with pytest.raises(NotPermitted, match="only observes"):
                    looking.forward(1, reverse=reverse)
        monkeypatch.setenv("FLAME_HOME", owner)
        flame.session.close()


def own_name(client: FlameServer) -> str:
    return client.command("keys", "list").stdout.split()[0]


def test_the_command_forwards_until_it_is_interrupted(client: FlameServer, flame: Flame, there: dict[str, int]) -> None:
    port = free_port()
    command = [sys.executable, "-m", "flame_kernel", "forward", client.address, f"{there['web']}:{port}"]
    program = Program(command, client.client_environ())
    try:
        until(lambda: program.out)
        assert program.out[0].startswith(f"http://127.0.0.1:{port} -> localhost:{there['web']} on {client.address}")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/7", timeout=30) as answer:
            assert answer.read() == b"x" * 7
        program.signal(signal.SIGINT)
        assert program.wait() == 0
    finally:
        program.kill()


def test_the_command_says_what_is_no_port(client: FlameServer) -> None:
    done = flame_command(client.client_environ(), "forward", client.address, "dashboard")
    assert done.returncode == 2
    assert "'dashboard' is no port: say 8787" in done.stderr
