"""Clients of Pyro4's Flame, unmodified and in processes of their own, at the bridge beside a server."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pickle
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.servers import (
    PATIENCE_S,
    RUNNING,
    FlameServer,
    Program,
    clean_environ,
    flame_command,
    processes_of,
    run_script,
    short_folder,
    until,
)

EXAMPLE = Path(__file__).resolve().parents[1] / "pyro4" / "example"

# What each client below begins with: an old client's own lines.
PREAMBLE = """
import json, sys
import Pyro4, Pyro4.utils.flame
Pyro4.config.SERIALIZER = "pickle"
location, key = sys.argv[1:3]
flame = Pyro4.utils.flame.connect(location, hmac_key=key)
"""


class OldServer(FlameServer):
    """A server with a bridge."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder, "-p", "0", "--pyro4", "0", *options)

    @property
    def told(self) -> str:
        """What it has printed."""
        assert self.program is not None
        return "\n".join(self.program.out)

    @property
    def location(self) -> str:
        """Where old clients connect to."""
        found = re.search(r"PYRO:Pyro\.Flame@(\S+:\d+)", self.told)
        assert found is not None, self.told
        return found[1]

    @property
    def key(self) -> str:
        """What they need to know."""
        return (self.home / "config" / "pyro4.key").read_text().strip()

    def bridges(self) -> list[psutil.Process]:
        """Return the bridge's process."""
        return [one for one in processes_of(self.home) if "flame_kernel.pyro4" in " ".join(one.cmdline())]

    def old(self, code: str, *arguments: str, location: str = "", key: str | None = None) -> Any:
        """Run an old client, and return what it prints last: JSON."""
        environ = clean_environ(self.client_home)
        words = (location or self.location, self.key if key is None else key, *arguments)
        done = run_script(PREAMBLE + textwrap.dedent(code), environ, *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def server() -> Iterator[OldServer]:
    with short_folder() as folder, OldServer(folder) as server:
        yield server


@pytest.fixture
def lone() -> Iterator[Callable[..., OldServer]]:
    """Make servers for one test alone."""
    with contextlib.ExitStack() as stack:
        yield lambda *options: stack.enter_context(OldServer(stack.enter_context(short_folder()), *options))


# ---------------------------------------------------------------- what old clients do


def test_modules_builtins_and_code(server: OldServer) -> None:
    here = server.old("""
        flame.execute("import math\\n\\ncount = 3\\n  ")
        print(json.dumps([
            flame.module("os").path.join("a", "b"),
            flame.module("os.path").join("a", "b"),
            flame.module("datetime").datetime(2020, 1, 2).isoformat(),
            flame.module("textwrap").shorten("one two three", width=9),
            flame.builtin("max")([22, 99, 1]),
            flame.builtin("sorted")([1, 3, 2], reverse=True),
            flame.evaluate("math.sqrt(25) + count"),
            flame.invokeModule("os.path.join", ("c", "d"), {}),
            flame.module("os").getpid(),
            flame.evaluate("{'a': [1, 2.5, None, (True, b'x')]}") == {"a": [1, 2.5, None, (True, b"x")]},
        ]))
    """)
    kernel = server.kernels()[0].pid
    assert here == ["a/b", "a/b", "2020-01-02T00:00:00", "one [...]", 99, [3, 2, 1], 8.0, "c/d", kernel, True]


def test_exceptions_are_their_own_type_with_the_remote_traceback(server: OldServer) -> None:
    told = server.old("""
        def error_of(act, *operands):
            try:
                act(*operands)
            except BaseException as error:
                sys.last_args = error.args
                return [type(error).__module__, type(error).__name__, str(error), "".join(error._pyroTraceback)]
        flame.execute("def divide(a, b):\\n    return a / b\\nclass Own(Exception): pass")
        flame.execute("def items():\\n    yield 1\\n    raise ValueError('half-way')")
        items = flame.evaluate("items()")
        print(json.dumps([
            error_of(flame.evaluate, "divide(1, 0)"),
            error_of(flame.module, "no_such_module"),
            error_of(flame.execute, "raise Own('of a class that only they know')"),
            error_of(flame.execute, "raise SystemExit(3)"),
            error_of(flame.evaluate, "__import__('threading').Lock()"),
            [*error_of(flame.execute, "def f(:"), len(sys.last_args[1])],
            [next(items), error_of(lambda: next(items))[1:3]],
        ]))
    """)
    divided, missing, own, left, lock, syntax, streamed = told
    assert divided[:3] == ["builtins", "ZeroDivisionError", "division by zero"]
    assert "in divide\n    return a / b\n" in divided[3]
    assert "flame_kernel/pyro4" not in divided[3]
    assert missing[:2] == ["builtins", "ModuleNotFoundError"]
    assert own[:3] == ["Pyro4.errors", "PyroError", "Own: of a class that only they know"]
    assert left[:3] == ["Pyro4.errors", "PyroError", "SystemExit: 3"]
    assert lock[:3] == ["builtins", "TypeError", "cannot pickle '_thread.lock' object"]
    assert syntax[:2] == ["builtins", "SyntaxError"]
    assert syntax[-1] == 4  # what Pythons before 3.10 know of
    assert streamed == [1, ["ValueError", "half-way"]]


def test_files_modules_iterators_batches_and_asynchronous_calls(server: OldServer, tmp_path: Path) -> None:
    path = tmp_path / "sent.bin"
    told = server.old(
        """
        path = sys.argv[3]
        flame.sendfile(path, bytes(range(256)) * 4096)
        same = flame.getfile(path) == bytes(range(256)) * 4096
        flame.sendmodule("parcel.inner", "def shout(text): return text.upper()")
        flame.sendfile(path + ".txt", b"one\\ntwo\\n")
        batch = Pyro4.batch(flame)
        batch.evaluate("1 + 1")
        batch.invokeBuiltin("len", ("abc",), {})
        later = flame.__copy__()
        later._pyroAsync()
        print(json.dumps([
            same,
            flame.module("parcel.inner").shout("hello"),
            flame.getmodule("parcel.inner"),
            list(flame.evaluate("(n * n for n in range(1000))")) == [n * n for n in range(1000)],
            list(flame.builtin("open")(path + ".txt")),
            list(batch()),
            later.evaluate("20 + 1").value,
        ]))
        """,
        str(path),
    )
    source = "def shout(text): return text.upper()"
    assert told[2].strip() == source
    assert told == [True, "HELLO", told[2], True, ["one\n", "two\n"], [2, 3], 21]
    assert path.stat().st_mode & 0o777 == 0o600


def test_sixty_proxies_are_of_use_at_the_same_time(server: OldServer) -> None:
    code = 'modules = [flame.module("os") for _ in range(60)]\nprint(len({module.getpid() for module in modules}))'
    assert server.old(code) == 1


def test_console(server: OldServer) -> None:
    lines = ["x = 5", "x + 1", "for n in range(2):", "    print('line', n)", "", "1 // 0", "quit()", "input()", "x"]
    code = PREAMBLE + 'with flame.console() as console:\n    console.interact()\nprint("left")'
    done = subprocess.run(
        [sys.executable, "-c", code, server.location, server.key],
        input="\n".join(lines) + "\n",
        env=clean_environ(server.client_home),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert re.match(rf"Python 3\..* on linux\n\(Remote console on {server.location}\)\n", done.stderr)
    out = done.stdout.replace(">>> ", "").replace("... ", "")
    assert out.startswith("6\nline 0\nline 1\n")
    assert "ZeroDivisionError: integer division or modulo by zero\n" in out
    assert "Use Ctrl-D" in out
    assert out.endswith("5\n\n(Remote session ended)\nleft\n") or out.endswith("5\n(Remote session ended)\nleft\n")


def test_consoles_share_the_session_but_not_their_output(server: OldServer) -> None:
    told = server.old("""
        first, second = flame.console(), flame.console()
        pushed = first.remoteconsole.push_and_get_output
        other = second.remoteconsole.push_and_get_output
        print(json.dumps([
            pushed("if True:"), other("shared = 7; print('second')"), pushed("    print('first', shared)"), pushed(""),
            first.close(), other("shared"),
        ]))
    """)
    assert told == [["", True], ["second\n", False], ["", True], ["first 7\n", False], None, ["7\n", False]]


def test_a_session_that_dies_is_told_and_the_next_call_gets_a_new_one(server: OldServer) -> None:
    told = server.old("""
        try:
            flame.execute("import os; os._exit(3)")
        except Pyro4.errors.PyroError as error:
            why = str(error)
        print(json.dumps([why, flame.evaluate("6 * 7")]))
    """)
    assert "exit code 3" in told[0]
    assert told[1] == 42


# ---------------------------------------------------------------- what crosses the wire


def test_pickles_name_pyro4s_own_classes_and_nothing_of_ours(server: OldServer) -> None:
    told = server.old("""
        import io, pickle
        raw = flame.__copy__()
        raw._pyroRawWireResponse = True

        class Reader(pickle.Unpickler):
            found = set()
            def find_class(self, module, name):
                self.found.add(f"{module}.{name}")
                return super().find_class(module, name)

        def names(method, *operands):
            data = raw._pyroInvoke(method, operands, {}).data
            Reader.found.clear()
            Reader(io.BytesIO(data)).load()
            assert data[1] == 4, data[:2]
            return sorted(Reader.found), sys.argv[2].encode() in data

        print(json.dumps([
            names("module", "os"), names("builtin", "max"), names("console"), names("evaluate", "1 // 0"),
            names("evaluate", "[1, 'a', None]"),
        ]))
    """)
    module, builtin, console, error, plain = told
    proxy = ["Pyro4.core.Proxy", "Pyro4.core.URI"]
    assert module == [[*proxy, "Pyro4.utils.flame.FlameModule"], False]
    assert builtin == [[*proxy, "Pyro4.utils.flame.FlameBuiltin"], False]
    assert console == [[*proxy, "Pyro4.utils.flame.RemoteInteractiveConsole"], False]
    assert error == [["builtins.ZeroDivisionError"], False]
    assert plain == [[], False]


# ---------------------------------------------------------------- who is let in


class Hostile:
    """A pickle that runs something when it's loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def greeting(payload: bytes, annotations: bytes = b"") -> bytes:
    """Return Pyro4's first message, MSG_CONNECT, with pickle (4) as its serializer."""
    numbers = (48, 1, 0, 0, len(payload), 4, len(annotations), 0)
    checksum = (sum(numbers) + 0x34E9) & 0xFFFF
    return struct.pack("!4sHHHHiHHHH", b"PYRO", *numbers, checksum) + annotations + payload


def say(location: str, data: bytes) -> bytes:
    host, _, port = location.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        heard = b""
        with contextlib.suppress(OSError):  # it hangs up on what it does not want to hear
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                heard += more
        return heard


def test_nothing_of_a_stranger_is_unpickled(server: OldServer, tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    payload = pickle.dumps({"handshake": Hostile(mark), "object": "Pyro.Flame"}, 4)
    wrong = b"HMAC" + struct.pack("!H", 20) + bytes(20)
    for signature in (b"", wrong, b"HMAC\xff", b"HMAC" + struct.pack("!H", 60_000), b"\xff\xfe\xfd\xfc\0\0"):
        say(server.location, greeting(payload, signature))
    for rubbish in (b"", b"GET / HTTP/1.1\r\n\r\n" * 3, greeting(b"")[:-1], greeting(payload)[:60]):
        say(server.location, rubbish)
    assert say(server.location, greeting(payload))  # it's told why not
    assert say(server.location, greeting(bytes(1024 * 1024))) == b""  # so much is not even read
    assert not mark.exists()
    assert server.old('print(flame.evaluate("6 * 7"))') == 42
    pickle.loads(payload)  # noqa: TID251  # it's a real attack
    assert mark.exists()


@pytest.mark.parametrize("key", ["", "wrong"])
def test_who_has_not_the_key_is_turned_away(server: OldServer, key: str) -> None:
    environ = clean_environ(server.client_home)
    done = run_script(PREAMBLE, environ, server.location, key)
    assert done.returncode == 1
    assert "CommunicationError" in done.stderr or "SecurityError" in done.stderr
    assert server.key not in done.stderr


def test_the_key_is_in_a_private_file_and_a_command_shows_it(server: OldServer) -> None:
    path = server.home / "config" / "pyro4.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert server.command("pyro4-key").stdout.strip() == server.key
    assert len(server.key) >= 40
    assert all(server.key not in " ".join(one.cmdline()) for one in processes_of(server.home))
    assert server.key not in server.told


# ---------------------------------------------------------------- switching it on


def test_what_is_known_to_be_weak_is_said_where_it_is_switched_on(server: OldServer) -> None:
    assert "isn't encrypted" in server.told
    assert "played back" in server.told
    assert "127.0.0.1:" in server.location
    helped = " ".join(flame_command(clean_environ(server.client_home), "serve", "--help").stdout.split())
    assert "isn't encrypted" in helped
    assert "played back" in helped
    assert server.told.splitlines()[-1] == RUNNING or RUNNING in server.told


def test_the_published_example_runs_unchanged_where_no_key_is_asked_for(lone: Callable[..., OldServer]) -> None:
    server = lone("--pyro4-no-hmac")
    assert "NO KEY is asked for" in server.told
    console = ["import os", "print(os.getpid())"]
    done = subprocess.run(
        [sys.executable, "client.py"],
        input="\n".join([server.location, *console]) + "\n",
        cwd=EXAMPLE,
        env=clean_environ(server.client_home),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kernel = server.kernels()[0].pid
    for line in (
        f"remote host name= {socket.gethostname()}",
        "calculated square root= 22.360679774997898",
        "(caught ZeroDivisionError)",
        "result from uploaded module: 999",
        f">>> >>> {kernel}",
        "(Remote session ended)",
        "Console session ended.",
    ):
        assert line in done.stdout
    assert server.program is not None
    until(lambda: "Hello there, remote server stdout!" in server.told)
    until(lambda: "  Hello, my name is hello and my number is 42." in server.told)


def test_a_bridge_that_dies_is_started_again_and_ends_with_its_server(lone: Callable[..., OldServer]) -> None:
    server = lone()
    assert server.program is not None
    server.old('flame.execute("kept = 5"); print(0)')
    (bridge,) = server.bridges()
    bridge.kill()
    until(lambda: any("served again" in line for line in server.program.err), timeout=90)
    assert any("has died (signal 9)" in line for line in server.program.err)
    assert server.old('print(flame.evaluate("kept"))') == 5
    (bridge,) = server.bridges()
    server.kill()
    bridge.wait(PATIENCE_S)
    server.start()  # and where it ends as it should, nothing may be left either


def test_off_unless_it_is_asked_for_and_enabled(tmp_path: Path) -> None:
    with short_folder() as folder:
        done = flame_command(clean_environ(folder), "serve", "-p", "0", "--pyro4", "0")
        assert done.returncode == 1
        assert done.stderr.startswith("flame: the Flame server is disabled")
        assert not (folder / "config" / "pyro4.key").exists()
        with FlameServer(folder) as server:
            assert server.program is not None
            assert not any("pyro4" in line for line in server.program.out)


def test_a_port_that_is_taken_ends_the_server_with_one_line() -> None:
    with short_folder() as folder, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        program = Program(
            [sys.executable, "-m", "flame_kernel", "serve", "--enable", "-p", "0", "--pyro4", str(port)],
            clean_environ(folder / "s"),
        )
        try:
            assert program.wait() == 1
        finally:
            for process in processes_of(folder / "s"):
                process.send_signal(signal.SIGKILL)
        assert f"127.0.0.1:{port}: Address already in use" in program.err[-1]
        assert RUNNING not in program.out


def test_without_pyro4_it_says_what_to_install() -> None:
    assert importlib.util.find_spec("Pyro4") is not None
    code = """
        import sys
        sys.modules["Pyro4"] = None
        from flame_kernel.cli import main
        main(["serve", "--enable", "-p", "0", "--pyro4", "0"])
    """
    with short_folder() as folder:
        done = run_script(textwrap.dedent(code), clean_environ(folder))
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install 'remote-flame[pyro4]'")
    assert len(done.stderr.splitlines()) == 1
