"""The `flame` command where something is not as it should be: sources, pipes, interrupts, ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from flame_kernel import Flame, Host, connect
from tests.integration.servers import (
    PATIENCE_S,
    RUNNING,
    FlameServer,
    Program,
    clean_environ,
    flame_command,
    pair,
    until,
)

FLAME = [sys.executable, "-m", "flame_kernel"]


@pytest.fixture(scope="module")
def work(client: FlameServer) -> Iterator[Flame]:
    """A session by name, so that not each command starts one."""
    with connect(client.address, session="work") as flame:
        yield flame


def flame_in(client: FlameServer, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the `flame` command as the paired client, in the session by name."""
    return subprocess.run(
        [*FLAME, *arguments],
        env=client.client_environ(FLAME_HOST=client.address, FLAME_SESSION="work"),
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )


# ---------------------------------------------------------------- sources


def test_run_reads_a_source_as_python_does(client: FlameServer, work: Flame, tmp_path: Path) -> None:
    (tmp_path / "bom.py").write_bytes(b"\xef\xbb\xbfprint('marked')\n")
    done = flame_in(client, "run", str(tmp_path / "bom.py"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"marked\n", b"")
    done = flame_in(client, "run", "-", stdin=b"# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"'\\xe9'\n", b"")


def test_run_says_in_one_line_what_it_cannot_decode(client: FlameServer) -> None:
    done = flame_in(client, "run", "-", stdin=b'print("\xff")')
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"flame: <stdin>, line 1: SyntaxError: Non-UTF-8 code starting with '\\xff'")
    assert len(done.stderr.splitlines()) == 1


# ---------------------------------------------------------------- sessions that end, pipes that are closed


def test_a_console_whose_session_died_fails(client: FlameServer, work: Flame) -> None:
    done = flame_in(client, "console", "-s", "", stdin=b"import os; os._exit(3)\nprint(1)\n")
    assert done.returncode == 1
    assert b"SessionDied" in done.stderr
    assert done.stdout.splitlines()[-1] == b"(Remote session ended)"
    assert flame_in(client, "console", stdin=b"1 // 0\nexit()\n").returncode == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_who_reads_on_is_nothing_to_speak_of(
    client: FlameServer, work: Flame, tmp_path: Path, unbuffered: str
) -> None:
    script = tmp_path / "many.py"
    script.write_text("for number in range(200_000):\n    print(number)\n")  # more than a pipe holds
    running = subprocess.Popen(
        [*FLAME, "run", "-H", client.address, str(script)],
        env=client.client_environ(PYTHONUNBUFFERED=unbuffered),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout is not None
    assert running.stderr is not None
    with running.stdout, running.stderr:
        assert running.stdout.readline() == b"0\n"
        running.stdout.close()
        assert running.wait(PATIENCE_S) == 1
        assert running.stderr.read() == b""
    for arguments in (["console", "-s", "work", client.address], ["eval", "-s", "work", "-H", client.address, "1"]):
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "wb") as nobody:
            done = subprocess.run(
                [*FLAME, *arguments],
                env=client.client_environ(PYTHONUNBUFFERED=unbuffered),
                stdin=subprocess.DEVNULL,
                stdout=nobody,
                stderr=subprocess.PIPE,
                timeout=PATIENCE_S,
                check=False,
            )
        assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["eval", "1"], ["run", "-"], ["--help"]])
def test_a_full_disk_is_one_line(client: FlameServer, work: Flame, arguments: list[str], unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*FLAME, *arguments],
            env=client.client_environ(FLAME_HOST=client.address, FLAME_SESSION="work", PYTHONUNBUFFERED=unbuffered),
            input=b"print(1)",
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"flame: [Errno 28] No space left on device\n"


# ---------------------------------------------------------------- interrupts


def interrupt(program: Program) -> None:
    """Press Ctrl-C as soon as a program waits for what it asked for."""
    process = psutil.Process(program.process.pid)
    until(lambda: process.status() == psutil.STATUS_SLEEPING)
    program.signal(signal.SIGINT)


def status(program: Program) -> int:
    """Wait for a program's end and return its exit status as a shell tells it.

    CPython may end by the signal itself though the interrupt was handled, if it came through an exec() of a text.
    """
    ended = program.wait()
    return 128 - ended if ended < 0 else ended


