"""The console: in a terminal, on a pipe, in a notebook, and through the API."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pexpect
import pytest
from jupyter_client.manager import start_new_kernel

from flame_kernel import Flame, connect
from flame_kernel.errors import CallsUnavailable, LinkLost
from tests.integration.servers import PATIENCE_S, FlameServer, pair
from tests.integration.work import in_thread

BANNER = f"Python {sys.version} on {sys.platform}"
ENDED = "(Remote session ended)"
FLAME = [sys.executable, "-m", "flame_kernel"]

# Bracketed paste and other things that a terminal hides.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_pipe(server: FlameServer, lines: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FLAME, "console", server.address, *arguments],
        env=server.client_environ(),
        input=lines,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture
def terminal(client: FlameServer) -> Iterator[Callable[..., pexpect.spawn]]:
    """Open consoles in terminals of their own."""
    with ExitStack() as stack:

        def start(*arguments: str) -> pexpect.spawn:
            child = pexpect.spawn(
                sys.executable,
                ["-m", "flame_kernel", "console", client.address, *arguments],
                env={**client.client_environ(), "TERM": "dumb", "INPUTRC": "/dev/null"},
                encoding="utf-8",
                timeout=PATIENCE_S,
                dimensions=(50, 200),
            )
            stack.callback(child.close, force=True)
            child.delaybeforesend = None
            child.expect_exact(f"(Remote console on {client.address})")
            child.expect_exact(">>> ")
            return child

        yield start


# ---------------------------------------------------------------- in a terminal


def test_lines_blocks_and_the_end(terminal: Callable[..., pexpect.spawn]) -> None:
    child = terminal()
    child.sendline("6 * 7")
    child.expect_exact("\n42\r\n>>> ")
    child.sendline("for i in range(2):")
    child.expect_exact("... ")
    child.sendline("    print('line', i)")
    child.expect_exact("... ")
    child.sendline("")
    child.expect_exact("line 0\r\nline 1\r\n>>> ")
    child.sendline("import sys; print('to stderr', file=sys.stderr)")
    child.expect_exact("\nto stderr")
    child.sendline("1 // 0")
    child.expect("ZeroDivisionError.*>>> ")
    child.sendline("x = = 1")
    child.expect("SyntaxError.*>>> ")
    child.sendeof()
    child.expect_exact(ENDED)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_the_session_can_ask_here(terminal: Callable[..., pexpect.spawn]) -> None:
    child = terminal()
    child.sendline("name = input('who? '); print('hello', name)")
    child.expect_exact("\nwho? ")
    child.sendline("me")
    child.expect_exact("\nhello me\r\n>>> ")
    child.sendline("import getpass; print(getpass.getpass('secret? ')[::-1])")
    child.expect_exact("\nsecret? ")
    child.sendline("drowssap")
    child.expect_exact("password\r\n>>> ")
    child.sendline("input('end? ')")
    child.expect_exact("\nend? ")
    child.sendeof()
    child.expect("EOFError.*>>> ")


def test_what_threads_print_comes_while_nothing_runs(terminal: Callable[..., pexpect.spawn], tmp_path: Path) -> None:
    child = terminal()
    lines = ["import os, threading, time", f"gate = {str(tmp_path / 'gate')!r}"]
    lines += [
        "def wait():",
        "    while not os.path.exists(gate): time.sleep(0.01)",
        "    print('from a', 'thread')",
        "",
    ]
    for line in [*lines, "threading.Thread(target=wait).start()"]:
        child.sendline(line)
        child.expect(r">>> |\.\.\. ")
    (tmp_path / "gate").touch()
    child.expect_exact("from a thread")


def test_ctrl_c_interrupts_what_runs_there_and_discards_what_is_typed(
    terminal: Callable[..., pexpect.spawn], tmp_path: Path
) -> None:
    child = terminal()
    child.sendline("import time; print('begun'); time.sleep(60)")
    child.expect_exact("\nbegun")  # comes while it runs
    child.sendintr()
    child.expect(r"KeyboardInterrupt.*>>> ")
    child.sendline("if True:")
    child.expect_exact("... ")
    child.send("    1 // 0")
    child.expect_exact("1 // 0")
    child.sendintr()
    child.expect_exact("KeyboardInterrupt")
    child.expect_exact(">>> ")
    child.sendline("input('ask ')")
    child.expect_exact("\nask ")
    child.sendintr()
    child.expect(r"KeyboardInterrupt.*>>> ")
    child.sendline("2 + 3")
    child.expect_exact("\n5\r\n>>> ")


def test_lines_are_completed_over_there_and_remembered(terminal: Callable[..., pexpect.spawn]) -> None:
    child = terminal()
    # What completes is loaded with its first use, which may take seconds; longer than a line is kept waiting for it.
    child.sendline("_ = get_ipython().complete('impor')")
    child.expect_exact(">>> ")
    child.sendline("a_rather_long_name = 41")
    child.expect_exact(">>> ")
    child.send("a_rath\t")
    child.expect_exact("a_rather_long_name")
    child.sendline(" + 1")
    child.expect_exact("\n42\r\n>>> ")
    child.sendline("import math")
    child.expect_exact(">>> ")
    child.send("print(math.isq\t")
    child.expect_exact("math.isqrt")
    child.sendline("(49))")
    child.expect_exact("\n7\r\n>>> ")
    child.sendline("exit()")
    child.expect_exact(ENDED)
    child.expect(pexpect.EOF)

    again = terminal()  # another process, and another session
    again.send("\x10\x10\x10")  # up: exit(), print(…), import math
    again.expect_exact("import math")
    again.sendline("")
    again.expect_exact(">>> ")
    again.sendline("math.isqrt(81)")
    again.expect_exact("\n9\r\n>>> ")


def test_a_named_session_goes_on_after_its_console(terminal: Callable[..., pexpect.spawn], client: FlameServer) -> None:
    child = terminal("-s", "typed")
    child.sendline("x = 5")
    child.expect_exact(">>> ")
    child.sendline("quit")
    child.expect_exact(ENDED)
    with connect(client.address, session="typed") as flame:
        assert flame["x"] == 5
        flame.session.close()


# ---------------------------------------------------------------- on a pipe


def test_a_pipe_gets_no_prompts(client: FlameServer) -> None:
    done = on_pipe(client, "x = 3\nfor i in range(x):\n    print(i)\n\nx\ninput()\nanswer\n'ü'")
    assert done.stdout == f"{BANNER}\n(Remote console on {client.address})\n0\n1\n2\n3\n'answer'\n'ü'\n{ENDED}\n"
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_block_at_the_end_of_a_pipe_is_run(client: FlameServer) -> None:
    assert "last\n" in on_pipe(client, "if True:\n    print('last')").stdout


def test_help_is_shown(client: FlameServer) -> None:
    assert "Return the number of items in a container" in on_pipe(client, "len?\n").stdout


def test_errors_and_stderr_go_to_stderr_without_colours(client: FlameServer) -> None:
    done = on_pipe(client, "import sys; print('told', file=sys.stderr)\n1 // 0\nprint('on')\n")
    assert "told\n" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "\x1b" not in done.stderr
    assert done.stdout.endswith(f"on\n{ENDED}\n")


@pytest.mark.parametrize("end", ["exit()", "quit()", "exit", "quit", " exit ( 0 ) ", "raise SystemExit(3)"])
def test_ways_to_end_it(client: FlameServer, end: str) -> None:
    done = on_pipe(client, f"print('before')\n{end}\nprint('after')\n")
    assert "before\n" in done.stdout
    assert "after" not in done.stdout
    assert done.stdout.endswith(f"{ENDED}\n")
    assert done.returncode == 0


def test_a_session_that_dies_says_so_and_does_not_hang(client: FlameServer) -> None:
    done = on_pipe(client, "import os; os._exit(3)\nprint('after')\n")
    assert "SessionDied" in done.stderr
    assert "after" not in done.stdout
    assert done.stdout.endswith(f"{ENDED}\n")


def test_two_consoles_never_mix(client: FlameServer) -> None:
    lines = "import time\nfor i in range(50):\n    print({0!r}, i)\n    time.sleep(0.01)\n\n" * 3
    texts = ["one", "two", "three"]
    running = [in_thread(on_pipe, client, lines.format(text), "-s", "mixed") for text in texts]
    for text, one in zip(texts, running, strict=True):
        told = one.result(PATIENCE_S).stdout.splitlines()[2:-1]
        assert told == [f"{text} {i}" for _ in range(3) for i in range(50)]
    with connect(client.address, session="mixed") as flame:
        flame.session.close()


# ---------------------------------------------------------------- through the API


TWICE = """
import sys
from flame_kernel import connect
with connect(sys.argv[1], plain=eval(sys.argv[2])) as flame:
    with flame.console() as console:
        console.interact()
        console.interact(banner="once more")
    with flame.console() as other:
        other.interact("and another")
