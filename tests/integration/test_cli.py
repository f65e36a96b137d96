"""The `flame` command."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import flame_kernel
from flame_kernel import connect
from tests.integration.relay import Relay
from tests.integration.servers import PATIENCE_S, FlameServer, Program, clean_environ, flame_command, until
from tests.integration.work import WAIT_FOR, in_thread, wait_until_set


def test_version(folder: Path) -> None:
    done = flame_command(clean_environ(folder), "--version")
    assert done.returncode == 0
    assert flame_kernel.__version__ in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["serve", "-h"], ["serve", "--help"], ["invite", "-h"]])
def test_help(folder: Path, arguments: list[str]) -> None:
    done = flame_command(clean_environ(folder), *arguments)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ")
    assert "--help" in done.stdout


def test_options_of_the_server_are_explained(folder: Path) -> None:
    text = flame_command(clean_environ(folder), "serve", "-h").stdout
    for option in ("-H", "-p", "-u", "-q", "-v", "-k", "-h", "--enable"):
        assert f"{option}" in text
    assert "--embedded" not in text


def test_unknown_command_and_option(folder: Path) -> None:
    for arguments in (["frobnicate"], ["serve", "--frobnicate"], ["serve", "-p", "70000"]):
        done = flame_command(clean_environ(folder), *arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_invite_pairs_a_second_client(client: FlameServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = client.fresh_invite()
    assert text.startswith(f"flame://127.0.0.1:{client.port}/#")
    monkeypatch.setenv("FLAME_HOME", str(folder / "second"))
    with connect(text) as flame:
        assert flame.evaluate("1") == 1
        assert len(flame.sessions()) == 1  # another key sees its own sessions only
    with connect(client.address) as flame:
        assert flame.evaluate("1") == 1


def test_invite_names_the_host_it_is_told(client: FlameServer) -> None:
    done = client.command("invite", "-H", "gpu1", "-p", "4321")
    assert done.stdout.startswith("flame://gpu1:4321/#")


# ---------------------------------------------------------------- work in a session


def flame_in(client: FlameServer, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the `flame` command as the paired client, in its home."""
    return subprocess.run(
        [sys.executable, "-m", "flame_kernel", *arguments],
        env=client.client_environ(FLAME_HOST=client.address),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_put_and_get(client: FlameServer, tmp_path: Path) -> None:
    (tmp_path / "a b.csv").write_text("1")
    (tmp_path / "c.csv").write_text("2")
    there = tmp_path / "there"
    done = flame_in(client, "put", f"{tmp_path}/*.csv", f"{there}/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in there.iterdir()) == ["a b.csv", "c.csv"]
    done = flame_in(client, "get", "-H", client.address, f"{there}/a b.csv", f"{there}/c.csv", str(tmp_path / "back"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "back" / "c.csv").read_text() == "2"


def test_copies_that_fail_say_so_in_one_line(client: FlameServer, tmp_path: Path) -> None:
    done = flame_in(client, "get", str(tmp_path / "nope"))
    assert done.returncode == 1
    assert done.stderr.startswith("flame: ")
    assert client.address in done.stderr
    assert len(done.stderr.splitlines()) == 1
    (tmp_path / "link").symlink_to("/etc/passwd")
    refused = flame_in(client, "put", str(tmp_path), f"{tmp_path}/x/")
    assert refused.returncode == 1
    assert "links='follow'" in refused.stderr
    skipped = flame_in(client, "put", "--links", "skip", str(tmp_path), f"{tmp_path}/x/")
    assert skipped.returncode == 0
    assert skipped.stderr == f"flame: left out {tmp_path}/link\n"


def test_eval_prints_a_value_or_the_remote_traceback(client: FlameServer) -> None:
    done = flame_in(client, "eval", "{'a': 2 ** 10}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "{'a': 1024}\n", "")
    assert flame_in(client, "eval", "print('told')").stdout == "told\n"
    failed = flame_in(client, "eval", "1 // 0")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith(f"Remote traceback ({client.address}")
    assert failed.stderr.endswith("ZeroDivisionError: integer division or modulo by zero\n")
    assert "flame_kernel" not in failed.stderr


def test_eval_answers_while_a_cell_runs(client: FlameServer, tmp_path: Path) -> None:
    with connect(client.address, session="busy") as flame:
        flame.execute(WAIT_FOR)
        cell = in_thread(flame.run, f"step = 7; wait_for({str(tmp_path / 'gate')!r})", quiet=True)
        wait_until_set(flame, "step")
        assert flame_in(client, "eval", "-s", "busy", "step").stdout == "7\n"
        assert not cell.done()
        (tmp_path / "gate").touch()
        cell.result(PATIENCE_S)
        flame.session.close()


def test_run_runs_a_script_over_there(client: FlameServer, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nprint(sys.argv[1:], __name__)\nprint('ü', file=sys.stderr)\nprint(input())\nif '-x' in sys.argv:\n"
        "    sys.exit(4)\n5\n"
    )
    done = flame_in(client, "run", str(script), "--", "-a", "b c", stdin="asked\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "['-a', 'b c'] __main__\nasked\n", "ü\n")
    assert flame_in(client, "run", str(script), "--", "-x", stdin="asked\n").returncode == 4
    failed = flame_in(client, "run", "-", stdin="print('begun')\n1 // 0\n")
    assert failed.returncode == 1
    assert failed.stdout == "begun\n"
    assert "ZeroDivisionError" in failed.stderr
    assert "\x1b" not in failed.stderr
    assert "flame_kernel" not in failed.stderr


def test_ctrl_c_ends_what_run_runs(client: FlameServer) -> None:
    command = [sys.executable, "-m", "flame_kernel", "run", "-H", client.address, "/dev/stdin"]
    code = "import time\nprint('begun', flush=True)\ntime.sleep(60)\n"
    child = subprocess.Popen(
        command,
        env=client.client_environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(code)
    child.stdin.close()
    assert child.stdout.readline() == "begun\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(PATIENCE_S) == 130
    assert child.stderr is not None
    assert "KeyboardInterrupt" in child.stderr.read()
    child.stdout.close()
    child.stderr.close()


def test_ctrl_c_ends_a_copy_and_the_next_one_goes_on(client: FlameServer, relay: Relay, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(256)) * 4096 * 16)
    there = tmp_path / "there"
    relay.throttle(8 * 1024 * 1024)
    command = [sys.executable, "-m", "flame_kernel", "put", "-H", relay.address, str(tmp_path / "f"), f"{there}/"]
    copying = Program(command, client.client_environ())
    until(lambda: sum(path.stat().st_blocks * 512 for path in there.glob(".*")) > 4 * 1024 * 1024)
    copying.signal(signal.SIGINT)
    assert copying.wait() == 130
    assert "Traceback" not in "\n".join(copying.err)
    assert not (there / "f").exists()
    relay.heal()
    with connect(client.address) as flame:  # through another way, but to the same place
        flame.put(tmp_path / "f", f"{there}/")
    assert (there / "f").read_bytes() == (tmp_path / "f").read_bytes()


def test_an_unknown_host_is_one_line(client: FlameServer, tmp_path: Path) -> None:
    for arguments in (["eval", "1"], ["console"], ["get", "x"], ["put", str(tmp_path)]):
        option = [] if arguments[0] == "console" else ["-H"]
        done = flame_in(client, arguments[0], *option, "127.0.0.1:1", *arguments[1:])
        assert done.returncode == 1
        assert done.stderr.startswith("flame: 127.0.0.1:1 is not known here")
        assert len(done.stderr.splitlines()) == 1