def test_an_interrupt_that_takes_its_time_says_so_and_a_second_one_leaves(
    client: FlameServer, work: Flame, tmp_path: Path
) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    os.mkfifo(gate)
    blocked = f"open({str(begun)!r}, 'w').close() or open({str(gate)!r}).read()"  # no interrupt gets through to open()
    program = Program([*FLAME, "eval", "-s", "work", "-H", client.address, blocked], client.client_environ())
    try:
        until(begun.exists)
        interrupt(program)
        until(lambda: program.err)
        assert program.err == [
            f"flame: interrupting what runs there, which takes a moment ({client.address}, session 'work'); Ctrl-C "
            "again leaves it running"
        ]
        interrupt(program)
        assert status(program) == 130
        assert program.err[1].startswith("flame: gave up waiting: the call goes on in session 'work'")
        assert len(program.err) == 2
    finally:
        os.close(os.open(gate, os.O_RDWR | os.O_NONBLOCK))  # lets go of the call, if it's there
        program.kill()


def test_an_interrupted_call_ends_with_130(client: FlameServer, work: Flame, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    busy = f"open({str(begun)!r}, 'w').close() or any(False for _ in iter(int, 1))"
    program = Program([*FLAME, "eval", "-s", "work", "-H", client.address, busy], client.client_environ())
    until(begun.exists)
    interrupt(program)
    assert status(program) == 130
    assert not [line for line in program.err if not line.startswith("flame: interrupting")]
    assert program.out == []


@pytest.mark.parametrize("arguments", [["run", "-H", "{at}", "-"], ["eval", "-H", "{at}", "1"], ["ls", "{at}"]])
def test_an_interrupt_while_it_connects_ends_it_without_a_word(folder: Path, arguments: list[str]) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "silent.sock"))
        silent.listen()
        silent.settimeout(PATIENCE_S)
        command = [*FLAME, *(word.format(at=folder / "silent.sock") for word in arguments)]
        program = Program(command, clean_environ(folder / "home"))
        try:
            with silent.accept()[0]:  # kept open: else it's told, maybe first, that no server is there
                program.signal(signal.SIGINT)
                assert (status(program), program.out, program.err) == (130, [], [])
        finally:
            program.kill()


# ---------------------------------------------------------------- input


def test_an_expression_that_asks_is_told_who_can(client: FlameServer, work: Flame) -> None:
    done = flame_in(client, "eval", 'input("q")', stdin=b"hello\n")
    assert done.returncode == 1
    assert done.stderr.startswith(b"flame: the expression asked for input, and nobody can be asked by flame eval")
    assert b"flame run" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    ended = flame_in(client, "eval", "__import__('pickle').loads(b'')")
    assert b"EOFError: Ran out of input" in ended.stderr


# ---------------------------------------------------------------- invites


def test_an_invite_is_for_the_server_that_runs(
    lone_server: Callable[..., FlameServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = lone_server("-p", "0", "-k", str(tmp_path / "own.key"))
    done = server.command("invite")
    assert done.stdout.startswith(f"flame://127.0.0.1:{server.port}/#")
    assert (done.returncode, done.stderr) == (0, "")
    pair(done.stdout.strip())  # with the key that it was told to use, too
    Host(server.address).close()
    second = Program([*FLAME, "serve", "--enable", "-p", "0"], clean_environ(server.home))
    try:
        second.wait_for(RUNNING)
        unclear = server.command("invite")
        assert unclear.returncode == 1
        assert unclear.stderr.startswith("flame: several servers run here (")
        assert f"127.0.0.1:{server.port}" in unclear.stderr
        assert "-p" in unclear.stderr
        named = server.command("invite", "-p", str(server.port), "-H", "gpu1")
        assert named.stdout.startswith(f"flame://gpu1:{server.port}/#")
        second.signal(signal.SIGTERM)
        assert second.wait() == 0
    finally:
        second.kill()


def test_an_invite_to_nobody_says_that_it_is_a_guess(lone_server: Callable[..., FlameServer], folder: Path) -> None:
    server = lone_server("-u", str(folder / "only.sock"))
    done = server.command("invite")
    assert done.returncode == 0
    assert done.stdout.startswith("flame://127.0.0.1:9999/#")
    assert done.stderr.startswith("flame: a guess: no server of this user listens on TCP here now")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("minutes", ["-1", "0", "nan", "inf"])
def test_an_invite_is_good_for_some_time(folder: Path, minutes: str) -> None:
    done = flame_command(clean_environ(folder), "invite", "--minutes", minutes)
    assert done.returncode == 2
    assert "say a number above 0" in done.stderr
    assert done.stdout == ""


# ---------------------------------------------------------------- ports


@pytest.mark.parametrize("ports", [["99999"], ["0"], ["gpu1", "8787:0"], ["8787", "70000"], ["4" * 30]])
def test_a_port_that_there_cannot_be_is_a_usage_error(folder: Path, ports: list[str]) -> None:
    done = flame_command(clean_environ(folder), "forward", *ports)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: ")
