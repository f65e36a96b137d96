"""Prompts over there: the console and the debugger of the magics, in a notebook and in a terminal's IPython."""

import re
import sys
from collections.abc import Iterator

import pexpect
import pytest

from tests.conformance.frontend import Answer, Frontend
from tests.conformance.kernels import Home, Kernel

COLOURS = re.compile(r"\x1b\[[0-9;]*m")

FAILS = "def outer(n):\n    secret = n + 1\n    return inner(secret)\n\ndef inner(m):\n    return m / 0\n"


@pytest.fixture(scope="module")
def notebook(home: Home) -> Iterator[Frontend]:
    """A plain ipykernel with the magics, connected to a server on this machine."""
    kernel = Kernel(home, "python3")
    try:
        for code in ("%load_ext flame_magics", "%flame_connect"):
            assert kernel.frontend.execute(code).reply["status"] == "ok"
        yield kernel.frontend
        kernel.frontend.execute("%unload_ext flame_magics")
    finally:
        kernel.close()


def answering(front: Frontend, code: str, *lines: str) -> tuple[list[str], Answer]:
    """Run a cell that asks, answer it, and return the prompts and all that came."""
    cell = front.start(code)

    def prompts() -> list:
        return [message for message in front.answer(cell) if message.kind == "input_request"]

    for count, line in enumerate(lines, 1):
        front.wait(lambda: len(prompts()) == count)  # noqa: B023  # called at once
        front.reply_input(prompts()[-1], line)
    answer = front.finish(cell)
    return [message.content["prompt"] for message in prompts()], answer


def test_a_console_asks_in_the_notebook(notebook: Frontend) -> None:
    prompts, answer = answering(
        notebook, "%flame_console", "x = 6", "for i in range(2):", "    print(i * x)", "", "exit()"
    )
    assert prompts == [">>> ", ">>> ", "... ", "... ", ">>> "]
    assert "0\n6\n" in answer.text()
    assert "(Remote console on" in answer.text()
    assert answer.reply["status"] == "ok"
    assert notebook.execute("%flame x").value == "6"


def test_the_debugger_asks_in_the_notebook_after_a_cell(notebook: Frontend) -> None:
    assert notebook.execute(f"%%flame\n{FAILS}outer(41)").reply["ename"] == "ZeroDivisionError"
    prompts, answer = answering(notebook, "%flame_debug", "p m", "up", "p secret, n", "q")
    assert prompts == ["ipdb> "] * 4
    told = COLOURS.sub("", answer.text())
    assert "\n42\n" in f"\n{told}"
    assert "return inner(secret)" in told
    assert "(42, 41)" in told
    assert answer.reply["status"] == "ok"


def test_the_debugger_asks_after_an_expression(notebook: Frontend) -> None:
    assert notebook.execute("%flame outer(7)").reply["ename"] == "ZeroDivisionError"
    _, answer = answering(notebook, "%flame_debug", "p m", "q")
    assert "\n8\n" in "\n" + COLOURS.sub("", answer.text())


def test_stopping_the_debugger_ends_it(notebook: Frontend) -> None:
    cell = notebook.start("%flame_debug")
    notebook.wait_for(cell, "input_request")
    notebook.ask("interrupt_request", {}, "control")
    notebook.finish(cell)
    assert notebook.execute("%%flame\nprint('free again')").text() == "free again\n"


def test_without_an_input_field_a_line_says_so_and_nothing_waits(notebook: Frontend) -> None:
    answer = notebook.execute("%flame_debug", allow_stdin=False)
    assert answer.reply["ename"] == "SessionError"
    assert "there is no way to ask here" in answer.reply["evalue"]
    (error,) = (message.content for message in answer if message.kind == "error")
    assert len(error["traceback"]) == 1
    assert notebook.execute("%%flame\nprint('free again')").text() == "free again\n"
    assert notebook.execute("%flame_console", allow_stdin=False).reply["ename"] == "StdinNotImplementedError"


def test_in_a_terminal_the_console_is_the_real_one(home: Home) -> None:
    shell = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit", "--colors=nocolor"],
        env={**home.environ, "TERM": "dumb", "INPUTRC": "/dev/null"},
        encoding="utf-8",
        timeout=30,
        dimensions=(50, 200),
    )
    shell.delaybeforesend = None
    try:
        shell.expect_exact("In [1]: ")
        shell.sendline("%load_ext flame_magics")
        shell.expect_exact("In [2]: ")
        shell.sendline("%flame_connect")
        shell.expect_exact("In [3]: ")
        shell.sendline("%flame_console")
        shell.expect_exact("(Remote console on")
        shell.expect_exact(">>> ")
        shell.sendline("only_remote = 6 * 7")
        shell.expect_exact(">>> ")
        shell.send("only_rem\t")
        while shell.expect_exact(["only_remote", "\a"]):  # a busy machine's first answer may come too late
            shell.send("\t")
        shell.sendline("")
        shell.expect("42.*>>> ")
        shell.sendline("exit()")
        shell.expect_exact("(Remote session ended)")
        shell.expect(r"In \[\d\]: ")
        shell.sendline("%flame only_remote + 1")
        shell.expect_exact("43")
        shell.sendline("%flame 1 // 0")
        shell.expect_exact("ZeroDivisionError")
        shell.sendline("%flame_debug")
        shell.expect_exact("ipdb> ")
        shell.sendline("p 6 * 7")
        shell.expect_exact("42")
        shell.sendline("q")
        shell.expect(r"In \[\d\]: ")
        shell.sendline("exit")
        shell.expect(pexpect.EOF)
    finally:
        shell.close(force=True)