"""


@pytest.mark.parametrize("plain", [False, True])
def test_it_may_be_repeated_and_keeps_its_state(client: FlameServer, plain: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE, client.address, str(plain)],
        env=client.client_environ(),
        # A kernel that was told to exit does so a little later.
        input="x = 1\nexit()\nimport time; time.sleep(0.5)\nx + 1\nexit()\nx + 2\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    first, once_more, another = done.stdout.split(f"{ENDED}\n")[:3]
    assert first == f"{BANNER}\n(Remote console on {client.address})\n"
    assert once_more == "once more\n2\n"
    assert another == "and another\n3\n"


def test_a_closed_console_can_not_be_used(flame: Flame) -> None:
    with flame.console() as console:
        assert console.banner.startswith(BANNER)
    with pytest.raises(LinkLost, match="make another one"):
        console.interact()


# ---------------------------------------------------------------- in a notebook


def test_in_a_notebook_it_asks_and_shows_as_a_cell_does(client: FlameServer) -> None:
    manager, notebook = start_new_kernel(env=client.client_environ())
    try:
        notebook.execute_interactive(
            f"from flame_kernel import connect\nflame = connect({client.address!r})", timeout=PATIENCE_S
        )
        answers = iter(["x = 6 * 7", "for i in range(2):", "    print('line', i)", "", "print(input('name? '))", "me"])
        last = iter(["from IPython.display import HTML; HTML('<b>bold</b>')", "1 // 0", "exit()"])
        prompts: list[str] = []
        shown: list[tuple[str, dict]] = []

        def answer(message: dict) -> None:
            prompts.append(message["content"]["prompt"])
            notebook.input(next(answers, None) or next(last) if len(prompts) != 4 else next(answers))

        reply = notebook.execute_interactive(
            "with flame.console() as console: console.interact()",
            stdin_hook=answer,
            output_hook=lambda message: shown.append((message["msg_type"], message["content"])),
            timeout=PATIENCE_S,
            allow_stdin=True,
        )
        assert reply["content"]["status"] == "ok"
        assert prompts == [">>> ", ">>> ", "... ", "... ", ">>> ", "name? ", ">>> ", ">>> ", ">>> "]
        text = "".join(content["text"] for kind, content in shown if kind == "stream" and content["name"] == "stdout")
        assert text == f"{BANNER}\n(Remote console on {client.address})\nline 0\nline 1\nme\n{ENDED}\n"
        errors = "".join(content["text"] for kind, content in shown if kind == "stream" and content["name"] == "stderr")
        assert "ZeroDivisionError" in errors
        assert "<b>bold</b>" in [content["data"].get("text/html") for kind, content in shown if "data" in content]

        # The stop button ends it.
        stopped = notebook.execute_interactive(
            "flame.console().interact()",
            stdin_hook=lambda message: manager.interrupt_kernel(),
            output_hook=lambda message: shown.append((message["msg_type"], message["content"])),
            timeout=PATIENCE_S,
            allow_stdin=True,
        )
        assert stopped["content"]["status"] == "ok"
        assert ENDED in shown[-2][1]["text"]
        notebook.execute_interactive("flame.close()", timeout=PATIENCE_S)
    finally:
        notebook.stop_channels()
        manager.shutdown_kernel()


# ---------------------------------------------------------------- in another language


def test_another_language_has_a_console_and_no_calls(lone_server: Callable[..., FlameServer], folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "bash_kernel.install", "--prefix", str(folder)], check=True, capture_output=True
    )
    server = lone_server(JUPYTER_PATH=str(folder / "share" / "jupyter"))
    pair(server.invite)
    done = on_pipe(server, "word=kept\necho $word\n", "-k", "bash")
    first, where, *rest = done.stdout.splitlines()
    assert first.startswith("bash")
    assert where == f"(Remote console on {server.address})"
    assert rest == ["kept", ENDED]
    with connect(server.address, kernel="bash") as flame:
        for call in (
            lambda: flame.getfile("/etc/hosts"),
            lambda: flame.getmodule("os"),
            lambda: flame.put("/etc/hosts", "y"),
        ):
            with pytest.raises(CallsUnavailable, match="run cells in it instead"):
                call()
